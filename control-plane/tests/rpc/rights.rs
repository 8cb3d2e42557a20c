//! Who calls what: each call of the protocol by everybody. One that is not in the table fails the test.

use crate::fixture::{Plane, until};
use bytes::Bytes;
use postern_api::fleet::PartKind;
use postern_control_plane::{effects::Effect, store::identities};
use postern_proto::v1::{
    CancelKey, ConnectorHello, ConnectorMessage, EnrolRequest, GatewayHello, GatewayMessage, RenewRequest,
    connector_control_client::ConnectorControlClient, connector_message::Message as FromConnector,
    enrolment_client::EnrolmentClient, gateway_control_client::GatewayControlClient,
    gateway_message::Message as FromGateway, renewal_client::RenewalClient,
};
use postern_types::time::Micros;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use std::{collections::BTreeSet, sync::Arc};
use tonic::{Code, Status, transport::Channel};

/// Each call, and who makes it. Who enrols has no identity yet: the join token says who may.
const TABLE: [(&str, &[&str]); 7] = [
    ("Enrolment/Enrol", &["nobody", "connector", "gateway", "revoked"]),
    ("Renewal/Renew", &["connector", "gateway"]),
    ("ConnectorControl/Attach", &["connector"]),
    ("ConnectorControl/AppendAudit", &["connector"]),
    ("GatewayControl/Attach", &["gateway"]),
    ("GatewayControl/Authenticate", &["gateway"]),
    ("GatewayControl/ForwardCancel", &["gateway"]),
];

/// The calls that the protocol has, as its files write them.
fn there_are() -> BTreeSet<String> {
    let files = [
        include_str!("../../../proto/postern/v1/connector.proto"),
        include_str!("../../../proto/postern/v1/enrolment.proto"),
        include_str!("../../../proto/postern/v1/gateway.proto"),
    ];
    let mut service = "";
    let mut calls = BTreeSet::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        let word = |after: &str| line.trim().strip_prefix(after)?.split(['(', ' ', '{']).next();
        service = word("service ").unwrap_or(service);
        calls.extend(word("rpc ").map(|method| format!("{service}/{method}")));
    }
    calls
}

/// A channel that shows no certificate.
fn nobody(plane: &Plane) -> Channel {
    let mut roots = RootCertStore::empty();
    roots.add(plane.running.core.ca.root().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (addresses, config) = (plane.addresses(), Arc::new(config));
    postern_peer::channel(move || addresses.clone(), move || Ok(Arc::clone(&config)))
}

fn certificate_request() -> Bytes {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().der().to_vec().into()
}

async fn call(channel: Channel, name: &str) -> Result<(), Status> {
    let certificate_request = certificate_request();
    let connector = FromConnector::Hello(ConnectorHello { incarnation: "i1".to_owned(), ..ConnectorHello::default() });
    let connector = tokio_stream::once(ConnectorMessage { message: Some(connector) });
    let gateway = GatewayHello { connector_address: "127.0.0.1:7443".to_owned(), ..GatewayHello::default() };
    let gateway = tokio_stream::once(GatewayMessage { message: Some(FromGateway::Hello(gateway)) });
    match name {
        "Enrolment/Enrol" => {
            let request = EnrolRequest { certificate_request, ..EnrolRequest::default() };
            EnrolmentClient::new(channel).enrol(request).await.map(drop)
        }
        "Renewal/Renew" => RenewalClient::new(channel).renew(RenewRequest { certificate_request }).await.map(drop),
        "ConnectorControl/Attach" => ConnectorControlClient::new(channel).attach(connector).await.map(drop),
        "ConnectorControl/AppendAudit" => {
            ConnectorControlClient::new(channel).append_audit(tokio_stream::empty()).await.map(drop)
        }
        "GatewayControl/Attach" => GatewayControlClient::new(channel).attach(gateway).await.map(drop),
        "GatewayControl/Authenticate" => {
            GatewayControlClient::new(channel).authenticate(tokio_stream::empty()).await.map(drop)
        }
        "GatewayControl/ForwardCancel" => {
            GatewayControlClient::new(channel).forward_cancel(CancelKey::default()).await.map(drop)
        }
        other => panic!("the protocol has a call {other} that nobody tries"),
    }
}

#[tokio::test]
async fn each_call_is_for_those_whose_it_is() {
    let listed: BTreeSet<_> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, there_are(), "the table lists each call of the protocol, and no other");
    let plane = Plane::start().await;
    let core = &plane.running.core;
    let gone = plane.enrol(PartKind::Connector, "gone").await;
    let id = gone.identity().id.clone();
    let mut tx = core.store.begin().await.unwrap();
    assert!(identities::revoke(&mut tx, PartKind::Connector, &id, Micros::now()).await.unwrap());
    tx.commit().await.unwrap();
    core.perform(vec![Effect::IdentityRevoked(id.clone())]);
    until("revoked", || async { core.hub.revoked().contains(&id) }).await;
    let everybody = [
        ("nobody", nobody(&plane)),
        ("connector", plane.channel(&plane.enrol(PartKind::Connector, "dev").await)),
        ("gateway", plane.channel(&plane.enrol(PartKind::Gateway, "gw").await)),
        ("revoked", plane.channel(&gone)),
    ];
    for (name, allowed) in TABLE {
        for (who, channel) in &everybody {
            let called = call(channel.clone(), name).await;
            let code = called.as_ref().err().map(Status::code);
            if !allowed.contains(who) {
                let expect = if *who == "nobody" { Code::Unauthenticated } else { Code::PermissionDenied };
                assert_eq!(code, Some(expect), "{who} {name}: {called:?}");
            } else if name == "Enrolment/Enrol" {
                // As far as that it brings no join token.
                assert!(called.unwrap_err().message().contains("the join token"), "{who}");
            } else if name == "GatewayControl/Authenticate" {
                // As far as that it is not attached.
                assert_eq!(code, Some(Code::FailedPrecondition), "{who} {name}: {called:?}");
            } else {
                assert!(called.is_ok(), "{who} {name}: {called:?}");
            }
        }
    }
    plane.running.shutdown().await;
}

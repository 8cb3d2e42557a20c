//! How a certificate is had, renewed and lost.

use crate::fixture::{Connector, Gateway, PATIENCE, Plane, until};
use bytes::Bytes;
use postern_api::fleet::PartKind;
use postern_control_plane::{ca::Authority, effects::Effect, store::identities};
use postern_peer::{EnrolError, Keeper, Kind, tls};
use postern_proto::v1::{
    EnrolRequest, RenewRequest, connector_command::Command as ToConnector, enrolment_client::EnrolmentClient,
    gateway_command::Command as ToGateway, renewal_client::RenewalClient,
};
use postern_types::time::Micros;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::{Code, transport::Channel};

fn certificate_request() -> Bytes {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().der().to_vec().into()
}

/// A channel that trusts this control plane and shows this certificate.
fn impostor(plane: &Plane, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Channel {
    let mut roots = RootCertStore::empty();
    roots.add(plane.running.core.ca.root().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (addresses, config) = (plane.addresses(), Arc::new(config));
    postern_peer::channel(move || addresses.clone(), move || Ok(Arc::clone(&config)))
}

async fn obtain(plane: &Plane, folder: &str, token: &SecretString) -> Result<Keeper, EnrolError> {
    let obtained = Keeper::obtain(Kind::Connector, plane.folder(folder), plane.addresses(), Some(token));
    timeout(PATIENCE, obtained).await.unwrap()
}

#[tokio::test]
async fn a_join_token_buys_one_identity() {
    let plane = Plane::start().await;
    let token = plane.join_token(PartKind::Connector, "dev").await;
    let keeper = obtain(&plane, "first", &token).await.unwrap();
    let identity = keeper.identity();
    assert_eq!((identity.kind, identity.name.as_str()), (Kind::Connector, "dev"));
    assert!(identity.id.starts_with("con_"));
    assert_eq!(identity.ticket_keys, [plane.running.core.tickets.public_key().to_vec()]);
    let leaf = &identity.chain()[0];
    assert_eq!(tls::peer(leaf), Some((Kind::Connector, identity.id.clone())));

    let Err(EnrolError::Refused(status)) = obtain(&plane, "second", &token).await else {
        panic!("the token was good twice")
    };
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    plane.running.shutdown().await;
}

#[tokio::test]
async fn tokens_that_are_none() {
    let plane = Plane::start().await;
    let token = plane.join_token(PartKind::Connector, "dev").await;
    let whole = token.expose_secret();
    let mut client = EnrolmentClient::new(plane.channel(&plane.enrol(PartKind::Gateway, "any").await));
    for bad in ["", "postern_join_", &whole[..whole.len() - 1], &whole.to_uppercase(), &format!("{whole} ")] {
        let request = EnrolRequest {
            join_token: bad.to_owned(),
            certificate_request: certificate_request(),
            version: String::new(),
        };
        let status = client.enrol(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{bad}");
    }
    // A bad request does not use the token up.
    let rsa_free_text = Bytes::from_static(b"not a certificate request");
    let mut forged = certificate_request().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for request in [rsa_free_text, Bytes::from(forged), Bytes::from(vec![0x30; 100_000])] {
        let request =
            EnrolRequest { join_token: whole.to_owned(), certificate_request: request, version: String::new() };
        assert_eq!(client.enrol(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    obtain(&plane, "good", &token).await.unwrap();
    plane.running.shutdown().await;
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let plane = Plane::start().await;
    let token = plane.join_token(PartKind::Connector, "dev").await;
    let (secret, _) = token.expose_secret().rsplit_once('_').unwrap();
    let wrong = SecretString::from(format!("{secret}_{}", "00".repeat(32)));
    // The caller turns away before it says anything: for it the control plane cannot be reached.
    let attempt = Keeper::obtain(Kind::Connector, plane.folder("x"), plane.addresses(), Some(&wrong));
    let waited = timeout(std::time::Duration::from_secs(2), attempt).await;
    assert!(!matches!(waited, Ok(Ok(_))), "enrolled with an authority that the token does not name");
    // And the token is still good, since it was never sent.
    obtain(&plane, "good", &token).await.unwrap();
    plane.running.shutdown().await;
}

#[tokio::test]
async fn certificates_of_another_control_plane_are_refused() {
    let (plane, other) = (Plane::start().await, Plane::start().await);
    let stranger = other.enrol(PartKind::Connector, "dev").await;
    // By itself it would trust only its own authority.
    let channel = impostor(&plane, stranger.identity().chain(), stranger.identity().key());
    let request = RenewRequest { certificate_request: certificate_request() };
    let status = RenewalClient::new(channel).renew(request).await.unwrap_err();
    // Refused by TLS: at TLS 1.3 the client learns it with its first bytes, or with the connection's end.
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status}");
    other.running.shutdown().await;
    plane.running.shutdown().await;
}

#[tokio::test]
async fn renewal_keeps_the_identity() {
    let plane = Plane::start().await;
    let keeper = plane.enrol(PartKind::Gateway, "gw").await;
    let key = KeyPair::generate().unwrap();
    // What the request asks for is ignored: only its key counts.
    let mut params = CertificateParams::new(vec!["control-plane.postern.internal".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::NoCa;
    let request = params.serialize_request(&key).unwrap().der().to_vec().into();
    let mut client = RenewalClient::new(plane.channel(&keeper));
    let renewed = client.renew(RenewRequest { certificate_request: request }).await.unwrap();
    let identity = renewed.into_inner().identity.unwrap();
    assert_eq!((identity.kind.as_str(), identity.name.as_str()), ("gateway", "gw"));
    assert_eq!(identity.id, keeper.identity().id);
    assert!(identity.not_after_us >= keeper.identity().expires_at.0);
    let leaf = CertificateDer::from(identity.certificate_chain[0].to_vec());
    assert_eq!(tls::peer(&leaf), Some((Kind::Gateway, identity.id)));
    let text = String::from_utf8_lossy(&leaf).into_owned();
    assert!(text.contains("gateway.postern.internal") && !text.contains("control-plane.postern.internal"));
    plane.running.shutdown().await;
}

#[tokio::test]
async fn a_connection_may_outlive_its_certificate_but_not_the_identity() {
    let plane = Plane::start().await;
    let core = &plane.running.core;
    let id = plane.enrol(PartKind::Gateway, "gw").await.identity().id.clone();
    let brief = Authority::load(&core.store, &core.sealer, Duration::from_secs(2)).await.unwrap();
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let issued = brief.issue(PartKind::Gateway, &id, request.der()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut client = RenewalClient::new(impostor(&plane, vec![issued.certificate], key.into()));
    let mut renew = async || {
        let request = RenewRequest { certificate_request: certificate_request() };
        client.renew(request).await.map_err(|status| status.code())
    };
    renew().await.unwrap();
    until("expired", || async { Micros::now() > issued.not_after }).await;
    // Renewed meanwhile, as above, the identity is good: on this connection too.
    renew().await.unwrap();
    let mut tx = core.store.begin().await.unwrap();
    assert!(identities::renewed(&mut tx, &id, Micros(1)).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(renew().await.unwrap_err(), Code::Unauthenticated);
    plane.running.shutdown().await;
}

#[tokio::test]
async fn what_is_revoked_is_cut_off_and_stays_out() {
    let plane = Plane::start().await;
    let core = &plane.running.core;
    let mut gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    let keeper = plane.enrol(PartKind::Connector, "dev").await;
    let mut connector = Connector::attach(&plane, keeper.clone(), "i1", &[]).await.unwrap();
    let id = keeper.identity().id.clone();

    let mut tx = core.store.begin().await.unwrap();
    assert!(identities::revoke(&mut tx, PartKind::Connector, &id, Micros::now()).await.unwrap());
    tx.commit().await.unwrap();
    core.perform(vec![Effect::IdentityRevoked(id.clone())]);

    assert!(matches!(connector.told_beside_sets().await, ToConnector::Revoked(_)));
    assert_eq!(connector.told().await.unwrap_err().code(), Code::PermissionDenied);
    let told = gateway.told().await.unwrap().unwrap();
    assert!(matches!(told, ToGateway::RevokedIdentity(revoked) if revoked.identity_id == id));

    let mut renewal = RenewalClient::new(plane.channel(&keeper));
    let request = RenewRequest { certificate_request: certificate_request() };
    assert_eq!(renewal.renew(request).await.unwrap_err().code(), Code::PermissionDenied);
    let status = Connector::attach(&plane, keeper.clone(), "i1", &[]).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);

    // A control plane that starts anew knows it, and tells gateways in its welcome.
    let plane = plane.restart().await;
    let status = Connector::attach(&plane, keeper, "i1", &[]).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
    let gateway = Gateway::attach(&plane, gateway.keeper).await.unwrap();
    assert_eq!(gateway.welcome.revoked_identity_ids, [id]);
    plane.running.shutdown().await;
}

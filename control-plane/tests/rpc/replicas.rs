//! Two control planes on one PostgreSQL.

use crate::{
    fixture::{Connector, Gateway, Plane, until},
    support::postgres::Cluster,
};
use bytes::Bytes;
use postern_api::{document::Apply, fleet::PartKind, policy::PolicyFile};
use postern_control_plane::{
    apply,
    config::StoreSetting,
    effects::Effect,
    store::{identities, sessions},
    ticket,
};
use postern_proto::v1::{
    CancelKey, ClientError, GrantExtension, SessionOpened, auth_response::Response as Answer,
    connector_command::Command as ToConnector, connector_message::Message as Say,
    gateway_command::Command as ToGateway, gateway_control_client::GatewayControlClient,
};
use postern_types::{id::SessionId, time::Micros};
use prost::Message as _;
use secrecy::SecretString;
use std::{path::Path, time::Duration};
use tonic::Code;

const HOUR: Duration = Duration::from_secs(3600);

async fn replica(url: &str, key: Option<&Path>) -> Plane {
    let folder = tempfile::tempdir().unwrap();
    if let Some(key) = key {
        std::fs::copy(key, folder.path().join("master.key")).unwrap();
    }
    Plane::start_on(StoreSetting::PostgresUrl(SecretString::from(url.to_owned())), folder).await
}

#[tokio::test]
async fn what_one_does_reaches_the_peers_of_the_other() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let one = replica(&url, None).await;
    let two = replica(&url, Some(&one.folder("master.key"))).await;
    assert_eq!(one.running.core.ca.fingerprint(), two.running.core.ca.fingerprint());
    assert_eq!(one.running.core.audit_public_key(), two.running.core.audit_public_key());

    // Enrolled at one, attached to two; the gateway the other way round.
    let mut connector = Connector::attach(&two, one.enrol(PartKind::Connector, "dev").await, "i1", &[]).await.unwrap();
    let mut gateway = Gateway::attach(&one, two.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    one.connection("demo", "dev").await;
    let mut told = (false, false);
    while told != (true, true) {
        match connector.told().await.unwrap().unwrap() {
            ToConnector::Connections(set) => told.0 = set.connections.len() == 1,
            ToConnector::Gateways(set) => told.1 = set.gateways.len() == 1,
            other => panic!("{other:?}"),
        }
    }

    // The gateway's replica knows of the connector's control stream by the store.
    let grant = two.grant("demo", HOUR).await;
    let outcome = gateway.authenticate(grant.attempt(vec![connector.attached()])).await;
    let Answer::Success(success) = outcome.answer else { panic!("refused: {:?}", outcome.answer) };
    let id: SessionId = success.session_id.parse().unwrap();

    // What is applied at one holds everywhere.
    let text = "@id(\"read\")\npermit (principal, action == Action::\"read\", resource);".to_owned();
    let policies = vec![PolicyFile { name: "read.cedar".to_owned(), text }];
    let body = Apply { documents: Vec::new(), policies, merge: false };
    let (_, effects) = apply::apply_as(&one.running.core.store, None, &body, Micros::now()).await.unwrap();
    one.running.core.perform(effects);
    let mut version = 0;
    while version == 0 {
        let keys = [one.running.core.tickets.public_key()];
        version = ticket::verify_policies(&keys, &connector.told_policies().await).unwrap().policy_version;
    }

    let later = Micros::now().plus(2 * HOUR);
    one.running.core.perform(vec![Effect::GrantExtended(grant.id.clone(), later)]);
    let ToConnector::GrantExtended(signed) = connector.told_beside_sets().await else { panic!("not extended") };
    let extension = GrantExtension::decode(signed.extension).unwrap();
    assert_eq!((extension.grant_id.as_str(), Micros(extension.ends_at_us)), (grant.id.as_str(), later));
    assert_eq!(
        (extension.connector_id, extension.connector_incarnation.as_str()),
        (connector.keeper.identity().id.clone(), "i1")
    );
    let error = ClientError { sqlstate: "57P01".to_owned(), message: "over".to_owned(), ..ClientError::default() };
    one.running.core.perform(vec![Effect::EndGrant(grant.id.clone(), error.clone())]);
    let told = connector.told_beside_sets().await;
    assert!(matches!(told, ToConnector::EndGrant(end) if end.grant_id == grant.id.as_str()));
    assert!(matches!(gateway.told().await.unwrap(), Some(ToGateway::EndGrant(_))));
    two.running.core.perform(vec![Effect::EndSession(id.clone(), error)]);
    assert!(matches!(connector.told_beside_sets().await, ToConnector::EndSession(_)));
    assert!(matches!(gateway.told().await.unwrap(), Some(ToGateway::EndSession(end)) if end.session_id == id.as_str()));

    let mut second = Gateway::attach(&two, one.enrol(PartKind::Gateway, "gw2").await).await.unwrap();
    let key = CancelKey { pid: 7, secret: Bytes::from_static(b"secret") };
    GatewayControlClient::new(gateway.channel.clone()).forward_cancel(key.clone()).await.unwrap();
    assert!(matches!(second.told().await.unwrap(), Some(ToGateway::Cancel(cancel)) if cancel == key));

    let connector_id = connector.keeper.identity().id.clone();
    let mut tx = one.running.core.store.begin().await.unwrap();
    identities::revoke(&mut tx, PartKind::Connector, &connector_id, Micros::now()).await.unwrap();
    tx.commit().await.unwrap();
    one.running.core.perform(vec![Effect::IdentityRevoked(connector_id)]);
    assert!(matches!(connector.told_beside_sets().await, ToConnector::Revoked(_)));
    assert_eq!(connector.told().await.unwrap_err().code(), Code::PermissionDenied);
    one.running.shutdown().await;
    two.running.shutdown().await;
}

#[tokio::test]
async fn what_was_said_while_the_database_was_away_is_made_up_for() {
    let cluster = Cluster::start();
    let plane = replica(&cluster.url(), None).await;
    plane.connection("demo", "dev").await;
    let gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    let keeper = plane.enrol(PartKind::Connector, "dev").await;
    let mut connector = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
    let grant = plane.grant("demo", HOUR).await;
    let outcome = gateway.authenticate(grant.attempt(vec![connector.attached()])).await;
    let Answer::Success(success) = outcome.answer else { panic!("refused: {:?}", outcome.answer) };
    let id: SessionId = success.session_id.parse().unwrap();
    connector
        .say(Say::SessionOpened(SessionOpened {
            session_id: id.to_string(),
            backend_pid: 1,
            ..SessionOpened::default()
        }))
        .await;
    let core = &plane.running.core;
    until("open", || async { core.hub.live().connectors.iter().any(|live| live.sessions == 1) }).await;

    // Another replica ends it, and nobody hears: here its transaction alone, without its event.
    let mut tx = core.store.begin().await.unwrap();
    sessions::end(&mut tx, &id, "killed", Micros::now()).await.unwrap();
    tx.commit().await.unwrap();
    // The listener's connection is lost, and whatever was said meanwhile with it.
    let mut tx = core.store.begin().await.unwrap();
    tx.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()", [])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let told = connector.told_beside_sets().await;
    assert!(matches!(told, ToConnector::EndSession(end) if end.session_id == id.as_str()));
    plane.running.shutdown().await;
}

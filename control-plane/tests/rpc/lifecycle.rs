//! What attached connectors and gateways are told, and what is made of what they say.

use crate::fixture::{Connector, Gateway, Grant, Plane, until};
use bytes::Bytes;
use postern_api::{fleet::PartKind, session::SessionStatus};
use postern_control_plane::{
    credentials,
    effects::Effect,
    identity::Actor,
    store::{access, sessions},
};
use postern_proto::v1::{
    AuditRecord, AuditSegment, CancelKey, ClientError, ConnectionSpec, ControlEvent, GrantExtension, Heartbeat,
    SessionClosed, SessionFacts, SessionOpened, StatementDecided, audit_record::Record,
    auth_response::Response as Answer, connector_command::Command as ToConnector,
    connector_control_client::ConnectorControlClient, connector_message::Message as Say,
    gateway_command::Command as ToGateway, gateway_control_client::GatewayControlClient,
};
use postern_types::{id::SessionId, time::Micros};
use prost::Message as _;
use secrecy::SecretString;
use std::time::Duration;
use tonic::Code;

const HOUR: Duration = Duration::from_secs(3600);

fn over() -> ClientError {
    ClientError { sqlstate: "57P01".to_owned(), message: "over".to_owned(), ..ClientError::default() }
}

async fn session(gateway: &Gateway, connector: &Connector, grant: &Grant) -> SessionId {
    match gateway.authenticate(grant.attempt(vec![connector.attached()])).await.answer {
        Answer::Success(success) => success.session_id.parse().unwrap(),
        other => panic!("refused: {other:?}"),
    }
}

async fn status(plane: &Plane, id: &SessionId) -> (SessionStatus, Option<String>) {
    let mut tx = plane.running.core.store.read().await.unwrap();
    let session = sessions::by_id(&mut tx, id).await.unwrap().unwrap();
    (session.status, session.end_reason)
}

fn opened(id: &SessionId) -> Say {
    Say::SessionOpened(SessionOpened {
        session_id: id.to_string(),
        backend_pid: 4711,
        database_role: "shop_reader".to_owned(),
        application_name: "psql".to_owned(),
        at_us: Micros::now().0,
    })
}

async fn world() -> (Plane, Gateway, Connector) {
    let plane = Plane::start().await;
    plane.connection("demo", "dev").await;
    let gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    let keeper = plane.enrol(PartKind::Connector, "dev").await;
    let connector = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
    (plane, gateway, connector)
}

#[tokio::test]
async fn connectors_are_told_of_their_connections_and_gateways() {
    let plane = Plane::start().await;
    plane.connection("demo", "dev").await;
    plane.connection("elsewhere", "other").await;
    let keeper = plane.enrol(PartKind::Connector, "dev").await;
    let mut connector = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
    let welcome = &connector.welcome;
    assert_eq!((welcome.name.as_str(), welcome.lease_seconds), ("dev", 60));
    let served = &welcome.connections.as_ref().unwrap().connections;
    assert_eq!(served.len(), 1);
    assert_eq!(
        (served[0].name.as_str(), served[0].database_url.as_str()),
        ("demo", "postgresql://127.0.0.1:5432/demo_db")
    );
    assert!(welcome.gateways.as_ref().unwrap().gateways.is_empty());

    let gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    let Some(ToConnector::Gateways(set)) = connector.told().await.unwrap() else { panic!("no gateways") };
    assert_eq!(set.gateways[0].gateway_id, gateway.welcome.gateway_id);
    assert_eq!(set.gateways[0].address, "127.0.0.1:7443");

    // What is another's changes nothing; what is its own is told.
    plane.connection("elsewhere-too", "other").await;
    plane.connection("second", "dev").await;
    let Some(ToConnector::Connections(set)) = connector.told().await.unwrap() else { panic!("no connections") };
    assert_eq!(set.connections.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>(), ["demo", "second"]);

    connector.say(Say::Heartbeat(Heartbeat { counter: 7 })).await;
    assert!(matches!(connector.told().await.unwrap(), Some(ToConnector::Heartbeat(beat)) if beat.counter == 7));
    plane.running.shutdown().await;
    // The stream's end is told, not left to a time-out.
    assert!(!matches!(connector.told().await, Ok(Some(_))));
}

#[tokio::test]
async fn database_credentials_are_pushed_when_they_change() {
    let (plane, _gateway, mut connector) = world().await;
    let core = &plane.running.core;
    let admin = Actor { admin: true, ..crate::reviews::user(&plane, "root", &[]).await };
    for password in ["first", "second"] {
        let secret = SecretString::from(password);
        let set = credentials::set(&core.store, &core.sealer, &admin, "demo", "shop_reader", &secret, Micros::now());
        core.perform(set.await.unwrap().1);
        let spec = told_connections(&mut connector).await.remove(0);
        assert_eq!(spec.logins.into_iter().collect::<Vec<_>>(), [("shop_reader".to_owned(), password.to_owned())]);
    }
    // One that attaches later has it in its welcome.
    let keeper = plane.enrol(PartKind::Connector, "dev").await;
    let later = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
    let served = later.welcome.connections.clone().unwrap().connections;
    assert_eq!(served[0].logins.get("shop_reader").map(String::as_str), Some("second"));
    let other = plane.enrol(PartKind::Connector, "other").await;
    let other = Connector::attach(&plane, other, "i1", &[]).await.unwrap();
    assert!(other.welcome.connections.unwrap().connections.is_empty());
    let removed = credentials::remove(&core.store, &admin, "demo", "shop_reader", Micros::now()).await.unwrap();
    core.perform(removed);
    assert!(told_connections(&mut connector).await[0].logins.is_empty());
    plane.running.shutdown().await;
}

async fn told_connections(connector: &mut Connector) -> Vec<ConnectionSpec> {
    loop {
        if let Some(ToConnector::Connections(set)) = connector.told().await.unwrap() {
            return set.connections;
        }
    }
}

#[tokio::test]
async fn a_session_from_opening_to_end() {
    let (plane, gateway, connector) = world().await;
    let grant = plane.grant("demo", HOUR).await;
    let id = session(&gateway, &connector, &grant).await;
    connector.say(opened(&id)).await;
    until("open", || async { status(&plane, &id).await.0 == SessionStatus::Active }).await;
    let mut tx = plane.running.core.store.read().await.unwrap();
    let row = sessions::by_id(&mut tx, &id).await.unwrap().unwrap();
    drop(tx);
    assert_eq!((row.backend_pid, row.database_role.as_deref()), (Some(4711), Some("shop_reader")));

    // Another connector's word does not count.
    let stranger = Connector::attach(&plane, plane.enrol(PartKind::Connector, "dev").await, "i1", &[]).await.unwrap();
    let closed = |reason: &str| {
        Say::SessionClosed(SessionClosed {
            session_id: id.to_string(),
            reason: reason.to_owned(),
            at_us: Micros::now().0,
            refused: None,
        })
    };
    stranger.say(closed("client")).await;
    stranger.say(Say::Heartbeat(Heartbeat { counter: 1 })).await;
    let mut stranger = stranger;
    assert!(matches!(stranger.told_beside_sets().await, ToConnector::Heartbeat(_)));
    assert_eq!(status(&plane, &id).await.0, SessionStatus::Active);

    connector.say(closed("client")).await;
    until("ended", || async { status(&plane, &id).await == (SessionStatus::Ended, Some("client".to_owned())) }).await;
    plane.running.shutdown().await;
}

#[tokio::test]
async fn ends_reach_connectors_and_gateways() {
    let (plane, mut gateway, mut connector) = world().await;
    let grant = plane.grant("demo", HOUR).await;
    let id = session(&gateway, &connector, &grant).await;
    let core = &plane.running.core;
    core.perform(vec![Effect::EndSession(id.clone(), over())]);
    let told = connector.told_beside_sets().await;
    assert!(matches!(told, ToConnector::EndSession(end) if end.session_id == id.as_str() && end.error == Some(over())));
    let told = gateway.told().await.unwrap().unwrap();
    assert!(matches!(told, ToGateway::EndSession(end) if end.session_id == id.as_str()));

    core.perform(vec![Effect::EndGrant(grant.id.clone(), over())]);
    let told = connector.told_beside_sets().await;
    assert!(
        matches!(told, ToConnector::EndGrant(end) if end.grant_id == grant.id.as_str() && end.error == Some(over()))
    );
    let told = gateway.told().await.unwrap().unwrap();
    assert!(matches!(told, ToGateway::EndGrant(end) if end.grant_id == grant.id.as_str()));
    plane.running.shutdown().await;
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_at_the_next_hello() {
    let (plane, gateway, connector) = world().await;
    let (open, revoked) = (plane.grant("demo", HOUR).await, plane.grant("demo", HOUR).await);
    let kept = session(&gateway, &connector, &open).await;
    let lost = session(&gateway, &connector, &open).await;
    let killed = session(&gateway, &connector, &open).await;
    let longer = plane.grant("demo", HOUR).await;
    let of_longer = session(&gateway, &connector, &longer).await;
    let of_revoked = session(&gateway, &connector, &revoked).await;
    for id in [&kept, &lost, &killed, &of_longer, &of_revoked] {
        connector.say(opened(id)).await;
    }
    until("all open", || async { status(&plane, &of_revoked).await.0 == SessionStatus::Active }).await;
    let (keeper, incarnation) = (connector.keeper.clone(), connector.incarnation.clone());
    drop(connector);

    let mut tx = plane.running.core.store.begin().await.unwrap();
    access::revoke_grant(&mut tx, &revoked.id, None, None, Micros::now()).await.unwrap();
    let extended = access::extend_grant(&mut tx, &longer.id, HOUR, Micros::now()).await.unwrap().unwrap();
    sessions::end(&mut tx, &killed, "killed", Micros::now()).await.unwrap();
    tx.commit().await.unwrap();

    let plane = plane.restart().await;
    let live = [kept.as_str(), killed.as_str(), of_longer.as_str(), of_revoked.as_str()];
    let mut connector = Connector::attach(&plane, keeper, &incarnation, &live).await.unwrap();
    let mut ended = Vec::new();
    for _ in 0..3 {
        match connector.told_beside_sets().await {
            ToConnector::EndSession(end) => {
                assert_eq!(end.error.unwrap().sqlstate, "57P01");
                ended.push(end.session_id);
            }
            ToConnector::GrantExtended(signed) => {
                let GrantExtension { grant_id, ends_at_us, .. } = GrantExtension::decode(signed.extension).unwrap();
                assert_eq!((grant_id.as_str(), Micros(ends_at_us)), (longer.id.as_str(), extended.ends_at));
            }
            other => panic!("{other:?}"),
        }
    }
    ended.sort();
    let mut expected = vec![killed.to_string(), of_revoked.to_string()];
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(status(&plane, &kept).await, (SessionStatus::Active, None));
    assert_eq!(status(&plane, &lost).await, (SessionStatus::Ended, Some("lost".to_owned())));
    assert_eq!(status(&plane, &killed).await, (SessionStatus::Ended, Some("killed".to_owned())));

    // A session that opens although it was ended is ended again.
    connector.say(opened(&killed)).await;
    let told = connector.told_beside_sets().await;
    assert!(matches!(told, ToConnector::EndSession(end) if end.session_id == killed.as_str()));
    plane.running.shutdown().await;
}

#[tokio::test]
async fn a_new_process_has_none_of_its_predecessors_sessions() {
    let (plane, gateway, connector) = world().await;
    let grant = plane.grant("demo", HOUR).await;
    let id = session(&gateway, &connector, &grant).await;
    connector.say(opened(&id)).await;
    until("open", || async { status(&plane, &id).await.0 == SessionStatus::Active }).await;
    let keeper = connector.keeper.clone();
    drop(connector);
    let hub = &plane.running.core.hub;
    until("detached", || async { hub.live().connectors.is_empty() }).await;
    let _connector = Connector::attach(&plane, keeper, "i2", &[]).await.unwrap();
    assert_eq!(status(&plane, &id).await, (SessionStatus::Ended, Some("lost".to_owned())));
    plane.running.shutdown().await;
}

#[tokio::test]
async fn cancel_requests_reach_the_other_gateways_of_the_region() {
    let (plane, mut first, _connector) = world().await;
    let mut second = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw2").await).await.unwrap();
    let far = plane.enrol(PartKind::Gateway, "gw3").await;
    let mut far = Gateway::attach_in(&plane, far, "elsewhere").await.unwrap();
    let key = CancelKey { pid: 42, secret: Bytes::from_static(b"secret") };
    let mut client = GatewayControlClient::new(first.channel.clone());
    client.forward_cancel(key.clone()).await.unwrap();
    assert!(matches!(second.told().await.unwrap(), Some(ToGateway::Cancel(cancel)) if cancel == key));
    // The one that asked hears only what comes after it, and so does one of another region.
    plane.running.core.perform(vec![Effect::EndSession(SessionId::new(), over())]);
    for gateway in [&mut first, &mut far] {
        assert!(matches!(gateway.told().await.unwrap(), Some(ToGateway::EndSession(_))));
    }
    plane.running.shutdown().await;
}

fn segment(connector: &str, session: &SessionId) -> Vec<u8> {
    let facts = SessionFacts {
        session_id: session.to_string(),
        connector_id: connector.to_owned(),
        opened_at_us: Micros::now().0,
        ..SessionFacts::default()
    };
    let decided = StatementDecided { at_us: Micros::now().0, seq: 1, ..StatementDecided::default() };
    let records =
        [AuditRecord { record: Some(Record::Session(facts)) }, AuditRecord { record: Some(Record::Decided(decided)) }];
    postern_audit::segment::encode(&records).unwrap()
}

#[tokio::test]
async fn audit_segments_are_acknowledged_and_stored_once() {
    let (plane, gateway, connector) = world().await;
    let id = connector.keeper.identity().id.clone();
    let own = session(&gateway, &connector, &plane.grant("demo", HOUR).await).await;
    let mut client = ConnectorControlClient::new(connector.channel.clone());
    let payload = Bytes::from(segment(&id, &own));
    let one = |name: &str| AuditSegment { segment_id: name.to_owned(), payload: payload.clone() };
    let sent = tokio_stream::iter([one("seg-1"), one("seg-1"), one("seg-2")]);
    let mut acks = client.append_audit(sent).await.unwrap().into_inner();
    for expected in ["seg-1", "seg-1", "seg-2"] {
        assert_eq!(acks.message().await.unwrap().unwrap().segment_id, expected);
    }
    let mut tx = plane.running.core.store.read().await.unwrap();
    let rows = tx.rows("SELECT source FROM audit_segments WHERE source <> 'control-plane'", []).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<String>("source").unwrap(), id);
    drop(tx);

    // What is damaged, or what a connector has no business to say, is not acknowledged.
    let control = AuditRecord { record: Some(Record::Control(ControlEvent::default())) };
    let forged = postern_audit::segment::encode(&[control]).unwrap();
    for bad in [vec![1, 2, 3], forged, segment(&id, &SessionId::new())] {
        let sent = tokio_stream::iter([AuditSegment { segment_id: "seg-3".to_owned(), payload: bad.into() }]);
        let mut acks = client.append_audit(sent).await.unwrap().into_inner();
        assert_eq!(acks.message().await.unwrap_err().code(), Code::InvalidArgument);
    }
    plane.running.shutdown().await;
}

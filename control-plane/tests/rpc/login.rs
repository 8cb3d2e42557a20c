//! A client's proof, and what it buys.

use crate::fixture::{Attempt, BINDING, Connector, Gateway, Grant, Plane};
use bytes::Bytes;
use postern_api::{
    fleet::PartKind,
    session::{SessionFilter, SessionStatus},
};
use postern_control_plane::{
    store::{access, principals, sessions},
    ticket,
};
use postern_proto::v1::{AuthSuccess, ConnectionHealth, auth_response::Response as Answer, connector_message::Message};
use postern_types::{id::GrantId, time::Micros};
use secrecy::ExposeSecret;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

struct World {
    plane: Plane,
    connector: Connector,
    gateway: Gateway,
}

impl World {
    /// A connection `demo`, its connector and a gateway, both attached.
    async fn new() -> Self {
        let plane = Plane::start().await;
        plane.connection("demo", "dev").await;
        let gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
        let keeper = plane.enrol(PartKind::Connector, "dev").await;
        let connector = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
        Self { plane, connector, gateway }
    }

    fn attempt<'a>(&self, grant: &'a Grant) -> Attempt<'a> {
        grant.attempt(vec![self.connector.attached()])
    }
}

fn success(answer: Answer) -> AuthSuccess {
    match answer {
        Answer::Success(success) => success,
        other => panic!("refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_right_secret_buys_a_ticket() {
    let world = World::new().await;
    let grant = world.plane.grant("demo", HOUR).await;
    let before = Micros::now();
    let outcome = world.gateway.authenticate(Attempt { database: "demo", ..world.attempt(&grant) }).await;
    assert!(outcome.server_is_genuine);
    let success = success(outcome.answer);
    let connector = world.connector.attached();
    assert_eq!(success.connector.as_ref(), Some(&connector));
    assert_eq!(success.grant_id, grant.id.as_str());

    let ticket = ticket::verify(&world.connector.welcome.ticket_keys, &success.ticket.unwrap()).unwrap();
    assert_eq!(ticket.session_id, success.session_id);
    assert_eq!(ticket.connection, "demo");
    assert_eq!((ticket.connector_id, ticket.connector_incarnation), (connector.connector_id, connector.incarnation));
    assert_eq!(ticket.gateway_id, world.gateway.welcome.gateway_id);
    assert_eq!(ticket.principal.unwrap().name, grant.principal.name);
    assert_eq!((ticket.database_role.as_str(), ticket.read_only), ("shop_reader", true));
    assert_eq!(ticket.auth_method, "scram-sha-256");
    assert_eq!(ticket.ticket_id.len(), 16);
    assert_eq!(ticket.expires_at_us - ticket.issued_at_us, 30_000_000);
    assert!(ticket.issued_at_us >= before.0 && ticket.grant_ends_at_us == success.grant_ends_at_us);

    let mut tx = world.plane.running.core.store.read().await.unwrap();
    let listed = sessions::list(&mut tx, SessionFilter::Active, None).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.as_str(), listed[0].status), (success.session_id.as_str(), SessionStatus::Authorized));
    assert_eq!(listed[0].client_address, "192.0.2.7");
}

#[tokio::test]
async fn channel_binding() {
    let world = World::new().await;
    let grant = world.plane.grant("demo", HOUR).await;
    let bound = Attempt { plus: true, ..world.attempt(&grant) };
    let outcome = world.gateway.authenticate(bound.clone()).await;
    assert!(outcome.server_is_genuine);
    let ticket = success(outcome.answer).ticket.unwrap();
    let ticket = ticket::verify(&world.connector.welcome.ticket_keys, &ticket).unwrap();
    assert_eq!(ticket.auth_method, "scram-sha-256-plus");
    // Somebody between the client and the gateway showed another certificate.
    let outcome = world.gateway.authenticate(Attempt { seen: b"another", ..bound }).await;
    let (kind, sqlstate, message, _) = outcome.refusal();
    assert_eq!((kind, sqlstate.as_str()), ("malformed", "28000"), "{message}");
    assert_ne!(BINDING, b"another");
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_grant_look_the_same() {
    let world = World::new().await;
    let grant = world.plane.grant("demo", HOUR).await;
    let unknown = GrantId::new();
    let wrong = Attempt { secret: "wrong", ..world.attempt(&grant) };
    let known = world.gateway.authenticate(wrong.clone()).await;
    let mut shapes = vec![(grant.id.to_string(), known)];
    for user in [unknown.as_str(), unknown.as_str(), "alice"] {
        let outcome = world.gateway.authenticate(Attempt { user, ..wrong.clone() }).await;
        shapes.push((user.to_owned(), outcome));
    }
    let salt = |first: &Bytes| {
        let text = String::from_utf8(first.to_vec()).unwrap();
        text.split(",s=").nth(1).unwrap().to_owned()
    };
    assert_eq!(salt(&shapes[1].1.server_first), salt(&shapes[2].1.server_first), "the decoy's salt changes");
    assert_ne!(salt(&shapes[1].1.server_first), salt(&shapes[3].1.server_first));
    let lengths: Vec<_> = shapes.iter().map(|(_, outcome)| outcome.server_first.len()).collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    let told: Vec<_> = shapes
        .into_iter()
        .map(|(user, outcome)| {
            assert!(!outcome.server_is_genuine);
            let (kind, sqlstate, message, hint) = outcome.refusal();
            (kind, sqlstate, message.replace(&user, "USER"), hint)
        })
        .collect();
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert_eq!((told[0].0, told[0].1.as_str()), ("bad_proof", "28P01"));
    assert!(told[0].3.contains("postern request"), "{}", told[0].3);
}

#[tokio::test]
async fn the_end_of_a_grant_is_told_only_after_the_proof() {
    let world = World::new().await;
    let core = &world.plane.running.core;
    let expired = world.plane.grant("demo", Duration::from_millis(1)).await;
    let revoked = world.plane.grant("demo", HOUR).await;
    let mut tx = core.store.begin().await.unwrap();
    access::revoke_grant(&mut tx, &revoked.id, None, None, Micros::now()).await.unwrap();
    tx.commit().await.unwrap();
    let disabled = world.plane.grant("demo", HOUR).await;
    let mut tx = core.store.begin().await.unwrap();
    let mut row = principals::by_id(&mut tx, &disabled.principal.id).await.unwrap().unwrap();
    row.disabled = true;
    principals::update(&mut tx, &row, None).await.unwrap();
    tx.commit().await.unwrap();

    for (grant, word) in [(&expired, "expired at"), (&revoked, "revoked at"), (&disabled, "disabled")] {
        let outcome = world.gateway.authenticate(world.attempt(grant)).await;
        assert!(outcome.server_is_genuine, "{word}: the server's own proof is missing");
        let (kind, sqlstate, message, hint) = outcome.refusal();
        assert_eq!((kind, sqlstate.as_str()), ("refused", "28000"), "{message}");
        assert!(message.contains(word), "{message}");
        assert!(!hint.is_empty());
        let outcome = world.gateway.authenticate(Attempt { secret: "wrong", ..world.attempt(grant) }).await;
        let (kind, sqlstate, message, _) = outcome.refusal();
        assert_eq!((kind, sqlstate.as_str()), ("bad_proof", "28P01"));
        assert!(!message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn databases() {
    let world = World::new().await;
    let grant = world.plane.grant("demo", HOUR).await;
    for database in ["", "demo", "demo_db", grant.id.as_str()] {
        success(world.gateway.authenticate(Attempt { database, ..world.attempt(&grant) }).await.answer);
    }
    for database in ["postgres", "Demo", "demo "] {
        let outcome = world.gateway.authenticate(Attempt { database, ..world.attempt(&grant) }).await;
        assert!(outcome.server_is_genuine);
        let (kind, sqlstate, message, hint) = outcome.refusal();
        assert_eq!((kind, sqlstate.as_str()), ("refused", "3D000"), "{message}");
        assert!(hint.contains("`demo`"), "{hint}");
    }
}

#[tokio::test]
async fn a_session_needs_a_connector_at_that_gateway() {
    let world = World::new().await;
    let grant = world.plane.grant("demo", HOUR).await;
    let mut predecessor = world.connector.attached();
    predecessor.incarnation = "i0".to_owned();
    let other = plane_connector(&world, "other").await;
    for attached in [Vec::new(), vec![predecessor], vec![other.attached()]] {
        let outcome = world.gateway.authenticate(grant.attempt(attached)).await;
        assert!(outcome.server_is_genuine);
        let (kind, sqlstate, message, hint) = outcome.refusal();
        assert_eq!((kind, sqlstate.as_str()), ("refused", "08006"), "{message}");
        assert!(hint.contains("`dev`") && !message.contains("127.0.0.1"), "{message} {hint}");
    }
    // Of two, the one that reaches the database.
    let second = plane_connector(&world, "dev").await;
    let down = ConnectionHealth {
        connection: "demo".to_owned(),
        problem: "refused".to_owned(),
        ..ConnectionHealth::default()
    };
    world.connector.say(Message::ConnectionHealth(down)).await;
    let hub = &world.plane.running.core.hub;
    crate::fixture::until("the health is known", || async {
        hub.live().connectors.iter().any(|live| live.health.contains_key("demo"))
    })
    .await;
    for _ in 0..4 {
        let attached = vec![world.connector.attached(), second.attached()];
        let chosen = success(world.gateway.authenticate(grant.attempt(attached)).await.answer).connector.unwrap();
        assert_eq!(chosen, second.attached());
    }
}

async fn plane_connector(world: &World, name: &str) -> Connector {
    let keeper = world.plane.enrol(PartKind::Connector, name).await;
    Connector::attach(&world.plane, keeper, "i1", &[]).await.unwrap()
}

#[tokio::test]
async fn no_secret_is_in_the_audit() {
    let world = World::new().await;
    let grant = world.plane.grant("demo", HOUR).await;
    success(world.gateway.authenticate(world.attempt(&grant)).await.answer);
    world.gateway.authenticate(Attempt { secret: "wrong", ..world.attempt(&grant) }).await;
    let mut tx = world.plane.running.core.store.read().await.unwrap();
    let rows = tx.rows("SELECT payload FROM audit_segments", []).await.unwrap();
    let mut actions = Vec::new();
    for row in rows {
        let payload: Vec<u8> = row.get("payload").unwrap();
        for record in postern_audit::segment::decode(&payload).unwrap() {
            let text = format!("{record:?}");
            assert!(!text.contains(grant.secret.expose_secret()), "{text}");
            if let Some(postern_proto::v1::audit_record::Record::Control(event)) = record.record {
                actions.push(event.action);
            }
        }
    }
    for action in ["join_token.created", "identity.enrolled", "session.authorized", "login.failed"] {
        assert!(actions.iter().any(|one| one == action), "{action} in {actions:?}");
    }
}

//! What connectors are told to decide by.

use crate::fixture::{Connector, Gateway, Plane};
use bytes::Bytes;
use postern_api::{document::Apply, fleet::PartKind, policy::PolicyFile};
use postern_control_plane::{apply, freezes, hub::ask::Unanswered, identity::Actor, ticket};
use postern_proto::v1::{
    Analyse, Analysed, ClientError, PolicyBundle, SignedPolicyBundle, Tag, analysed::Result as AnswerResult,
    auth_response::Response as Answer, connector_command::Command as ToConnector,
    connector_message::Message as FromConnector,
};
use postern_types::time::Micros;
use prost::Message as _;
use serde_json::json;
use std::time::Duration;

const READ: &str = "@id(\"read\")\npermit (principal, action == Action::\"read\", resource);\n";

const HOUR: Duration = Duration::from_secs(3600);

async fn connector(plane: &Plane) -> Connector {
    Connector::attach(plane, plane.enrol(PartKind::Connector, "dev").await, "i1", &[]).await.unwrap()
}

/// What one bundle says, signed for this very process.
fn read(connector: &Connector, signed: &SignedPolicyBundle) -> PolicyBundle {
    let keys: Vec<_> = connector.keeper.identity().ticket_keys.iter().cloned().map(Bytes::from).collect();
    let bundle = ticket::verify_policies(&keys, signed).expect("not the control plane's signature");
    let attached = connector.attached();
    assert_eq!((&bundle.connector_id, &bundle.connector_incarnation), (&attached.connector_id, &attached.incarnation));
    bundle
}

async fn put(plane: &Plane, name: &str, text: &str) {
    let file = PolicyFile { name: name.to_owned(), text: text.to_owned() };
    let body = Apply { documents: Vec::new(), policies: vec![file], merge: false };
    let core = &plane.running.core;
    core.perform(apply::apply_as(&core.store, None, &body, Micros::now()).await.unwrap().1);
}

async fn tag(plane: &Plane, place: &str, tag: &str) {
    let document = json!({ "kind": "Connection", "name": "demo", "tags": { place: tag } });
    let source = postern_api::document::Source::default();
    let documents = vec![postern_api::document::SourcedDocument { source, document }];
    plane.running.core.apply(documents, true, None).await.unwrap();
}

#[tokio::test]
async fn policies_are_told_on_attach_and_on_change() {
    let plane = Plane::start().await;
    plane.connection("demo", "dev").await;
    let mut connector = connector(&plane).await;
    let welcome = read(&connector, connector.welcome.policies.as_ref().unwrap());
    assert_eq!((welcome.policy_version, welcome.files[0].name.as_str()), (0, "default.cedar"));
    assert_eq!((welcome.connections[0].name.as_str(), welcome.connections[0].frozen), ("demo", false));

    put(&plane, "read.cedar", READ).await;
    let signed = connector.told_policies().await;
    let first = read(&connector, &signed);
    assert_eq!((first.policy_version, first.files.len(), first.files[0].text.as_str()), (1, 1, READ));
    assert!(first.counter > welcome.counter);

    // What does not concern this connector is not told.
    plane.connection("elsewhere", "other").await;
    tag(&plane, "public.customers", "pii").await;
    tag(&plane, "public.customers.email", "pii.email").await;
    tag(&plane, "public", "open").await;
    let mut tags = Vec::new();
    while tags.len() < 3 {
        let signed = connector.told_policies().await;
        let bundle = read(&connector, &signed);
        assert_eq!(bundle.connections.len(), 1);
        assert!(bundle.connections[0].tags.len() > tags.len(), "told without cause");
        tags.clone_from(&bundle.connections[0].tags);
    }
    let of = |relation: &str, column: &str, tag: &str| Tag {
        schema: "public".to_owned(),
        relation: relation.to_owned(),
        column: column.to_owned(),
        tag: tag.to_owned(),
    };
    assert_eq!(tags, [of("", "", "open"), of("customers", "", "pii"), of("customers", "email", "pii.email")]);

    // One that attaches later is told the same, signed for itself.
    let later = Connector::attach(&plane, connector.keeper.clone(), "i2", &[]).await.unwrap();
    let bundle = read(&later, later.welcome.policies.as_ref().unwrap());
    assert_eq!((bundle.policy_version, &bundle.connections[0].tags), (1, &tags));

    // Whoever passes it on can change nothing in it.
    let wider = PolicyBundle { files: Vec::new(), ..first };
    let forged = SignedPolicyBundle { bundle: wider.encode_to_vec().into(), ..signed };
    assert_eq!(ticket::verify_policies(&[plane.running.core.tickets.public_key()], &forged), None);
    plane.running.shutdown().await;
}

#[tokio::test]
async fn a_freeze_is_told_at_once_and_survives_a_restart() {
    let plane = Plane::start().await;
    plane.connection("demo", "dev").await;
    let mut connector = connector(&plane).await;
    let admin = Actor { admin: true, ..crate::reviews::user(&plane, "root", &[]).await };
    let core = &plane.running.core;
    for frozen in [true, false, true] {
        let now = Micros::now();
        let (_, effects) = if frozen {
            freezes::freeze(&core.store, &admin, "demo", None, now).await.unwrap()
        } else {
            freezes::unfreeze(&core.store, &admin, "demo", None, now).await.unwrap()
        };
        core.perform(effects);
        let signed = connector.told_policies().await;
        assert_eq!(read(&connector, &signed).connections[0].frozen, frozen);
    }
    let keeper = connector.keeper.clone();
    drop(connector);
    let plane = plane.restart().await;
    let connector = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
    assert!(read(&connector, connector.welcome.policies.as_ref().unwrap()).connections[0].frozen);
    plane.running.shutdown().await;
}

#[tokio::test]
async fn what_holds_on_a_connection_is_told_before_the_connection() {
    let plane = Plane::start().await;
    let mut connector = connector(&plane).await;
    plane.connection("demo", "dev").await;
    let first = connector.told_first().await;
    let ToConnector::Policies(signed) = first else { panic!("{first:?}") };
    assert_eq!(read(&connector, &signed).connections[0].name, "demo");
    plane.running.shutdown().await;
}

#[tokio::test]
async fn a_ticket_names_the_version() {
    let plane = Plane::start().await;
    plane.connection("demo", "dev").await;
    let gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    let connector = connector(&plane).await;
    let grant = plane.grant("demo", HOUR).await;
    for version in [0, 1, 2] {
        if version > 0 {
            put(&plane, "read.cedar", &format!("// {version}\n{READ}")).await;
        }
        let outcome = gateway.authenticate(grant.attempt(vec![connector.attached()])).await;
        let Answer::Success(success) = outcome.answer else { panic!("refused: {:?}", outcome.answer) };
        let ticket = ticket::verify(&connector.welcome.ticket_keys, &success.ticket.unwrap()).unwrap();
        assert_eq!(ticket.policy_version, version);
    }
    plane.running.shutdown().await;
}

fn question(connection: &str) -> Analyse {
    Analyse { connection: connection.to_owned(), sql: "SELECT 1".to_owned(), ..Analyse::default() }
}

async fn asked(connector: &mut Connector) -> Analyse {
    match connector.told_beside_sets().await {
        ToConnector::Analyse(asked) => asked,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connector_is_asked_what_a_statement_would_do() {
    let plane = Plane::start().await;
    plane.connection("demo", "dev").await;
    let hub = plane.running.core.hub.clone();
    assert_eq!(hub.analyse("dev", question("demo")).await, Err(Unanswered::NotAttached));
    let mut connector = connector(&plane).await;
    for (name, connection) in [("dev", "elsewhere"), ("other", "demo")] {
        assert_eq!(hub.analyse(name, question(connection)).await, Err(Unanswered::NotAttached));
    }

    // Answers find their questions, in whichever order they come; what was not asked is not heard.
    let ask = || {
        let hub = hub.clone();
        tokio::spawn(async move { hub.analyse("dev", question("demo")).await })
    };
    let first = ask();
    let one = asked(&mut connector).await;
    let second = ask();
    let two = asked(&mut connector).await;
    assert!(one.id != two.id && one.sql == "SELECT 1");
    let failed = |text: &str| AnswerResult::Failed(ClientError { message: text.to_owned(), ..ClientError::default() });
    for (id, text) in [(two.id + 1, "nobody's"), (two.id, "second"), (two.id, "again"), (one.id, "first")] {
        connector.say(FromConnector::Analysed(Analysed { id, result: Some(failed(text)) })).await;
    }
    assert_eq!(first.await.unwrap(), Ok(failed("first")));
    assert_eq!(second.await.unwrap(), Ok(failed("second")));

    // It owes a few answers at most, and none once its stream has ended.
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(ask());
        asked(&mut connector).await;
    }
    assert_eq!(hub.analyse("dev", question("demo")).await, Err(Unanswered::Busy));
    drop(connector);
    for asked in open {
        assert_eq!(asked.await.unwrap(), Err(Unanswered::Gone));
    }
}

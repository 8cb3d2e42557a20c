//! Segments and the search over them.

use crate::support::{Cast, START, at, told, world};
use postern_api::{
    audit::{AuditEvent, AuditQuery, EventType, EventTypes},
    error::ErrorCode,
};
use postern_control_plane::{
    audit::{self, Appended, Event, search::search},
    identity::Actor,
    store::Store,
};
use postern_proto::v1::{
    AuditRecord, Decision, Outcome, SessionEnded, SessionFacts, StatementDecided, StatementEnded, StatementKind,
    StatementText, audit_record::Record,
};
use serde_json::json;

fn facts(cast: &Cast, session: &str) -> Record {
    Record::Session(SessionFacts {
        r#ref: 1,
        session_id: session.to_owned(),
        grant_id: "grt_1".to_owned(),
        principal: Some(audit::principal(&cast.agent.principal)),
        on_behalf_of: Some(audit::principal(&cast.alice.principal)),
        connection: "demo".to_owned(),
        access_role: "read".to_owned(),
        database_role: "shop".to_owned(),
        opened_at_us: START.0,
        ..SessionFacts::default()
    })
}

fn text(reference: u32, sql: &str) -> Record {
    Record::Text(StatementText { r#ref: reference, text: sql.as_bytes().to_vec().into(), ..StatementText::default() })
}

fn decided(seq: u64, text_ref: u32, seconds: u64) -> Record {
    Record::Decided(StatementDecided {
        session_ref: 1,
        seq,
        at_us: at(seconds).0,
        kind: StatementKind::Query.into(),
        text_ref,
        decision: Decision::Allow.into(),
        ..StatementDecided::default()
    })
}

fn ended(seq: u64, outcome: Outcome, sqlstate: &str) -> Record {
    Record::Ended(StatementEnded {
        session_ref: 1,
        seq,
        duration_us: 1500,
        outcome: outcome.into(),
        rows: seq,
        bytes: 10,
        sqlstate: sqlstate.to_owned(),
    })
}

async fn append(store: &Store, id: &str, records: Vec<Record>, seconds: u64) -> Appended {
    let records: Vec<_> = records.into_iter().map(|record| AuditRecord { record: Some(record) }).collect();
    let payload = postern_audit::segment::encode(&records).unwrap();
    audit::append_segment(store, "con_1", id, payload, at(seconds)).await.unwrap()
}

async fn find(store: &Store, actor: &Actor, query: AuditQuery) -> Vec<AuditEvent> {
    search(store, actor, query).await.unwrap()
}

fn sqls(events: &[AuditEvent]) -> Vec<&str> {
    events.iter().map(|event| event.sql.as_deref().unwrap()).collect()
}

pub async fn segments_are_stored_once(store: &Store) {
    let cast = world(store).await;
    let records = || vec![facts(&cast, "ses_1"), text(1, "SELECT 1"), decided(1, 1, 1), ended(1, Outcome::Ok, "")];
    assert_eq!(append(store, "seg_1", records(), 1).await, Appended::Stored);
    assert_eq!(append(store, "seg_1", records(), 1).await, Appended::Duplicate);
    // The same statement in another segment is the same statement.
    assert_eq!(append(store, "seg_2", records(), 1).await, Appended::Stored);
    assert_eq!(find(store, &cast.admin, AuditQuery::default()).await.len(), 1);
    assert!(audit::append_segment(store, "con_1", "seg_3", b"not a segment".to_vec(), at(1)).await.is_err());
}

pub async fn a_change_and_its_event_are_one(store: &Store) {
    let cast = world(store).await;
    let query = || AuditQuery { r#type: EventTypes::Control, action: Some("test.".to_owned()), ..AuditQuery::default() };
    let event = || Event::new(at(1), "test.done", Some(&cast.admin.principal), "thing/1", &json!({ "connection": "demo" }));
    let mut tx = store.begin().await.unwrap();
    audit::append_control(&mut tx, event()).await.unwrap();
    drop(tx);
    assert!(find(store, &cast.admin, query()).await.is_empty());
    let mut tx = store.begin().await.unwrap();
    audit::append_control(&mut tx, event()).await.unwrap();
    tx.commit().await.unwrap();
    let found = find(store, &cast.admin, query()).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].r#type, found[0].subject.as_deref()), (EventType::Control, Some("thing/1")));
    assert_eq!((found[0].actor.as_ref(), found[0].connection.as_deref()), (Some(&cast.admin.principal), Some("demo")));
}

pub async fn statements_are_joined_across_segments(store: &Store) {
    let cast = world(store).await;
    append(store, "seg_1", vec![facts(&cast, "ses_1"), text(1, "SELECT slow"), decided(1, 1, 1), decided(2, 1, 2)], 2).await;
    let running = find(store, &cast.admin, AuditQuery::default()).await;
    assert_eq!(running.len(), 2);
    assert!(running.iter().all(|event| event.outcome.is_none() && event.rows.is_none()));
    append(store, "seg_2", vec![facts(&cast, "ses_1"), ended(1, Outcome::Ok, "")], 3).await;
    append(store, "seg_3", vec![facts(&cast, "ses_1"), text(1, "SELECT later"), ended(2, Outcome::Error, "57014"), decided(3, 1, 4)], 4).await;
    let found = find(store, &cast.admin, AuditQuery::default()).await;
    assert_eq!(found.iter().map(|event| event.seq.unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    let of = |seq: usize| &found[3 - seq];
    assert_eq!((of(1).outcome.as_deref(), of(1).rows, of(1).duration_ms), (Some("ok"), Some(1), Some(1.5)));
    assert_eq!((of(2).outcome.as_deref(), of(2).sqlstate.as_deref()), (Some("error"), Some("57014")));
    assert_eq!((of(3).outcome.as_deref(), of(3).sql.as_deref()), (None, Some("SELECT later")));
    assert_eq!((of(1).principal.as_deref(), of(1).on_behalf_of.as_deref()), (Some("ci"), Some("alice")));
    let newest = find(store, &cast.admin, AuditQuery { limit: Some(2), ..AuditQuery::default() }).await;
    assert_eq!(newest, found[..2]);
}

pub async fn filters(store: &Store) {
    let cast = world(store).await;
    // Many segments, so that a search reads several pages.
    for n in 1..=40_u64 {
        let sql = if n == 7 { "SELECT ssn FROM Customers".to_owned() } else { format!("SELECT {n}") };
        let end = if n % 10 == 0 { ended(n, Outcome::Error, "42P01") } else { ended(n, Outcome::Ok, "") };
        append(store, &format!("seg_{n}"), vec![facts(&cast, "ses_1"), text(1, &sql), decided(n, 1, n), end], n).await;
    }
    let closed = Record::SessionEnded(SessionEnded { session_ref: 1, at_us: at(50).0, reason: "client".to_owned(), statements: 40 });
    append(store, "seg_end", vec![facts(&cast, "ses_1"), closed], 50).await;
    let with = |query: AuditQuery| find(store, &cast.admin, query);
    assert_eq!(with(AuditQuery::default()).await.len(), 40);
    let newest = with(AuditQuery { limit: Some(3), ..AuditQuery::default() }).await;
    assert_eq!(sqls(&newest), ["SELECT 40", "SELECT 39", "SELECT 38"]);
    let text = with(AuditQuery { text: Some("customers".to_owned()), ..AuditQuery::default() }).await;
    assert_eq!(sqls(&text), ["SELECT ssn FROM Customers"]);
    let errors = with(AuditQuery { sqlstate: Some("42P01".to_owned()), ..AuditQuery::default() }).await;
    assert_eq!(sqls(&errors), ["SELECT 40", "SELECT 30", "SELECT 20", "SELECT 10"]);
    let between = with(AuditQuery { since: Some(at(3)), until: Some(at(5)), ..AuditQuery::default() }).await;
    assert_eq!(sqls(&between), ["SELECT 4", "SELECT 3"]);
    for (query, count) in [
        (AuditQuery { agent: Some("ci".to_owned()), ..AuditQuery::default() }, 40),
        (AuditQuery { agent: Some("alice".to_owned()), ..AuditQuery::default() }, 0),
        (AuditQuery { on_behalf_of: Some("alice".to_owned()), ..AuditQuery::default() }, 40),
        (AuditQuery { principal: Some(cast.agent.principal.id.to_string()), ..AuditQuery::default() }, 40),
        (AuditQuery { outcome: Some("error".to_owned()), ..AuditQuery::default() }, 4),
        (AuditQuery { kind: Some("execute".to_owned()), ..AuditQuery::default() }, 0),
        (AuditQuery { session: Some("ses_1".to_owned()), connection: Some("demo".to_owned()), ..AuditQuery::default() }, 40),
        (AuditQuery { grant: Some("grt_2".to_owned()), ..AuditQuery::default() }, 0),
        (AuditQuery { r#type: EventTypes::Session, ..AuditQuery::default() }, 2),
    ] {
        assert_eq!(with(query.clone()).await.len(), count, "{query:?}");
    }
    assert!(with(AuditQuery { r#type: EventTypes::All, ..AuditQuery::default() }).await.len() > 42);
    let wrong = search(store, &cast.admin, AuditQuery { limit: Some(0), ..AuditQuery::default() }).await.unwrap_err();
    assert_eq!((told(wrong).code), ErrorCode::Invalid);
}

pub async fn everybody_sees_their_own(store: &Store) {
    let cast = world(store).await;
    append(store, "seg_1", vec![facts(&cast, "ses_1"), text(1, "SELECT 1"), decided(1, 1, 1), ended(1, Outcome::Ok, "")], 1).await;
    for (actor, count) in [(&cast.agent, 1), (&cast.alice, 1), (&cast.dba, 0), (&cast.admin, 1)] {
        assert_eq!(find(store, actor, AuditQuery::default()).await.len(), count, "{}", actor.principal.name);
    }
    // A search is an event too.
    audit::search::recorded(store, &cast.dba, AuditQuery::default(), at(2)).await.unwrap();
    let query = AuditQuery { r#type: EventTypes::Control, action: Some("audit.searched".to_owned()), ..AuditQuery::default() };
    assert_eq!(find(store, &cast.admin, query).await.len(), 1);
}

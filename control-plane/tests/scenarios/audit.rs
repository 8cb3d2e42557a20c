//! Segments and the search over them.

use crate::support::{Cast, LIFETIME, START, ask, at, told, world};
use postern_api::{
    audit::{AuditEvent, AuditQuery, BindFormat, EventType, EventTypes},
    document::Apply,
    error::ErrorCode,
    fleet::PartKind,
    policy::{PolicyFile, PolicyOutcome, PolicyReplay},
};
use postern_control_plane::{
    apply,
    audit::{
        self, Appended, Event,
        export::{self, Format},
        search::search,
    },
    identity::Actor,
    policies::replay,
    requests,
    store::{Store, StoreError, identities},
    values,
};
use postern_policy::{Basis, Deed, Facts, Moment, Policies, facts::StatementFacts};
use postern_proto::v1::{
    AuditRecord, BoundValue, Decision, DecisionBasis, Outcome, OwnWork, Purpose, SessionEnded, SessionFacts,
    StatementBound, StatementDecided, StatementEnded, StatementKind, StatementText, audit_record::Record,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

pub(super) fn facts(cast: &Cast, session: &str) -> Record {
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

pub(super) fn text(reference: u32, sql: &str) -> Record {
    Record::Text(StatementText { r#ref: reference, text: sql.as_bytes().to_vec().into(), ..StatementText::default() })
}

pub(super) fn decided(seq: u64, text_ref: u32, seconds: u64) -> Record {
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
        used: None,
        masking: None,
        asked: Vec::new(),
    })
}

pub(super) async fn append(store: &Store, id: &str, records: Vec<Record>, seconds: u64) -> Appended {
    let records: Vec<_> = records.into_iter().map(|record| AuditRecord { record: Some(record) }).collect();
    let payload = postern_audit::segment::encode(&records).unwrap();
    let mut source = audit::Source::new("con_1".to_owned());
    audit::append_segment(store, &mut source, id, payload, at(seconds)).await.unwrap()
}

/// The usual world with the connectors `con_1`, its successor `con_2` of the same name, and the stranger `con_3`,
/// and the session `ses_N` at each `con_N`.
pub(super) async fn recorded(store: &Store) -> Cast {
    let cast = world(store).await;
    let (request, _) = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, START).await.unwrap();
    let grant = request.grant_id.unwrap();
    let mut tx = store.begin().await.unwrap();
    for (number, name) in [(1, "dev"), (2, "dev"), (3, "other")] {
        let connector = format!("con_{number}");
        identities::insert(&mut tx, &connector, PartKind::Connector, name, START, at(3600)).await.unwrap();
        tx.execute(
            "INSERT INTO sessions (id, grant_id, principal_id, connection, access_role, client_address, gateway_id, \
             connector_id, incarnation, auth_method, status, started_at) \
             VALUES ($1, $2, $3, 'demo', 'open', '', '', $4, '', '', 'active', $5)",
            values![format!("ses_{number}"), &grant, &cast.agent.principal.id, connector, START],
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    cast
}

async fn find(store: &Store, actor: &Actor, query: AuditQuery) -> Vec<AuditEvent> {
    search(store, actor, query).await.unwrap()
}

fn sqls(events: &[AuditEvent]) -> Vec<&str> {
    events.iter().map(|event| event.sql.as_deref().unwrap()).collect()
}

pub async fn segments_are_stored_once(store: &Store) {
    let cast = recorded(store).await;
    let records = || vec![facts(&cast, "ses_1"), text(1, "SELECT 1"), decided(1, 1, 1), ended(1, Outcome::Ok, "")];
    assert_eq!(append(store, "seg_1", records(), 1).await, Appended::Stored);
    assert_eq!(append(store, "seg_1", records(), 1).await, Appended::Duplicate);
    // The same statement in another segment is the same statement.
    assert_eq!(append(store, "seg_2", records(), 1).await, Appended::Stored);
    assert_eq!(find(store, &cast.admin, AuditQuery::default()).await.len(), 1);
    let mut source = audit::Source::new("con_1".to_owned());
    assert!(audit::append_segment(store, &mut source, "seg_3", b"not a segment".to_vec(), at(1)).await.is_err());
}

pub async fn what_one_search_finds_is_bounded(store: &Store) {
    let cast = recorded(store).await;
    let mut records = vec![facts(&cast, "ses_1"), text(1, &"x".repeat(1 << 20))];
    records.extend((1..=70).flat_map(|seq| [decided(seq, 1, 1), ended(seq, Outcome::Ok, "")]));
    append(store, "seg_1", records, 1).await;
    let query = |limit| AuditQuery { limit: Some(limit), ..AuditQuery::default() };
    let refused = search(store, &cast.admin, query(100)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::TooLarge);
    assert_eq!(find(store, &cast.admin, query(10)).await.len(), 10);
}

pub async fn connectors_speak_of_their_own_sessions(store: &Store) {
    let cast = recorded(store).await;
    let mut appended = 0;
    let mut append = async |source: &mut audit::Source, sessions: &[&str]| {
        let records = sessions.iter().map(|session| AuditRecord { record: Some(facts(&cast, session)) });
        let payload = postern_audit::segment::encode(&records.collect::<Vec<_>>()).unwrap();
        appended += 1;
        audit::append_segment(store, source, &format!("seg_{appended}"), payload, at(1)).await
    };
    let source = |connector: &str| audit::Source::new(connector.to_owned());
    for (connector, sessions, good) in [
        ("con_1", &["ses_1"][..], true),
        ("con_1", &["ses_2", "ses_1", "ses_1"], true),
        ("con_2", &["ses_1", "ses_2"], true),
        ("con_3", &["ses_3"], true),
        ("con_1", &["ses_3"], false),
        ("con_1", &["ses_1", "ses_3"], false),
        ("con_3", &["ses_1"], false),
        ("con_1", &["ses_4"], false),
        ("con_1", &[""], false),
        ("con_4", &["ses_1"], false),
        ("control-plane", &["ses_1"], false),
    ] {
        let result = append(&mut source(connector), sessions).await;
        assert_eq!(result.as_ref().ok(), good.then_some(&Appended::Stored), "{connector} {sessions:?}");
        assert!(matches!(result, Ok(_) | Err(StoreError::Corrupt { .. })), "{connector} {sessions:?}");
    }
    // What was looked up once is remembered, and what is not the connector's is not.
    let mut one = source("con_1");
    for (session, good) in [("ses_1", true), ("ses_3", false), ("ses_1", true), ("ses_3", false), ("ses_2", true)] {
        assert_eq!(append(&mut one, &[session]).await.is_ok(), good, "{session}");
    }
}

pub async fn what_connectors_do_by_themselves_is_found(store: &Store) {
    let cast = recorded(store).await;
    let work = |seconds, purpose: Purpose, sql: &str| {
        let (connection, length) = ("demo".to_owned(), sql.len() as u64);
        let sql = sql.as_bytes().to_vec().into();
        Record::OwnWork(OwnWork { at_us: at(seconds).0, connection, purpose: purpose.into(), sql, length })
    };
    let works = vec![work(1, Purpose::Role, "DROP ROLE x"), work(2, Purpose::Catalog, "")];
    append(store, "seg_1", works, 2).await;
    append(store, "seg_2", vec![facts(&cast, "ses_1"), text(1, "SELECT 1"), decided(1, 1, 3)], 3).await;
    let of = |r#type| AuditQuery { r#type, ..AuditQuery::default() };
    let found = find(store, &cast.admin, of(EventTypes::Connector)).await;
    let told: Vec<_> = found
        .iter()
        .map(|event| {
            (event.action.as_deref(), event.sql.as_deref(), event.subject.as_deref(), event.connection.as_deref())
        })
        .collect();
    let (who, on) = (Some("con_1"), Some("demo"));
    assert_eq!(
        told,
        [(Some("connector.catalog"), None, who, on), (Some("connector.role"), Some("DROP ROLE x"), who, on)]
    );
    // They are nobody's statements, and among everything.
    assert_eq!(sqls(&find(store, &cast.admin, AuditQuery::default()).await), ["SELECT 1"]);
    assert!(find(store, &cast.admin, of(EventTypes::All)).await.len() > 3);
    let roles = AuditQuery { action: Some("connector.role".to_owned()), ..of(EventTypes::All) };
    assert_eq!(sqls(&find(store, &cast.admin, roles).await), ["DROP ROLE x"]);
    assert!(find(store, &cast.agent, of(EventTypes::Connector)).await.is_empty());
}

pub async fn a_change_and_its_event_are_one(store: &Store) {
    let cast = world(store).await;
    let query =
        || AuditQuery { r#type: EventTypes::Control, action: Some("test.".to_owned()), ..AuditQuery::default() };
    let event =
        || Event::new(at(1), "test.done", Some(&cast.admin.principal), "thing/1", &json!({ "connection": "demo" }));
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
    let cast = recorded(store).await;
    append(store, "seg_1", vec![facts(&cast, "ses_1"), text(1, "SELECT slow"), decided(1, 1, 1), decided(2, 1, 2)], 2)
        .await;
    let running = find(store, &cast.admin, AuditQuery::default()).await;
    assert_eq!(running.len(), 2);
    assert!(running.iter().all(|event| event.outcome.is_none() && event.rows.is_none()));
    append(store, "seg_2", vec![facts(&cast, "ses_1"), ended(1, Outcome::Ok, "")], 3).await;
    append(
        store,
        "seg_3",
        vec![facts(&cast, "ses_1"), text(1, "SELECT later"), ended(2, Outcome::Error, "57014"), decided(3, 1, 4)],
        4,
    )
    .await;
    let found = find(store, &cast.admin, AuditQuery::default()).await;
    assert_eq!(found.iter().map(|event| event.seq.unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    let of = |seq: usize| &found[3 - seq];
    assert_eq!((of(1).outcome.as_deref(), of(1).rows, of(1).duration_ms), (Some("ok"), Some(1), Some(1.5)));
    assert_eq!((of(2).outcome.as_deref(), of(2).sqlstate.as_deref()), (Some("error"), Some("57014")));
    assert_eq!((of(3).outcome.as_deref(), of(3).sql.as_deref()), (None, Some("SELECT later")));
    assert_eq!((of(1).principal.as_deref(), of(1).on_behalf_of.as_deref()), (Some("ci"), Some("alice")));
    let newest = find(store, &cast.admin, AuditQuery { limit: Some(2), ..AuditQuery::default() }).await;
    assert_eq!(newest, found[..2]);
    // Once the session is over, no end of it will come any more.
    let mut tx = store.begin().await.unwrap();
    tx.execute("UPDATE sessions SET status = 'ended' WHERE id = 'ses_1'", values![]).await.unwrap();
    tx.commit().await.unwrap();
    let unknown = AuditQuery { outcome: Some("unknown".to_owned()), ..AuditQuery::default() };
    assert_eq!(sqls(&find(store, &cast.admin, unknown).await), ["SELECT later"]);
}

pub async fn filters(store: &Store) {
    let cast = recorded(store).await;
    // Many segments, so that a search reads several pages.
    for n in 1..=40_u64 {
        let sql = if n == 7 { "SELECT ssn FROM Customers".to_owned() } else { format!("SELECT {n}") };
        let end = if n % 10 == 0 { ended(n, Outcome::Error, "42P01") } else { ended(n, Outcome::Ok, "") };
        append(store, &format!("seg_{n}"), vec![facts(&cast, "ses_1"), text(1, &sql), decided(n, 1, n), end], n).await;
    }
    let closed = Record::SessionEnded(SessionEnded {
        session_ref: 1,
        at_us: at(50).0,
        reason: "client".to_owned(),
        statements: 40,
        asked: Vec::new(),
    });
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
        (
            AuditQuery {
                session: Some("ses_1".to_owned()),
                connection: Some("demo".to_owned()),
                ..AuditQuery::default()
            },
            40,
        ),
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
    let cast = recorded(store).await;
    append(
        store,
        "seg_1",
        vec![facts(&cast, "ses_1"), text(1, "SELECT 1"), decided(1, 1, 1), ended(1, Outcome::Ok, "")],
        1,
    )
    .await;
    for (actor, count) in [(&cast.agent, 1), (&cast.alice, 1), (&cast.dba, 0), (&cast.admin, 1)] {
        assert_eq!(find(store, actor, AuditQuery::default()).await.len(), count, "{}", actor.principal.name);
    }
    // A search is an event too.
    audit::search::recorded(store, &cast.dba, AuditQuery::default(), at(2)).await.unwrap();
    let query =
        AuditQuery { r#type: EventTypes::Control, action: Some("audit.searched".to_owned()), ..AuditQuery::default() };
    assert_eq!(find(store, &cast.admin, query).await.len(), 1);
}

const READ: &str = "@id(\"read\")\npermit (principal, action in [Action::\"connect\", Action::\"read\"], resource)\n\
    when { context.time.hour == 23 };\n";
const NONE: &str = "@id(\"no-orders\")\nforbid (principal in Group::\"agents\", action == Action::\"read\", resource)\n\
    when { resource.name == \"orders\" };\n";

fn basis(policies: &Policies) -> Basis {
    let subject = json!({
        "principal": { "kind": "agent", "name": "ci", "groups": ["agents"] },
        "connection": { "name": "demo", "tags": [], "freeze": false },
        "grant": { "id": "grt_1", "role": "read", "read_only": true, "reason": "", "ticket": "", "on_behalf_of": "",
            "tainted": false, "task": "" },
    });
    let relation = |name: &str| json!({ "relation": { "schema": "public", "name": name, "kind": "table", "tags": [], "schema_tags": [] } });
    let deed = |name: &str| Deed {
        statement: StatementFacts { tag: "SELECT".to_owned(), tables: 1, ..StatementFacts::default() },
        accesses: vec![
            serde_json::from_value(json!({ "action": "read", "manner": "plain", "resource": relation(name) })).unwrap(),
        ],
    };
    Basis {
        version: 1,
        hash: policies.version().to_owned(),
        policies: vec!["read".into()],
        subject: serde_json::from_value(subject).unwrap(),
        statements: vec![deed("products"), deed("orders")],
    }
}

fn rests_on(seq: u64, seconds: u64) -> Record {
    let Record::Decided(decided) = decided(seq, 2, seconds) else { panic!("it is a decision") };
    Record::Decided(StatementDecided { basis_ref: 3, utc_offset: 3600, ..decided })
}

fn bound(seq: u64) -> Record {
    let value = |value: Option<&[u8]>, binary| BoundValue {
        value: value.map(|value| value.to_vec().into()),
        length: if binary { 9 } else { 0 },
        binary,
    };
    let values = vec![value(Some(b"a"), false), value(None, false), value(Some(&[1, 2]), true)];
    Record::Bound(StatementBound { session_ref: 1, seq, values, omitted: 4 })
}

pub async fn decisions_can_be_made_again(store: &Store) {
    let cast = recorded(store).await;
    let put = async |name: &str, text: &str, seconds| {
        let file = PolicyFile { name: name.to_owned(), text: text.to_owned() };
        let body = Apply { documents: Vec::new(), policies: vec![file], merge: false };
        apply::apply(store, &cast.admin, &body, at(seconds)).await.unwrap();
    };
    put("a.cedar", READ, 0).await;
    let policies = Policies::load(&[("a.cedar", READ)]).unwrap();
    let (session, basis) = (|| facts(&cast, "ses_1"), basis(&policies));
    let definition = || Record::Basis(DecisionBasis { r#ref: 3, json: basis.to_json().into() });
    append(
        store,
        "seg_1",
        vec![session(), text(2, "one"), definition(), rests_on(1, 1), bound(1), ended(1, Outcome::Ok, "")],
        1,
    )
    .await;
    // The values and the end may come with a later segment.
    append(store, "seg_2", vec![session(), text(2, "two"), definition(), rests_on(2, 2)], 2).await;
    append(store, "seg_3", vec![session(), bound(2), ended(2, Outcome::Ok, "")], 3).await;
    append(store, "seg_4", vec![session(), text(2, "three"), decided(3, 2, 4), ended(3, Outcome::Ok, "")], 4).await;

    let found = find(store, &cast.admin, AuditQuery { facts: true, ..AuditQuery::default() }).await;
    assert_eq!(sqls(&found), ["three", "two", "one"]);
    assert_eq!((&found[0].policies, found[0].policy_version, &found[0].facts), (&None, None, &None));
    for (event, seconds) in [(&found[2], 1), (&found[1], 2)] {
        assert_eq!((event.policy_version, event.policies.as_deref()), (Some(1), Some(&["read".to_owned()][..])));
        let binds = event.binds.as_ref().unwrap();
        let told: Vec<_> = binds.values.iter().map(|bind| (bind.value.as_deref(), bind.format, bind.length)).collect();
        let expect = [
            (Some("a"), BindFormat::Text, None),
            (None, BindFormat::Text, None),
            (Some("AQI="), BindFormat::Binary, Some(9)),
        ];
        assert_eq!((told.as_slice(), binds.omitted), (&expect[..], 4));
        let facts =
            event.facts.clone().unwrap().into_iter().map(|facts| serde_json::from_value::<Facts>(facts).unwrap());
        let facts: Vec<Facts> = facts.collect();
        // Exactly what was decided on, and so the same again by the same policies.
        let moment = Moment { now: at(seconds), offset: 3600, client: [0, 0, 0, 0].into() };
        assert_eq!(facts, basis.facts(&moment).collect::<Vec<_>>());
        let decision = policies.decide_all(facts.clone()).unwrap();
        assert!(decision.is_allowed(), "{decision:?}");
        let changed = Policies::load(&[("a.cedar", READ), ("b.cedar", NONE)]).unwrap();
        let decision = changed.decide_all(facts).unwrap();
        assert_eq!((decision.is_permitted(), &*decision.policies[0]), (false, "no-orders"));
    }
    assert!(find(store, &cast.admin, AuditQuery::default()).await.iter().all(|event| event.facts.is_none()));

    // By what they do, and to what; of which that is not known is not among them.
    for (table, action, decision, count) in [
        (Some("public.orders"), None, None, 2),
        (Some("orders"), Some("read"), Some("allow"), 2),
        (Some("orders"), Some("delete"), None, 0),
        (Some("other.orders"), None, None, 0),
        (None, Some("read"), None, 2),
        (None, None, Some("allow"), 3),
        (None, None, Some("deny"), 0),
    ] {
        let text = |value: Option<&str>| value.map(str::to_owned);
        let (table, action, decision) = (text(table), text(action), text(decision));
        let query = AuditQuery { table, action, decision, ..AuditQuery::default() };
        assert_eq!(find(store, &cast.admin, query.clone()).await.len(), count, "{query:?}");
    }
    let wrong = AuditQuery { decision: Some("maybe".to_owned()), ..AuditQuery::default() };
    assert_eq!(told(search(store, &cast.admin, wrong).await.unwrap_err()).field.as_deref(), Some("decision"));

    // By the policies of then, whatever was applied since.
    put("a.cedar", NONE, 10).await;
    let now = replay::replay(store, &cast.admin, PolicyReplay::default(), at(11)).await.unwrap();
    let differing: Vec<_> = now.differing.iter().map(|one| one.sql.as_deref().unwrap()).collect();
    assert_eq!((now.decided, now.undecided, differing.as_slice()), (2, 1, &["two", "one"][..]));
    assert_eq!(
        (now.differing[0].was.outcome, now.differing[0].would_be.outcome),
        (PolicyOutcome::Allowed, PolicyOutcome::Denied)
    );
    let file = |name: &str, text: &str| PolicyFile { name: name.to_owned(), text: text.to_owned() };
    let body = |policies| PolicyReplay { policies, since: Some(at(2)), ..PolicyReplay::default() };
    let same = replay::replay(store, &cast.admin, body(vec![file("a.cedar", READ)]), at(12)).await.unwrap();
    assert_eq!((same.decided, same.differing.len()), (1, 0));
    let limited = READ.replace("@id", "@max_rows(\"5\") @id");
    let limited = replay::replay(store, &cast.admin, body(vec![file("a.cedar", &limited)]), at(13)).await.unwrap();
    assert_eq!(limited.differing[0].would_be.text, "allowed, at most 5 rows");
    let refused = replay::replay(store, &cast.alice, PolicyReplay::default(), at(14)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    // It is a search of the audit, too.
    let query =
        AuditQuery { r#type: EventTypes::Control, action: Some("audit.searched".to_owned()), ..AuditQuery::default() };
    assert_eq!(find(store, &cast.admin, query).await.len(), 3);
}

/// What a file of everything that matches has in it.
async fn exported(store: &Store, actor: &Actor, query: AuditQuery, format: Format) -> String {
    let room = Arc::new(Semaphore::new(1));
    let mut pieces = export::begin(store, &room, actor, (query, format), at(500)).await.unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.recv().await {
        whole.extend_from_slice(&piece.unwrap());
    }
    String::from_utf8(whole).unwrap()
}

pub async fn exports_are_of_everything(store: &Store) {
    let cast = recorded(store).await;
    // Of many segments, more than are read at once; each statement ends in the one after its own.
    append(store, "seg_0", vec![facts(&cast, "ses_1"), text(1, "SELECT '=1'"), decided(1, 1, 1)], 1).await;
    for seq in 2..=60 {
        let records =
            vec![facts(&cast, "ses_1"), ended(seq - 1, Outcome::Ok, ""), text(1, "=1, \"x\""), decided(seq, 1, seq)];
        append(store, &format!("seg_{seq}"), records, seq).await;
    }
    let query = || AuditQuery {
        until: Some(at(400)),
        connection: Some("demo".to_owned()),
        r#type: EventTypes::All,
        ..AuditQuery::default()
    };
    let found = find(store, &cast.admin, AuditQuery { limit: Some(10_000), ..query() }).await;
    let lines = exported(store, &cast.admin, query(), Format::JsonLines).await;
    let ids: Vec<_> = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, found.iter().map(|event| json!(event.id)).collect::<Vec<_>>());
    assert!(lines.lines().next().unwrap().contains("\"outcome\":null"), "the last one runs still: {lines}");
    assert!(ids.len() > 60 && lines.matches("\"outcome\":\"ok\"").count() == 59, "{lines}");
    let csv =
        exported(store, &cast.admin, AuditQuery { text: Some("x".to_owned()), ..AuditQuery::default() }, Format::Csv)
            .await;
    let mut rows = csv.split_terminator("\r\n");
    assert!(rows.next().unwrap().starts_with("id,at,type,principal,"));
    assert!(rows.clone().count() == 59 && rows.all(|row| row.ends_with(",\"'=1, \"\"x\"\"\"")), "{csv}");

    // Everybody gets their own; that it was made is recorded; there is room for so many.
    assert_eq!(exported(store, &cast.dba, query(), Format::JsonLines).await, "");
    assert!(exported(store, &cast.agent, query(), Format::JsonLines).await.contains("ses_1"));
    let made =
        AuditQuery { r#type: EventTypes::Control, action: Some("audit.exported".to_owned()), ..AuditQuery::default() };
    assert_eq!(find(store, &cast.admin, made).await.len(), 4);
    let none = Arc::new(Semaphore::new(0));
    let refused = export::begin(store, &none, &cast.admin, (query(), Format::Csv), at(1)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Unavailable);
    let limited = AuditQuery { limit: Some(1), ..AuditQuery::default() };
    let room = Arc::new(Semaphore::new(1));
    let refused = export::begin(store, &room, &cast.admin, (limited, Format::Csv), at(1)).await.unwrap_err();
    assert_eq!(told(refused).field.as_deref(), Some("limit"));
}

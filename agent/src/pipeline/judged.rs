//! Sessions whose statements are understood, with a server that says what a test says: what waits for what.

use super::{
    judge::{Judge, sight::Sight},
    policy::Policy,
    question::Row,
    tests::{DEFAULT, Session, backend, bind_execute, parse, query, session_of},
};
use crate::{
    catalogs::{Snapshot, Watched},
    config,
    masked::Known,
    rules::{Current, Facts, Rules, facts},
};
use postern_policy::Policies;
use postern_proto::v1::{ConnectionFacts, Ticket};
use postern_sql::{
    Catalog,
    catalog::{Builder, Query},
};
use postern_wire::{
    error::{Report, Severity, field},
    frame::put_message,
};
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

/// `public.orders (id int)`, `secrets` like it, and `people (id int, email text)`.
fn catalog() -> Catalog {
    let mut builder = Builder::new(None);
    let mut rows = |query: Query, row: &[&str]| {
        let row: Vec<_> = row.iter().map(|value| Some(*value).filter(|value| *value != "NULL")).collect();
        builder.row(query, &row).unwrap();
    };
    rows(Query::Schemas, &["11", "pg_catalog"]);
    rows(Query::Schemas, &["2200", "public"]);
    rows(Query::Types, &["23", "pg_catalog", "int4", "b", "0", "false", "0", "-1"]);
    for (oid, name) in [("16400", "orders"), ("16410", "secrets")] {
        rows(Query::Relations, &[oid, "public", name, "r", "p", "u", "false", "16402", "NULL", "NULL", "NULL"]);
        rows(Query::Columns, &[oid, "1", "id", "23", "NULL", "", "false", "-1"]);
    }
    rows(Query::Types, &["25", "pg_catalog", "text", "b", "0", "false", "0", "-1"]);
    rows(Query::Relations, &["16420", "public", "people", "r", "p", "u", "false", "16422", "NULL", "NULL", "NULL"]);
    rows(Query::Columns, &["16420", "1", "id", "23", "NULL", "", "false", "-1"]);
    rows(Query::Columns, &["16420", "2", "email", "25", "NULL", "", "false", "-1"]);
    builder.build()
}

fn snapshot(fingerprint: &str) -> Snapshot {
    Snapshot { catalog: catalog(), fingerprint: fingerprint.into(), verified_at: Instant::now() }
}

/// The session's answer to the question what names mean.
fn names(prepared: Option<&str>, wrote: bool) -> Row {
    let row =
        ["public", "u", "NULL", "on", "on", "UTF8", "NULL", prepared.unwrap_or("NULL"), if wrote { "t" } else { "f" }];
    row.iter().map(|value| Some((*value).to_owned()).filter(|value| value != "NULL")).collect()
}

pub(super) struct Fixture {
    pub(super) session: Session,
    current: Arc<Current>,
    watched: Arc<Watched>,
    counter: u64,
    tagged: ConnectionFacts,
}

impl Fixture {
    pub(super) fn new(role: &str) -> Self {
        Self::with(role, ConnectionFacts::default())
    }

    /// Where these are tagged and masked.
    pub(super) fn with(role: &str, tagged: ConnectionFacts) -> Self {
        let current = Arc::new(Current::new("con_a".into(), "i1".into()));
        let watched = Watched::with(snapshot("f1"));
        let shared = Arc::clone(&watched);
        let sight = Sight::new(18, Box::new(move || Arc::clone(&shared)));
        put(&current, 1, Arc::clone(&DEFAULT), facts(tagged.clone()).1);
        let ticket = Ticket { connection: "demo".into(), access_role: role.into(), ..Ticket::default() };
        let policy = Policy::new(&current, &Known::for_tests(), &ticket).unwrap();
        let mut judge = Judge::new(role.into(), false, policy, None, sight);
        if judge.begin() {
            judge.prime(Arc::new(snapshot("f1")), &names(None, false)).unwrap();
        }
        let session = session_of(config::Outbox::default(), judge);
        Self { session, current, watched, counter: 1, tagged }
    }

    /// The catalog was compared with the database just now.
    pub(super) fn renew(&self) {
        self.watched.put(snapshot("f1"));
    }

    pub(super) fn apply(&mut self, text: &str) {
        self.counter += 1;
        let facts = facts(self.tagged.clone()).1;
        put(&self.current, self.counter, Arc::new(Policies::load(&[("a.cedar", text)]).unwrap()), facts);
    }

    fn freeze(&mut self) {
        self.counter += 1;
        let (_, frozen) = facts(ConnectionFacts { frozen: true, ..self.tagged.clone() });
        put(&self.current, self.counter, Arc::clone(&DEFAULT), frozen);
    }

    /// What goes to the server now of what is held; nothing while it has to wait.
    pub(super) fn held(&mut self) -> Vec<u8> {
        let (mut out, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
        while self.session.pipeline.is_held() && out.is_empty() {
            match self.session.pipeline.poll_held(&mut cx, &mut out) {
                Poll::Ready(done) => done.unwrap(),
                Poll::Pending => break,
            }
        }
        out
    }

    /// What the server answers to one statement, and that it is ready.
    pub(super) fn done(&mut self, tag: &str, status: u8) {
        let bytes = [backend(b'C', format!("{tag}\0").as_bytes()), backend(b'Z', &[status])].concat();
        assert_eq!(self.session.server(&bytes, 7), bytes);
    }

    /// What the server answers to a question: nothing of it is the client's.
    pub(super) fn answers(&mut self, rows: &[Row], status: u8) {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend(backend(b'1', b""));
            bytes.extend(data_row(row));
            bytes.extend(backend(b'C', b"SELECT 1\0"));
        }
        bytes.extend(backend(b'Z', &[status]));
        assert_eq!(self.session.server(&bytes, 5), b"");
    }

    /// A statement by a Query that may run.
    fn runs(&mut self, text: &str, tag: &str) {
        assert_eq!(self.session.client(&query(text)), query(text));
        self.done(tag, b'I');
    }

    /// One that may not.
    fn refuses(&mut self, text: &str, code: &str) {
        let stand_in = self.session.client(&query(text));
        self.refused(&stand_in, code);
        self.session.server(&backend(b'Z', b"I"), 64);
    }

    /// Messages up to a Sync, and what the server says to them.
    pub(super) fn batch(&mut self, messages: &[u8], answer: &[u8]) {
        let bytes = [messages, SYNC].concat();
        assert_eq!(self.session.client(&bytes), bytes);
        self.session.server(&[answer, &backend(b'Z', b"I")].concat(), 64);
    }

    /// A Parse that takes effect.
    fn prepares(&mut self, name: &str, text: &str) {
        self.batch(&parse(name, text), &backend(b'1', b""));
    }

    /// A Close likewise.
    fn closes(&mut self, name: &str) {
        self.batch(&close(name), &backend(b'3', b""));
    }

    pub(super) fn refused(&mut self, stand_in: &[u8], code: &str) {
        assert!(stand_in.windows(7).any(|window| window == b"REFUSED"), "{}", String::from_utf8_lossy(stand_in));
        let failed = Report::new("42601", "syntax error", "").encode(Severity::Error);
        let told = self.session.server(&failed, 4096);
        assert_eq!(field(&told[5..], b'C'), Some(code.as_bytes()), "{}", String::from_utf8_lossy(&told));
    }
}

fn put(current: &Current, counter: u64, policies: Arc<Policies>, facts: Arc<Facts>) {
    current.put(Rules { counter, version: 1, policies, connections: [("demo".to_owned(), facts)].into() });
}

pub(super) fn data_row(row: &Row) -> Vec<u8> {
    let mut body = u16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
    for value in row {
        match value {
            Some(value) => {
                body.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(value.as_bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    backend(b'D', &body)
}

pub(super) fn asks(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

fn close(name: &str) -> Vec<u8> {
    backend(b'C', format!("S{name}\0").as_bytes())
}

pub(super) const SYNC: &[u8] = b"S\0\0\0\x04";

const DELETE: &str = "DELETE FROM orders";

const NO_SECRETS: &str = "@id(\"a\") permit (principal, action, resource) unless { resource.name == \"secrets\" };";

#[tokio::test]
async fn a_statement_waits_until_it_is_known_what_names_mean() {
    let mut fixture = Fixture::new("write");
    let set = query("SET search_path = public");
    assert_eq!(fixture.session.client(&set), set);
    assert_eq!(fixture.session.client(&query(DELETE)), b"", "it is held");
    assert_eq!(fixture.held(), b"", "the outcome is under way");
    fixture.done("SET", b'I');
    assert!(asks(&fixture.held(), "current_setting('search_path')"));
    assert_eq!(fixture.held(), b"");
    fixture.answers(&[names(None, false)], b'I');
    assert_eq!(fixture.held(), query(DELETE));
    fixture.done("DELETE 0", b'I');
    // In a batch without a Sync nobody would ever answer.
    let batch = [parse("", "SET search_path = public"), bind_execute("")].concat();
    let batch = &batch[..batch.len() - 5];
    assert_eq!(fixture.session.client(batch), batch);
    assert_eq!(fixture.session.client(&parse("", DELETE)), b"");
    let stand_in = fixture.held();
    let before = [backend(b'1', b""), backend(b'2', b""), backend(b'C', b"SET\0")].concat();
    assert_eq!(fixture.session.server(&before, 64), before);
    fixture.refused(&stand_in, "0A000");
}

#[tokio::test]
async fn a_changed_catalog_is_read_within_the_transaction() {
    let mut fixture = Fixture::new("migrate");
    for (sql, tag) in [("BEGIN", "BEGIN"), ("CREATE TABLE t (id int)", "CREATE TABLE")] {
        assert_eq!(fixture.session.client(&query(sql)), query(sql));
        fixture.done(tag, b'T');
    }
    assert_eq!(fixture.session.client(&query(DELETE)), b"");
    assert!(asks(&fixture.held(), "current_setting('search_path')"));
    fixture.answers(&[names(None, true)], b'T');
    let question = fixture.held();
    for part in ["SAVEPOINT", "pg_catalog.pg_class", "ROLLBACK TO SAVEPOINT", "RELEASE"] {
        assert!(asks(&question, part), "{part}");
    }
    // It is asked again when it changed meanwhile, or failed; not for ever.
    for _ in 0..6 {
        let failed = Report::new("57014", "canceled", "").encode(Severity::Error);
        fixture.session.server(&[failed, backend(b'Z', b"E"), backend(b'Z', b"T")].concat(), 9);
        if !fixture.session.pipeline.is_held() {
            break;
        }
        let next = fixture.held();
        if asks(&next, "REFUSED") {
            return fixture.refused(&next, "0A000");
        }
        assert!(asks(&next, "SAVEPOINT"));
    }
    panic!("it was never given up");
}

#[tokio::test]
async fn after_a_commit_the_shared_catalog_has_to_be_newer() {
    let mut fixture = Fixture::new("migrate");
    assert_eq!(fixture.session.client(&query("DROP TABLE secrets")), query("DROP TABLE secrets"));
    fixture.done("DROP TABLE", b'I');
    assert_eq!(fixture.session.client(&query(DELETE)), b"");
    assert!(asks(&fixture.held(), "current_setting('search_path')"));
    fixture.answers(&[names(None, false)], b'I');
    assert_eq!(fixture.held(), b"", "the one that is there was compared before");
    fixture.watched.put(snapshot("f2"));
    assert_eq!(fixture.held(), query(DELETE));
}

#[tokio::test]
async fn the_end_of_a_transaction_needs_no_names() {
    let mut fixture = Fixture::new("migrate");
    for (sql, tag, status) in
        [("BEGIN", "BEGIN", b'T'), ("CREATE TABLE t ()", "CREATE TABLE", b'T'), ("commit;", "COMMIT", b'I')]
    {
        assert_eq!(fixture.session.client(&query(sql)), query(sql));
        fixture.done(tag, status);
    }
    let bytes = query("COMMIT");
    for at in 1..bytes.len() {
        let out = [fixture.session.client(&bytes[..at]), fixture.session.client(&bytes[at..])].concat();
        assert_eq!(out, bytes, "split at {at}");
        fixture.done("COMMIT", b'I');
    }
}

#[tokio::test]
async fn what_was_prepared_unseen_is_refused_once_it_matters() {
    let mut fixture = Fixture::new("all");
    let unseen = [parse("s", "anything at all"), bind_execute("s")].concat();
    assert_eq!(fixture.session.client(&unseen), unseen);
    let answer = [backend(b'1', b""), backend(b'2', b""), backend(b'C', b"SELECT 0\0"), backend(b'Z', b"I")].concat();
    fixture.session.server(&answer, 64);
    fixture.apply(NO_SECRETS);
    assert_eq!(fixture.session.client(&query(DELETE)), b"");
    assert!(asks(&fixture.held(), "current_setting('search_path')"));
    // A function may have prepared something of that name, too.
    fixture.answers(&[names(Some("\"1.5@s\""), false)], b'I');
    fixture.watched.put(snapshot("f1"));
    assert_eq!(fixture.held(), query(DELETE));
    fixture.done("DELETE 0", b'I');
    let stand_in = fixture.session.client(&bind_execute("s"));
    fixture.refused(&stand_in, "26000");
    fixture.session.server(&backend(b'Z', b"I"), 64);
    let stand_in = fixture.session.client(&query("DELETE FROM secrets"));
    fixture.refused(&stand_in, "42501");
    fixture.session.server(&backend(b'Z', b"I"), 64);
    // Nothing is looked at again.
    fixture.apply("@id(\"a\") permit (principal, action, resource);");
    assert_eq!(fixture.session.client(&query("selekt")), query("selekt"));
}

#[tokio::test]
async fn what_was_changed_before_a_freeze_does_not_commit() {
    let mut fixture = Fixture::new("write");
    for (sql, tag) in [("BEGIN", "BEGIN"), (DELETE, "DELETE 1")] {
        assert_eq!(fixture.session.client(&query(sql)), query(sql));
        fixture.done(tag, b'T');
    }
    fixture.freeze();
    assert_eq!(fixture.session.client(&query("COMMIT")), b"");
    assert!(asks(&fixture.held(), "pg_current_xact_id_if_assigned"));
    fixture.answers(&[names(None, true)], b'T');
    let stand_in = fixture.held();
    fixture.refused(&stand_in, "42501");
    fixture.session.server(&backend(b'Z', b"E"), 64);
    // In a transaction that has failed it is a rollback.
    assert_eq!(fixture.session.client(&query("COMMIT")), query("COMMIT"));
    fixture.done("ROLLBACK", b'I');
    for (sql, tag, status) in
        [("BEGIN", "BEGIN", b'T'), ("SELECT id FROM orders", "SELECT 0", b'T'), ("COMMIT", "COMMIT", b'I')]
    {
        let mut out = fixture.session.client(&query(sql));
        if out.is_empty() {
            assert!(asks(&fixture.held(), "pg_current_xact_id_if_assigned"));
            fixture.answers(&[names(None, false)], b'I');
            out = fixture.held();
        }
        assert_eq!(out, query(sql));
        fixture.done(tag, status);
    }
    let stand_in = fixture.session.client(&query(DELETE));
    fixture.refused(&stand_in, "42501");
}

#[tokio::test]
async fn an_execute_that_other_policies_decide_has_a_record_of_its_own() {
    let mut fixture = Fixture::new("write");
    let sync = bind_execute("s").split_off(bind_execute("s").len() - 5);
    let parsed = [backend(b'1', b""), backend(b'Z', b"I")].concat();
    let ran = [backend(b'2', b""), backend(b'C', b"DELETE 0\0"), backend(b'Z', b"I")].concat();
    // With the policies of the Parse it continues that one's record.
    for (name, of_its_own) in [("s", false), ("t", true)] {
        let before = fixture.session.decided();
        fixture.session.client(&[parse(name, DELETE), sync.clone()].concat());
        fixture.session.server(&parsed, 64);
        if of_its_own {
            fixture.apply("@id(\"a\") permit (principal, action, resource) unless { resource.name == \"secrets\" };");
        }
        let execute = bind_execute(name);
        assert_eq!(fixture.session.client(&execute), execute);
        fixture.session.server(&ran, 64);
        assert_eq!(fixture.session.decided() - before, if of_its_own { 2 } else { 1 });
    }
}

#[tokio::test]
async fn what_names_may_have_meant_is_bounded() {
    let mut fixture = Fixture::new("write");
    let set = query("SET search_path = public");
    let path = |start: usize| format!("s{start}, {}", vec!["a"; 22_000].join(", "));
    for start in 0..4 {
        assert_eq!(fixture.session.client(&set), set);
        fixture.done("SET", b'I');
        assert_eq!(fixture.session.client(&query(DELETE)), b"");
        let mut answer = names(None, false);
        answer[0] = Some(path(start));
        // It is asked some times before it is given up.
        let mut out = fixture.held();
        while asks(&out, "current_setting('search_path')") {
            fixture.answers(std::slice::from_ref(&answer), b'I');
            fixture.watched.put(snapshot("f1"));
            out = fixture.held();
        }
        fixture.refused(&out, if start < 3 { "42P01" } else { "0A000" });
        fixture.session.server(&backend(b'Z', b"I"), 64);
    }
}

#[tokio::test]
async fn a_cursor_is_what_was_seen_declared_as_long_as_it_is_there() {
    let mut fixture = Fixture::new("write");
    let fetch = query("FETCH ALL FROM c");
    let bind = {
        let mut out = parse("s", "SELECT id FROM secrets");
        put_message(&mut out, b'B', |out| out.extend_from_slice(b"c\0s\0\0\0\0\0\0\0"));
        put_message(&mut out, b'S', |_| {});
        out
    };
    let bound = [backend(b'1', b""), backend(b'2', b""), backend(b'Z', b"T")].concat();
    for ends_by_bind in [false, true] {
        for (sql, tag) in [("BEGIN", "BEGIN"), ("DECLARE c CURSOR FOR SELECT id FROM orders", "DECLARE CURSOR")] {
            assert_eq!(fixture.session.client(&query(sql)), query(sql));
            fixture.done(tag, b'T');
        }
        assert_eq!(fixture.session.client(&fetch), b"");
        assert!(asks(&fixture.held(), "current_setting('search_path')"));
        fixture.answers(&[names(None, false)], b'T');
        assert_eq!(fixture.held(), fetch);
        fixture.done("FETCH 0", b'T');
        if ends_by_bind {
            assert_eq!(fixture.session.client(&bind), bind);
            assert_eq!(fixture.session.server(&bound, 64), bound);
        } else {
            for (sql, tag, status) in [("COMMIT", "COMMIT", b'I'), ("BEGIN", "BEGIN", b'T')] {
                assert_eq!(fixture.session.client(&query(sql)), query(sql));
                fixture.done(tag, status);
            }
        }
        let stand_in = fixture.session.client(&fetch);
        fixture.refused(&stand_in, "0A000");
        fixture.session.server(&backend(b'Z', b"E"), 64);
        assert_eq!(fixture.session.client(&query("ROLLBACK")), query("ROLLBACK"));
        fixture.done("ROLLBACK", b'I');
    }
}

#[tokio::test]
async fn what_a_message_has_prepared_is_executed_as_what_it_is() {
    let mut fixture = Fixture::new("write");
    fixture.prepares("s", "SELECT id FROM orders");
    fixture.prepares("d", "DELETE FROM secrets");
    fixture.prepares("set", "SET search_path = public");
    fixture.refuses("EXECUTE set", "0A000");
    fixture.refuses("EXECUTE other", "0A000");
    fixture.runs("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE s", "EXPLAIN");
    fixture.runs("EXECUTE d", "DELETE 1");
    let executes = [parse("e", "EXECUTE d"), bind_execute("e")].concat();
    assert_eq!(fixture.session.client(&executes), executes);
    let answer = [backend(b'1', b""), backend(b'2', b""), backend(b'C', b"DELETE 1\0"), backend(b'Z', b"I")].concat();
    fixture.session.server(&answer, 64);
    fixture.apply(NO_SECRETS);
    for text in ["EXECUTE d", "EXPLAIN EXECUTE d", "EXECUTE s; EXECUTE d"] {
        fixture.refuses(text, "42501");
    }
    fixture.runs("EXPLAIN EXECUTE s", "EXPLAIN");
    let stand_in = fixture.session.client(&bind_execute("e"));
    fixture.refused(&stand_in, "42501");
    fixture.session.server(&backend(b'Z', b"I"), 64);
    // Names mean something else now, and then the same again.
    for (path, code) in [("pg_catalog, public", Some("0A000")), ("public", None)] {
        fixture.runs("SET search_path = public", "SET");
        assert_eq!(fixture.session.client(&query("EXECUTE s")), b"");
        assert!(asks(&fixture.held(), "current_setting('search_path')"));
        let mut row = names(None, false);
        row[0] = Some(path.to_owned());
        fixture.answers(&[row], b'I');
        let out = fixture.held();
        match code {
            Some(code) => {
                fixture.refused(&out, code);
                fixture.session.server(&backend(b'Z', b"I"), 64);
            }
            None => assert_eq!(out, query("EXECUTE s")),
        }
    }
}

#[tokio::test]
async fn it_has_to_be_certain_what_is_executed() {
    let read = "SELECT id FROM orders";
    let mut fixture = Fixture::new("write");
    // Whether the Parse takes effect is not known yet.
    let bytes = [parse("s", read), SYNC.to_vec()].concat();
    assert_eq!(fixture.session.client(&bytes), bytes);
    let stand_in = fixture.session.client(&query("EXECUTE s"));
    fixture.session.server(&[backend(b'1', b""), backend(b'Z', b"I")].concat(), 64);
    fixture.refused(&stand_in, "0A000");
    fixture.session.server(&backend(b'Z', b"I"), 64);
    fixture.runs("EXECUTE s", "SELECT 0");
    // A second one fails, and a third is the name's once it was closed.
    let failed = Report::new("42P05", "there is one", "").encode(Severity::Error);
    fixture.batch(&parse("s", DELETE), &failed);
    fixture.runs("EXECUTE s", "SELECT 0");
    fixture.closes("s");
    fixture.refuses("EXECUTE s", "0A000");
    fixture.prepares("s", "DELETE FROM secrets");
    // What SQL has made under a name that is a Parse's now, and the other way round.
    fixture.runs("PREPARE p AS SELECT id FROM orders", "PREPARE");
    assert_eq!(fixture.session.client(&query("EXECUTE p")), b"");
    assert!(asks(&fixture.held(), "pg_prepared_statements"));
    fixture.answers(&[names(Some("\"1.5@p\""), false)], b'I');
    assert_eq!(fixture.held(), query("EXECUTE p"));
    fixture.done("SELECT 0", b'I');
    fixture.closes("p");
    fixture.prepares("p", "DELETE FROM secrets");
    fixture.prepares("q", read);
    fixture.runs("DEALLOCATE q", "DEALLOCATE");
    fixture.runs("PREPARE q AS DELETE FROM secrets", "PREPARE");
    assert_eq!(fixture.session.client(&query("EXECUTE q")), b"");
    assert!(asks(&fixture.held(), "pg_prepared_statements"));
    fixture.answers(&[names(Some("\"1.5@q\""), false)], b'I');
    assert_eq!(fixture.held(), query("EXECUTE q"));
    fixture.done("DELETE 0", b'I');
    fixture.apply(NO_SECRETS);
    for text in ["EXECUTE s", "EXECUTE p", "EXECUTE q"] {
        fixture.refuses(text, "42501");
    }
    // A Close that the server passed over, of a name that SQL had before.
    let bytes = [parse("", "SELECT id FROM nowhere"), close("p"), SYNC.to_vec()].concat();
    let stand_in = fixture.session.client(&bytes);
    fixture.refused(&stand_in, "42P01");
    fixture.session.server(&backend(b'Z', b"I"), 64);
    fixture.refuses("EXECUTE p", "0A000");
    // Of a longer name the server does not look at the end.
    let long = "n".repeat(63);
    fixture.prepares(&long, read);
    fixture.refuses(&format!("EXECUTE {long}"), "0A000");
    fixture.prepares(&long[1..], read);
    fixture.runs(&format!("EXECUTE {}", &long[1..]), "SELECT 0");
}

#[tokio::test]
async fn names_are_told_apart_as_far_as_postgresql_looks() {
    let mut fixture = Fixture::new("write");
    let name = |end: &str| format!("{}{end}", "n".repeat(63));
    fixture.prepares(&name("a"), "DELETE FROM secrets");
    fixture.apply(NO_SECRETS);
    let stand_in = fixture.session.client(&bind_execute(&name("b")));
    fixture.refused(&stand_in, "42501");
}

/// What deciding costs for each statement that is known by its shape or was prepared, in microseconds of wall time on one
/// thread: of a session that may do everything, and of one whose statements policies are asked of. Run by `make bench`;
/// asserts nothing.
#[test]
#[ignore = "a measurement: `make bench` runs it"]
#[allow(clippy::print_stdout, reason = "what it is for")]
fn deciding_cost() {
    // Within the second for which a catalog counts as compared. Of several runs the one counts that was disturbed least.
    const STATEMENTS: u32 = 5_000;
    const RUNS: usize = 20;
    let answer = [backend(b'D', &[0, 0]), backend(b'C', b"SELECT 1\0"), backend(b'Z', b"I")].concat();
    let bound = [backend(b'2', b""), answer.clone()].concat();
    let measure = |role: &str, prepared: bool| {
        let mut session = Fixture::new(role).session;
        session.client(&parse("s", "SELECT id, $1 AS number FROM orders"));
        session.server(&backend(b'1', b""), 4096);
        let execute = bind_execute("s");
        let began = Instant::now();
        for number in 0..STATEMENTS {
            if prepared {
                session.client(&execute);
                session.server(&bound, 4096);
            } else {
                session.client(&query(&format!("SELECT id, {number} AS number FROM orders;")));
                session.server(&answer, 4096);
            }
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(STATEMENTS)
    };
    let least = |role: &str, prepared: bool| (0..RUNS).map(|_| measure(role, prepared)).fold(f64::MAX, f64::min);
    for (name, prepared) in [("simple", false), ("prepared", true)] {
        let (everything, asked) = (least("all", prepared), least("write", prepared));
        println!("| {name} | {everything:.2} | {asked:.2} | {:.2} |", asked - everything);
    }
}

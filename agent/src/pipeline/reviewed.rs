//! Statements that people have to agree to, with a server and a control plane that say what a test says.

use super::{
    judged::{Fixture, SYNC, asks, data_row},
    tests::{READY, backend, bind_execute, parse, query},
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use postern_proto::v1::{
    ClientError, ConnectionFacts, REVIEW_CONTEXT, ReviewAsk, ReviewClaimed, ReviewDecision, ReviewStands, ReviewTerms,
    SignedReviewDecision, audit_record::Record, connector_message::Message, review_claimed, review_left::Why,
    review_stands::State,
};
use postern_types::time::Micros;
use postern_wire::{
    error::{Report, Severity, field},
    frame::put_message,
};
use prost::Message as _;
use std::{sync::LazyLock, time::Duration};

const POLICIES: &str = "\
@id(\"deletes\") @review(\"group:dba\") @message(\"deletes are reviewed\")
permit (principal, action == Action::\"delete\", resource);
@id(\"secrets\") @review(\"group:dba\")
permit (principal, action == Action::\"insert\", resource) when { resource.name == \"secrets\" };
@id(\"rest\") permit (principal, action in [Action::\"connect\", Action::\"read\", Action::\"insert\"], resource)
unless { resource.name == \"secrets\" };";

const DELETE: &str = "DELETE FROM orders";

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

struct Reviewed(Fixture);

impl Reviewed {
    fn new() -> Self {
        Self::with(ReviewTerms::default())
    }

    fn with(reviews: ReviewTerms) -> Self {
        let mut fixture = Fixture::with("write", ConnectionFacts { reviews: Some(reviews), ..Default::default() });
        fixture.apply(POLICIES);
        Self(fixture)
    }

    /// What goes to the server now, however long the test has taken so far.
    fn held(&mut self) -> Vec<u8> {
        self.0.renew();
        self.0.held()
    }

    /// What the connector says next.
    fn said(&mut self) -> Option<Message> {
        self.0.session.said.try_recv().ok()
    }

    fn asked(&mut self) -> ReviewAsk {
        match self.said() {
            Some(Message::ReviewAsk(ask)) => ask,
            other => panic!("{other:?}"),
        }
    }

    fn left(&mut self) -> Option<Why> {
        match self.said() {
            Some(Message::ReviewLeft(left)) => Some(left.why()),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// The session says how it stands, outside of a transaction.
    fn settings(&mut self) {
        self.settings_of(&["TimeZone", "UTC"]);
    }

    fn settings_of(&mut self, row: &[&str]) {
        let question = self.held();
        assert!(asks(&question, "pg_catalog.pg_policy"), "{}", String::from_utf8_lossy(&question));
        let row = row.iter().map(|value| Some((*value).to_owned())).collect();
        self.0.answers(&[row], b'I');
    }

    /// The same in a transaction, which holds so many locks.
    fn settings_within(&mut self, locks: &str) {
        assert!(asks(&self.held(), "pg_catalog.pg_locks"));
        let row = |values: &[&str]| values.iter().map(|value| Some((*value).to_owned())).collect();
        let complete = backend(b'C', b"SELECT 1\0");
        let first = [
            complete.clone(),
            data_row(&row(&["TimeZone", "UTC"])),
            complete.clone(),
            data_row(&row(&[locks])),
            complete,
            backend(b'Z', b"T"),
            backend(b'Z', b"T"),
        ];
        assert_eq!(self.0.session.server(&first.concat(), 7), b"");
    }

    fn stands(&mut self, ask: &ReviewAsk, state: State) -> Vec<u8> {
        self.0.session.reviews.stands(ReviewStands {
            session_id: "ses_x".into(),
            key: ask.key.clone(),
            state: state.into(),
            review_id: if state == State::None { String::new() } else { "rev_1".into() },
            by: "alice@example.com".into(),
            reason: "use a WHERE".into(),
            url: "https://postern/reviews/rev_1".into(),
        });
        self.held()
    }

    /// Up to a review that waits.
    fn pending(&mut self) -> ReviewAsk {
        self.settings();
        self.opened()
    }

    fn opened(&mut self) -> ReviewAsk {
        assert_eq!(self.held(), b"");
        let ask = self.asked();
        assert!(ask.statement.is_none());
        assert_eq!(self.stands(&ask, State::None), b"");
        let ask = self.asked();
        assert!(ask.statement.is_some());
        assert_eq!(self.stands(&ask, State::Pending), b"");
        ask
    }

    fn decision(ask: &ReviewAsk) -> ReviewDecision {
        ReviewDecision {
            connector_id: "con_a".into(),
            connector_incarnation: "i1".into(),
            session_id: "ses_x".into(),
            review_id: "rev_1".into(),
            key: ask.key.clone(),
            expires_at_us: Micros::now().plus(Duration::from_secs(30)).0,
            ..ReviewDecision::default()
        }
    }

    /// It is approved, and claimed with this decision. What goes to the server then.
    fn claims(&mut self, ask: &ReviewAsk, decision: &ReviewDecision) -> Vec<u8> {
        assert_eq!(self.stands(ask, State::Approved), b"");
        let Some(Message::ReviewClaim(claim)) = self.said() else { panic!("it is not claimed") };
        assert_eq!((claim.review_id.as_str(), &claim.key), ("rev_1", &ask.key));
        let decision = decision.encode_to_vec();
        let signature = KEY.sign(&[REVIEW_CONTEXT, &decision].concat()).as_ref().to_vec();
        let signed = SignedReviewDecision { decision: decision.into(), signature: signature.into() };
        self.claimed(review_claimed::Result::Decision(signed))
    }

    fn claimed(&mut self, result: review_claimed::Result) -> Vec<u8> {
        let claimed = ReviewClaimed { session_id: "ses_x".into(), review_id: "rev_1".into(), result: Some(result) };
        self.0.session.reviews.claimed(claimed, &[KEY.public_key().as_ref().to_vec()]);
        self.held()
    }

    fn runs(&mut self, ask: &ReviewAsk) -> Vec<u8> {
        self.claims(ask, &Self::decision(ask))
    }

    /// The reviews of the statements that were decided, in order.
    fn reviews(&self) -> Vec<String> {
        let records = self.0.session.records();
        let decided = records.into_iter().filter_map(|record| match record.record {
            Some(Record::Decided(decided)) => Some(decided.review_id),
            _ => None,
        });
        decided.collect()
    }
}

/// All of one batch.
fn batch(text: &str) -> Vec<u8> {
    [parse("", text), bind_execute("")].concat()
}

#[tokio::test]
async fn a_statement_runs_once_it_was_agreed_to() {
    let mut reviewed = Reviewed::new();
    assert_eq!(reviewed.0.session.client(&query(DELETE)), b"", "it is held");
    let ask = reviewed.pending();
    let statement = ask.statement.clone().unwrap();
    assert_eq!((statement.sql.as_str(), statement.tag.as_str()), (DELETE, "DELETE"));
    assert_eq!((statement.relations.as_slice(), statement.boundable), (&["public.orders".to_owned()][..], true));
    assert_eq!(statement.policies, ["deletes", "rest"]);
    let mut notice = Vec::new();
    assert!(reviewed.0.session.pipeline.has_notice());
    reviewed.0.session.pipeline.take_notice(&mut notice);
    assert!(asks(&notice, "waits for the consent of 1 of dba") && asks(&notice, "deletes are reviewed. "));
    assert!(asks(&notice, "rev_1") && !reviewed.0.session.pipeline.has_notice());
    assert_eq!(reviewed.runs(&ask), query(DELETE));
    reviewed.0.done("DELETE 1", b'I');
    assert_eq!(reviewed.reviews(), ["rev_1"]);
    // Once: the next one is asked about again.
    assert_eq!(reviewed.0.session.client(&query(DELETE)), b"");
    // What needs nobody's consent does not wait.
    reviewed.settings();
    assert_eq!(reviewed.held(), b"");
    assert_eq!(reviewed.asked().key, ask.key, "the identical statement collects the decision");
}

#[tokio::test]
async fn what_needs_no_consent_does_not_wait() {
    let mut reviewed = Reviewed::new();
    for text in ["SELECT id FROM orders", "BEGIN"] {
        assert_eq!(reviewed.0.session.client(&query(text)), query(text));
        reviewed.0.done("X", b'I');
    }
    assert!(reviewed.said().is_none());
}

#[tokio::test]
async fn whatever_else_is_said_of_it_it_does_not_run() {
    for (state, code) in
        [(State::Denied, "42501"), (State::Expired, "57014"), (State::Withdrawn, "57014"), (State::Refused, "42501")]
    {
        let mut reviewed = Reviewed::new();
        reviewed.0.session.client(&query(DELETE));
        let ask = reviewed.pending();
        let stand_in = reviewed.stands(&ask, state);
        reviewed.0.refused(&stand_in, code);
        assert_eq!(reviewed.left(), None, "the control plane knows");
        assert_eq!(reviewed.reviews(), ["rev_1"]);
    }
}

#[tokio::test]
async fn a_decision_that_is_not_for_this_statement_is_none() {
    type Change = fn(&mut ReviewDecision);
    let changes: [(Change, &str); 7] = [
        (|it| it.connector_id = "con_b".into(), "42501"),
        (|it| it.connector_incarnation = "i0".into(), "42501"),
        (|it| it.session_id = "ses_y".into(), "42501"),
        (|it| it.review_id = "rev_2".into(), "42501"),
        (|it| it.key = vec![0; 32].into(), "0A000"),
        (|it| it.expires_at_us = Micros::now().0 - 1, "57014"),
        (|_| {}, ""),
    ];
    for (change, code) in changes {
        let mut reviewed = Reviewed::new();
        reviewed.0.session.client(&query(DELETE));
        let ask = reviewed.pending();
        let mut decision = Reviewed::decision(&ask);
        change(&mut decision);
        let out = reviewed.claims(&ask, &decision);
        if code.is_empty() {
            assert_eq!(out, query(DELETE));
        } else {
            reviewed.0.refused(&out, code);
        }
    }
    // Not signed by the control plane; used up.
    let unsigned = |ask: &ReviewAsk| SignedReviewDecision {
        decision: Reviewed::decision(ask).encode_to_vec().into(),
        signature: vec![0; 64].into(),
    };
    let lost = ClientError { sqlstate: "42501".into(), message: "used already".into(), ..ClientError::default() };
    for lost in [None, Some(lost)] {
        let mut reviewed = Reviewed::new();
        reviewed.0.session.client(&query(DELETE));
        let ask = reviewed.pending();
        assert_eq!(reviewed.stands(&ask, State::Approved), b"");
        let result =
            lost.map_or_else(|| review_claimed::Result::Decision(unsigned(&ask)), review_claimed::Result::Lost);
        let out = reviewed.claimed(result);
        reviewed.0.refused(&out, "42501");
    }
}

#[tokio::test]
async fn an_approval_is_for_nothing_but_what_it_was_given_for() {
    let mut reviewed = Reviewed::new();
    let mut key = |text: &[u8], settings: &[&str]| {
        let out = reviewed.0.session.client(text);
        // The Parse of a batch goes on, and the server is asked for its answer.
        if !out.is_empty() {
            reviewed.held();
            reviewed.0.session.server(&backend(b'1', b""), 64);
        }
        reviewed.settings_of(settings);
        reviewed.held();
        let ask = reviewed.asked();
        assert_eq!(reviewed.stands(&ask, State::None), b"");
        let asked = reviewed.asked();
        let shown = asked.statement.unwrap().literals;
        let shown: Vec<_> = shown.into_iter().map(|literal| (literal.name, literal.text)).collect();
        let stand_in = reviewed.stands(&ask, State::Denied);
        reviewed.0.refused(&stand_in, "42501");
        reviewed.0.session.server(READY, 64);
        (ask.key, ask.shape, ask.literals, shown)
    };
    let with = |value: &[u8]| {
        let mut out = parse("", "INSERT INTO secrets VALUES ($1)");
        put_message(&mut out, b'B', |out| {
            out.extend([0, 0, 0, 0, 0, 1]);
            out.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            out.extend(value);
            out.extend([0, 0]);
        });
        put_message(&mut out, b'S', |_| {});
        out
    };
    let utc = ["TimeZone", "UTC"];
    let insert = "INSERT INTO secrets VALUES (7)";
    let one = key(&query(insert), &utc);
    assert_eq!(one, key(&query(insert), &utc));
    let named = |name: &str, text: &str| vec![(name.to_owned(), text.to_owned())];
    assert_eq!(one.3, named("id", "7"));
    for other in [
        key(&query("INSERT INTO secrets VALUES (8)"), &utc),
        key(&query("INSERT INTO secrets  VALUES (7)"), &utc),
        key(&query(insert), &["TimeZone", "CET"]),
        key(&batch(insert), &utc),
        key(&with(b"7"), &utc),
        key(&with(b"8"), &utc),
    ] {
        assert_ne!(one.0, other.0);
    }
    assert_ne!(key(&query("DELETE FROM orders"), &utc).0, key(&query("DELETE FROM people"), &utc).0);
    // Those that differ in literals or values only have a shape in common.
    let (literal, bound) = (key(&query("INSERT INTO secrets VALUES (8)"), &utc), key(&with(b"7"), &utc));
    assert!(one.1 == literal.1 && one.2 != literal.2);
    assert_ne!(one.1, key(&query("INSERT INTO secrets (id) VALUES (7)"), &utc).1);
    let other = key(&with(b"8"), &utc);
    assert!(bound.0 != other.0 && bound.1 == other.1 && bound.2 != other.2);
    assert_eq!(other.3, named("id", "8"));
    assert!(key(&query("DELETE FROM orders"), &utc).1.is_empty(), "nothing can be left free");
}

#[tokio::test]
async fn what_changed_while_it_waited_is_decided_anew() {
    // It means something else, needs more, or is not permitted any more.
    let stricter = POLICIES.replace("group:dba", "group:dba 2");
    let forbidden = format!("{POLICIES} @id(\"no\") forbid (principal, action == Action::\"delete\", resource);");
    for (policies, code) in [(stricter.as_str(), "0A000"), (&forbidden, "42501")] {
        let mut reviewed = Reviewed::new();
        reviewed.0.session.client(&query(DELETE));
        let ask = reviewed.pending();
        reviewed.0.apply(policies);
        let out = reviewed.runs(&ask);
        reviewed.0.refused(&out, code);
    }
    // Nobody needs to agree any more.
    let mut reviewed = Reviewed::new();
    reviewed.0.session.client(&query(DELETE));
    let ask = reviewed.pending();
    reviewed.0.apply(&POLICIES.replace("@review(\"group:dba\")", ""));
    assert_eq!(reviewed.runs(&ask), query(DELETE));
}

#[tokio::test]
async fn a_batch_waits_with_nothing_of_it_at_the_server() {
    let mut reviewed = Reviewed::new();
    assert_eq!(reviewed.0.session.client(&batch(DELETE)), parse("", DELETE));
    assert_eq!(reviewed.held(), b"H\0\0\0\x04");
    assert_eq!(reviewed.held(), b"", "its answer is under way");
    assert_eq!(reviewed.0.session.server(&backend(b'1', b""), 64), backend(b'1', b""));
    // The question ends with a Sync, so that the Parse's locks are gone.
    let ask = reviewed.pending();
    assert_eq!(reviewed.runs(&ask), bind_execute(""));
    let done = [backend(b'2', b""), backend(b'C', b"DELETE 1\0"), READY.to_vec()].concat();
    assert_eq!(reviewed.0.session.server(&done, 64), done);
    assert_eq!(reviewed.reviews(), ["", "rev_1"]);
}

#[tokio::test]
async fn a_prepared_statement_waits_each_time() {
    let mut reviewed = Reviewed::new();
    reviewed.0.batch(&parse("s", DELETE), &backend(b'1', b""));
    for _ in 0..2 {
        assert_eq!(reviewed.0.session.client(&bind_execute("s")), b"");
        let ask = reviewed.pending();
        assert_eq!(reviewed.runs(&ask), bind_execute("s"));
        let done = [backend(b'2', b""), backend(b'C', b"DELETE 1\0"), READY.to_vec()].concat();
        reviewed.0.session.server(&done, 64);
    }
    assert_eq!(reviewed.0.session.client(&bind_execute("s")), b"");
    let ask = reviewed.pending();
    let out = reviewed.stands(&ask, State::Denied);
    // The Execute is passed over with it.
    reviewed.0.refused(&out, "42501");
    assert_eq!(reviewed.0.session.server(READY, 64), READY);
    assert_eq!(reviewed.reviews(), ["", "rev_1", "rev_1", "rev_1", ""]);
}

#[tokio::test]
async fn a_batch_whose_parse_fails_is_passed_over() {
    let mut reviewed = Reviewed::new();
    assert_eq!(reviewed.0.session.client(&batch(DELETE)), parse("", DELETE));
    reviewed.held();
    let failed = Report::new("42P01", "no such table", "").encode(Severity::Error);
    assert_eq!(reviewed.0.session.server(&failed, 64), failed);
    let rest = reviewed.held();
    assert!(!asks(&rest, "pg_policy") && rest.ends_with(SYNC), "{}", String::from_utf8_lossy(&rest));
    assert!(!rest.starts_with(b"B"), "whatever the server makes of it");
    assert_eq!(reviewed.0.session.server(READY, 64), READY);
    assert!(reviewed.said().is_none());
}

#[tokio::test]
async fn what_a_sync_would_commit_is_not_committed_for_it() {
    let mut reviewed = Reviewed::new();
    let insert = [parse("", "INSERT INTO orders VALUES (1)"), bind_execute("")].concat();
    let insert = &insert[..insert.len() - SYNC.len()];
    let out = reviewed.0.session.client(&[insert, &batch(DELETE)].concat());
    let stand_in = [out, reviewed.held()].concat();
    assert!(!asks(&stand_in, "pg_policy"));
    let before = [backend(b'1', b""), backend(b'2', b""), backend(b'C', b"INSERT 0 1\0"), backend(b'1', b"")].concat();
    assert_eq!(reviewed.0.session.server(&before, 64), before);
    reviewed.0.refused(&stand_in, "0A000");
    // BEGIN commits nothing.
    let mut reviewed = Reviewed::new();
    let begin = [parse("", "BEGIN"), bind_execute("")].concat();
    let begin = &begin[..begin.len() - SYNC.len()];
    let out = reviewed.0.session.client(&[begin, &batch(DELETE)].concat());
    assert_eq!(out, [begin, &parse("", DELETE)].concat());
    assert_eq!(reviewed.held(), b"H\0\0\0\x04");
    let before = [backend(b'1', b""), backend(b'2', b""), backend(b'C', b"BEGIN\0"), backend(b'1', b"")].concat();
    reviewed.0.session.server(&before, 64);
    let ask = reviewed.pending();
    assert_eq!(reviewed.runs(&ask), bind_execute(""));
}

#[tokio::test]
async fn others_do_not_wait_for_locks_with_it() {
    let begun = |hold_locks_ms| {
        let mut reviewed = Reviewed::with(ReviewTerms { hold_locks_ms, ..ReviewTerms::default() });
        assert_eq!(reviewed.0.session.client(&query("BEGIN")), query("BEGIN"));
        reviewed.0.done("BEGIN", b'T');
        assert_eq!(reviewed.0.session.client(&query(DELETE)), b"");
        reviewed
    };
    let mut reviewed = begun(0);
    reviewed.settings_within("2");
    let out = reviewed.held();
    reviewed.0.refused(&out, "0A000");
    for (hold_locks_ms, locks, hold_ms) in [(0, "0", 20_000), (5_000, "2", 5_000)] {
        let mut reviewed = begun(hold_locks_ms);
        reviewed.settings_within(locks);
        let ask = reviewed.opened();
        let statement = ask.statement.clone().unwrap();
        assert!(statement.in_transaction && statement.hold_ms == hold_ms);
        assert_eq!(reviewed.runs(&ask), query(DELETE));
    }
    // PostgreSQL's own answer.
    let mut reviewed = Reviewed::new();
    reviewed.0.session.client(&query("BEGIN"));
    reviewed.0.done("BEGIN", b'E');
    assert_eq!(reviewed.0.session.client(&query(DELETE)), b"");
    let out = reviewed.held();
    reviewed.0.refused(&out, "25P02");
}

#[tokio::test]
async fn the_client_may_give_it_up() {
    let mut reviewed = Reviewed::new();
    assert!(!reviewed.0.session.pipeline.cancel_held(), "nothing is held");
    reviewed.0.session.client(&query(DELETE));
    reviewed.pending();
    assert!(reviewed.0.session.pipeline.waits_for_people());
    assert!(reviewed.0.session.pipeline.cancel_held());
    assert!(!reviewed.0.session.pipeline.cancel_held());
    let out = reviewed.held();
    reviewed.0.refused(&out, "57014");
    assert_eq!(reviewed.left(), Some(Why::Cancelled));
    // While its session is being asked.
    let mut reviewed = Reviewed::new();
    reviewed.0.session.client(&query(DELETE));
    assert!(asks(&reviewed.held(), "pg_policy"));
    assert!(reviewed.0.session.pipeline.cancel_held());
    assert_eq!(reviewed.held(), b"");
    reviewed.0.answers(&[vec![Some("a".into()), Some("b".into())]], b'I');
    let out = reviewed.held();
    reviewed.0.refused(&out, "57014");
    // Or go.
    let mut reviewed = Reviewed::new();
    reviewed.0.session.client(&query(DELETE));
    reviewed.pending();
    reviewed.0.session.pipeline.leave_hold();
    assert_eq!(reviewed.left(), Some(Why::Ended));
}

#[tokio::test]
async fn whoever_waits_for_too_long_gets_a_ticket() {
    let short = || Reviewed::with(ReviewTerms { hold_ms: 50, ..ReviewTerms::default() });
    let mut reviewed = short();
    reviewed.0.session.client(&query(DELETE));
    reviewed.pending();
    tokio::time::sleep(Duration::from_millis(80)).await;
    let stand_in = reviewed.held();
    assert_eq!(reviewed.left(), Some(Why::Ticket));
    let failed = Report::new("42601", "syntax error", "").encode(Severity::Error);
    assert!(asks(&stand_in, "REFUSED"));
    let told = reviewed.0.session.server(&failed, 4096);
    assert_eq!(field(&told[5..], b'C'), Some(&b"57014"[..]));
    assert!(asks(&told, "rev_1") && asks(&told, "Send the identical statement again"));
    // The control plane cannot be reached.
    let mut reviewed = short();
    reviewed.0.session.client(&query(DELETE));
    reviewed.settings();
    assert_eq!(reviewed.held(), b"");
    reviewed.asked();
    tokio::time::sleep(Duration::from_millis(80)).await;
    let out = reviewed.held();
    reviewed.0.refused(&out, "57014");
}

#[tokio::test]
async fn after_a_lost_control_stream_it_is_asked_again() {
    let mut reviewed = Reviewed::new();
    reviewed.0.session.client(&query(DELETE));
    let ask = reviewed.pending();
    reviewed.0.session.reviews.attached();
    assert_eq!(reviewed.held(), b"");
    let again = reviewed.asked();
    assert_eq!((&again.key, again.statement.is_some()), (&ask.key, true));
    assert_eq!(reviewed.stands(&again, State::Approved), b"");
    assert!(matches!(reviewed.said(), Some(Message::ReviewClaim(_))));
    reviewed.0.session.reviews.attached();
    assert_eq!(reviewed.held(), b"");
    assert!(matches!(reviewed.said(), Some(Message::ReviewClaim(_))), "the claim may not have been heard");
}

#[tokio::test]
async fn what_was_bound_before_policies_asked_for_consent_does_not_run() {
    let mut reviewed = Reviewed::new();
    reviewed.0.apply(&POLICIES.replace("@review(\"group:dba\")", ""));
    let bytes = bind_execute("");
    let (bind, execute) = bytes.split_at(bytes.len() - SYNC.len() - 10);
    let out = reviewed.0.session.client(&[&parse("", DELETE), bind].concat());
    assert_eq!(out, [&parse("", DELETE), bind].concat());
    reviewed.0.apply(POLICIES);
    let stand_in = reviewed.0.session.client(execute);
    let before = [backend(b'1', b""), backend(b'2', b"")].concat();
    reviewed.0.session.server(&before, 64);
    reviewed.0.refused(&stand_in, "0A000");
    reviewed.0.session.server(READY, 64);
    // The same, but for the policies.
    reviewed.0.apply(&POLICIES.replace("@review(\"group:dba\")", ""));
    let out = reviewed.0.session.client(&batch(DELETE));
    assert_eq!(out, batch(DELETE));
}

#[tokio::test]
async fn people_see_what_runs() {
    for text in ["PREPARE p AS DELETE FROM orders", "EXPLAIN ANALYZE DELETE FROM orders"] {
        let mut reviewed = Reviewed::new();
        assert_eq!(reviewed.0.session.client(&query(text)), b"", "{text}");
        reviewed.settings();
        let out = reviewed.held();
        if text.starts_with("PREPARE") {
            reviewed.0.refused(&out, "0A000");
        } else {
            assert!(out.is_empty() && reviewed.said().is_some());
        }
    }
    let mut reviewed = Reviewed::new();
    let long = format!("{DELETE}{}", " ".repeat(1 << 20));
    let out = reviewed.0.session.client(&query(&long));
    reviewed.0.refused(&out, "54000");
}

#[tokio::test]
async fn an_approval_bounds_what_it_changes() {
    let mut reviewed = Reviewed::new();
    reviewed.0.session.client(&query(DELETE));
    let ask = reviewed.pending();
    let decision = ReviewDecision { max_rows: Some(12), ..Reviewed::decision(&ask) };
    let out = reviewed.claims(&ask, &decision);
    assert!(asks(&out, DELETE) && out.starts_with(b"P"), "its transaction stays open until it was counted");
    let done = [backend(b'1', b""), backend(b'2', b""), backend(b'n', b""), backend(b'C', b"DELETE 13\0")].concat();
    assert_eq!(reviewed.0.session.server(&done, 4096), b"");
    let mut undo = Vec::new();
    reviewed.0.session.pipeline.take_due(&mut undo);
    assert!(asks(&undo, "REFUSED"));
    let failed = Report::new("42601", "syntax error", "").encode(Severity::Error);
    let told = reviewed.0.session.server(&failed, 4096);
    assert_eq!(field(&told[5..], b'C'), Some(&b"53400"[..]));
    assert!(asks(&told, "13 rows") && asks(&told, "the review rev_1 is 12"), "{}", String::from_utf8_lossy(&told));
}

#[tokio::test]
async fn what_was_approved_in_its_place_is_decided_as_itself() {
    for (edited, runs) in [
        ("DELETE FROM people", None),
        ("INSERT INTO orders VALUES (1)", None),
        ("UPDATE orders SET id = 1", Some("42501")),
        ("DELETE FROM nowhere", Some("42P01")),
    ] {
        let mut reviewed = Reviewed::new();
        reviewed.0.session.client(&query(DELETE));
        let ask = reviewed.pending();
        assert!(ask.statement.as_ref().unwrap().editable);
        let decision = ReviewDecision { edited_sql: Some(edited.into()), ..Reviewed::decision(&ask) };
        let out = reviewed.claims(&ask, &decision);
        match runs {
            None => assert_eq!(out, query(edited)),
            Some(code) => reviewed.0.refused(&out, code),
        }
        assert_eq!(reviewed.reviews(), [if runs.is_none() { "rev_1" } else { "" }]);
    }
    // It needs more than this one.
    let mut reviewed = Reviewed::new();
    reviewed.0.apply(
        &POLICIES.replace("@id(\"secrets\") @review(\"group:dba\")", "@id(\"secrets\") @review(\"group:dba 2\")"),
    );
    reviewed.0.session.client(&query(DELETE));
    let ask = reviewed.pending();
    let edited_sql = Some("INSERT INTO secrets VALUES (1)".into());
    let out = reviewed.claims(&ask, &ReviewDecision { edited_sql, ..Reviewed::decision(&ask) });
    reviewed.0.refused(&out, "42501");
    // What has values cannot be replaced.
    let mut reviewed = Reviewed::new();
    reviewed.0.batch(&parse("s", DELETE), &backend(b'1', b""));
    reviewed.0.session.client(&bind_execute("s"));
    let ask = reviewed.pending();
    assert!(!ask.statement.as_ref().unwrap().editable);
    let decision = ReviewDecision { edited_sql: Some(DELETE.into()), ..Reviewed::decision(&ask) };
    let out = reviewed.claims(&ask, &decision);
    reviewed.0.refused(&out, "0A000");
}

//! What is counted over time.

use super::audit::{append, decided, facts, recorded, text};
use crate::support::{Cast, LIFETIME, START, ask, at, told, world};
use postern_api::{
    access::Verdict,
    error::ErrorCode,
    overview::{Overview, OverviewQuery},
};
use postern_control_plane::{
    identity::Actor,
    overview,
    requests::{self, Answer},
    store::Store,
};
use postern_proto::v1::{Decision, Masking, Outcome, StatementEnded, StatementKind, audit_record::Record};

/// Of the day that begins with [`START`], and the step in which that is.
async fn day(store: &Store, actor: &Actor) -> Overview {
    let query = OverviewQuery { since: Some(START), until: Some(at(24 * 3600)) };
    overview::of(store, actor, &query, at(24 * 3600)).await.unwrap()
}

/// A request that is answered so many seconds after it was made.
async fn answered(store: &Store, cast: &Cast, by: &Actor, verdict: Verdict, seconds: u64) {
    let (request, _) = requests::submit(store, &cast.agent, &ask("write"), LIFETIME, START).await.unwrap();
    let answer = Answer { verdict, reason: Some("said so"), duration: None, relations: &[] };
    requests::review(store, by, &request.id, answer, at(seconds)).await.unwrap();
    if verdict == Verdict::Approve {
        requests::review(store, &cast.dba2, &request.id, answer, at(seconds + 60)).await.unwrap();
        // What is open already would be the answer to the next one.
        postern_control_plane::grants::revoke(
            store,
            &cast.agent,
            &requests::get(store, &cast.agent, &request.id).await.unwrap().grant_id.unwrap(),
            None,
            at(seconds + 61),
        )
        .await
        .unwrap();
    }
}

pub async fn what_is_asked_answered_and_run_is_counted(store: &Store) {
    let cast = recorded(store).await;
    answered(store, &cast, &cast.dba, Verdict::Approve, 4).await;
    answered(store, &cast, &cast.dba, Verdict::Approve, 5).await;
    answered(store, &cast, &cast.dba, Verdict::Deny, 100).await;
    requests::submit(store, &cast.agent, &ask("read"), LIFETIME, at(7200)).await.unwrap();

    let refused = |record| match record {
        Record::Decided(mut decided) => {
            decided.decision = Decision::Deny.into();
            Record::Decided(decided)
        }
        other => other,
    };
    let preview = |record| match record {
        Record::Decided(mut decided) => {
            decided.kind = StatementKind::Preview.into();
            Record::Decided(decided)
        }
        other => other,
    };
    let masked = Record::Ended(StatementEnded {
        session_ref: 1,
        seq: 1,
        outcome: Outcome::Ok.into(),
        masking: Some(Masking { values: 12, ..Masking::default() }),
        ..StatementEnded::default()
    });
    let records = || {
        let of = [decided(1, 1, 1), refused(decided(2, 1, 2)), preview(decided(3, 1, 3)), masked.clone()];
        [facts(&cast, "ses_1"), text(1, "SELECT 1")].into_iter().chain(of).collect::<Vec<_>>()
    };
    append(store, "seg_1", records(), 4).await;
    // A segment that comes again counts once.
    append(store, "seg_1", records(), 4).await;
    append(store, "seg_2", vec![facts(&cast, "ses_1"), text(1, "SELECT 2"), decided(4, 1, 7200)], 7200).await;

    let seen = day(store, &cast.admin).await;
    assert_eq!(seen.step_seconds, 3600);
    let steps = |of: fn(&postern_api::overview::OverviewStep) -> u64| {
        seen.steps.iter().map(of).filter(|count| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(steps(|step| step.requests), [4, 1]);
    assert_eq!(steps(|step| step.requests_denied), [1]);
    assert_eq!(steps(|step| step.statements), [2, 1]);
    assert_eq!(steps(|step| step.statements_denied), [1]);
    assert_eq!(steps(|step| step.masked_values), [12]);
    let requests = &seen.requests;
    assert_eq!((requests.asked, requests.by_rule, requests.approved), (5, 1, 2));
    assert_eq!((requests.denied, requests.pending, requests.expired), (1, 1, 0));
    // Decided after 64, 65 and 100 seconds.
    assert_eq!((requests.median_seconds, requests.most_seconds), (Some(65), Some(100)));
    assert_eq!((seen.reviews.asked, seen.reviews.median_seconds), (0, None));
    let load: Vec<_> = seen
        .reviewers
        .iter()
        .map(|it| (it.reviewer.name.as_str(), it.approved, it.denied, it.rubber_stamped, it.median_seconds))
        .collect();
    // Four seconds are hardly enough to read it; five may be.
    assert_eq!(load, [("dba", 2, 1, 1, 5), ("dba2", 2, 0, 0, 64)]);
    let [ci] = &seen.principals[..] else { panic!("{:?}", seen.principals) };
    assert_eq!((ci.principal.name.as_str(), ci.statements, ci.denied, ci.masked_values), ("ci", 3, 1, 12));

    let later = OverviewQuery { since: Some(at(86_400)), until: Some(at(2 * 86_400)) };
    let later = overview::of(store, &cast.admin, &later, at(0)).await.unwrap();
    assert_eq!((later.requests.asked, later.reviewers.len(), later.principals.len()), (0, 0, 0));
}

pub async fn it_is_for_those_who_read_the_whole_audit(store: &Store) {
    let cast = world(store).await;
    let query = OverviewQuery::default();
    let seen = overview::of(store, &cast.admin, &query, START).await.unwrap();
    assert_eq!((seen.until, seen.step_seconds), (START, 6 * 3600));
    for (days, step, count) in [(1, 3600, 25), (2, 3600, 49), (7, 6 * 3600, 29), (90, 86_400, 91)] {
        let query = OverviewQuery { since: Some(START), until: Some(at(days * 86_400)) };
        let seen = overview::of(store, &cast.admin, &query, START).await.unwrap();
        let (first, last) = (seen.steps.first().unwrap().at, seen.steps.last().unwrap().at);
        assert_eq!((seen.step_seconds, seen.steps.len(), seen.since), (step, count, first), "{days} days");
        assert!(first <= START && last < seen.until && at(days * 86_400).since(last).as_secs() <= u64::from(step));
    }
    let auditor = Actor { auditor: true, ..cast.alice.clone() };
    assert!(overview::of(store, &auditor, &query, START).await.is_ok());
    for nobody in [&cast.alice, &cast.dba, &cast.agent] {
        let refused = overview::of(store, nobody, &query, START).await.unwrap_err();
        assert_eq!(told(refused).code, ErrorCode::Forbidden);
    }
    for (since, until) in [(at(1), at(1)), (at(2), at(1)), (at(0), at(367 * 86_400))] {
        let query = OverviewQuery { since: Some(since), until: Some(until) };
        let refused = overview::of(store, &cast.admin, &query, START).await.unwrap_err();
        assert_eq!(told(refused).code, ErrorCode::Invalid, "{since} {until}");
    }
}

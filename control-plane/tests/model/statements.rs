//! What a connector says of statements that it holds, and what reviewers answer.

use crate::reference::{Outcome, Proposal, Text};
use postern_api::review::ApproveReview;
use postern_control_plane::{
    hub::ConnectorKey,
    identity::Actor,
    problem::Problem,
    reviews::{
        ask, due,
        vote::{self, Answer},
    },
    store::Store,
};
use postern_proto::v1::{
    ReviewAsk, ReviewClaim, ReviewLeft, ReviewedLiteral, ReviewedStatement, ReviewersNeeded, review_left::Why,
    review_stands::State,
};
use postern_types::{
    id::{ReviewId, SessionId},
    time::Micros,
};

/// The literal that can be left free.
const LITERAL: &str = "status";

fn connector() -> ConnectorKey {
    ConnectorKey { id: crate::plane::CONNECTOR.to_owned(), incarnation: crate::plane::INCARNATION.to_owned() }
}

fn key(text: Text) -> Vec<u8> {
    vec![text as u8; 32]
}

fn question(session: &SessionId, text: Text, told: bool) -> ReviewAsk {
    let statement = || ReviewedStatement {
        sql: format!("{text:?}"),
        tag: "DELETE".to_owned(),
        literals: vec![ReviewedLiteral { name: LITERAL.to_owned(), text: String::new() }],
        reviewers: vec![ReviewersNeeded { group: "dba".to_owned(), count: u32::try_from(text.needs()).unwrap() }],
        boundable: true,
        ..ReviewedStatement::default()
    };
    ReviewAsk {
        session_id: session.to_string(),
        key: key(text).into(),
        shape: vec![u8::from(text == Text::Close); 32].into(),
        literals: vec![vec![text as u8].into()],
        statement: told.then(statement),
    }
}

/// A session sends a statement: what it is told, and of which review.
pub async fn send(
    store: &Store,
    session: &SessionId,
    text: Text,
    now: Micros,
) -> Result<(Outcome, Option<ReviewId>), String> {
    for told in [false, true] {
        let asked = ask::ask(store, &connector(), question(session, text, told), None, now).await;
        let stands = asked.map_err(|error| error.to_string())?;
        let outcome = match stands.state() {
            State::None => continue,
            State::Refused => return Ok((Outcome::No, None)),
            State::Pending => Outcome::Waits,
            State::Approved => Outcome::Yes,
            other => return Err(format!("a statement was told {other:?}")),
        };
        return Ok((outcome, Some(stands.review_id.parse().unwrap())));
    }
    Err("there is no review, though the statement was told".to_owned())
}

/// A session begins to run a statement by a review.
pub async fn run(
    store: &Store,
    session: &SessionId,
    review: &ReviewId,
    text: Text,
    now: Micros,
) -> Result<Outcome, String> {
    let claim = ReviewClaim { session_id: session.to_string(), review_id: review.to_string(), key: key(text).into() };
    let claimed = ask::claim(store, &connector(), &claim, now).await.map_err(|error| error.to_string())?;
    Ok(claimed.map_or(Outcome::No, |decision| Outcome::Runs(decision.max_rows)))
}

pub async fn give_up(
    store: &Store,
    session: &SessionId,
    review: &ReviewId,
    ticket: bool,
    now: Micros,
) -> Result<bool, String> {
    let why = if ticket { Why::Ticket } else { Why::Cancelled };
    let left = ReviewLeft { session_id: session.to_string(), review_id: review.to_string(), why: why.into() };
    ask::left(store, &connector(), &left, now).await.map_err(|error| error.to_string())?;
    Ok(true)
}

pub async fn answer(
    store: &Store,
    by: &Actor,
    review: &ReviewId,
    vote: Option<Proposal>,
    now: Micros,
) -> Result<bool, String> {
    let body = vote.map(|Proposal { max_rows, for_grant, free }| ApproveReview {
        max_rows,
        for_grant,
        free: if free { vec![LITERAL.to_owned()] } else { Vec::new() },
        ..ApproveReview::default()
    });
    let answer = body.as_ref().map_or(Answer::Deny("no"), Answer::Approve);
    match vote::answer(store, by, review, answer, None, now).await {
        Ok(_) => Ok(true),
        Err(Problem::Told(_)) => Ok(false),
        Err(Problem::Fault(cause)) => Err(format!("a fault: {cause}")),
    }
}

pub async fn sweep(store: &Store, now: Micros) -> Result<(), String> {
    due::run(store, now).await.map_err(|error| error.to_string())
}

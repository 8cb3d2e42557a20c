//! How a review stands, as connectors are told.

use super::show::page;
use crate::store::reviews::ReviewRow;
use postern_api::review::{Proposal, ReviewStatus, ReviewVote};
use postern_proto::v1::{ReviewStands, review_stands::State};

/// What the session is told that waits for it with this key.
#[must_use]
pub fn stands(
    row: &ReviewRow,
    votes: &[ReviewVote],
    session: &str,
    key: &[u8],
    public_url: Option<&str>,
) -> ReviewStands {
    let denial = votes.iter().find(|vote| vote.approves.is_none());
    let (state, by, reason) = match row.status {
        ReviewStatus::Pending => (State::Pending, String::new(), None),
        ReviewStatus::Approved => {
            let by = row.decision.iter().flat_map(|decision| agreed(votes, decision)).collect::<Vec<_>>().join(", ");
            (State::Approved, by, row.because.clone())
        }
        ReviewStatus::Denied => {
            let by = denial.map(|vote| vote.reviewer.name.clone()).unwrap_or_default();
            (State::Denied, by, denial.and_then(|vote| vote.reason.clone()))
        }
        ReviewStatus::Expired => (State::Expired, String::new(), row.because.clone()),
        ReviewStatus::Claimed => (State::Withdrawn, String::new(), Some("it was used already".to_owned())),
        ReviewStatus::Withdrawn => (State::Withdrawn, String::new(), row.because.clone()),
    };
    ReviewStands {
        session_id: session.to_owned(),
        key: key.to_vec().into(),
        state: state.into(),
        review_id: row.id.to_string(),
        by,
        reason: reason.unwrap_or_default(),
        url: page(public_url, &row.id).unwrap_or_default(),
    }
}

/// The names of those who agreed to what was decided: nobody where a rule did.
pub(super) fn agreed<'a>(votes: &'a [ReviewVote], decision: &'a Proposal) -> impl Iterator<Item = &'a str> {
    let agrees = |vote: &&ReviewVote| vote.approves.as_ref().is_some_and(|one| one.edited_sql == decision.edited_sql);
    votes.iter().filter(agrees).map(|vote| vote.reviewer.name.as_str())
}

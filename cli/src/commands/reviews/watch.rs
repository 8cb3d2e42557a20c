//! `postern reviews --watch`: follows reviews as they come and change.

use super::{Context, show, who};
use crate::{
    client::Client,
    events::{Happening, follow},
    failure::Failure,
    output::{self, Format},
};
use postern_api::{
    event::Subject,
    review::{Review, ReviewStatus, ReviewsQuery},
};
use postern_types::id::PrincipalId;
use std::collections::HashMap;

/// Runs until it is stopped.
pub async fn run(context: &Context, client: &Client, mine: bool) -> Result<(), Failure> {
    let me = if mine { Some(client.get::<postern_api::identity::Whoami>("whoami").await?.id) } else { None };
    // Of those that still may change, what was written last.
    let mut shown: HashMap<String, ReviewStatus> = HashMap::new();
    let mut write = |review: &Review| -> Result<(), Failure> {
        let is_mine = |me: &PrincipalId| {
            review.principal.id == *me || review.on_behalf_of.as_ref().is_some_and(|user| user.id == *me)
        };
        if !me.as_ref().is_none_or(is_mine) || shown.get(review.id.as_str()) == Some(&review.status) {
            return Ok(());
        }
        shown.insert(review.id.to_string(), review.status);
        line(context.format, review)
    };
    let mut events = follow(client).await?;
    loop {
        match events.next().await? {
            // What waits now, and what became of things meanwhile.
            Happening::Connected | Happening::Resync => {
                let query = ReviewsQuery { status: Some(ReviewStatus::Pending), mine };
                let reviews: Vec<Review> = client.query("reviews", &query).await?;
                reviews.iter().rev().try_for_each(&mut write)?;
            }
            Happening::Changed(changed) if changed.kind == Subject::Review => {
                let review: Review = client.get(&format!("reviews/{}", changed.id)).await?;
                write(&review)?;
            }
            Happening::Changed(_) => {}
        }
    }
}

fn line(format: Format, review: &Review) -> Result<(), Failure> {
    if format == Format::Json {
        return output::line(serde_json::to_string(review).map_err(|error| Failure::failed(error.to_string()))?);
    }
    let who = who(&review.principal, review.on_behalf_of.as_ref());
    let rows = show::rows(review);
    let rows = if rows.is_empty() { rows } else { format!(" ({rows} rows)") };
    let text = format!(
        "{}  {:9}  {who}  {} on {}  {}{rows}",
        review.id,
        review.status.as_str(),
        review.role,
        review.connection,
        output::shortened(&review.statement.sql, 60)
    );
    output::line(output::printable(&text))
}

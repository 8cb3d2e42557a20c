//! `postern reviews`: statements that wait for people. [`show`] lays one out, [`watch`] follows them.

mod show;
mod watch;

use super::{Context, duration_text, who};
use crate::{
    client::Client,
    failure::Failure,
    output::{self, Column},
};
use postern_api::{
    access::WaitQuery,
    review::{CommentOnReview, Review, ReviewStatus, ReviewsQuery},
};
use postern_types::{id::ReviewId, time::parse_duration};
use std::time::Duration;
use tokio::time::Instant;

/// One long poll, under what the control plane allows (60 s) and what proxies on the way may cut.
const POLL: Duration = Duration::from_secs(25);

/// List statements that wait for people, or show one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern reviews --status pending
  postern reviews rev_01k…
  postern reviews rev_01k… --wait
  postern reviews --watch")]
pub struct ReviewsArgs {
    /// Show this one
    #[arg(conflicts_with_all = ["status", "mine", "watch"])]
    id: Option<ReviewId>,
    /// Only those that stand so
    #[arg(long, value_name = "STATUS")]
    status: Option<ReviewStatus>,
    /// Only your own
    #[arg(long)]
    mine: bool,
    /// Show those that wait, and go on with what becomes of them and what comes
    #[arg(long, conflicts_with = "status")]
    watch: bool,
    /// With an ID: end only once it is answered: exit code 0 when it was approved, 3 when not, 4 when nobody answered
    #[arg(long, requires = "id")]
    wait: bool,
    /// With --wait: the longest to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "wait", value_parser = duration_text)]
    wait_timeout: String,
    /// With an ID: say something to whoever sees the review
    #[arg(long, value_name = "TEXT", requires = "id")]
    comment: Option<String>,
    /// With an ID: take your own statement back
    #[arg(long, requires = "id", conflicts_with = "comment")]
    withdraw: bool,
}

/// Runs `reviews`.
pub async fn run(context: &Context, args: ReviewsArgs) -> Result<(), Failure> {
    let client = context.client()?;
    if args.watch {
        return watch::run(context, &client, args.mine).await;
    }
    let Some(id) = args.id else {
        let query = ReviewsQuery { status: args.status, mine: args.mine };
        let reviews: Vec<Review> = client.query("reviews", &query).await?;
        return list(context, &reviews);
    };
    let path = format!("reviews/{id}");
    let mut review: Review = if let Some(text) = args.comment {
        client.post(&format!("{path}/comments"), &CommentOnReview { text }).await?
    } else if args.withdraw {
        client.post(&format!("{path}/withdraw"), &serde_json::json!({})).await?
    } else {
        client.get(&path).await?
    };
    if args.wait {
        let longest = parse_duration(&args.wait_timeout).map_err(|error| Failure::usage(error.to_string()))?;
        review = until_answered(&client, review, longest).await?;
    }
    output::one(context.format, &review, || show::whole(&review))?;
    if args.wait { outcome(&review) } else { Ok(()) }
}

fn list(context: &Context, reviews: &[Review]) -> Result<(), Failure> {
    let columns = [
        Column::text("ID", |review: &Review| review.id.to_string()),
        Column::text("STATUS", |review| review.status.as_str().to_owned()),
        Column::text("WHO", |review| who(&review.principal, review.on_behalf_of.as_ref())),
        Column::text("CONNECTION", |review| review.connection.clone()),
        Column::text("ROLE", |review| review.role.clone()),
        Column::text("STATEMENT", |review| output::shortened(&review.statement.sql, 50)),
        Column::number("ROWS", show::rows),
        Column::text("SENT", |review| output::time(review.created_at)),
    ];
    output::list(context.format, reviews, &columns, "There are no reviews.")
}

async fn until_answered(client: &Client, mut review: Review, longest: Duration) -> Result<Review, Failure> {
    let until = Instant::now() + longest;
    let path = format!("reviews/{}", review.id);
    while review.status == ReviewStatus::Pending {
        let left = until.saturating_duration_since(Instant::now()).min(POLL);
        if left.is_zero() {
            break;
        }
        let seconds = u32::try_from(left.as_secs()).unwrap_or(1).max(1);
        review = client.query(&path, &WaitQuery { wait: Some(seconds) }).await?;
    }
    Ok(review)
}

/// What the exit code is to say, once the review itself has been written.
fn outcome(review: &Review) -> Result<(), Failure> {
    let id = &review.id;
    match review.status {
        ReviewStatus::Approved | ReviewStatus::Claimed => Ok(()),
        ReviewStatus::Pending => Err(Failure::waited(format!("nobody has answered review {id} yet"))),
        ReviewStatus::Expired => Err(Failure::waited(format!("review {id} expired"))),
        ReviewStatus::Denied => Err(Failure::denied(format!("review {id} was denied"))),
        ReviewStatus::Withdrawn => Err(Failure::denied(format!("review {id} was withdrawn"))),
    }
}

/// What became of an approval.
pub fn approved(review: &Review) -> String {
    let who = output::printable(&who(&review.principal, review.on_behalf_of.as_ref()));
    let Some(decision) = review.decision.as_ref().filter(|_| review.status == ReviewStatus::Approved) else {
        return format!("Your approval is noted: the statement of {who} still needs another.");
    };
    format!("Approved: the statement of {who} may run {}.", show::decision(decision))
}

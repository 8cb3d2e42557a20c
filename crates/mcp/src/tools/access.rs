//! Who the caller is, what they may ask for, asking for it, and giving it back.

use super::Call;
use crate::{
    Plane, Refusal,
    plane::{get, post},
};
use postern_api::{
    access::{
        Approval, BecauseOf, Connection, ConnectionRole, ConnectionStatus, CreateComment, CreateRequest, Grant,
        Request, RequestStatus, Verdict,
    },
    identity,
    quorum::Quorum,
    review::{CommentOnReview, Review, ReviewStatus},
};
use postern_types::id::{GrantId, RequestId, ReviewId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits for its answer. Many clients give up after a minute.
const SECONDS: u32 = 45;
const MAX_SECONDS: u32 = 300;

/// How long the control plane is asked to wait at a time: as often a client hears that it still does.
const POLL_SECONDS: u64 = 5;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Whoami {
    /// `user` or `agent`.
    kind: String,
    name: String,
    groups: Vec<String>,
    /// The user for whom you act, as their token has proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
    /// What your token is narrowed to, as `connection/role`; absent: to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    may: Option<Vec<String>>,
    /// When your token ends; absent: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<String>,
}

pub(super) async fn whoami(plane: &impl Plane) -> Result<Whoami, Refusal> {
    let identity::Whoami { kind, name, groups, token, on_behalf_of, .. } = get(plane, "whoami", &[]).await?;
    Ok(Whoami {
        kind: kind.to_string(),
        name,
        groups,
        on_behalf_of: on_behalf_of.map(|user| user.name),
        may: token.may,
        token_expires_at: token.expires_at.map(|at| at.to_string()),
    })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Connections {
    connections: Vec<Reachable>,
}

#[derive(Serialize, JsonSchema)]
struct Reachable {
    name: String,
    /// Whether a session can be had at the moment: `up`, `database-down` or `no-connector`.
    status: &'static str,
    /// Nobody may change anything there at the moment.
    frozen: bool,
    roles: Vec<Role>,
}

#[derive(Serialize, JsonSchema)]
struct Role {
    name: String,
    read_only: bool,
    /// The longest that can be asked for.
    max_duration: String,
    /// What the answer to a request would be: `granted` at once, `review` by people, or `denied`.
    answer: &'static str,
    /// Who has to agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewers: Option<String>,
}

pub(super) async fn connections(plane: &impl Plane) -> Result<Connections, Refusal> {
    let connections: Vec<Connection> = get(plane, "connections", &[]).await?;
    let reachable = |connection: Connection| Reachable {
        name: connection.name,
        status: match connection.status {
            ConnectionStatus::Up => "up",
            ConnectionStatus::DatabaseDown => "database-down",
            ConnectionStatus::NoConnector => "no-connector",
        },
        frozen: connection.freeze.is_some(),
        roles: connection.roles.into_iter().map(role).collect(),
    };
    Ok(Connections { connections: connections.into_iter().map(reachable).collect() })
}

fn role(role: ConnectionRole) -> Role {
    let (answer, reviewers) = match role.approval {
        Approval::Auto => ("granted", None),
        Approval::Review => ("review", role.quorum.map(|quorum| quorum.to_string())),
        Approval::NotAllowed => ("denied", None),
    };
    Role { name: role.name, read_only: role.read_only, max_duration: role.max_duration, answer, reviewers }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Access {
    grants: Vec<Open>,
    /// What waits for people.
    waiting: Vec<Standing>,
}

#[derive(Serialize, JsonSchema)]
struct Open {
    /// Its id.
    grant: String,
    connection: String,
    role: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
    /// The tables that it is for; absent: whatever the role reaches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tables: Vec<String>,
}

pub(super) async fn access(plane: &impl Plane) -> Result<Access, Refusal> {
    let grants: Vec<Grant> = get(plane, "grants", &[]).await?;
    let own = [("mine", "true"), ("status", "pending")];
    let requests: Vec<Request> = get(plane, "requests", &own).await?;
    let reviews: Vec<Review> = get(plane, "reviews", &own).await?;
    let open = |grant: Grant| Open {
        grant: grant.id.to_string(),
        connection: grant.connection,
        role: grant.role,
        expires_at: grant.expires_at.to_string(),
        on_behalf_of: grant.on_behalf_of.map(|user| user.name),
        tables: grant.relations,
    };
    let waiting = requests.into_iter().map(of_request).chain(reviews.into_iter().map(of_review));
    Ok(Access { grants: grants.into_iter().map(open).collect(), waiting: waiting.collect() })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The connection's name: see `connections`.
    connection: String,
    /// The access role, for example `read`.
    role: String,
    /// How long, from approval: `10m`, `1h30m`.
    duration: String,
    /// Why. People read it, and it is kept.
    reason: String,
    /// The ticket or incident behind it.
    ticket: Option<String>,
    /// The name of the user for whom you ask.
    on_behalf_of: Option<String>,
    /// The tables or views that are needed, as `schema.name`; without them, whatever the role reaches.
    #[serde(default)]
    tables: Vec<String>,
    /// How long to wait for people, in seconds: at most 300.
    #[serde(default = "seconds")]
    #[schemars(range(max = 300))]
    wait_seconds: u32,
}

fn seconds() -> u32 {
    SECONDS
}

/// How a request for access, or the review of a statement, stands.
#[derive(Serialize, JsonSchema)]
pub(super) struct Standing {
    id: String,
    /// `request` or `review`.
    kind: &'static str,
    /// `pending`, `approved`, `denied`, `expired`, `withdrawn`; of a review, `claimed` once its statement has run.
    status: &'static str,
    connection: String,
    role: String,
    /// Who has to agree still.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    /// What people have answered, oldest first.
    answers: Vec<Said>,
    /// What was asked and said besides, oldest first: `comment` answers.
    comments: Vec<Remark>,
    /// How many rows a statement would change, cascades and triggers included, where the database has tried it.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_change_rows: Option<u64>,
    /// The grant, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// What to do.
    next_step: String,
}

#[derive(Serialize, JsonSchema)]
struct Said {
    by: String,
    /// `approve` or `deny`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Remark {
    by: String,
    text: String,
}

fn verdict(approves: bool) -> &'static str {
    if approves { "approve" } else { "deny" }
}

fn of_request(request: Request) -> Standing {
    let missing = Quorum { mode: request.quorum.mode, needs: request.missing };
    let said = |vote: postern_api::access::Vote| Said {
        by: vote.reviewer.name,
        verdict: verdict(vote.verdict == Verdict::Approve),
        reason: vote.reason,
    };
    let (status, next_step) = match request.status {
        RequestStatus::Pending => ("pending", "Wait: call `status` with this id."),
        RequestStatus::Approved => ("approved", "Call `query` with this connection and role."),
        RequestStatus::Denied => ("denied", "Heed the reason, and do not ask for the same again."),
        RequestStatus::Expired => ("expired", "Nobody answered in time. Ask again if it is needed still."),
        RequestStatus::Withdrawn => ("withdrawn", "Ask again if it is needed still."),
    };
    Standing {
        id: request.id.to_string(),
        kind: "request",
        status,
        waits_for: (request.status == RequestStatus::Pending).then(|| missing.to_string()),
        connection: request.connection,
        role: request.role,
        answers: request.votes.into_iter().map(said).collect(),
        comments: request.comments.into_iter().map(|it| Remark { by: it.author.name, text: it.text }).collect(),
        would_change_rows: None,
        grant: request.grant_id.map(|grant| grant.to_string()),
        next_step: next_step.to_owned(),
    }
}

fn of_review(review: Review) -> Standing {
    let said = |vote: postern_api::review::ReviewVote| Said {
        by: vote.reviewer.name,
        verdict: verdict(vote.approves.is_some()),
        reason: vote.reason,
    };
    let needs: Vec<_> = review.needed.iter().map(ToString::to_string).collect();
    let next_step = match review.status {
        ReviewStatus::Pending => "Wait: call `status` with this id.",
        ReviewStatus::Approved => "Call `query` with the identical statement: it runs then.",
        ReviewStatus::Claimed => "It has run, or is about to. To run it once more, send it again: that asks anew.",
        ReviewStatus::Denied => "Change the statement as the reason says.",
        ReviewStatus::Expired | ReviewStatus::Withdrawn => "Send the statement again: that asks anew.",
    };
    Standing {
        id: review.id.to_string(),
        kind: "review",
        status: review.status.as_str(),
        waits_for: (review.status == ReviewStatus::Pending).then(|| needs.join(" and ")),
        connection: review.connection,
        role: review.role,
        answers: review.votes.into_iter().map(said).collect(),
        comments: review.comments.into_iter().map(|it| Remark { by: it.author.name, text: it.text }).collect(),
        would_change_rows: review.preview.effect.map(|effect| effect.rows),
        grant: Some(review.grant_id.to_string()),
        next_step: next_step.to_owned(),
    }
}

pub(super) async fn request(plane: &impl Plane, ask: Ask, call: &mut Call) -> Result<Standing, Refusal> {
    let wait = waiting(ask.wait_seconds)?;
    let body = CreateRequest {
        connection: ask.connection,
        role: ask.role,
        duration: ask.duration,
        reason: ask.reason,
        on_behalf_of: ask.on_behalf_of,
        ticket: ask.ticket,
        relations: ask.tables,
        ..CreateRequest::default()
    };
    let made: Request = post(plane, "requests", &body).await?;
    if made.status != RequestStatus::Pending {
        return Ok(of_request(made));
    }
    until(plane, made.id.as_str(), wait, call).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    /// `req_…` or `rev_…`.
    id: String,
    /// How long to wait while it is pending, in seconds: at most 300.
    #[serde(default)]
    #[schemars(range(max = 300))]
    wait_seconds: u32,
}

pub(super) async fn status(plane: &impl Plane, of: Of, call: &mut Call) -> Result<Standing, Refusal> {
    until(plane, &of.id, waiting(of.wait_seconds)?, call).await
}

fn waiting(seconds: u32) -> Result<Duration, Refusal> {
    if seconds > MAX_SECONDS {
        return Err(Refusal::invalid("wait_seconds", format!("it is at most {MAX_SECONDS}")));
    }
    Ok(Duration::from_secs(u64::from(seconds)))
}

/// How something stands: once it is decided, or the time is over.
async fn until(plane: &impl Plane, id: &str, wait: Duration, call: &mut Call) -> Result<Standing, Refusal> {
    let (end, mut poll) = (Instant::now() + wait, 0);
    loop {
        let standing = tokio::select! {
            standing = standing(plane, id, poll) => standing?,
            () = call.cancelled() => {
                return Err(Refusal::new("cancelled", "the call was cancelled; what was asked for waits on"));
            }
        };
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        if standing.status != "pending" || left == 0 {
            return Ok(standing);
        }
        let whom = standing.waits_for.as_deref().unwrap_or("people");
        call.tell(&format!("{id} waits for {whom}")).await;
        poll = left.min(POLL_SECONDS);
    }
}

async fn standing(plane: &impl Plane, id: &str, wait: u64) -> Result<Standing, Refusal> {
    let wait = wait.to_string();
    let query = [("wait", wait.as_str())];
    if let Ok(id) = id.parse::<RequestId>() {
        return get(plane, &format!("requests/{id}"), &query).await.map(of_request);
    }
    if let Ok(id) = id.parse::<ReviewId>() {
        return get(plane, &format!("reviews/{id}"), &query).await.map(of_review);
    }
    Err(neither())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Comment {
    /// `req_…` or `rev_…`.
    id: String,
    /// What to say. People read it, and it is kept.
    text: String,
}

pub(super) async fn comment(plane: &impl Plane, comment: Comment) -> Result<Standing, Refusal> {
    let Comment { id, text } = comment;
    if let Ok(id) = id.parse::<RequestId>() {
        return post(plane, &format!("requests/{id}/comments"), &CreateComment { text }).await.map(of_request);
    }
    if let Ok(id) = id.parse::<ReviewId>() {
        return post(plane, &format!("reviews/{id}/comments"), &CommentOnReview { text }).await.map(of_review);
    }
    Err(neither())
}

fn neither() -> Refusal {
    Refusal::invalid("id", "it is the id of a request, `req_…`, or of a review, `rev_…`")
        .hint("`access` lists what waits for people.")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// `grt_…`, `req_…` or `rev_…`.
    id: String,
    /// Why, where there is something to say.
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Released {
    id: String,
    /// `revoked`, of a grant; `withdrawn`, of what had waited for people.
    status: &'static str,
}

pub(super) async fn release(plane: &impl Plane, release: Release) -> Result<Released, Refusal> {
    let Release { id, reason } = release;
    if let Ok(grant) = id.parse::<GrantId>() {
        let _: Grant = post(plane, &format!("grants/{grant}/revoke"), &BecauseOf { reason }).await?;
        return Ok(Released { id, status: "revoked" });
    }
    if let Ok(request) = id.parse::<RequestId>() {
        let _: Request = post(plane, &format!("requests/{request}/withdraw"), &json!({})).await?;
        return Ok(Released { id, status: "withdrawn" });
    }
    if let Ok(review) = id.parse::<ReviewId>() {
        let _: Review = post(plane, &format!("reviews/{review}/withdraw"), &json!({})).await?;
        return Ok(Released { id, status: "withdrawn" });
    }
    Err(Refusal::invalid("id", "it is the id of a grant, `grt_…`, of a request, `req_…`, or of a review, `rev_…`")
        .hint("`access` lists yours."))
}

/// There is none that would do.
pub(super) fn no_grant(connection: &str, role: Option<&str>) -> Refusal {
    let role_text = role.map(|role| format!(" of role {role}")).unwrap_or_default();
    let refusal = Refusal::new("no_grant", format!("you have no open grant{role_text} on {connection}"));
    refusal.hint("Call `request_access`; `connections` says for what.")
}

//! What connectors say of statements that they hold: ask, claim, leave. A connector speaks of its own sessions alone.

use super::{close, record, tell, vote};
use crate::{
    hub::ConnectorKey,
    rights::{self, Action, Who},
    sessions::resource,
    store::{
        Store, StoreError, Tx, access,
        reviews::{self as rows, ReviewRow, Whose},
        sessions::{self, OpenSession},
    },
};
use postern_api::{
    access::GrantStatus,
    event::Subject,
    fleet::PartKind,
    review::{Proposal, ReviewStatus},
    session::Session,
};
use postern_proto::v1::{
    ClientError, ReviewAsk, ReviewClaim, ReviewDecision, ReviewLeft, ReviewStands, ReviewedStatement,
    effect_preview::Result as Tried, review_left::Why, review_stands::State,
};
use postern_types::{
    id::{ReviewId, SessionId},
    time::Micros,
};
use prost::Message as _;
use serde_json::json;
use std::time::Duration;

/// The length of a key, and of a shape.
const DIGEST: usize = 32;

/// The most literals of one statement, and the longest digest of one.
const MAX_LITERALS: usize = 1000;

/// The most that is kept of one statement: its text, its preview with samples.
const MAX_STATEMENT: usize = 256 << 10;

/// The most groups that are asked about one statement, and of one the most members.
const MAX_REVIEWERS: usize = 20;

/// The most reviews of one principal that wait for an answer.
const MAX_PENDING: i64 = 2000;

/// How long after it was claimed a statement may begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// A session of the connector that speaks, whose grant is open.
struct Asking {
    session: Session,
    grant_ends_at: Micros,
}

/// The session, if it is that connector's and not over.
async fn asking(tx: &mut Tx, key: &ConnectorKey, id: &str, now: Micros) -> Result<Option<Asking>, StoreError> {
    let Ok(id) = id.parse::<SessionId>() else { return Ok(None) };
    let open = sessions::open_session(tx, &id).await?;
    let is_its = |open: &OpenSession| open.incarnation == key.incarnation && !open.grant_is_over(now);
    let Some(open) = open.filter(is_its) else { return Ok(None) };
    let session = sessions::by_id(tx, &id).await?.filter(|session| is_at(session, key));
    Ok(session.map(|session| Asking { session, grant_ends_at: open.grant_ends_at }))
}

/// Whether that connector may speak of a session.
fn is_at(session: &Session, key: &ConnectorKey) -> bool {
    rights::is_allowed(Who::Part(PartKind::Connector, &key.id), Action::Report, &resource(session))
}

impl Asking {
    fn whose(&self) -> Whose<'_> {
        Whose {
            principal: &self.session.principal.id,
            on_behalf_of: self.session.on_behalf_of.as_ref().map(|user| &user.id),
            connection: &self.session.connection,
            role: &self.session.role,
        }
    }

    /// Whether a review is about what this session's principal does.
    fn is_whose(&self, row: &ReviewRow) -> bool {
        let Session { principal, on_behalf_of, connection, role, .. } = &self.session;
        let id = |user: &Option<postern_api::identity::PrincipalRef>| user.as_ref().map(|user| user.id.clone());
        row.principal.id == principal.id
            && id(&row.on_behalf_of) == id(on_behalf_of)
            && row.connection == *connection
            && row.role == *role
    }
}

/// Is there an answer for this statement? Opens a review where there is none and the statement is told.
///
/// # Errors
/// When the store fails.
pub async fn ask(
    store: &Store,
    key: &ConnectorKey,
    ask: ReviewAsk,
    public_url: Option<&str>,
    now: Micros,
) -> Result<ReviewStands, StoreError> {
    if let Err(why) = check(&ask) {
        return Ok(refused(&ask, why));
    }
    let mut tx = store.begin().await?;
    let Some(asking) = asking(&mut tx, key, &ask.session_id, now).await? else {
        return Ok(refused(&ask, "the session is over"));
    };
    let mut found = answered(&mut tx, &asking, &ask, now).await?;
    if let (None, Some(statement)) = (&found, &ask.statement) {
        // Two sessions may ask the same at once.
        rows::lock_grant(&mut tx, &asking.session.grant_id).await?;
        found = answered(&mut tx, &asking, &ask, now).await?;
        if found.is_none() {
            if rows::pending_of(&mut tx, &asking.session.principal.id).await? >= MAX_PENDING {
                let why = format!("{MAX_PENDING} statements of this principal wait for an answer already");
                return Ok(refused(&ask, &why));
            }
            found = Some(opened(&mut tx, &asking, &ask, statement, now).await?);
        }
    }
    let Some(row) = found else {
        return Ok(none(&ask));
    };
    rows::put_wait(&mut tx, &asking.session.id, &row.id, &ask.key).await?;
    if row.status == ReviewStatus::Pending {
        tx.note(Subject::Review, row.id.as_str());
    }
    let votes = rows::votes(&mut tx, &row.id).await?;
    let answer = tell::stands(&row, &votes, &ask.session_id, &ask.key, public_url);
    tx.commit().await?;
    Ok(answer)
}

fn check(ask: &ReviewAsk) -> Result<(), &'static str> {
    let is_digest = |bytes: &[u8]| bytes.len() == DIGEST;
    let literals = ask.literals.len() <= MAX_LITERALS && ask.literals.iter().all(|digest| digest.len() <= DIGEST);
    if !is_digest(&ask.key) || !(ask.shape.is_empty() || is_digest(&ask.shape)) || !literals {
        return Err("what was asked cannot be understood");
    }
    let Some(statement) = &ask.statement else { return Ok(()) };
    if statement.encoded_len() > MAX_STATEMENT {
        return Err("the statement is too large to be shown to reviewers");
    }
    let most = u32::try_from(MAX_REVIEWERS).unwrap_or(u32::MAX);
    let is_group =
        |needed: &postern_proto::v1::ReviewersNeeded| !needed.group.is_empty() && (1..=most).contains(&needed.count);
    let reviewers = &statement.reviewers;
    if reviewers.is_empty() || reviewers.len() > MAX_REVIEWERS || !reviewers.iter().all(is_group) {
        return Err("the policies name nobody who could answer");
    }
    Ok(())
}

/// The review that answers what is asked, or will: one that nobody else can change until the transaction is over.
async fn answered(tx: &mut Tx, asking: &Asking, ask: &ReviewAsk, now: Micros) -> Result<Option<ReviewRow>, StoreError> {
    let candidate = match of_shape(tx, asking, ask, now).await? {
        Some(id) => Some(id),
        None => rows::open_of_key(tx, asking.whose(), &ask.key, now).await?,
    };
    let Some(id) = candidate else { return Ok(None) };
    let is_open =
        |row: &ReviewRow| matches!(row.status, ReviewStatus::Pending | ReviewStatus::Approved) && now < row.expires_at;
    Ok(rows::lock(tx, &id).await?.filter(is_open))
}

/// What was approved for the session's grant and fits.
async fn of_shape(tx: &mut Tx, asking: &Asking, ask: &ReviewAsk, now: Micros) -> Result<Option<ReviewId>, StoreError> {
    if ask.shape.is_empty() {
        return Ok(None);
    }
    let approved = rows::of_shape(tx, &asking.session.grant_id, &ask.shape, now).await?;
    Ok(approved.into_iter().find(|row| fits(row, &ask.literals)).map(|row| row.id))
}

/// Whether all literals are those that were approved, but for those that were left free.
fn fits(row: &ReviewRow, literals: &[bytes::Bytes]) -> bool {
    let Some(decision) = &row.decision else { return false };
    let names = &row.statement.literals;
    if row.literals.len() != literals.len() || names.len() != literals.len() {
        return false;
    }
    let mut pairs = names.iter().zip(row.literals.iter().zip(literals));
    pairs.all(|(literal, (approved, sent))| {
        approved.as_slice() == sent.as_ref() || decision.free.contains(&literal.name)
    })
}

/// Opens a review. Where its effect was counted and is small enough for the policies, it is approved at once, for so much.
async fn opened(
    tx: &mut Tx,
    asking: &Asking,
    ask: &ReviewAsk,
    statement: &ReviewedStatement,
    now: Micros,
) -> Result<ReviewRow, StoreError> {
    let Session { id, grant_id, principal, on_behalf_of, connection, role, .. } = asking.session.clone();
    let terms = vote::terms(tx, &connection).await?;
    let by_rule = small_enough(statement);
    let expires_at = asking.grant_ends_at.min(now.plus(terms.valid()));
    let escalate = terms.escalate.filter(|_| by_rule.is_none());
    let row = ReviewRow {
        id: ReviewId::new(),
        grant_id,
        reason: String::new(),
        ticket: None,
        session_id: id,
        principal,
        on_behalf_of,
        behalf_proof: None,
        owner: None,
        connection,
        role,
        key: ask.key.to_vec(),
        shape: ask.shape.to_vec(),
        literals: ask.literals.iter().map(|digest| digest.to_vec()).collect(),
        statement: statement.clone(),
        status: if by_rule.is_some() { ReviewStatus::Approved } else { ReviewStatus::Pending },
        escalate_at: escalate.as_ref().map(|escalate| now.plus(escalate.after())),
        escalate_to: escalate.map(|escalate| escalate.to).unwrap_or_default(),
        escalated_at: None,
        created_at: now,
        expires_at,
        decided_at: by_rule.map(|_| now),
        decision: by_rule.map(|rows| Proposal { max_rows: Some(rows), ..Proposal::default() }),
        claimed_at: None,
        uses: 0,
        has_ticket: false,
        because: by_rule.map(|rows| format!("the policies let effects of up to {rows} rows pass")),
    };
    rows::insert(tx, &row).await?;
    let needed = statement.reviewers.iter().map(|needed| json!({ "group": needed.group, "count": needed.count }));
    let detail = json!({
        "needed": needed.collect::<Vec<_>>(), "policies": statement.policies, "rows": counted(statement),
        "expires_at": row.expires_at,
    });
    record(tx, "review.created", Some(&row.principal), &row, detail, now).await?;
    if by_rule.is_some() {
        let detail = json!({ "approves": row.decision, "rule": row.because, "decided": true });
        record(tx, "review.approved", None, &row, detail, now).await?;
    }
    Ok(row)
}

/// The rows that it would change, where they were counted.
fn counted(statement: &ReviewedStatement) -> Option<u64> {
    match &statement.preview.as_ref()?.result {
        Some(Tried::Effect(effect)) if effect.exact => Some(effect.rows),
        _ => None,
    }
}

/// To how many rows it is bound where nobody has to agree.
fn small_enough(statement: &ReviewedStatement) -> Option<u64> {
    let most = statement.approved_up_to.filter(|_| statement.boundable)?;
    counted(statement).filter(|rows| *rows <= most).map(|_| most)
}

fn none(ask: &ReviewAsk) -> ReviewStands {
    let (session_id, key) = (ask.session_id.clone(), ask.key.clone());
    ReviewStands { session_id, key, state: State::None.into(), ..ReviewStands::default() }
}

fn refused(ask: &ReviewAsk, why: &str) -> ReviewStands {
    ReviewStands { state: State::Refused.into(), reason: why.to_owned(), ..none(ask) }
}

/// A statement is about to run by a review. Of one approval this succeeds once, unless it is for the grant.
///
/// # Errors
/// When the store fails.
pub async fn claim(
    store: &Store,
    key: &ConnectorKey,
    claim: &ReviewClaim,
    now: Micros,
) -> Result<Result<ReviewDecision, ClientError>, StoreError> {
    let mut tx = store.begin().await?;
    let Some(asking) = asking(&mut tx, key, &claim.session_id, now).await? else {
        return Ok(Err(lost("the session is over")));
    };
    let row = match claim.review_id.parse::<ReviewId>() {
        Ok(id) => rows::lock(&mut tx, &id).await?,
        Err(_) => None,
    };
    let Some(row) = row.filter(|row| asking.is_whose(row)) else {
        return Ok(Err(lost("there is no such review of this principal")));
    };
    let Some(decision) = row.decision.clone().filter(|_| row.status == ReviewStatus::Approved && now < row.expires_at)
    else {
        return Ok(Err(lost(&format!("the review {} is {}", row.id, over(&row)))));
    };
    if !still_stands(&mut tx, &row, now).await? {
        return Ok(Err(lost(&format!("the grant or the session of the review {} was ended", row.id))));
    }
    let is_it = if decision.for_grant { row.grant_id == asking.session.grant_id } else { row.key == claim.key };
    if !is_it || !rows::claim_wait(&mut tx, &asking.session.id, &row.id, &claim.key).await? {
        return Ok(Err(lost(&format!("the review {} is not for this statement", row.id))));
    }
    let status = if decision.for_grant { ReviewStatus::Approved } else { ReviewStatus::Claimed };
    rows::used(&mut tx, &row.id, status, now).await?;
    let detail = json!({
        "approves": decision, "claimed_by": asking.session.id, "connector": key.id, "use": row.uses.saturating_add(1),
    });
    record(&mut tx, "review.claimed", Some(&asking.session.principal), &row, detail, now).await?;
    let votes = rows::votes(&mut tx, &row.id).await?;
    tx.commit().await?;
    let signed = ReviewDecision {
        connector_id: key.id.clone(),
        connector_incarnation: key.incarnation.clone(),
        session_id: claim.session_id.clone(),
        review_id: row.id.to_string(),
        key: claim.key.clone(),
        expires_at_us: now.plus(BEGIN_WITHIN).0,
        max_rows: decision.max_rows,
        approved_by: tell::agreed(&votes, &decision).map(str::to_owned).collect(),
        edited_sql: decision.edited_sql,
    };
    Ok(Ok(signed))
}

fn over(row: &ReviewRow) -> &'static str {
    match row.status {
        ReviewStatus::Claimed => "used already",
        ReviewStatus::Approved => "expired",
        other => other.as_str(),
    }
}

/// Whether the grant is open under which it was asked for, and the session was not killed in which it was.
async fn still_stands(tx: &mut Tx, row: &ReviewRow, now: Micros) -> Result<bool, StoreError> {
    let grant = access::grant(tx, &row.grant_id).await?;
    let session = sessions::by_id(tx, &row.session_id).await?;
    let is_killed = session.is_none_or(|session| session.end_reason.as_deref() == Some(sessions::KILLED));
    Ok(grant.is_some_and(|grant| grant.status(now) == GrantStatus::Open) && !is_killed)
}

fn lost(why: &str) -> ClientError {
    ClientError {
        sqlstate: "42501".to_owned(),
        message: format!("the statement's approval cannot be used: {why}"),
        detail: String::new(),
        hint: "send the statement again to have it reviewed anew".to_owned(),
    }
}

/// A session waits no more. Where its client gave up, and nobody else waits or has a ticket, the review is withdrawn.
///
/// # Errors
/// When the store fails.
pub async fn left(store: &Store, key: &ConnectorKey, left: &ReviewLeft, now: Micros) -> Result<(), StoreError> {
    let Ok(session) = left.session_id.parse::<SessionId>() else { return Ok(()) };
    let because = match left.why() {
        Why::Ticket => None,
        Why::Cancelled => Some("its client cancelled it"),
        Why::Ended | Why::Unspecified => Some(SESSION_ENDED),
    };
    let mut tx = store.begin().await?;
    // It may be over already: that it has left is said once it ends, too.
    let is_its = sessions::by_id(&mut tx, &session).await?.is_some_and(|session| is_at(&session, key));
    if !is_its {
        return Ok(());
    }
    // Whoever leaves before the answer does not know which review it is.
    let review = match left.review_id.parse::<ReviewId>() {
        Ok(review) => Some(review),
        Err(_) => rows::waited_for(&mut tx, &session).await?,
    };
    if let Some(review) = review {
        leave(&mut tx, &session, &review, because, now).await?;
    }
    tx.commit().await
}

/// Why a review is withdrawn whose session is over.
pub(super) const SESSION_ENDED: &str = "its session ended";

/// A session waits no more for a review; `because`: its client gave up, and else it has a ticket.
pub(super) async fn leave(
    tx: &mut Tx,
    session: &SessionId,
    review: &ReviewId,
    because: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    let Some(row) = rows::lock(tx, review).await? else { return Ok(()) };
    if !rows::end_wait(tx, session, review).await? {
        return Ok(());
    }
    let Some(because) = because else { return rows::give_ticket(tx, review).await };
    let is_for_grant = row.decision.as_ref().is_some_and(|decision| decision.for_grant);
    let is_open = matches!(row.status, ReviewStatus::Pending | ReviewStatus::Approved);
    if is_open && !is_for_grant && !row.has_ticket && rows::waits(tx, review).await?.is_empty() {
        close(tx, &row, ReviewStatus::Withdrawn, Some(because), None, now).await?;
    }
    Ok(())
}

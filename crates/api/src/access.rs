//! Asking for access and having it: connections, requests, grants, credentials.

use crate::{
    document::RoleMode,
    identity::PrincipalRef,
    policy::Freeze,
    quorum::{Need, Quorum},
    standing::Recurring,
};
use postern_types::{
    id::{CredentialId, GrantId, RequestId},
    time::Micros,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};

/// A connection for which the caller can ask (an admin sees all).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Unique.
    pub name: String,
    /// The name of the connector that serves it.
    pub connector: String,
    /// Whether a session can be had at the moment.
    pub status: ConnectionStatus,
    /// Why not, without addresses or secrets.
    pub problem: Option<String>,
    /// Set while nobody may change anything there.
    #[serde(default)]
    pub freeze: Option<Freeze>,
    /// The ways in.
    pub roles: Vec<ConnectionRole>,
}

/// Whether a session can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionStatus {
    /// A connector is attached and reports the database as reachable, or has not reported yet.
    Up,
    /// A connector is attached and cannot reach the database.
    DatabaseDown,
    /// No connector of that name is attached.
    NoConnector,
}

/// A named way in to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionRole {
    /// `read`, `write`, `migrate`…
    pub name: String,
    /// How it becomes a database role.
    pub mode: RoleMode,
    /// Whether transactions begin read-only.
    pub read_only: bool,
    /// The longest that can be asked for: `1h`.
    pub max_duration: String,
    /// The groups whose members review.
    pub reviewers: Vec<String>,
    /// How many of which; absent: nobody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    /// Whether the caller gets it at once in an emergency.
    #[serde(default)]
    pub break_glass: bool,
    /// What would become of a request of the caller's.
    pub approval: Approval,
}

/// What would become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Approved by rule at once.
    Auto,
    /// Waits for reviewers.
    Review,
    /// The caller is in none of the groups that may ask.
    NotAllowed,
}

/// The body of `POST /requests`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// How long, from approval: `10m`.
    pub duration: String,
    /// Why, for whoever reviews it and for the audit.
    pub reason: String,
    /// The name of the user for whom an agent asks.
    #[serde(default)]
    pub on_behalf_of: Option<String>,
    /// The ticket, issue or incident behind it.
    #[serde(default)]
    pub ticket: Option<String>,
    /// The relations that are needed, as `schema.name`; none: whatever the role reaches.
    #[serde(default)]
    pub relations: Vec<String>,
    /// The address from which clients will come, where the role binds its grants to one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub client_address: Option<IpAddr>,
    /// Access at once, for those whom the role names for emergencies; somebody else has to review it afterwards.
    #[serde(default)]
    pub break_glass: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// A grant.
    #[default]
    Access,
    /// That a grant ends later.
    Extension,
    /// That a need which comes again and again is granted by rule until a date.
    Standing,
    /// A grant at once, reviewed afterwards.
    BreakGlass,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestStatus {
    /// Waits for reviewers.
    Pending,
    /// There is a grant.
    Approved,
    /// A reviewer said no.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// The requester took it back.
    Withdrawn,
}

/// What a reviewer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// One reviewer's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Vote {
    /// Who.
    pub reviewer: PrincipalRef,
    /// What.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
}

/// A request for access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Request {
    /// What it is approved or denied by.
    #[schema(value_type = String)]
    pub id: RequestId,
    /// Where it stands.
    pub status: RequestStatus,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// How long; once approved, how long was approved.
    pub duration: String,
    /// Why.
    pub reason: String,
    /// The ticket behind it.
    pub ticket: Option<String>,
    /// Who asks.
    pub requester: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// When it expires if nobody answers.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
    /// How many reviewers have to say yes, at least.
    pub approvals_needed: u32,
    /// Of which groups.
    pub reviewer_groups: Vec<String>,
    /// How many of which.
    pub quorum: Quorum,
    /// While it waits: how many of which are still needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Need>,
    /// What they said, oldest first.
    pub votes: Vec<Vote>,
    /// What was said about it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<Comment>,
    /// The grant, once approved; that of an extension from the start.
    #[schema(value_type = Option<String>)]
    pub grant_id: Option<GrantId>,
    /// When it was approved, denied, withdrawn or had expired.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Micros>,
    /// By which rule it was approved or sent to review.
    pub policy_reason: String,
    /// What is asked for.
    #[serde(default)]
    pub kind: RequestKind,
    /// The relations that are needed; once approved, those that were approved. None: whatever the role reaches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<String>,
    /// The address from which clients will come, where the role binds its grants to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_address: Option<IpAddr>,
    /// Of a standing approval: until when, and at which times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurring: Option<Recurring>,
    /// Whether somebody has to look at it though access was given: of break-glass.
    #[serde(default)]
    pub to_review: bool,
    /// Who closed the review of break-glass, or ended a standing approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    /// An open grant was there already, and this is the request behind it: no other was made.
    #[serde(default)]
    pub reused: bool,
}

/// What somebody said about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comment {
    /// Who.
    pub author: PrincipalRef,
    /// What.
    pub text: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
}

/// Who closed the review of a request, or ended a standing approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Closed {
    /// Who; absent when Postern did.
    pub by: Option<PrincipalRef>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
    /// What they found.
    pub reason: Option<String>,
}

/// The body of `POST /requests/{id}/comments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateComment {
    /// What is to be said.
    pub text: String,
}

/// The body of `POST /requests/{id}/close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// What was found.
    pub reason: String,
}

/// The body of `POST /grants/{id}/extend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// How much longer than it would last.
    pub duration: String,
    /// Why.
    pub reason: String,
}

/// The body of `POST /grants/revoke`: every grant of a connection, or of one of its roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeAll {
    /// The connection's name.
    pub connection: String,
    /// The access role's name; absent: of all its roles.
    #[serde(default)]
    pub role: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The query of `GET /requests`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RequestsQuery {
    /// Only those that stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<RequestStatus>,
    /// Only the caller's own.
    #[serde(default)]
    pub mine: bool,
    /// Only those that ask for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub kind: Option<RequestKind>,
    /// Only break-glass whose review is open.
    #[serde(default)]
    pub to_review: bool,
}

/// The query of `GET /requests/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// Answer only once the request is no longer pending, or after so many seconds (at most 60).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

/// The body of `POST /requests/{id}/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Less time than was asked for.
    #[serde(default)]
    pub duration: Option<String>,
    /// Fewer relations than were asked for, as `schema.name`; none: those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<String>,
}

/// The body of `POST /requests/{id}/deny`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Why: the requester reads it.
    pub reason: String,
}

/// The body of `POST /grants/{id}/revoke`, `POST /sessions/{id}/kill` and the like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BecauseOf {
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GrantStatus {
    /// Sessions can be opened.
    Open,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
}

/// Access for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// Also the PostgreSQL user name of its URL.
    #[schema(value_type = String)]
    pub id: GrantId,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// Where it stands.
    pub status: GrantStatus,
    /// When its sessions end.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
    /// The request of which it is the outcome.
    #[schema(value_type = String)]
    pub request_id: RequestId,
    /// Who has it.
    pub principal: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// Why it was asked for.
    pub reason: String,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Micros>,
    /// Who revoked it.
    pub revoked_by: Option<PrincipalRef>,
    /// Why.
    pub revoke_reason: Option<String>,
    /// What it may use up, and what of that was used, as far as connectors have reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<GrantBudget>,
    /// The relations that it is for; none: whatever its role reaches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<String>,
    /// The only address from which clients may come, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub bound_address: Option<IpAddr>,
    /// The only job that may use it: its issuer's name, and the subject of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_job: Option<String>,
    /// The certificate without which nobody may use it: its SHA-256, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_certificate: Option<String>,
}

/// What a grant may use up. What is absent has no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantBudget {
    /// Statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<Account>,
    /// Rows that are returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<Account>,
    /// Rows that are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_written: Option<Account>,
    /// Bytes that are returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<Account>,
    /// Sessions at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
}

/// So much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// There was at first.
    pub total: u64,
    /// Was used.
    pub used: u64,
    /// Is left.
    pub left: u64,
}

/// The query of `GET /grants`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct GrantsQuery {
    /// Everybody's, and those that are over (admins; others get all of their own).
    #[serde(default)]
    pub all: bool,
}

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialUse {
    /// The grant's URL: replaces the URL's secret before it.
    Url,
    /// One command of Postern's own: a further secret, which replaces none.
    Exec,
}

/// The body of `POST /grants/{id}/credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    /// What it is for.
    pub r#use: CredentialUse,
}

/// How to connect. The secret is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// The credential's id; absent for the grant's URL.
    #[schema(value_type = Option<String>)]
    pub id: Option<CredentialId>,
    /// PostgreSQL user name.
    pub user: String,
    /// PostgreSQL password.
    pub secret: String,
    /// The gateway's host for clients.
    pub host: String,
    /// The gateway's port for clients.
    pub port: u16,
    /// Database name in the startup packet: the connection's name.
    pub database: String,
    /// As libpq takes it.
    pub sslmode: String,
    /// The root by which the gateway's certificate is known, where it is not a public one.
    pub root_certificate_pem: Option<String>,
    /// The end of the grant.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
}

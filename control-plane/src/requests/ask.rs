//! What somebody asks for, checked.

use crate::{
    grants::checked_reason,
    identity::Actor,
    problem::{Problem, shorten},
    quorum,
    rights::{self, Action, Resource, authorize, is_allowed},
    stops,
    store::{StoreError, Tx, connections, principals, requests::RequestRow},
};
use postern_api::{
    access::{CreateRequest, RequestKind, RequestStatus},
    document::{AccessRole, Bind},
    identity::{PrincipalKind, PrincipalRef},
    quorum::{Quorum, QuorumMode},
};
use postern_types::{
    id::RequestId,
    time::{Micros, format_duration, parse_duration},
};
use std::{net::IpAddr, time::Duration};

/// The longest name of a ticket, in characters.
const MAX_TICKET: usize = 200;

/// The most relations that a request names.
const MAX_RELATIONS: usize = 200;

/// PostgreSQL's longest name.
const MAX_NAME: usize = 63;

/// What is asked for, checked; who asks is the actor.
pub(super) struct Ask {
    pub(super) kind: RequestKind,
    pub(super) connection: String,
    pub(super) role_name: String,
    pub(super) role: AccessRole,
    pub(super) duration: Duration,
    pub(super) reason: String,
    pub(super) ticket: Option<String>,
    pub(super) on_behalf_of: Option<PrincipalRef>,
    pub(super) relations: Vec<String>,
    pub(super) client_address: Option<IpAddr>,
}

impl Ask {
    /// Reads and checks what a caller asks for.
    pub(super) async fn read(
        tx: &mut Tx,
        actor: &Actor,
        body: &CreateRequest,
        kind: RequestKind,
    ) -> Result<Self, Problem> {
        let reason = needed_reason(&body.reason)?;
        let ticket = body.ticket.as_deref().map(str::trim).filter(|ticket| !ticket.is_empty());
        if ticket.is_some_and(|ticket| ticket.chars().count() > MAX_TICKET) {
            return Err(Problem::invalid("ticket", format!("a ticket has at most {MAX_TICKET} characters")));
        }
        let relations = relations(&body.relations)?;
        let action = if kind == RequestKind::BreakGlass { Action::BreakGlass } else { Action::Create };
        let role = askable_role(tx, actor, action, &body.connection, &body.role).await?;
        let duration = checked_duration(&body.duration, &role, kind)?;
        let on_behalf_of = represented(tx, actor, body.on_behalf_of.as_deref()).await?;
        for principal in [Some(&actor.principal), on_behalf_of.as_ref()].into_iter().flatten() {
            stops::check(tx, principal).await?;
        }
        // What is bound later on, at each grant, is checked then.
        let client_address = body.client_address.map(|address| address.to_canonical());
        if kind != RequestKind::Standing && role.bind.contains(&Bind::Address) && client_address.is_none() {
            return Err(Problem::invalid("client_address", "grants of this role are bound to a client's address")
                .hint("say from where clients will come: `--from 192.0.2.7`"));
        }
        if kind != RequestKind::Standing && role.bind.contains(&Bind::Job) && actor.machine.job.is_none() {
            return Err(Problem::forbidden(
                "grants of this role are bound to a job, and your token was given for none",
            )
            .hint("ask from a job, with the token that its platform's was exchanged for"));
        }
        let certificate = actor.machine.certificate.as_ref();
        if kind != RequestKind::Standing && role.bind.contains(&Bind::Certificate) && certificate.is_none() {
            return Err(Problem::forbidden(
                "grants of this role are bound to a certificate, and your token was given for none",
            )
            .hint("get one by a certificate: `postern login --cert-file FILE --key-file FILE`"));
        }
        Ok(Self {
            kind,
            connection: body.connection.clone(),
            role_name: body.role.clone(),
            role,
            duration,
            reason: reason.to_owned(),
            ticket: ticket.map(str::to_owned),
            on_behalf_of,
            relations,
            client_address,
        })
    }

    /// As it is stored while it waits; none: nobody's consent is needed.
    pub(super) fn into_row(
        self,
        actor: &Actor,
        (quorum, policy_reason): (Option<Quorum>, String),
        lifetime: Duration,
        now: Micros,
    ) -> RequestRow {
        let reviewer_groups = quorum.as_ref().map_or_else(|| self.role.reviewers.groups(), quorum::groups);
        let quorum = quorum.unwrap_or(Quorum { mode: QuorumMode::All, needs: Vec::new() });
        RequestRow {
            id: RequestId::new(),
            connection: self.connection,
            role: self.role_name,
            duration: self.duration,
            reason: self.reason,
            ticket: self.ticket,
            requester: actor.principal.clone(),
            on_behalf_of: self.on_behalf_of,
            status: RequestStatus::Pending,
            created_at: now,
            expires_at: now.plus(lifetime),
            approvals_needed: quorum::least(&quorum),
            reviewer_groups,
            policy_reason,
            grant_id: None,
            decided_at: None,
            kind: self.kind,
            quorum,
            relations: self.relations,
            client_address: self.client_address,
            machine: actor.machine.clone(),
            recurring: None,
            closed: None,
        }
    }
}

/// The access role, if it is there and the caller may ask for it so.
async fn askable_role(
    tx: &mut Tx,
    actor: &Actor,
    action: Action,
    connection: &str,
    role: &str,
) -> Result<AccessRole, Problem> {
    let hint = "`postern connections` lists what you can ask for";
    let missing = || Problem::not_found("connection", connection).hint(hint);
    let found = connections::by_name(tx, connection).await?.ok_or_else(missing)?;
    let roles = &found.document.roles;
    // Who may see none of a connection's roles does not learn that it is there.
    let sees = |role: &AccessRole| is_allowed(actor, Action::See, &rights::role(role));
    if !roles.values().any(sees) {
        return Err(missing());
    }
    let names: Vec<_> = roles.iter().filter(|(_, role)| sees(role)).map(|(name, _)| name.as_str()).collect();
    if roles.contains_key(role) && !actor.reaches(connection, role) {
        return Err(Problem::forbidden(format!("your token is not good for the role `{role}` of `{connection}`"))
            .hint("`postern whoami` shows what it is narrowed to"));
    }
    let role = roles.get(role).ok_or_else(|| {
        Problem::invalid("role", format!("the connection `{connection}` has no role `{}`", shorten(role)))
            .hint(format!("there is {}", names.join(", ")))
    })?;
    authorize(actor, action, &rights::role(role))?;
    Ok(role.clone())
}

/// A duration that can be asked for.
fn checked_duration(text: &str, role: &AccessRole, kind: RequestKind) -> Result<Duration, Problem> {
    let duration = duration(text)?;
    let longest = match (kind, &role.break_glass) {
        (RequestKind::BreakGlass, Some(break_glass)) => &break_glass.duration,
        _ => &role.max_duration,
    };
    let longest = parse_duration(longest).map_err(|error| StoreError::corrupt("max_duration", error))?;
    if duration > longest {
        return Err(Problem::invalid("duration", format!("at most {} can be asked for", format_duration(longest)))
            .hint(format!("ask with `--for {}`", format_duration(longest))));
    }
    Ok(duration)
}

/// A duration in the field of that name.
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    parse_duration(text).map_err(|error| Problem::invalid("duration", error.to_string()))
}

/// A reason that has to be there.
pub(super) fn needed_reason(text: &str) -> Result<&str, Problem> {
    checked_reason(Some(text))?
        .ok_or_else(|| Problem::invalid("reason", "say why: whoever reviews it reads this, and it is in the audit"))
}

/// The user for whom an agent acts.
pub(super) async fn represented(
    tx: &mut Tx,
    actor: &Actor,
    name: Option<&str>,
) -> Result<Option<PrincipalRef>, Problem> {
    let name = match (name, &actor.on_behalf_of) {
        (Some(name), Some(proved)) if proved.name != name => {
            let message = format!("your token is for acting on behalf of {}", proved.name);
            return Err(Problem::invalid("on_behalf_of", message));
        }
        (_, Some(proved)) => return Ok(Some(proved.clone())),
        (None, None) => return Ok(None),
        (Some(name), None) => name,
    };
    if actor.principal.kind != PrincipalKind::Agent {
        return Err(Problem::invalid("on_behalf_of", "only an agent acts on behalf of somebody"));
    }
    if actor.must_prove {
        let message = format!("{} has to prove on whose behalf it acts", actor.principal.name);
        return Err(Problem::forbidden(message).hint(
            "ask with a token that was given for that person's and the agent's (`actor_token` at `POST /oauth/token`)",
        ));
    }
    let user = principals::by_name(tx, PrincipalKind::User, name).await?;
    match user {
        Some(user) if !user.disabled => Ok(Some(user.principal)),
        _ => Err(Problem::invalid("on_behalf_of", format!("there is no user `{}`", shorten(name)))),
    }
}

/// Relations as `schema.name`, each once, in order. What stands behind the first dot is the name as it is.
pub(super) fn relations(named: &[String]) -> Result<Vec<String>, Problem> {
    if named.len() > MAX_RELATIONS {
        return Err(Problem::invalid("relations", format!("at most {MAX_RELATIONS} relations"))
            .hint("leave them out to ask for all that the role reaches"));
    }
    let mut relations = Vec::new();
    for relation in named {
        let good = |name: &str| !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
        if !relation.split_once('.').is_some_and(|(schema, name)| good(schema) && good(name)) {
            let message = format!("`{}` is not `schema.name`", shorten(relation));
            return Err(Problem::invalid("relations", message).hint("write `public.orders`"));
        }
        relations.push(relation.clone());
    }
    relations.sort();
    relations.dedup();
    Ok(relations)
}

/// Whether all of these relations are among those; of none, any is.
pub(super) fn are_within(relations: &[String], of: &[String]) -> bool {
    of.is_empty() || (!relations.is_empty() && relations.iter().all(|relation| of.contains(relation)))
}

impl RequestRow {
    /// For deciding who may do what to it.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        Resource::Request {
            requester: &self.requester,
            on_behalf_of: self.on_behalf_of.as_ref(),
            reviewer_groups: &self.reviewer_groups,
        }
    }
}

//! Grants: how they prove themselves, how they end.

use crate::{
    audit::{self, Event},
    budgets::Balance,
    effects::Effect,
    identity::{Actor, scram::Verifier},
    problem::{Problem, shorten},
    rights::{Action, Resource, authorize},
    store::{
        Store, StoreError, Tx,
        access::{self, GrantRow},
        connections::{self, ConnectionRow},
        principals, requests, stops,
    },
};
use postern_api::{
    access::{CredentialUse, GrantStatus, RevokeAll},
    document::{AccessRole, ConnectionDocument},
    identity::PrincipalRef,
};
use postern_proto::v1::ClientError;
use postern_types::{
    id::{CredentialId, GrantId},
    time::{Micros, format_duration},
    token,
};
use secrecy::SecretString;
use serde_json::json;

/// The most secrets that a grant has beside its URL's.
const MAX_CREDENTIALS: i64 = 1000;

/// The longest reason, in characters.
pub const MAX_REASON: usize = 2000;

/// How many grants or requests one transaction marks as over.
const END_BATCH: u32 = 100;

/// What a client that gives this user name may be, once it has proved the secret.
#[derive(Clone, Debug)]
pub struct LoginGrant {
    /// The grant.
    pub grant_id: GrantId,
    /// The further credential that was used; none for the grant's URL.
    pub credential_id: Option<CredentialId>,
    /// What proves the secret, in PostgreSQL's form; empty where none has to be proved.
    pub verifier: String,
    /// Where the grant stands: told only after the proof.
    pub status: GrantStatus,
    /// Who has it.
    pub principal: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// Whether the principal, or the user for whom it acts, may do nothing any more, or is stopped.
    pub principal_disabled: bool,
    /// The connection. Where it is gone, its name alone, and the grant is revoked.
    pub connection: ConnectionRow,
    /// The access role's name.
    pub role_name: String,
    /// The access role as it is now.
    pub role: AccessRole,
    /// When the grant began.
    pub starts_at: Micros,
    /// When it ends by itself.
    pub ends_at: Micros,
    /// When it was revoked.
    pub revoked_at: Option<Micros>,
    /// Why it was asked for.
    pub reason: String,
    /// The ticket behind the request.
    pub ticket: Option<String>,
    /// The groups of the principal.
    pub groups: Vec<String>,
    /// The grant's budget, if it has one.
    pub balance: Option<Balance>,
    /// The relations that the grant is for; none: whatever its role reaches.
    pub relations: Vec<String>,
    /// Whether clients may come from one address only.
    pub is_bound: bool,
    /// The certificate that clients have to show.
    pub bound_certificate: Option<String>,
}

/// What stands behind a user name: a grant's id, or a further credential's. None: unknown, or a grant whose URL
/// was never asked for.
///
/// # Errors
/// When the store fails.
pub async fn login(store: &Store, user: &str, now: Micros) -> Result<Option<LoginGrant>, StoreError> {
    let mut tx = store.read().await?;
    let (grant, credential_id, verifier) = if let Ok(id) = user.parse::<GrantId>() {
        let Some(grant) = access::grant(&mut tx, &id).await? else {
            return Ok(None);
        };
        let Some(verifier) = grant.verifier.clone() else {
            return Ok(None);
        };
        (grant, None, verifier)
    } else if let Ok(id) = user.parse::<CredentialId>() {
        let Some((grant_id, verifier)) = access::credential(&mut tx, &id).await? else {
            return Ok(None);
        };
        let Some(grant) = access::grant(&mut tx, &grant_id).await? else {
            return Ok(None);
        };
        (grant, Some(id), verifier)
    } else {
        return Ok(None);
    };
    of_grant(&mut tx, grant, credential_id, verifier, now).await.map(Some)
}

/// What stands behind a grant for whoever proves in another way that it is theirs.
///
/// # Errors
/// When the store fails.
pub async fn login_without_secret(store: &Store, id: &GrantId, now: Micros) -> Result<Option<LoginGrant>, StoreError> {
    let mut tx = store.read().await?;
    let Some(grant) = access::grant(&mut tx, id).await? else { return Ok(None) };
    of_grant(&mut tx, grant, None, String::new(), now).await.map(Some)
}

async fn of_grant(
    tx: &mut Tx,
    grant: GrantRow,
    credential_id: Option<CredentialId>,
    verifier: String,
    now: Micros,
) -> Result<LoginGrant, StoreError> {
    let mut principal_disabled = is_disabled(tx, &grant.principal).await?;
    if let Some(user) = &grant.on_behalf_of {
        principal_disabled |= is_disabled(tx, user).await?;
    }
    let groups = principals::groups_of(tx, &grant.principal.id).await?;
    let ticket = requests::request(tx, &grant.request_id).await?.and_then(|request| request.ticket);
    let connection = connections::by_name(tx, &grant.connection).await?;
    let role = connection.as_ref().and_then(|connection| connection.document.roles.get(&grant.role)).cloned();
    let status = if role.is_some() { grant.status(now) } else { GrantStatus::Revoked };
    Ok(LoginGrant {
        credential_id,
        verifier,
        status,
        principal_disabled,
        connection: connection.unwrap_or_else(|| gone(&grant.connection, now)),
        role: role.unwrap_or_default(),
        grant_id: grant.id,
        principal: grant.principal,
        on_behalf_of: grant.on_behalf_of,
        role_name: grant.role,
        starts_at: grant.starts_at,
        ends_at: grant.ends_at,
        revoked_at: grant.revoked_at,
        reason: grant.reason,
        ticket,
        groups,
        balance: grant.balance,
        relations: grant.relations,
        is_bound: grant.bound_address.is_some() || grant.binds_first_use,
        bound_certificate: grant.bound_certificate,
    })
}

async fn is_disabled(tx: &mut Tx, principal: &PrincipalRef) -> Result<bool, StoreError> {
    let disabled = principals::by_id(tx, &principal.id).await?.is_none_or(|row| row.disabled);
    Ok(disabled || stops::of(tx, &principal.id).await?.is_some())
}

/// A connection of which only the name is left.
fn gone(name: &str, now: Micros) -> ConnectionRow {
    let document = ConnectionDocument { name: name.to_owned(), ..ConnectionDocument::default() };
    ConnectionRow { document, created_at: now, updated_at: now }
}

/// A fresh secret of a grant.
#[derive(Debug)]
pub struct Claimed {
    /// The grant.
    pub grant: GrantRow,
    /// The further credential; none for the URL.
    pub credential_id: Option<CredentialId>,
    /// The secret: it is in no other place.
    pub secret: SecretString,
}

/// Makes a secret: the URL's, which replaces the one before it, or a further one for one command.
///
/// # Errors
/// When there is no such open grant of the caller's.
pub async fn claim(
    store: &Store,
    actor: &Actor,
    id: &GrantId,
    purpose: CredentialUse,
    now: Micros,
) -> Result<Claimed, Problem> {
    let secret = token::generate("").map_err(Problem::fault)?;
    let verifier = derive(secret.clone()).await?;

    let mut tx = store.begin().await?;
    let grant = visible(&mut tx, actor, id).await?;
    authorize(actor, Action::Claim, &grant.resource())?;
    if !actor.reaches(&grant.connection, &grant.role) {
        return Err(Problem::forbidden("your token is not good for this grant's role")
            .hint("`postern whoami` shows what it is narrowed to"));
    }
    if !actor.may_use(&grant) {
        return Err(not_for(&grant));
    }
    if grant.status(now) != GrantStatus::Open {
        return Err(over(&grant, now));
    }
    let credential_id = match purpose {
        CredentialUse::Url => {
            access::set_verifier(&mut tx, id, &verifier).await?;
            None
        }
        CredentialUse::Exec => {
            if access::count_credentials(&mut tx, id).await? >= MAX_CREDENTIALS {
                return Err(Problem::too_large(format!("the grant has {MAX_CREDENTIALS} credentials already"))
                    .hint("use its URL: `postern url`"));
            }
            let credential = CredentialId::new();
            access::insert_credential(&mut tx, &credential, id, &verifier, now).await?;
            Some(credential)
        }
    };
    let detail = json!({ "use": purpose, "credential": credential_id });
    audit::append_control(&mut tx, Event::new(now, "grant.claimed", Some(&actor.principal), id.as_str(), &detail))
        .await?;
    tx.commit().await?;
    Ok(Claimed { grant, credential_id, secret })
}

fn not_for(grant: &GrantRow) -> Problem {
    if let Some(job) = &grant.bound_job {
        return Problem::forbidden(format!("the grant is bound to the job {}", shorten(job)))
            .hint("another job has to ask for itself");
    }
    if let Some(certificate) = &grant.bound_certificate {
        return Problem::forbidden(format!(
            "the grant is bound to the certificate {certificate}, and your token is not"
        ))
        .hint("who has another certificate has to ask for itself");
    }
    let whom = grant.on_behalf_of.as_ref().map_or("nobody", |user| user.name.as_str());
    Problem::forbidden(format!("the grant is on behalf of {whom}, for which your token is no proof"))
        .hint("`postern whoami` shows on whose behalf it is")
}

/// Thousands of rounds of hashing: not on a thread that serves others.
async fn derive(secret: SecretString) -> Result<String, Problem> {
    let derived = tokio::task::spawn_blocking(move || Verifier::derive(&secret)).await.map_err(Problem::fault)?;
    Ok(derived.map_err(Problem::fault)?.to_string())
}

/// Ends a grant before its time.
///
/// # Errors
/// When there is none that the caller may end, or it is over.
pub async fn revoke(
    store: &Store,
    actor: &Actor,
    id: &GrantId,
    reason: Option<&str>,
    now: Micros,
) -> Result<(GrantRow, Vec<Effect>), Problem> {
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let grant = visible(&mut tx, actor, id).await?;
    authorize(actor, Action::End, &grant.resource())?;
    // Asked for twice, it is done once and the answer is the same.
    if grant.revoked_at.is_some() {
        return Ok((grant, Vec::new()));
    }
    let Some(effect) = revoke_in(&mut tx, &grant, Some(&actor.principal), reason, now).await? else {
        return Err(over(&grant, now));
    };
    let grant = access::grant(&mut tx, id).await?.ok_or_else(|| Problem::not_found("grant", id.as_str()))?;
    tx.commit().await?;
    Ok((grant, vec![effect]))
}

/// Ends all grants of a connection, or of one of its access roles.
///
/// # Errors
/// When the caller may not, or there is no such connection.
pub async fn revoke_all(
    store: &Store,
    actor: &Actor,
    body: &RevokeAll,
    now: Micros,
) -> Result<(Vec<GrantRow>, Vec<Effect>), Problem> {
    authorize(actor, Action::End, &Resource::AllGrants)?;
    let reason = checked_reason(body.reason.as_deref())?;
    let mut tx = store.begin().await?;
    let connection = connections::by_name(&mut tx, &body.connection).await?;
    let connection = connection.ok_or_else(|| Problem::not_found("connection", &shorten(&body.connection)))?;
    if let Some(role) = &body.role
        && !connection.document.roles.contains_key(role)
    {
        return Err(Problem::invalid("role", format!("the connection has no role `{}`", shorten(role))));
    }
    let (mut revoked, mut effects) = (Vec::new(), Vec::new());
    for grant in access::unended_grants_on(&mut tx, &body.connection).await? {
        if body.role.as_ref().is_none_or(|role| *role == grant.role)
            && let Some(effect) = revoke_in(&mut tx, &grant, Some(&actor.principal), reason, now).await?
        {
            effects.push(effect);
            revoked.extend(access::grant(&mut tx, &grant.id).await?);
        }
    }
    tx.commit().await?;
    Ok((revoked, effects))
}

/// Ends a grant inside a larger change; none when it had ended before.
///
/// # Errors
/// When the store fails.
pub async fn revoke_in(
    tx: &mut Tx,
    grant: &GrantRow,
    by: Option<&PrincipalRef>,
    reason: Option<&str>,
    now: Micros,
) -> Result<Option<Effect>, StoreError> {
    if !access::revoke_grant(tx, &grant.id, by.map(|by| &by.id), reason, now).await? {
        return Ok(None);
    }
    let detail =
        json!({ "connection": grant.connection, "role": grant.role, "principal": grant.principal, "reason": reason });
    audit::append_control(tx, Event::new(now, "grant.revoked", by, grant.id.as_str(), &detail)).await?;
    let by = by.map_or_else(String::new, |by| format!(" by {}", by.name));
    let error = ClientError {
        sqlstate: "57P01".to_owned(),
        message: format!("the grant was revoked{by} at {now}"),
        detail: reason.unwrap_or_default().to_owned(),
        hint: ask_again(&grant.connection, &grant.role),
    };
    Ok(Some(Effect::EndGrant(grant.id.clone(), error)))
}

/// Records the end of each grant whose time is over, and says whose sessions are to end.
///
/// # Errors
/// When the store fails.
pub async fn expire_due(store: &Store, now: Micros) -> Result<Vec<Effect>, StoreError> {
    let mut read = store.read().await?;
    let mut due = access::overdue_grants(&mut read, now, END_BATCH).await?;
    drop(read);
    // Whoever locks several locks them in this order.
    due.sort_by(|one, other| one.id.cmp(&other.id));
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut effects = Vec::new();
    let mut tx = store.begin().await?;
    for grant in &due {
        // Another replica may have been faster, or it was extended just now.
        if !access::expire_grant(&mut tx, &grant.id, now).await? {
            continue;
        }
        let detail = json!({ "connection": grant.connection, "role": grant.role, "principal": grant.principal });
        audit::append_control(&mut tx, Event::new(now, "grant.expired", None, grant.id.as_str(), &detail)).await?;
        effects.push(Effect::EndGrant(grant.id.clone(), expired_error(grant)));
    }
    tx.commit().await?;
    Ok(effects)
}

/// What a session's client reads when its grant's time is over.
#[must_use]
pub fn expired_error(grant: &GrantRow) -> ClientError {
    ClientError {
        sqlstate: "57P01".to_owned(),
        message: format!("the grant expired at {}", grant.ends_at),
        detail: format!("It was for {}.", format_duration(grant.ends_at.since(grant.starts_at))),
        hint: ask_again(&grant.connection, &grant.role),
    }
}

/// The command by which access is asked for.
#[must_use]
pub fn ask_again(connection: &str, role: &str) -> String {
    format!("ask again: `postern request {connection} --role {role} --for 10m --reason \"…\"`")
}

/// The caller's open grants; with `all`, those that are over too, and an admin's or auditor's are everybody's.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &Store, actor: &Actor, all: bool, now: Micros) -> Result<Vec<GrantRow>, Problem> {
    let mut tx = store.read().await?;
    if !all {
        let own = access::list_grants_of(&mut tx, &actor.principal.id).await?;
        let is_open =
            |grant: &GrantRow| grant.principal.id == actor.principal.id && grant.status(now) == GrantStatus::Open;
        return Ok(own.into_iter().filter(is_open).collect());
    }
    Ok(if actor.admin || actor.auditor {
        access::list_grants(&mut tx).await?
    } else {
        access::list_grants_of(&mut tx, &actor.principal.id).await?
    })
}

/// A grant that the caller may see.
///
/// # Errors
/// When there is none.
pub async fn get(store: &Store, actor: &Actor, id: &GrantId) -> Result<GrantRow, Problem> {
    let mut tx = store.read().await?;
    visible(&mut tx, actor, id).await
}

/// A grant that the caller may see, inside a larger change.
pub(crate) async fn visible(tx: &mut Tx, actor: &Actor, id: &GrantId) -> Result<GrantRow, Problem> {
    let missing = || Problem::not_found("grant", id.as_str()).hint("`postern grants` lists yours");
    let grant = access::grant(tx, id).await?.ok_or_else(missing)?;
    authorize(actor, Action::See, &grant.resource()).map_err(|_| missing())?;
    Ok(grant)
}

/// Why nothing can be done with a grant that has ended.
pub(crate) fn over(grant: &GrantRow, now: Micros) -> Problem {
    let problem = match grant.revoked_at {
        Some(at) => Problem::conflict(format!("the grant was revoked at {at}")),
        None => Problem::conflict(format!("the grant expired at {}", grant.ends_at.min(now))),
    };
    problem.hint(ask_again(&grant.connection, &grant.role))
}

/// A reason within its bound, none where it is empty.
///
/// # Errors
/// When it is too long.
pub fn checked_reason(reason: Option<&str>) -> Result<Option<&str>, Problem> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(Problem::invalid("reason", format!("a reason has at most {MAX_REASON} characters")));
    }
    Ok(reason)
}

impl GrantRow {
    /// For deciding who may do what to it.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        Resource::Grant { principal: &self.principal, on_behalf_of: self.on_behalf_of.as_ref() }
    }

    /// As the API shows it.
    #[must_use]
    pub fn to_api(&self, now: Micros) -> postern_api::access::Grant {
        postern_api::access::Grant {
            id: self.id.clone(),
            connection: self.connection.clone(),
            role: self.role.clone(),
            status: self.status(now),
            expires_at: self.ends_at,
            request_id: self.request_id.clone(),
            principal: self.principal.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            created_at: self.starts_at,
            reason: self.reason.clone(),
            revoked_at: self.revoked_at,
            revoked_by: self.revoked_by.clone(),
            revoke_reason: self.revoke_reason.clone(),
            budget: self.balance.as_ref().map(Balance::to_api),
            relations: self.relations.clone(),
            bound_address: self.bound_address,
            bound_job: self.bound_job.clone(),
            bound_certificate: self.bound_certificate.clone(),
        }
    }
}

/// Reads an id that a caller gave.
///
/// # Errors
/// Not found, whatever it is: an id that cannot be one names nothing.
pub fn parse_id<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what, &shorten(text)))
}

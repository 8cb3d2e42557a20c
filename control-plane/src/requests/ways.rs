//! What would become of somebody's requests for the access roles of a connection, and why. Nothing is asked for.

use super::{
    ask::{Ask, represented},
    rule::{Rule, rule},
};
use crate::{
    identity::Actor,
    policies,
    problem::Problem,
    rights::{self, Action, Resource, is_allowed},
    stops,
    store::{Store, Tx, access, connections, freezes, policies as policy_rows},
};
use postern_api::{
    access::{GrantStatus, RequestKind},
    document::AccessRole,
    identity::PrincipalRef,
    ways::{Foreseen, OpenGrant, WayIn, WaysIn},
};
use postern_policy::{Connection, Grant, Moment, Policies, Subject};
use postern_types::time::Micros;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// What is asked for in thought: as little as can be, so that whatever gives any time at all gives it.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// Explains what the actor gets of a connection.
///
/// # Errors
/// When there is no such connection that they may know of, or nobody of that name to ask for.
pub async fn to(
    store: &Store,
    actor: &Actor,
    name: &str,
    on_behalf_of: Option<&str>,
    now: Micros,
) -> Result<WaysIn, Problem> {
    let mut tx = store.read().await?;
    let missing = || Problem::not_found("connection", name).hint("`postern connections` lists what you can ask for");
    let document = connections::by_name(&mut tx, name).await?.ok_or_else(missing)?.document;
    let sees = |role: &AccessRole| is_allowed(actor, Action::See, &rights::role(role));
    let roles: Vec<_> = document.roles.iter().filter(|(_, role)| sees(role)).collect();
    if roles.is_empty() && !is_allowed(actor, Action::See, &Resource::Configuration) {
        return Err(missing());
    }
    let on_behalf_of = represented(&mut tx, actor, on_behalf_of).await?;
    let mut stopped = None;
    for principal in [Some(&actor.principal), on_behalf_of.as_ref()].into_iter().flatten() {
        stopped = stopped.or(stops::check(&mut tx, principal).await.err());
    }
    let stopped = stopped.map(|problem| problem.to_string());
    let frozen = freezes::of(&mut tx, name).await?.is_some();
    let state = policy_rows::state(&mut tx).await?;
    let loaded = policies::load(policies::merged(&mut tx, &state, &[]).await?).await?;
    let mut ways = Vec::new();
    for (role_name, role) in roles {
        let mut way = described(actor, role_name, role);
        let ask = Asked { actor, connection: name, role_name, role, on_behalf_of: on_behalf_of.as_ref() };
        (way.answer, way.because, way.rule) = match &stopped {
            Some(stopped) => (Foreseen::Denied, stopped.clone(), String::new()),
            None => ask.foreseen(&mut tx, now).await?,
        };
        way.grant = ask.open_grant(&mut tx, now).await?;
        (way.connects, way.policies) = ask.session(&loaded, frozen, now);
        ways.push(way);
    }
    let (principal, groups) = (actor.principal.clone(), actor.groups.clone());
    Ok(WaysIn { connection: document.name, principal, groups, on_behalf_of, roles: ways })
}

/// What its document says.
fn described(actor: &Actor, name: &str, role: &AccessRole) -> WayIn {
    let in_emergencies = is_allowed(actor, Action::BreakGlass, &rights::role(role));
    let longest = role.break_glass.as_ref().filter(|_| in_emergencies && !may_ask(actor, role));
    WayIn {
        role: name.to_owned(),
        mode: role.mode,
        database_role: role.database_role.clone(),
        read_only: role.read_only,
        max_duration: longest.map_or(&role.max_duration, |break_glass| &break_glass.duration).clone(),
        bind: role.bind.clone(),
        because: String::new(),
        answer: Foreseen::Denied,
        rule: String::new(),
        connects: false,
        policies: Vec::new(),
        grant: None,
    }
}

fn may_ask(actor: &Actor, role: &AccessRole) -> bool {
    is_allowed(actor, Action::Create, &rights::role(role))
}

/// What is asked for in thought.
struct Asked<'a> {
    actor: &'a Actor,
    connection: &'a str,
    role_name: &'a str,
    role: &'a AccessRole,
    on_behalf_of: Option<&'a PrincipalRef>,
}

impl Asked<'_> {
    /// The answer, why it may be asked for, and the rule that answers.
    async fn foreseen(&self, tx: &mut Tx, now: Micros) -> Result<(Foreseen, String, String), Problem> {
        let Self { actor, role, .. } = *self;
        let denied = |because: String, rule: &str| Ok((Foreseen::Denied, because, rule.to_owned()));
        if !actor.reaches(self.connection, self.role_name) {
            let may = actor.may.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            return denied(format!("the token is narrowed to {may}"), "");
        }
        let mine = |groups: &[String]| {
            let mine = groups.iter().filter(|group| actor.groups.contains(group)).cloned();
            mine.collect::<Vec<_>>().join(", ")
        };
        if !may_ask(actor, role) {
            if let Some(named) = role.break_glass.as_ref().filter(|_| self.breaks_glass()) {
                let because = format!("in {}, who get it in emergencies", mine(&named.groups));
                return denied(because, "granted at once with `--break-glass`, and reviewed afterwards");
            }
            return denied(format!("only members of {} may ask", role.groups.join(", ")), "");
        }
        let because = match &*role.groups {
            [] => "everybody may ask".to_owned(),
            groups => format!("in {}", mine(groups)),
        };
        Ok(match rule(tx, actor, &mut self.ask(), now).await? {
            Rule::Approved(rule) => (Foreseen::Granted, because, rule),
            Rule::Review(_, rule) => (Foreseen::Review, because, rule),
        })
    }

    fn breaks_glass(&self) -> bool {
        is_allowed(self.actor, Action::BreakGlass, &rights::role(self.role))
    }

    fn ask(&self) -> Ask {
        Ask {
            kind: RequestKind::Access,
            connection: self.connection.to_owned(),
            role_name: self.role_name.to_owned(),
            role: self.role.clone(),
            duration: SHORTEST,
            reason: String::new(),
            ticket: None,
            on_behalf_of: self.on_behalf_of.cloned(),
            relations: Vec::new(),
            client_address: None,
        }
    }

    async fn open_grant(&self, tx: &mut Tx, now: Micros) -> Result<Option<OpenGrant>, Problem> {
        let principal = &self.actor.principal.id;
        let open = access::open_grants_for(tx, principal, self.connection, self.role_name, now).await?;
        let fits = |grant: &access::GrantRow| {
            grant.status(now) == GrantStatus::Open && grant.on_behalf_of.as_ref() == self.on_behalf_of
        };
        let newest = open.into_iter().filter(fits).max_by(|one, other| one.starts_at.cmp(&other.starts_at));
        Ok(newest.map(|grant| OpenGrant { id: grant.id, expires_at: grant.ends_at }))
    }

    /// Whether policies let a session begin now, from no address in particular, and which of them say so.
    fn session(&self, loaded: &Policies, frozen: bool, now: Micros) -> (bool, Vec<String>) {
        let Actor { principal, groups, .. } = self.actor;
        let subject = Subject {
            principal: policies::principal(principal, groups),
            connection: Connection { name: self.connection.into(), tags: Default::default(), freeze: frozen },
            grant: Grant {
                role: self.role_name.to_owned(),
                read_only: self.role.read_only,
                on_behalf_of: self.on_behalf_of.map(|user| user.name.clone()).unwrap_or_default(),
                ..Grant::default()
            },
        };
        let moment = Moment { now, offset: 0, client: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let decision = loaded.decide_session(&subject, &moment);
        (decision.is_permitted(), decision.policies.iter().map(ToString::to_string).collect())
    }
}

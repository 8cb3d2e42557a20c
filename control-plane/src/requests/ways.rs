//! What would become of somebody's requests for the access roles of a connection, and why. Nothing is asked for.

use super::{
    ask::{Ask, represented},
    rule::{Rule, rule},
};
use crate::{
    identity::Actor,
    policies,
    problem::Problem,
    rights::{self, Action, is_allowed},
    stops,
    store::{Store, Tx, access, connections, freezes, policies as policy_rows},
};
use postern_api::{
    access::{GrantStatus, RequestKind},
    document::{AccessRole, ConnectionDocument},
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
    if !document.roles.values().any(sees) && !actor.admin {
        return Err(missing());
    }
    let on_behalf_of = represented(&mut tx, actor, on_behalf_of).await?;
    let barred = barred(&mut tx, actor, on_behalf_of.as_ref()).await?;
    let policies = in_force(&mut tx).await?;
    let asker = Asker { actor, on_behalf_of: on_behalf_of.as_ref(), anybodys: false, barred };
    let roles = asker.ways(&mut tx, &policies, &document, sees, now).await?;
    Ok(asker.ways_in(document.name, roles))
}

/// The policies that hold.
pub(super) async fn in_force(tx: &mut Tx) -> Result<Policies, Problem> {
    let state = policy_rows::state(tx).await?;
    policies::load(policies::merged(tx, &state, &[]).await?).await
}

/// Why they get nothing at all, if that is so.
pub(super) async fn barred(
    tx: &mut Tx,
    actor: &Actor,
    on_behalf_of: Option<&PrincipalRef>,
) -> Result<Option<String>, Problem> {
    let mut stopped = None;
    for principal in [Some(&actor.principal), on_behalf_of].into_iter().flatten() {
        stopped = stopped.or(stops::check(tx, principal).await.err());
    }
    Ok(stopped.map(|problem| problem.to_string()))
}

/// Who would ask.
pub(super) struct Asker<'a> {
    pub(super) actor: &'a Actor,
    /// For whom.
    pub(super) on_behalf_of: Option<&'a PrincipalRef>,
    /// Whether grants are told on whosever behalf they are.
    pub(super) anybodys: bool,
    /// Why they get nothing at all.
    pub(super) barred: Option<String>,
}

impl Asker<'_> {
    /// What those access roles of a connection are to them that are to be seen.
    pub(super) async fn ways(
        &self,
        tx: &mut Tx,
        policies: &Policies,
        document: &ConnectionDocument,
        sees: impl Fn(&AccessRole) -> bool,
        now: Micros,
    ) -> Result<Vec<WayIn>, Problem> {
        let frozen = freezes::of(tx, &document.name).await?.is_some();
        let mut ways = Vec::new();
        for (role_name, role) in document.roles.iter().filter(|(_, role)| sees(role)) {
            let mut way = described(self.actor, role_name, role);
            let ask = Asked { asker: self, connection: &document.name, role_name, role };
            (way.answer, way.because, way.rule) = match &self.barred {
                Some(barred) => (Foreseen::Denied, barred.clone(), String::new()),
                None => ask.foreseen(tx, now).await?,
            };
            way.grant = ask.open_grant(tx, now).await?;
            (way.connects, way.policies) = ask.session(policies, frozen, now);
            ways.push(way);
        }
        Ok(ways)
    }

    /// Those, with whose they are.
    pub(super) fn ways_in(&self, connection: String, roles: Vec<WayIn>) -> WaysIn {
        let (principal, groups) = (self.actor.principal.clone(), self.actor.groups.clone());
        WaysIn { connection, principal, groups, on_behalf_of: self.on_behalf_of.cloned(), roles }
    }
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
        in_emergencies,
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
    asker: &'a Asker<'a>,
    connection: &'a str,
    role_name: &'a str,
    role: &'a AccessRole,
}

impl Asked<'_> {
    /// The answer, why it may be asked for, and the rule that answers.
    async fn foreseen(&self, tx: &mut Tx, now: Micros) -> Result<(Foreseen, String, String), Problem> {
        let (actor, role) = (self.asker.actor, self.role);
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
        is_allowed(self.asker.actor, Action::BreakGlass, &rights::role(self.role))
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
            on_behalf_of: self.asker.on_behalf_of.cloned(),
            relations: Vec::new(),
            client_address: None,
        }
    }

    async fn open_grant(&self, tx: &mut Tx, now: Micros) -> Result<Option<OpenGrant>, Problem> {
        let Asker { actor, on_behalf_of, anybodys, .. } = *self.asker;
        let principal = &actor.principal.id;
        let open = access::open_grants_for(tx, principal, self.connection, self.role_name, now).await?;
        let fits = |grant: &access::GrantRow| {
            grant.status(now) == GrantStatus::Open && (anybodys || grant.on_behalf_of.as_ref() == on_behalf_of)
        };
        let newest = open.into_iter().filter(fits).max_by(|one, other| one.starts_at.cmp(&other.starts_at));
        Ok(newest.map(|grant| OpenGrant { id: grant.id, expires_at: grant.ends_at, on_behalf_of: grant.on_behalf_of }))
    }

    /// Whether policies let a session begin now, from no address in particular, and which of them say so.
    fn session(&self, loaded: &Policies, frozen: bool, now: Micros) -> (bool, Vec<String>) {
        let Asker { actor: Actor { principal, groups, .. }, on_behalf_of, .. } = self.asker;
        let subject = Subject {
            principal: policies::principal(principal, groups),
            connection: Connection { name: self.connection.into(), tags: Default::default(), freeze: frozen },
            grant: Grant {
                role: self.role_name.to_owned(),
                read_only: self.role.read_only,
                on_behalf_of: on_behalf_of.map(|user| user.name.clone()).unwrap_or_default(),
                ..Grant::default()
            },
        };
        let moment = Moment { now, offset: 0, client: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let decision = loaded.decide_session(&subject, &moment);
        (decision.is_permitted(), decision.policies.iter().map(ToString::to_string).collect())
    }
}

//! What the policies say of a session's statements, once any were applied.

use super::{ceilings::Ceilings, limits::Limits};
use crate::rules::{Current, Rules};
use postern_policy::{
    Connection, Decision, Grant, Moment, Obligations, Outcome, Plan, Principal, PrincipalKind, Subject,
};
use postern_proto::v1::{self, Ticket};
use postern_sql::facts::{self, Action, Object};
use postern_types::time::Micros;
use postern_wire::error::Report;
use std::{
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
};

/// The policies as they are for one session.
pub struct Policy {
    current: Arc<Current>,
    rules: Arc<Rules>,
    subject: Subject,
    client: IpAddr,
    plan: Plan,
    /// Of the session, since it began.
    ceilings: Ceilings,
}

impl Policy {
    /// For the session of a ticket.
    ///
    /// # Errors
    /// When it is not known what is in force: nothing may run then.
    pub fn new(current: &Arc<Current>, ticket: &Ticket) -> Result<Self, Report> {
        let rules = rules(current)?;
        let kind = match ticket.principal.as_ref().map(v1::Principal::kind) {
            Some(v1::principal::Kind::User) => PrincipalKind::User,
            _ => PrincipalKind::Agent,
        };
        let name = |principal: &Option<v1::Principal>| {
            principal.as_ref().map(|principal| principal.name.clone()).unwrap_or_default()
        };
        let groups = ticket.groups.iter().map(|group| group.as_str().into()).collect();
        let mut subject = Subject {
            principal: Principal { kind, name: name(&ticket.principal).into(), groups },
            connection: Connection { name: ticket.connection.as_str().into(), tags: Default::default(), freeze: false },
            grant: Grant {
                id: ticket.grant_id.clone(),
                role: ticket.access_role.clone(),
                read_only: ticket.read_only,
                reason: ticket.reason.clone(),
                ticket: ticket.request_ticket.clone(),
                on_behalf_of: name(&ticket.on_behalf_of),
                tainted: false,
                task: String::new(),
            },
        };
        let client = ticket.client_address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let plan = plan(&rules, &mut subject);
        let ceilings = if rules.version == 0 {
            Ceilings::default()
        } else {
            let decision = plan.decide_session(&Moment { now: Micros::now(), offset: 0, client });
            match &decision.outcome {
                Outcome::Allow { obligations } => Ceilings::new(obligations, &by(&decision)),
                // Each statement is told why.
                Outcome::Review { .. } | Outcome::Deny(_) => Ceilings::default(),
            }
        };
        Ok(Self { current: Arc::clone(current), rules, subject, client, plan, ceilings })
    }

    /// What the session's time-outs may be.
    pub fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    /// Whether a statement that only reads may run, and within which limits. Before any policy was applied, it may.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&mut self, statement: &facts::Statement, limits: &mut Limits) -> Result<(), Report> {
        let rules = rules(&self.current)?;
        if rules.counter != self.rules.counter {
            self.plan = plan(&rules, &mut self.subject);
            self.rules = rules;
        }
        if self.rules.version == 0 {
            return Ok(());
        }
        let unknown =
            || Report::new("57P03", "the connector does not know this connection's policies", "Connect again.");
        let facts = self.rules.connections.get(&*self.subject.connection.name).ok_or_else(unknown)?;
        let moment = Moment { now: Micros::now(), offset: 0, client: self.client };
        let decision = self.plan.decide(&moment, &without_own_settings(statement), &facts.objects);
        match &decision.outcome {
            Outcome::Allow { obligations } if *obligations == Obligations::default() => Ok(()),
            Outcome::Allow { obligations } if obligations.record_binds => Err(not_enforced(&decision, "@record_binds")),
            Outcome::Allow { obligations } => {
                self.ceilings.admit(statement)?;
                self.ceilings.cover(obligations)?;
                limits.oblige(obligations, &by(&decision));
                Ok(())
            }
            Outcome::Review { .. } => Err(not_enforced(&decision, "a review")),
            Outcome::Deny(denial) => {
                let by = names(&decision);
                Err(Report {
                    sqlstate: "42501".to_owned(),
                    message: denial.message.clone(),
                    detail: if by.is_empty() { "No policy permits it.".to_owned() } else { format!("Policies: {by}.") },
                    hint: denial.hint.clone(),
                })
            }
        }
    }
}

fn not_enforced(decision: &Decision, what: &str) -> Report {
    Report {
        sqlstate: "0A000".to_owned(),
        message: format!("the policies permit this statement with {what}"),
        detail: format!("Policies: {}. Connectors of this version cannot do that.", names(decision)),
        hint: "Ask for another access role, or have the policies changed.".to_owned(),
    }
}

fn names(decision: &Decision) -> String {
    decision.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whose limits they are, as it is told.
fn by(decision: &Decision) -> Rc<str> {
    let policies = if decision.policies.len() == 1 { "the policy" } else { "the policies" };
    format!("{policies} {}", names(decision)).into()
}

/// What these rules say of a session.
fn plan(rules: &Rules, subject: &mut Subject) -> Plan {
    let facts = rules.connections.get(&*subject.connection.name);
    subject.connection.freeze = facts.is_some_and(|facts| facts.frozen);
    Plan::for_grant(Arc::clone(&rules.policies), Arc::new(subject.clone()))
}

fn rules(current: &Current) -> Result<Arc<Rules>, Report> {
    let unknown =
        || Report::new("57P03", "the connector has not heard yet which policies are in force", "Connect again.");
    current.load().as_ref().map(Arc::clone).ok_or_else(unknown)
}

/// Whether a session that may do more than read can be served: its statements are not decided by policies in this version.
///
/// # Errors
/// Why not.
pub fn admit_writer(current: &Current, connection: &str) -> Result<(), Report> {
    let rules = rules(current)?;
    match refusal_of_writers(&rules, connection) {
        Some(report) => Err(report),
        None => Ok(()),
    }
}

/// Why no session that may do more than read can be served on a connection.
pub fn refusal_of_writers(rules: &Rules, connection: &str) -> Option<Report> {
    let frozen = rules.connections.get(connection).is_some_and(|facts| facts.frozen);
    if frozen {
        let hint = "Wait until an admin ends the freeze, or ask for an access role that only reads.";
        return Some(Report::new(
            "42501",
            format!("the connection {connection} is frozen: nobody may change anything"),
            hint,
        ));
    }
    (rules.version != 0).then(|| {
        Report::new(
            "0A000",
            "while policies are applied, only read-only access roles are served in this version",
            "Ask for an access role that only reads.",
        )
    })
}

/// A setting of one's own results, made by `set_config`, was judged as the setting that it is.
fn without_own_settings(statement: &facts::Statement) -> facts::Statement {
    let is_set_config = |name: &facts::Name| &*name.schema == "pg_catalog" && &*name.name == "set_config";
    let mut statement = statement.clone();
    statement.functions.retain(|function| !is_set_config(&function.name));
    statement.accesses.retain(|access| match &access.object {
        Object::Function(name) => access.action != Action::Call || !is_set_config(name),
        _ => true,
    });
    statement
}

//! What the policies in force say of a session's statements.

use super::{
    basis::{Basis, Last, Ruled},
    ceilings::Ceilings,
    narrow::{Narrow, Reach},
};
use crate::{
    masked::Known,
    probes::Asked,
    roles::Hidden,
    rules::{Current, Facts, Rules},
};
use postern_policy::{
    Connection, Decision, Deed, Grant, Moment, Obligations, Outcome, Plan, Principal, PrincipalKind, Subject,
    objects::Describe,
};
use postern_proto::v1::{self, Ticket};
use postern_sql::{
    Analysis, Catalog,
    facts::{self, Action, Object},
};
use postern_types::time::Micros;
use postern_wire::error::Report;
use std::{net::IpAddr, rc::Rc, sync::Arc};

/// The policies as they are for one session.
pub struct Policy {
    current: Arc<Current>,
    known: Arc<Known>,
    asked: Arc<Asked>,
    rules: Arc<Rules>,
    /// What of it is of the connection.
    facts: Option<Arc<Facts>>,
    subject: Subject,
    client: IpAddr,
    plan: Plan,
    /// Of the session, since it began.
    ceilings: Ceilings,
    /// Whether the plan permits everything there is, with nothing asked for in return.
    everything: bool,
    /// Whether any policy asks for a review.
    reviews: bool,
    /// Whether the database was told to keep masked columns from the session.
    keeps_hidden: bool,
    /// What the grant is narrowed to, if it is.
    narrow: Option<Narrow>,
}

impl Policy {
    /// For the session of a ticket.
    ///
    /// # Errors
    /// When it is not known what is in force: nothing may run then.
    pub fn new(current: &Arc<Current>, known: &Arc<Known>, ticket: &Ticket) -> Result<Self, Report> {
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
        let client = Moment::client(&ticket.client_address);
        let facts = facts(&rules, &subject);
        let (plan, everything) = plan(&rules, facts.as_deref(), &mut subject);
        let decision = plan.decide_session(&Moment { now: Micros::now(), offset: 0, client });
        let ceilings = match &decision.outcome {
            Outcome::Allow { obligations } => Ceilings::new(obligations, &by(&decision)),
            // Each statement is told why.
            Outcome::Review { .. } | Outcome::Deny(_) => Ceilings::default(),
        };
        let (current, known) = (Arc::clone(current), Arc::clone(known));
        let asked = known.probes.of(ticket, Micros::now());
        let ask = format!(
            "`postern request {} --role {} --for 10m --reason \"…\" --table SCHEMA.NAME`",
            ticket.connection, ticket.access_role
        );
        let reviews = rules.policies.asks_for_reviews();
        let narrow = Narrow::to(&ticket.relations, ask);
        let keeps_hidden = false;
        Ok(Self {
            current,
            known,
            asked,
            rules,
            facts,
            subject,
            client,
            plan,
            ceilings,
            everything,
            reviews,
            keeps_hidden,
            narrow,
        })
    }

    /// Finds what the grant is narrowed to in this catalog; nothing, where it is not narrowed. Until then nothing may be
    /// touched.
    ///
    /// # Errors
    /// When it is for something that does not exist.
    pub fn narrow(&mut self, catalog: &Catalog, major: u16) -> Result<Option<&Reach>, Report> {
        self.narrow.as_mut().map(|narrow| narrow.resolve(catalog, major)).transpose()
    }

    /// What the database itself is to keep from the session: what is masked by this catalog; nothing, where the policies let
    /// it see all of that.
    #[must_use]
    pub fn hidden(&mut self, catalog: &Catalog) -> Vec<Hidden> {
        let masked = self.known.masked(self.connection(), &self.rules, catalog, false);
        let Some(masked) = masked.filter(|_| !self.everything) else { return Vec::new() };
        let moment = self.moment();
        let (mut hidden, mut any) = (Vec::new(), false);
        for (relation, table) in &masked.rules.tables {
            let of =
                |column| Hidden { schema: relation.schema.to_string(), relation: relation.name.to_string(), column };
            for column in table.columns.keys() {
                any |= !self.plan.decide_unmask_always(&moment, &masked.objects, relation, column).is_allowed();
                hidden.push(of(Some(column.to_string())));
            }
            if !table.lost.is_empty() {
                any = true;
                hidden.push(of(None));
            }
        }
        self.keeps_hidden = any;
        if any { hidden } else { Vec::new() }
    }

    /// Whether the database itself refuses to read masked columns.
    pub(super) fn keeps_hidden(&self) -> bool {
        self.keeps_hidden
    }

    /// What the session's time-outs may be.
    #[must_use]
    pub fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// What the grant has asked about masked columns.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(super) fn connection(&self) -> &str {
        &self.subject.connection.name
    }

    /// Whether the access role only reads, whatever policies say.
    pub(super) fn only_reads(&self) -> bool {
        self.subject.grant.read_only
    }

    /// A statement as policies are told of it.
    pub(super) fn told(statement: &facts::Statement) -> facts::Statement {
        without_what_is_told(statement)
    }

    /// What a permit asks for that holds of a statement besides those of its accesses.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(super) fn oblige(
        &self,
        statement: &facts::Statement,
        decision: Decision,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        self.enforce(statement, &decision, ruled)?;
        ruled.permitted(decision);
        Ok(())
    }

    /// Takes what is in force now. Between two calls nothing changes.
    pub fn refresh(&mut self) {
        let current = self.current.load();
        let Some(rules) = current.as_ref().filter(|rules| rules.counter != self.rules.counter) else { return };
        self.facts = facts(rules, &self.subject);
        (self.plan, self.everything) = plan(rules, self.facts.as_deref(), &mut self.subject);
        self.reviews = rules.policies.asks_for_reviews();
        self.rules = Arc::clone(rules);
    }

    /// Whether everything is permitted, whatever it is and does, so that statements need not be understood.
    #[must_use]
    pub fn permits_everything(&self) -> bool {
        self.everything && self.narrow.is_none()
    }

    /// Whether changes are frozen on the connection.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.subject.connection.freeze
    }

    /// Whether any policy asks for a review.
    pub(super) fn asks_for_reviews(&self) -> bool {
        self.reviews
    }

    /// Of one counter there is one answer, as long as time does not change it.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.rules.counter
    }

    /// This moment, at which the statements of one string are decided.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { now: Micros::now(), offset: 0, client: self.client }
    }

    /// Whether a statement may run.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, statement: &facts::Statement, ruled: &mut Ruled) -> Result<(), Report> {
        let (told, objects) = (without_what_is_told(statement), &self.facts()?.objects);
        if let Some(narrow) = &self.narrow {
            narrow.admit(&told)?;
        }
        let decision = self.plan.decide(&ruled.moment, &told, objects);
        if let Err(report) = self.enforce(statement, &decision, ruled) {
            ruled.refused(decision, Deed::of(&told, objects));
            return Err(report);
        }
        ruled.permitted(decision);
        Ok(())
    }

    /// What comes of a decision: limits of the statement, or a refusal.
    fn enforce(&self, statement: &facts::Statement, decision: &Decision, ruled: &mut Ruled) -> Result<(), Report> {
        match &decision.outcome {
            // Whether there is a reason was decided, and values are recorded when they come.
            Outcome::Allow { obligations } => self.bound(statement, decision, obligations, ruled),
            Outcome::Review { review, obligations, message, .. } => {
                self.bound(statement, decision, obligations, ruled)?;
                ruled.consent.get_or_insert_default().add(review, decision, message.as_ref());
                Ok(())
            }
            Outcome::Deny(denial) => {
                let by = names(decision);
                Err(Report {
                    sqlstate: "42501".to_owned(),
                    message: denial.message.clone(),
                    detail: if by.is_empty() { "No policy permits it.".to_owned() } else { format!("Policies: {by}.") },
                    hint: denial.hint.clone(),
                })
            }
        }
    }

    fn bound(
        &self,
        statement: &facts::Statement,
        decision: &Decision,
        obligations: &Obligations,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        if *obligations != Obligations::default() {
            self.ceilings.admit(statement)?;
            self.ceilings.cover(obligations)?;
            ruled.limits.oblige(obligations, &by(decision));
        }
        Ok(())
    }

    /// What was decided by, for the record; nothing, where policies were not asked. `last` is what this was for the same
    /// statements last.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn basis(&self, ruled: Ruled, analysis: &Analysis, last: &Last) -> Result<Option<Basis>, Report> {
        let Ruled { moment, policies: Some(policies), refused, record_binds, .. } = ruled else {
            return Ok(None);
        };
        let objects = &self.facts()?.objects;
        let kept = last.get(self.rules.counter, policies, refused, |policies, refused| {
            let mut statements = deeds(analysis, objects);
            // What the string stood for when it was prepared is not among them.
            statements.extend(refused.filter(|refused| !statements.contains(refused)).cloned());
            postern_policy::Basis {
                version: self.rules.version,
                hash: self.rules.policies.version().to_owned(),
                policies,
                subject: self.subject.clone(),
                statements,
            }
        })?;
        Ok(Some(Basis { moment, kept, record_binds }))
    }

    pub(super) fn facts(&self) -> Result<&Facts, Report> {
        let unknown =
            || Report::new("57P03", "the connector does not know this connection's policies", "Connect again.");
        self.facts.as_deref().ok_or_else(unknown)
    }
}

/// What policies are told of each statement.
pub fn deeds(analysis: &Analysis, objects: &dyn Describe) -> Vec<Deed> {
    let statements = analysis.script.statements.iter();
    statements.map(|statement| Deed::of(&without_what_is_told(statement), objects)).collect()
}

fn names(decision: &Decision) -> String {
    decision.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whose limits they are, as it is told.
fn by(decision: &Decision) -> Rc<str> {
    let policies = if decision.policies.len() == 1 { "the policy" } else { "the policies" };
    format!("{policies} {}", names(decision)).into()
}

/// What these rules say of a session, and whether they permit it everything.
fn plan(rules: &Rules, facts: Option<&Facts>, subject: &mut Subject) -> (Plan, bool) {
    subject.connection.freeze = facts.is_some_and(|facts| facts.frozen);
    let everything = facts.is_some() && rules.policies.permit_everything(subject);
    (Plan::for_grant(Arc::clone(&rules.policies), Arc::new(subject.clone())), everything)
}

/// What these rules say of a session's connection.
fn facts(rules: &Rules, subject: &Subject) -> Option<Arc<Facts>> {
    rules.connections.get(&*subject.connection.name).cloned()
}

fn rules(current: &Current) -> Result<Arc<Rules>, Report> {
    let unknown =
        || Report::new("57P03", "the connector has not heard yet which policies are in force", "Connect again.");
    current.load().as_ref().map(Arc::clone).ok_or_else(unknown)
}

/// What these functions do is told by accesses and settings of their own: a setting that is changed, a sequence that is updated.
const TOLD: [&str; 3] = ["set_config", "nextval", "setval"];

/// A statement without the calls that are judged by what they do.
fn without_what_is_told(statement: &facts::Statement) -> facts::Statement {
    let is_told = |name: &facts::Name| &*name.schema == "pg_catalog" && TOLD.contains(&&*name.name);
    let mut statement = statement.clone();
    statement.functions.retain(|function| !is_told(&function.name));
    statement.accesses.retain(|access| match &access.object {
        Object::Function(name) => access.action != Action::Call || !is_told(name),
        _ => true,
    });
    statement
}

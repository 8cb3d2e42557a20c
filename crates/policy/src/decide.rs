//! Decisions by Cedar, each time: one question for each (action, resource) of a statement. [`Plan`](crate::Plan) gives
//! the same answers faster.

use crate::{
    basis::Deed,
    cedar::{self, Changing, Fault, Ruling, Target},
    decision::{Decision, Denial, DenialCause, Outcome, PolicyName},
    facts::{Action, Asked, Facts, StatementFacts, Way},
    load::Policies,
    objects::Describe,
    obligations::{Obligations, Review},
    reads::Reads,
    subject::{Moment, Subject},
};
use postern_sql::facts::{Name, Statement};
use std::{collections::BTreeSet, sync::Arc};

/// A statement that somebody wants to run.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who, where, by which grant.
    pub subject: &'a Subject,
    /// When, from where.
    pub moment: &'a Moment,
    /// What.
    pub statement: &'a Statement,
    /// What is known of what it touches.
    pub objects: &'a dyn Describe,
}

impl Question<'_> {
    /// Everything that the answer rests on.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Deed::of(self.statement, self.objects).facts(self.subject, self.moment)
    }
}

impl Policies {
    /// Decides on a statement: it may run if `connect` is permitted and each of its accesses is.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        self.decide_again(&question.facts())
    }

    /// Decides on recorded facts.
    #[must_use]
    pub fn decide_again(&self, facts: &Facts) -> Decision {
        let mut judge = Plain { policies: self, facts };
        let items = std::iter::once(Asked::connect()).chain(facts.accesses.iter().cloned());
        conclude(self, &facts.subject, &facts.moment, items, &mut judge)
    }

    /// Decides whether a session may begin. Also the limits that hold throughout it.
    #[must_use]
    pub fn decide_session(&self, subject: &Subject, moment: &Moment) -> Decision {
        self.decide_again(&Facts {
            subject: subject.clone(),
            moment: *moment,
            statement: StatementFacts::default(),
            accesses: Vec::new(),
        })
    }

    /// Decides whether a statement may show the values of a column.
    #[must_use]
    pub fn decide_unmask(&self, question: &Question<'_>, relation: &Name, column: &Arc<str>) -> Decision {
        self.decide_column(Action::Unmask, question, relation, column)
    }

    /// Decides whether a statement may write over the values of a masked column.
    #[must_use]
    pub fn decide_overwrite(&self, question: &Question<'_>, relation: &Name, column: &Arc<str>) -> Decision {
        self.decide_column(Action::Overwrite, question, relation, column)
    }

    fn decide_column(&self, action: Action, question: &Question<'_>, relation: &Name, column: &Arc<str>) -> Decision {
        let facts = question.facts();
        let mut judge = Plain { policies: self, facts: &facts };
        let item = Asked::column(action, relation, column, question.objects);
        conclude(self, question.subject, question.moment, std::iter::once(item), &mut judge)
    }

    /// Which policies hold for one access.
    pub(crate) fn rule(&self, facts: &Facts, asked: &Asked) -> Result<Ruling, Fault> {
        let target = Target::new(&self.types, &self.actions, &facts.subject, asked)?;
        let changing = Changing::Given(&facts.statement, &facts.moment, Reads::EVERYTHING);
        let request = target.request(cedar::context(&facts.subject, asked, changing)?)?;
        let mut ruling = Ruling::default();
        ruling.add(self, [&self.permits, &self.forbids], &request, &target.entities);
        ruling.reads = self.reads_of(&self.in_scope(&request, &target));
        Ok(ruling)
    }

    /// Checks that recorded facts put questions that the schema knows, as all of Postern's own do. For facts that come
    /// from elsewhere.
    ///
    /// # Errors
    /// When they don't.
    pub fn fits_schema(&self, facts: &Facts) -> Result<(), Fault> {
        for asked in std::iter::once(&Asked::connect()).chain(&facts.accesses) {
            let target = Target::new(&self.types, &self.actions, &facts.subject, asked)?;
            let context = cedar::context(
                &facts.subject,
                asked,
                Changing::Given(&facts.statement, &facts.moment, Reads::EVERYTHING),
            )?;
            target.check(context, &self.schema)?;
        }
        Ok(())
    }

    /// Of the policies that read what changes, those whose scope covers the access.
    pub(crate) fn in_scope(&self, request: &cedar_policy::Request, target: &Target) -> Vec<usize> {
        let mut scopes = Ruling::default();
        scopes.add(self, [&self.changing_scopes, &cedar_policy::PolicySet::new()], request, &target.entities);
        scopes.permits
    }

    pub(crate) fn reads_of(&self, rules: &[usize]) -> Reads {
        rules.iter().filter_map(|n| self.rules.get(*n)).fold(Reads::default(), |reads, rule| reads.with(rule.reads))
    }

    pub(crate) fn names_of(&self, rules: impl IntoIterator<Item = usize>) -> Vec<PolicyName> {
        let names = rules.into_iter().filter_map(|n| self.rules.get(n)).map(|rule| rule.name.clone());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Rules on one access after another. What an access is known by is the judge's own.
pub(crate) trait Judge {
    type Item: Clone;
    fn rule(&mut self, item: &Self::Item) -> Arc<Ruling>;
    /// The same resource with another action.
    fn with_action(&self, item: &Self::Item, action: Action) -> Option<Self::Item>;
    fn describe(&self, item: &Self::Item) -> Asked;
    fn action(&self, item: &Self::Item) -> Action;
}

struct Plain<'a> {
    policies: &'a Policies,
    facts: &'a Facts,
}

impl Judge for Plain<'_> {
    type Item = Asked;

    fn rule(&mut self, item: &Asked) -> Arc<Ruling> {
        Arc::new(self.policies.rule(self.facts, item).unwrap_or_else(|_| Ruling::fault()))
    }

    fn with_action(&self, item: &Asked, action: Action) -> Option<Asked> {
        Some(Asked { action, resource: item.resource.clone(), manner: Way::Plain })
    }

    fn describe(&self, item: &Asked) -> Asked {
        item.clone()
    }

    fn action(&self, item: &Asked) -> Action {
        item.action
    }
}

/// From rulings to a decision: everything has to be permitted; the first that is not decides.
pub(crate) fn conclude<J: Judge>(
    policies: &Policies,
    subject: &Subject,
    moment: &Moment,
    items: impl Iterator<Item = J::Item>,
    judge: &mut J,
) -> Decision {
    let mut sum = Sum::default();
    for item in items {
        let ruling = judge.rule(&item);
        sum.reads = sum.reads.with(ruling.reads);
        if !ruling.is_permitted() {
            return denied(policies, subject, moment, &item, (&ruling, sum.reads), judge);
        }
        // Nobody is asked whether a session may begin.
        sum.add(policies, &ruling, judge.action(&item) != Action::Connect);
        // The first access that asks for a reason, since it is the one to be named.
        if sum.obligations.reason_required && subject.grant.reason.trim().is_empty() {
            return reason_missing(policies, subject, moment, &judge.describe(&item), (&ruling, sum.reads));
        }
    }
    let Sum { obligations, review, policies: rules, message, hint, reads } = sum;
    let outcome = if review.is_none() {
        Outcome::Allow { obligations }
    } else {
        Outcome::Review { review, obligations, message, hint }
    };
    Decision { outcome, policies: policies.names_of(rules), lifetime: reads.lifetime(moment) }
}

/// What the permits of several accesses ask for together.
#[derive(Default)]
struct Sum {
    obligations: Obligations,
    review: Review,
    policies: Vec<usize>,
    message: Option<Arc<str>>,
    hint: Option<Arc<str>>,
    reads: Reads,
}

impl Sum {
    /// `held` says whether a review is heeded.
    fn add(&mut self, policies: &Policies, ruling: &Ruling, held: bool) {
        for (n, rule) in ruling.permits.iter().filter_map(|n| Some((*n, policies.rules.get(*n)?))) {
            self.obligations.merge(&rule.duties.obligations);
            self.policies.push(n);
            if held && !rule.duties.review.is_none() {
                self.review.merge(&rule.duties.review);
                self.message = self.message.take().or_else(|| rule.duties.message.clone());
                self.hint = self.hint.take().or_else(|| rule.duties.hint.clone());
            }
        }
    }
}

fn denied<J: Judge>(
    policies: &Policies,
    subject: &Subject,
    moment: &Moment,
    item: &J::Item,
    (ruling, mut reads): (&Ruling, Reads),
    judge: &mut J,
) -> Decision {
    let asked = judge.describe(item);
    let (action, resource) = (asked.action, asked.resource.to_string());
    let what = format!("{action} on {resource}");
    let (cause, names, message) = if !ruling.forbids.is_empty() {
        let names = policies.names_of(ruling.forbids.iter().copied());
        let quoted = quoted(&names);
        (DenialCause::Forbidden, names, format!("{what} is forbidden by policy {quoted}"))
    } else if ruling.fault || !ruling.errors.is_empty() {
        let names = policies.names_of(ruling.errors.iter().copied());
        (DenialCause::Error, names, format!("{what} is refused, since a policy could not be evaluated"))
    } else {
        (DenialCause::NotPermitted, Vec::new(), format!("no policy permits {what}"))
    };
    let forbids = ruling.forbids.iter().filter_map(|n| policies.rules.get(*n));
    let told = forbids.clone().find_map(|rule| rule.duties.message.as_deref());
    let message = told.map_or_else(|| message.clone(), |told| format!("{message}: {told}"));
    let hint = forbids.clone().find_map(|rule| rule.duties.hint.as_deref().map(str::to_owned)).unwrap_or_else(|| {
        let (possible, of_possible) = possible(item, judge);
        reads = reads.with(of_possible);
        hint(subject, cause, (action, &resource), &possible)
    });
    let denial = Denial { action, resource, cause, message, hint };
    Decision { outcome: Outcome::Deny(denial), policies: names, lifetime: reads.lifetime(moment) }
}

/// What else may be done to the same resource.
fn possible<J: Judge>(item: &J::Item, judge: &mut J) -> (Vec<Action>, Reads) {
    let mut reads = Reads::default();
    let mut possible = Vec::new();
    if judge.action(item).is_of_statements() {
        for action in Action::ALL.into_iter().filter(|action| action.is_of_statements()) {
            let Some(other) = judge.with_action(item, action) else { continue };
            let ruling = judge.rule(&other);
            reads = reads.with(ruling.reads);
            if ruling.is_permitted() {
                possible.push(action);
            }
        }
    }
    (possible, reads)
}

fn hint(subject: &Subject, cause: DenialCause, (action, resource): (Action, &str), possible: &[Action]) -> String {
    let ask = format!(
        "`postern connections` lists the access roles, `postern request {} --role ROLE --reason \"…\"` asks for one",
        subject.connection.name
    );
    match (cause, action) {
        (DenialCause::Error, _) => "tell an admin: the policies on this connection need mending".to_owned(),
        (_, Action::Connect) => format!("this grant opens no session here and now; {ask}"),
        (_, Action::Unmask) => "the column's values stay masked under this grant".to_owned(),
        (_, Action::Overwrite) => format!("this grant sees {resource} masked, and may not write over it; {ask}"),
        _ if possible.is_empty() => format!("this grant may do nothing to {resource}; {ask}"),
        _ => {
            let possible: Vec<_> = possible.iter().map(|action| action.as_str()).collect();
            format!("this grant may do this to {resource}: {}; {ask}", possible.join(", "))
        }
    }
}

fn reason_missing(
    policies: &Policies,
    subject: &Subject,
    moment: &Moment,
    asked: &Asked,
    (ruling, reads): (&Ruling, Reads),
) -> Decision {
    let rules = ruling.permits.iter().copied();
    let asking = |n: &usize| policies.rules.get(*n).is_some_and(|rule| rule.duties.obligations.reason_required);
    let names = policies.names_of(rules.filter(asking));
    let (action, resource) = (asked.action, asked.resource.to_string());
    let denial = Denial {
        cause: DenialCause::ReasonMissing,
        message: format!("{action} on {resource} needs a grant with a reason, by policy {}", quoted(&names)),
        hint: format!(
            "ask for a grant with a reason: `postern request {} --role {} --reason \"…\"`",
            subject.connection.name, subject.grant.role
        ),
        action,
        resource,
    };
    Decision { outcome: Outcome::Deny(denial), policies: names, lifetime: reads.lifetime(moment) }
}

fn quoted(names: &[PolicyName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

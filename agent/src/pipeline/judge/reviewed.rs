//! What people are asked to agree to: a statement with all that their answer is for, and what they are shown of it.

use super::{Judge, Verdict, names::Names, report::names_have_changed};
use crate::pipeline::{
    inspect::{Inspector, Statement},
    policy,
    question::Row,
    redact::Redaction,
    review::{
        Consent,
        digest::Digest,
        values::{Value, Values},
    },
};
use aws_lc_rs::hmac;
use postern_proto::v1::{ReviewTerms, ReviewedLiteral, ReviewedStatement, ReviewersNeeded, StatementKind};
use postern_sql::{
    Analysis,
    counting::Counting,
    facts::{Constant, Object, Statement as Facts},
    shape,
};
use postern_wire::error::Report;
use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

/// As much of a text is shown.
const MAX_SHOWN_BYTES: usize = 64 * 1024;

/// As much of a literal or value is shown.
const MAX_LITERAL_BYTES: usize = 256;

/// A statement with more literals and values than this cannot be agreed to for others that differ in them.
const MAX_LITERALS: usize = 100;

/// A statement that needs people's consent, as it was understood.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose.
    pub consent: Rc<Consent>,
    verdict: Verdict,
}

/// With what it is run.
#[derive(Clone, Copy)]
pub struct RunWith<'a> {
    /// The values that it is bound with, where it has parameters.
    pub values: Option<&'a Values<'a>>,
    /// The database role that it runs as, however the session's own login is called.
    pub role: &'a str,
    /// The session's login.
    pub login: &'a str,
    /// Settings that change what it does.
    pub settings: &'a [Row],
}

/// All that an answer is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Subject {
    /// Of this statement alone.
    pub key: Vec<u8>,
    /// Of all that differ in literals and values only; empty where there are none.
    pub shape: Vec<u8>,
    /// Of each literal and value, in their order.
    pub literals: Vec<Vec<u8>>,
    /// The same, as they are shown.
    pub shown: Vec<ReviewedLiteral>,
}

impl Judge {
    /// Whether statements of the session may need people's consent.
    #[must_use]
    pub fn may_review(&self) -> bool {
        !self.resting && self.policy.asks_for_reviews()
    }

    /// Whose consent a statement needs, if it would run with that.
    pub fn wanted(&mut self, statement: &Statement, names: &Inspector, failed: bool) -> Option<Wanted> {
        // It is about to be refused.
        if self.resting || matches!(self.names, Names::Unknown(_)) {
            return None;
        }
        self.redacts_blindly(statement);
        let (verdict, terms, _) = self.judge(statement, names, failed).ok()?;
        Some(Wanted { consent: terms.consent?, verdict })
    }

    /// How long its connection lets statements wait.
    #[must_use]
    pub fn review_terms(&self) -> ReviewTerms {
        self.policy.facts().map(|facts| facts.reviews).unwrap_or_default()
    }

    /// What the answer is for.
    ///
    /// # Errors
    /// Why nobody can be asked.
    pub fn subject(&self, wanted: &Wanted, statement: &Statement, with: RunWith<'_>) -> Result<Subject, Report> {
        let analysis = wanted.verdict.analysis.as_ref().map_err(|_| names_have_changed())?;
        self.is_itself(analysis, wanted, statement)?;
        let secret = self.policy.known().keys.of_reviews(self.policy.connection()).map_err(|error| {
            tracing::error!(%error, connection = self.policy.connection(), "the secret of the connection cannot be had");
            let hint = "Try again; if it lasts, tell the operators of Postern.";
            Report::new("57P03", "the connector cannot ask for the consent that the statement needs", hint)
        })?;
        let prepared = &statement.prepared;
        let text = prepared.text.bytes();
        let tells_all = self.redaction == Redaction::Nothing;
        let mut key = Digest::new("key");
        // Who could try all values of a masked column must not find out by the digest which it is.
        let salt = (!tells_all).then(|| hmac::sign(&secret, b"key"));
        key.put(salt.as_ref().map_or(&[], |salt| salt.as_ref()));
        key.put(text);
        let form = std::str::from_utf8(text).ok().and_then(|text| shape::form(text, analysis));
        let mut shape = Digest::new("shape");
        shape.put(form.as_ref().map_or(text, |form| &form.shape));
        for digest in [&mut key, &mut shape] {
            digest.put_types(&prepared.types);
            // Whoever agreed has agreed as one of these.
            digest.put(wanted.consent.to_string().as_bytes());
            self.put_meaning(analysis, with, digest)?;
        }
        if let Some(values) = with.values {
            key.put(values.bytes());
            shape.put(&values.formats());
        }
        let mut literals = Literals {
            secret: &secret,
            analysis,
            judge: self,
            digests: Vec::new(),
            shown: Vec::new(),
            names: HashMap::new(),
        };
        for (number, place) in form.iter().flat_map(|form| &form.free) {
            let literal = text.get(place.clone()).unwrap_or_default();
            literals.add(Constant::Literal(*number), Value::Text(literal));
        }
        for (number, value) in (1..).zip(with.values.iter().flat_map(|values| values.iter())) {
            literals.add(Constant::Parameter(number), value);
        }
        let Literals { mut digests, shown, .. } = literals;
        let has_shape = !digests.is_empty() && digests.len() <= MAX_LITERALS;
        if !has_shape {
            digests.clear();
        }
        Ok(Subject {
            key: key.done(),
            shape: if has_shape { shape.done() } else { Vec::new() },
            literals: digests,
            shown,
        })
    }

    /// What is asked about has to be what runs.
    fn is_itself(&self, analysis: &Analysis, wanted: &Wanted, statement: &Statement) -> Result<(), Report> {
        let hint = "Send the statement itself.";
        if !analysis.has_no_handles() || statement.prepared.made_by_sql.is_some() {
            let message = "the statement needs the consent of people, who could not see what it runs: it makes or runs a \
                           prepared statement or cursor";
            return Err(Report::new("0A000", message, hint));
        }
        let judged = statement.prepared.judged.borrow();
        let is_other =
            |verdict: &Verdict| !Rc::ptr_eq(verdict, &wanted.verdict) && verdict.analysis != wanted.verdict.analysis;
        if judged.as_ref().is_some_and(|judged| judged.verdicts.iter().any(is_other)) {
            return Err(names_have_changed());
        }
        Ok(())
    }

    /// What the statement's names mean, and what else changes what it does.
    fn put_meaning(&self, analysis: &Analysis, with: RunWith<'_>, digest: &mut Digest) -> Result<(), Report> {
        digest.put(self.policy.connection().as_bytes());
        // A login of the session's own is called otherwise in each.
        let user = &*self.context.user;
        digest.put(if user == with.login { with.role.as_bytes() } else { user.as_bytes() });
        digest.put_all(self.context.search_path.iter().map(|schema| schema.as_bytes()));
        for row in with.settings {
            digest.put_all(row.iter().map(|value| value.as_deref().unwrap_or_default().as_bytes()));
        }
        let objects = &self.policy.facts()?.objects;
        let deeds = policy::deeds(analysis, objects);
        digest.put_all(deeds.iter().map(|deed| deed.to_json()));
        for relation in relations(analysis) {
            let Object::Relation(name) = relation else { continue };
            let schema =
                if &*name.schema == "pg_temp" { self.context.temp_schema.as_ref() } else { Some(&name.schema) };
            let known = schema.and_then(|schema| self.sight.catalog()?.relation(schema, &name.name));
            digest.put(&known.map_or(0, |relation| relation.oid).to_be_bytes());
        }
        Ok(())
    }

    /// What people are shown, but for the literals and the preview.
    #[must_use]
    pub fn shown(&self, wanted: &Wanted, statement: &Statement) -> ReviewedStatement {
        let redacted = self.redacted(statement);
        let text = redacted.as_ref().map_or(&statement.prepared.text, |redacted| &redacted.text);
        let text = String::from_utf8_lossy(text.bytes());
        let sql = text.get(..text.floor_char_boundary(MAX_SHOWN_BYTES)).unwrap_or_default().to_owned();
        let sql_bytes = if sql.len() < text.len() { text.len() as u64 } else { 0 };
        let statements = wanted.verdict.analysis.as_ref().map(|analysis| analysis.script.statements.as_slice());
        let statements = statements.unwrap_or_default();
        let counting = statement.prepared.counting();
        let not_boundable = match counting {
            Ok(Counting::ByTag | Counting::ByAsking) => String::new(),
            Ok(Counting::Query) if statements.iter().any(Facts::may_write_besides) => String::new(),
            Ok(Counting::Nothing | Counting::Query) => "it writes no rows that could be counted".to_owned(),
            Ok(Counting::Several | Counting::Queries) => "it is several statements".to_owned(),
            Ok(Counting::Not(what)) => format!("nothing counts what {what} writes"),
            Err(refusal) => refusal.message.clone(),
        };
        let mut tags: Vec<&str> = statements.iter().map(|statement| statement.tag).collect();
        tags.dedup();
        let returns = |statement: &postern_sql::facts::Statement| {
            statement.output.open || !statement.output.columns.is_empty() || statement.copy_out.is_some()
        };
        let relations = wanted.verdict.analysis.as_ref().map(relations).unwrap_or_default();
        let reviewers = wanted.consent.review.approvals.iter();
        ReviewedStatement {
            sql,
            sql_bytes,
            literals: Vec::new(),
            tag: tags.join(", "),
            relations: relations.into_iter().map(ToString::to_string).collect(),
            policies: wanted.consent.policies.iter().map(ToString::to_string).collect(),
            reviewers: reviewers
                .map(|(group, count)| ReviewersNeeded { group: group.to_string(), count: *count })
                .collect(),
            message: wanted.consent.message.as_deref().unwrap_or_default().to_owned(),
            boundable: not_boundable.is_empty(),
            not_boundable_because: not_boundable,
            approved_up_to: wanted.consent.review.above,
            editable: statement.kind == StatementKind::Query && matches!(statements, [only] if !returns(only)),
            ..ReviewedStatement::default()
        }
    }
}

/// The relations that a string touches, each once.
fn relations(analysis: &Analysis) -> BTreeSet<&Object> {
    let accesses = analysis.script.statements.iter().flat_map(|statement| &statement.accesses);
    accesses.map(|access| &access.object).filter(|object| matches!(object, Object::Relation(_))).collect()
}

/// The literals and values that can be left free.
struct Literals<'a> {
    secret: &'a hmac::Key,
    analysis: &'a Analysis,
    judge: &'a Judge,
    digests: Vec<Vec<u8>>,
    shown: Vec<ReviewedLiteral>,
    /// How often each name was given.
    names: HashMap<String, usize>,
}

impl Literals<'_> {
    fn add(&mut self, constant: Constant, value: Value<'_>) {
        let mut digest = Digest::new("literal");
        value.put(&mut digest);
        self.digests.push(hmac::sign(self.secret, &digest.done()).as_ref().to_vec());
        if self.shown.len() >= MAX_LITERALS {
            return;
        }
        let meets = self.analysis.script.statements.iter().flat_map(|statement| &statement.meets);
        let column =
            meets.filter(|meeting| meeting.constant == constant).find_map(|meeting| meeting.column.column.clone());
        let name = column.map_or_else(
            || match constant {
                Constant::Literal(number) => format!("#{}", number + 1),
                Constant::Parameter(number) => format!("${number}"),
            },
            |column| column.to_string(),
        );
        let times = self.names.entry(name.clone()).or_default();
        *times += 1;
        let name = if *times > 1 { format!("{name}_{times}") } else { name };
        let text = if self.judge.redaction.tells(constant) { value.shown(MAX_LITERAL_BYTES) } else { String::new() };
        self.shown.push(ReviewedLiteral { name, text });
    }
}

//! What policies decided by, as it is recorded: written out once for a text, and referred to from then on.

use super::{limits::Limits, mask::Masks, review::Consent};
use crate::outbox::recorder::Text;
use postern_policy::{self as policy, Decision, Deed, Lifetime, Moment, PolicyName};
use postern_wire::error::Report;
use std::{cell::RefCell, rc::Rc};

/// The longest that is recorded: a statement that touches some thousand tables.
const MAX_BYTES: usize = 1 << 20;

/// What one decision rests on.
#[derive(Clone, Debug)]
pub struct Basis {
    /// When, from where.
    pub moment: Moment,
    /// The rest, which is the same each time.
    pub kept: Rc<Kept>,
    /// Policies want the values recorded with which it is run.
    pub record_binds: bool,
}

/// What policies have said of the statements of one string so far.
#[derive(Clone, Debug)]
pub struct Ruled {
    /// When, from where.
    pub moment: Moment,
    /// Those that decided; none while none was asked.
    pub policies: Option<Vec<PolicyName>>,
    /// The statement that they refused.
    pub refused: Option<Deed>,
    /// What the statements may do.
    pub limits: Limits,
    /// What of their results is masked.
    pub masks: Option<Rc<Masks>>,
    /// Who has to agree to them first.
    pub consent: Option<Consent>,
    /// See [`Basis::record_binds`].
    pub record_binds: bool,
    /// How long they would say the same.
    pub lifetime: Lifetime,
}

impl Ruled {
    /// Nothing yet.
    #[must_use]
    pub fn at(moment: Moment) -> Self {
        Self {
            moment,
            policies: None,
            refused: None,
            limits: Limits::default(),
            masks: None,
            consent: None,
            record_binds: false,
            lifetime: Lifetime::Unlimited,
        }
    }

    /// A statement may run.
    pub fn permitted(&mut self, decision: Decision) {
        self.record_binds |= decision.obligations().is_some_and(|obligations| obligations.record_binds);
        self.lifetime = self.lifetime.and(decision.lifetime);
        let policies = self.policies.get_or_insert_default();
        policies.extend(decision.policies);
        policies.sort_unstable();
        policies.dedup();
    }

    /// A statement may not run: what refuses one of them decides alone.
    pub fn refused(&mut self, decision: Decision, deed: Deed) {
        self.policies = Some(decision.policies);
        self.refused = Some(deed);
    }
}

/// What does not change from one execution to the next, written out.
#[derive(Debug)]
pub struct Kept {
    /// Of which counter the rules were.
    counter: u64,
    policies: Vec<PolicyName>,
    refused: Option<Deed>,
    /// As JSON.
    pub text: Text,
}

/// What was written out for a text last.
#[derive(Debug, Default)]
pub struct Last(RefCell<Option<Rc<Kept>>>);

impl Last {
    /// What was written out, if by rules of this counter the same policies decided the same; else it is written out.
    ///
    /// # Errors
    /// When it is too large to be recorded.
    pub fn get(
        &self,
        counter: u64,
        policies: Vec<PolicyName>,
        refused: Option<Deed>,
        make: impl FnOnce(Vec<PolicyName>, Option<&Deed>) -> policy::Basis,
    ) -> Result<Rc<Kept>, Report> {
        let mut last = self.0.borrow_mut();
        let is_same =
            |kept: &&Rc<Kept>| kept.counter == counter && kept.policies == policies && kept.refused == refused;
        if let Some(kept) = last.as_ref().filter(is_same) {
            return Ok(Rc::clone(kept));
        }
        let json = make(policies.clone(), refused.as_ref()).to_json();
        if json.len() > MAX_BYTES {
            let message = "the statement touches more than can be recorded with its decision, so it is refused";
            return Err(Report::new("54001", message, "Send it in parts."));
        }
        let kept = Rc::new(Kept { counter, policies, refused, text: Text::new(&json) });
        *last = Some(Rc::clone(&kept));
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        outbox::{
            Outbox,
            recorder::{Recorder, Refers, Session},
        },
    };
    use postern_audit::segment;
    use postern_proto::v1::{SessionFacts, StatementDecided, audit_record::Record};

    fn made(policies: Vec<PolicyName>, reason: &str) -> policy::Basis {
        let subject = policy::Subject {
            principal: policy::Principal {
                kind: policy::PrincipalKind::Agent,
                name: "ci".into(),
                groups: Default::default(),
            },
            connection: policy::Connection { name: "demo".into(), tags: Default::default(), freeze: false },
            grant: policy::Grant { reason: reason.to_owned(), ..policy::Grant::default() },
        };
        policy::Basis { version: 1, hash: "h".to_owned(), policies, subject, statements: Vec::new() }
    }

    #[test]
    fn it_is_written_out_once() {
        let last = Last::default();
        let get =
            |counter, name: &str| last.get(counter, vec![name.into()], None, |policies, _| made(policies, "")).unwrap();
        let first = get(1, "a");
        assert!(Rc::ptr_eq(&first, &get(1, "a")));
        let decided_by_others = get(1, "b");
        assert!(!Rc::ptr_eq(&first, &decided_by_others));
        assert!(!Rc::ptr_eq(&decided_by_others, &get(2, "b")), "the rules are others");
        let large = "x".repeat(MAX_BYTES);
        let refused = last.get(3, Vec::new(), None, |policies, _| made(policies, &large)).unwrap_err();
        assert_eq!(refused.sqlstate, "54001");
    }

    #[test]
    fn a_segment_has_it_once_and_takes_no_statement_for_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let (outbox, _done) = Outbox::open(folder.path().to_owned(), config::Outbox::default()).unwrap();
        let recorder = Recorder::new(outbox);
        let session = Session::new(SessionFacts::default());
        let text = |reason: &str| Text::new(&made(Vec::new(), reason).to_json());
        // The text of a statement may be anything.
        let statement = text("one");
        for basis in [text("one"), text("one"), text("two")] {
            let refers = Refers { text: Some(&statement), basis: Some(&basis) };
            recorder
                .record(&session, refers, |references| {
                    let (text_ref, basis_ref) = (references.text, references.basis);
                    Record::Decided(StatementDecided { text_ref, basis_ref, ..StatementDecided::default() })
                })
                .unwrap();
        }
        recorder.flush().unwrap();
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let records = segment::decode(&segment::pack(&std::fs::read(file).unwrap()).unwrap()).unwrap();
        let (mut definitions, mut references) = (Vec::new(), Vec::new());
        for record in records {
            match record.record.unwrap() {
                Record::Basis(basis) => definitions.push(basis.r#ref),
                Record::Decided(decided) => references.push(decided.basis_ref),
                _ => {}
            }
        }
        let [one, two] = definitions[..] else { panic!("{definitions:?}") };
        assert_eq!(references, [one, one, two]);
    }
}

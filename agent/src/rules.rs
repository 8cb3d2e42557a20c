//! What statements are decided by, as the control plane signed it for this process: policies, and of each connection
//! whether it is frozen, what is tagged and how that is masked.

use crate::{masked::wanted::Wanted, signed::is_genuine};
use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;
use postern_mask::detect::{Detector, Detectors};
use postern_policy::{
    Policies, Problem, Source,
    objects::{Kind, Objects},
    subject::Tags,
};
use postern_proto::v1::{
    ConnectionFacts, POLICIES_CONTEXT, PolicyBundle, PolicyFile, ReviewTerms, SignedPolicyBundle, Tag,
};
use postern_sql::facts::Name;
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use thiserror::Error;

/// Why a bundle is refused. What was in force before it stays so.
#[derive(Debug, Error)]
pub enum BundleError {
    /// Not signed by a key of the control plane, or not a bundle.
    #[error("the bundle's signature is not the control plane's")]
    Signature,
    /// For another connector or an earlier process.
    #[error("the bundle is for another connector")]
    Audience,
    /// Older than what is in force.
    #[error("the bundle is of revision {offered}, and {current} is in force")]
    Replayed {
        /// Its counter.
        offered: u64,
        /// The counter of what is in force.
        current: u64,
    },
    /// The policies are of a version that this connector does not understand.
    #[error("the policies cannot be loaded: {first}; {more} more")]
    Policies {
        /// What is wrong first.
        first: Problem,
        /// How many more.
        more: usize,
    },
    /// The same, and it is not known what.
    #[error("the policies cannot be loaded")]
    Unknown,
}

/// What is in force. It does not change; a change is another one.
#[derive(Debug)]
pub struct Rules {
    /// Of one counter there is one content: whoever keeps what follows from the rules, keeps it by this.
    pub counter: u64,
    /// The version of the policies, as the audit names it; 0: those that come with Postern.
    pub version: u64,
    /// The policies. The same `Arc` as long as they are the same.
    pub policies: Arc<Policies>,
    /// By connection. Of one that is missing nothing is known: nothing may run there.
    pub connections: HashMap<String, Arc<Facts>>,
}

/// What policies can ask of a connection beyond what its database's catalog says.
#[derive(Debug, Default)]
pub struct Facts {
    /// Nobody may change anything there.
    pub frozen: bool,
    /// Tags of schemas, relations and columns. The kinds of relations are the catalog's to say: here each is unknown.
    pub objects: Objects,
    /// What is to be masked, if anything is.
    pub masks: Option<Wanted>,
    /// Functions that change nothing but rows, so that a roll-back undoes all that they do.
    pub undoable_functions: BTreeSet<Name>,
    /// How long statements wait for people.
    pub reviews: ReviewTerms,
    /// What is looked for where nothing is tagged.
    pub detectors: Detectors,
}

/// What is in force in this process. `load` is for each statement: it takes no lock.
#[derive(Debug)]
pub struct Current {
    connector_id: String,
    incarnation: String,
    rules: ArcSwapOption<Rules>,
    /// One bundle is taken at a time, so that an older one cannot overtake.
    taking: Mutex<()>,
}

impl Current {
    /// For this process, to which nothing was said yet.
    #[must_use]
    pub fn new(connector_id: String, incarnation: String) -> Self {
        Self { connector_id, incarnation, rules: ArcSwapOption::empty(), taking: Mutex::new(()) }
    }

    /// These, as if they had been taken.
    #[cfg(test)]
    pub fn put(&self, rules: Rules) {
        self.rules.store(Some(Arc::new(rules)));
    }

    /// What is in force at this moment. None: nothing may run that policies decide.
    #[must_use]
    pub fn load(&self) -> Guard<Option<Arc<Rules>>> {
        self.rules.load()
    }

    /// Puts a bundle in force. The same one again changes nothing.
    ///
    /// # Errors
    /// When any of its conditions does not hold; then what was in force stays so.
    pub fn take(&self, signed: &SignedPolicyBundle, keys: &[Vec<u8>]) -> Result<Arc<Rules>, BundleError> {
        if !is_genuine(POLICIES_CONTEXT, &signed.bundle, &signed.signature, keys) {
            return Err(BundleError::Signature);
        }
        let bundle = PolicyBundle::decode(signed.bundle.clone()).map_err(|_| BundleError::Signature)?;
        if bundle.connector_id != self.connector_id || bundle.connector_incarnation != self.incarnation {
            return Err(BundleError::Audience);
        }
        let _one_at_a_time = self.taking.lock();
        let before = self.rules.load_full();
        if let Some(before) = &before
            && bundle.counter < before.counter
        {
            return Err(BundleError::Replayed { offered: bundle.counter, current: before.counter });
        }
        let policies = policies(bundle.files, before.as_deref())?;
        let connections = bundle.connections.into_iter().map(facts).collect();
        let rules = Rules { counter: bundle.counter, version: bundle.policy_version, policies, connections };
        let rules = Arc::new(rules);
        self.rules.store(Some(Arc::clone(&rules)));
        Ok(rules)
    }
}

/// The policies of these files: those before, if the files are the same.
fn policies(files: Vec<PolicyFile>, before: Option<&Rules>) -> Result<Arc<Policies>, BundleError> {
    let mut sources: Vec<Source> = files.into_iter().map(|PolicyFile { name, text }| Source { name, text }).collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(before) = before
        && before.policies.sources() == sources
    {
        return Ok(Arc::clone(&before.policies));
    }
    match Policies::from_sources(&sources) {
        Ok(policies) => Ok(Arc::new(policies)),
        Err(problems) => {
            let more = problems.len().saturating_sub(1);
            Err(match problems.into_iter().next() {
                Some(first) => BundleError::Policies { first, more },
                None => BundleError::Unknown,
            })
        }
    }
}

/// A connection's name, and what is said of it.
pub(crate) fn facts(facts: ConnectionFacts) -> (String, Arc<Facts>) {
    let masks = Wanted::of(&facts);
    let mut schemas: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut relations: BTreeMap<Name, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut columns: BTreeMap<Name, BTreeMap<Arc<str>, BTreeSet<Arc<str>>>> = BTreeMap::new();
    for Tag { schema, relation, column, tag } in facts.tags {
        let (schema, tag) = (Arc::from(schema), Arc::from(tag));
        if relation.is_empty() {
            schemas.entry(schema).or_default().insert(tag);
            continue;
        }
        let name = Name { schema, name: relation.into() };
        if column.is_empty() {
            relations.entry(name).or_default().insert(tag);
        } else {
            columns.entry(name).or_default().entry(column.into()).or_default().insert(tag);
        }
    }
    let shared = |tags: Tags| Arc::new(tags);
    let objects = Objects {
        relations: relations.into_iter().map(|(name, tags)| (name, (Kind::Unknown, shared(tags)))).collect(),
        functions: BTreeMap::new(),
        schemas: schemas.into_iter().map(|(name, tags)| (name, shared(tags))).collect(),
        columns: columns
            .into_iter()
            .map(|(name, columns)| (name, columns.into_iter().map(|(column, tags)| (column, shared(tags))).collect()))
            .collect(),
    };
    let undoable = facts.undoable_functions.into_iter();
    let undoable_functions = undoable.map(|name| Name { schema: name.schema.into(), name: name.name.into() }).collect();
    let reviews = facts.reviews.unwrap_or_default();
    let detectors = detectors(&facts.detectors);
    let known = Facts { frozen: facts.frozen, objects, masks, reviews, undoable_functions, detectors };
    (facts.name, Arc::new(known))
}

/// Detectors by their names. Of one that this connector does not know, all are used.
fn detectors(names: &[String]) -> Detectors {
    let named = |name: &String| Detector::ALL.into_iter().find(|known| known.as_str() == name);
    let known: Option<Vec<_>> = names.iter().map(named).collect();
    known.unwrap_or_else(|| Detector::ALL.to_vec()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masked::wanted::Masking;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use postern_policy::objects::Describe;
    use postern_proto::v1::{Compare, Mask, QualifiedName, TagMask};

    const PERMIT: &str = "@id(\"all\")\npermit(principal, action, resource);";

    fn bundle(counter: u64) -> PolicyBundle {
        let tag = |schema: &str, relation: &str, column: &str, tag: &str| Tag {
            schema: schema.into(),
            relation: relation.into(),
            column: column.into(),
            tag: tag.into(),
        };
        PolicyBundle {
            connector_id: "con_a".into(),
            connector_incarnation: "i1".into(),
            counter,
            policy_version: 7,
            files: vec![PolicyFile { name: "a.cedar".into(), text: PERMIT.into() }],
            connections: vec![ConnectionFacts {
                name: "demo".into(),
                frozen: counter > 1,
                tags: vec![
                    tag("public", "", "", "open"),
                    tag("public", "orders", "", "shop"),
                    tag("public", "customers", "email", "pii"),
                ],
                masks: vec![TagMask {
                    tag: "pii".into(),
                    mask: Mask::Hash.into(),
                    compare: Compare::Any.into(),
                    ..TagMask::default()
                }],
                safe_functions: vec![QualifiedName { schema: "public".into(), name: "slug".into() }],
                ..ConnectionFacts::default()
            }],
        }
    }

    fn sign(key: &Ed25519KeyPair, context: &[u8], bundle: &PolicyBundle) -> SignedPolicyBundle {
        let bundle = bundle.encode_to_vec();
        let signature = key.sign(&[context, &bundle].concat());
        SignedPolicyBundle { bundle: bundle.into(), signature: signature.as_ref().to_vec().into() }
    }

    struct Fixture {
        key: Ed25519KeyPair,
        current: Current,
    }

    impl Fixture {
        fn new() -> Self {
            let current = Current::new("con_a".into(), "i1".into());
            Self { key: Ed25519KeyPair::generate().unwrap(), current }
        }

        fn offer(&self, signed: &SignedPolicyBundle) -> Result<Arc<Rules>, BundleError> {
            self.current.take(signed, &[self.key.public_key().as_ref().to_vec()])
        }

        fn take(&self, bundle: &PolicyBundle) -> Result<Arc<Rules>, BundleError> {
            self.offer(&sign(&self.key, POLICIES_CONTEXT, bundle))
        }

        fn counter(&self) -> Option<u64> {
            self.current.load().as_ref().map(|rules| rules.counter)
        }
    }

    #[test]
    fn a_forged_bundle_is_refused() {
        let fixture = Fixture::new();
        let other = Ed25519KeyPair::generate().unwrap();
        let good = sign(&fixture.key, POLICIES_CONTEXT, &bundle(1));
        let forged = SignedPolicyBundle { bundle: bundle(2).encode_to_vec().into(), ..good.clone() };
        let as_ticket = sign(&fixture.key, postern_proto::v1::TICKET_CONTEXT, &bundle(1));
        for bad in [sign(&other, POLICIES_CONTEXT, &bundle(1)), forged, as_ticket, SignedPolicyBundle::default()] {
            assert!(matches!(fixture.offer(&bad), Err(BundleError::Signature)));
        }
        let elsewhere = PolicyBundle { connector_id: "con_b".into(), ..bundle(1) };
        assert!(matches!(fixture.take(&elsewhere), Err(BundleError::Audience)));
        let earlier = PolicyBundle { connector_incarnation: "i0".into(), ..bundle(1) };
        assert!(matches!(fixture.take(&earlier), Err(BundleError::Audience)));
        assert_eq!(fixture.counter(), None);
        fixture.offer(&good).unwrap();
        assert_eq!(fixture.counter(), Some(1));
    }

    #[test]
    fn an_older_bundle_does_not_come_back() {
        let fixture = Fixture::new();
        fixture.take(&bundle(1)).unwrap();
        let newer = fixture.take(&bundle(2)).unwrap();
        assert!(newer.connections["demo"].frozen);
        let replayed = fixture.take(&bundle(1)).unwrap_err();
        assert!(matches!(replayed, BundleError::Replayed { offered: 1, current: 2 }), "{replayed}");
        assert_eq!(fixture.counter(), Some(2));
        // A new control stream begins with what is in force.
        fixture.take(&bundle(2)).unwrap();
    }

    #[test]
    fn policies_that_cannot_be_loaded_leave_those_before_them() {
        let fixture = Fixture::new();
        fixture.take(&bundle(1)).unwrap();
        let file = PolicyFile { name: "b.cedar".into(), text: "\n  nonsense".into() };
        let error = fixture.take(&PolicyBundle { files: vec![file], ..bundle(2) }).unwrap_err();
        assert!(error.to_string().contains("b.cedar:2:"), "{error}");
        assert_eq!(fixture.counter(), Some(1));
        fixture.take(&bundle(3)).unwrap();
    }

    #[test]
    fn policies_are_loaded_once_and_tags_are_found() {
        let fixture = Fixture::new();
        let first = fixture.take(&bundle(1)).unwrap();
        let second = fixture.take(&bundle(2)).unwrap();
        assert!(Arc::ptr_eq(&first.policies, &second.policies));
        assert_eq!(second.version, 7);
        let objects = &second.connections["demo"].objects;
        let name = |name: &str| Name { schema: "public".into(), name: name.into() };
        let has = |tags: &Tags, tag: &str| tags.iter().map(AsRef::as_ref).eq([tag]);
        assert!(has(&objects.schema("public"), "open"));
        assert!(has(&objects.relation(&name("orders")).1, "shop"));
        assert!(has(&objects.column(&name("customers"), Some("email")), "pii"));
        assert!(objects.relation(&name("customers")).1.is_empty());
    }

    #[test]
    fn masks_are_those_of_tags_that_something_has() {
        let fixture = Fixture::new();
        let rules = fixture.take(&bundle(1)).unwrap();
        let masks = rules.connections["demo"].masks.as_ref().unwrap();
        let expected = Masking { mask: postern_mask::Mask::Hash, compare: Some(postern_mask::rules::Compare::Any) };
        assert_eq!(masks.masks["pii"], expected);
        assert!(masks.safe.functions.contains(&Name { schema: "public".into(), name: "slug".into() }));
        let mut next = bundle(2);
        next.connections[0].masks[0].tag = "other".into();
        assert_eq!(fixture.take(&next).unwrap().connections["demo"].masks, None);
        // What a newer control plane says and this connector does not know.
        let mut next = bundle(3);
        next.connections[0].masks[0] = TagMask { tag: "pii".into(), mask: 99, keep: 0, compare: 99 };
        let rules = fixture.take(&next).unwrap();
        let expected = Masking { mask: postern_mask::Mask::Redact, compare: Some(postern_mask::rules::Compare::None) };
        assert_eq!(rules.connections["demo"].masks.as_ref().unwrap().masks["pii"], expected);
    }

    mod fuzz {
        use super::*;
        use postern_fuzz::{mangled, proptest, target};
        use proptest::prelude::*;
        use std::sync::LazyLock;

        static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

        fn signed() -> SignedPolicyBundle {
            sign(&KEY, POLICIES_CONTEXT, &bundle(1))
        }

        target!(
            /// A bundle, from a gateway that is not what it should be.
            fuzz_bundles,
            mangled(Just(signed().encode_to_vec())),
            |bytes| {
                let Ok(read) = SignedPolicyBundle::decode(bytes.as_slice()) else { return Ok(()) };
                let current = Current::new("con_a".into(), "i1".into());
                let taken = current.take(&read, &[KEY.public_key().as_ref().to_vec()]);
                prop_assert_eq!(taken.is_ok(), read == signed(), "{:?}", taken);
                prop_assert_eq!(current.load().is_some(), taken.is_ok());
                Ok(())
            }
        );
    }
}

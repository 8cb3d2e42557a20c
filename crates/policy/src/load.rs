//! From files to validated policies.

use crate::{
    annotations::{self, Duties},
    bounds, builtin,
    cedar::{Fault, Types},
    decision::PolicyName,
    everything::Prefix,
    reads::Reads,
};
use aws_lc_rs::digest::{SHA256, digest};
use cedar_policy::{
    Effect, Entities, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator,
};
use data_encoding::HEXLOWER;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, LazyLock},
};

/// The Cedar schema that policies are validated against.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

static PARSED: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).map(|(schema, _)| schema).map_err(|error| error.to_string()));

/// The most text of a set: as much as one apply takes.
const MAX_TEXT: usize = 4 << 20;

/// The most policies of a set: each statement that no plan covers asks all of them, at about a microsecond each.
const MAX_POLICIES: usize = 2_000;

/// The longest `@id`: it stands in errors and in each record.
const MAX_ID: usize = 100;

/// One file of policies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The file's name.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// What is wrong with a file, or doubtful in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The policy, where it is known which.
    pub policy: Option<PolicyName>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, policy, what, hint } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if let Some(policy) = policy {
            write!(f, "policy `{policy}`: ")?;
        }
        write!(f, "{what}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
    }
}

/// One policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: PolicyName,
    pub(crate) policy: Policy,
    pub(crate) effect: Effect,
    pub(crate) duties: Duties,
    pub(crate) reads: Reads,
    /// What of it is the same for everything that a grant may ask.
    pub(crate) prefix: Prefix,
    /// In Cedar's JSON, for taking it apart.
    pub(crate) json: Value,
}

/// Policies that were validated. They don't change; a change is a new set with another version.
#[derive(Clone, Debug)]
pub struct Policies {
    sources: Vec<Source>,
    version: String,
    warnings: Vec<Problem>,
    pub(crate) rules: Vec<Rule>,
    positions: HashMap<PolicyId, usize>,
    pub(crate) permits: PolicySet,
    pub(crate) forbids: PolicySet,
    /// The scopes alone of the policies that read what changes, as permits.
    pub(crate) changing_scopes: PolicySet,
    /// The prefixes of all policies.
    pub(crate) prefixes: PolicySet,
    /// Those that read nothing that changes: permits and forbids.
    pub(crate) fixed: [PolicySet; 2],
    pub(crate) types: Types,
    /// The actions with their groups.
    pub(crate) actions: Entities,
    pub(crate) schema: Schema,
}

impl PartialEq for Policies {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl Policies {
    /// Parses and validates files, given as name and text. Postern's own guards are always among the policies, and are
    /// not among the sources.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Self, Vec<Problem>> {
        bounds::with_stack(|| Self::load_here(files))
    }

    fn load_here(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Self, Vec<Problem>> {
        let mut sources: Vec<Source> = files
            .iter()
            .map(|(name, text)| Source { name: name.as_ref().to_owned(), text: text.as_ref().to_owned() })
            .collect();
        // The version does not depend on the order in which files were named.
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        let mut reader = Reader::default();
        reader.check_sources(&sources);
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        for source in &sources {
            reader.file(source, false);
        }
        let guards = Source { name: builtin::GUARDS_NAME.to_owned(), text: builtin::GUARDS.to_owned() };
        reader.file(&guards, true);
        let schema = match &*PARSED {
            Ok(schema) => schema.clone(),
            Err(error) => return Err(vec![reader.fault(error)]),
        };
        reader.validate(&schema);
        if !reader.problems.is_empty() {
            reader.problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
            return Err(reader.problems);
        }
        let version = version(&sources);
        reader.finish(sources, version, schema).map_err(|problem| vec![problem])
    }

    /// From sources as [`Policies::sources`] gave them.
    ///
    /// # Errors
    /// As [`Policies::load`], for sources that an older version took.
    pub fn from_sources(sources: &[Source]) -> Result<Self, Vec<Problem>> {
        let files: Vec<_> = sources.iter().map(|source| (&source.name, &source.text)).collect();
        Self::load(&files)
    }

    /// The files, by name.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// A hash of the files and of Postern's own guards: whatever could change a decision changes it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What is doubtful: policies that can never apply, texts that look like others.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The ids of all policies, sorted.
    #[must_use]
    pub fn names(&self) -> BTreeSet<PolicyName> {
        self.rules.iter().map(|rule| rule.name.clone()).collect()
    }

    /// Whether any policy asks for a review.
    #[must_use]
    pub fn asks_for_reviews(&self) -> bool {
        self.rules.iter().any(|rule| !rule.duties.review.is_none())
    }

    /// The groups that policies name, in conditions and as reviewers. One that does not exist is likely a slip.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<Arc<str>> {
        let literals = self.rules.iter().flat_map(|rule| rule.policy.entity_literals());
        let groups = literals.filter(|uid| uid.type_name().basename() == "Group");
        let groups = groups.map(|uid| Arc::from(AsRef::<str>::as_ref(uid.id())));
        let reviewers = self.rules.iter().flat_map(|rule| rule.duties.review.approvals.keys().cloned());
        groups.chain(reviewers).collect()
    }

    pub(crate) fn position(&self, id: &PolicyId) -> Option<usize> {
        self.positions.get(id).copied()
    }
}

fn version(sources: &[Source]) -> String {
    let mut bytes = Vec::new();
    let guards = (builtin::GUARDS_NAME, builtin::GUARDS);
    let files = sources.iter().map(|source| (source.name.as_str(), source.text.as_str()));
    for text in files.chain([guards, ("schema", SCHEMA)]).flat_map(|(name, text)| [name, text]) {
        // With its length before it, so that no two lists of texts look alike.
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    HEXLOWER.encode(digest(&SHA256, &bytes).as_ref())
}

/// Where a policy stands.
struct Place {
    file: String,
    text: Arc<str>,
    offset: usize,
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    rules: Vec<Rule>,
    places: HashMap<PolicyId, Place>,
    set: PolicySet,
}

impl Reader {
    fn check_sources(&mut self, sources: &[Source]) {
        let wrong = |file: &str, what: String, hint: &str| Problem {
            file: file.to_owned(),
            line: 1,
            column: 1,
            policy: None,
            what,
            hint: hint.to_owned(),
        };
        for (one, next) in sources.iter().zip(sources.iter().skip(1)).filter(|(one, next)| one.name == next.name) {
            self.problems.push(wrong(&next.name, format!("there are two files `{}`", one.name), "rename one"));
        }
        if sources.iter().map(|source| source.name.len() + source.text.len()).sum::<usize>() > MAX_TEXT {
            self.problems.push(wrong("", format!("policies have at most {MAX_TEXT} bytes"), "split what they are for"));
        }
    }

    fn file(&mut self, source: &Source, own: bool) {
        let text: Arc<str> = Arc::from(source.text.as_str());
        if let Some((offset, what)) = bounds::exceeded(&text) {
            let place = Place { file: source.name.clone(), text, offset };
            return self.problems.push(place.at(offset, None, what, "split the policy in two".to_owned()));
        }
        let set: PolicySet = match source.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                for error in errors.iter() {
                    let place = Place { file: source.name.clone(), text: text.clone(), offset: 0 };
                    self.problems.push(place.problem(None, error, "see docs/policies.md for the words of a policy"));
                }
                return;
            }
        };
        for template in set.templates() {
            let snippet = template.to_cedar();
            let offset = source.text.find(&snippet).unwrap_or(0);
            let place = Place { file: source.name.clone(), text: text.clone(), offset };
            let what = "templates (`?principal`, `?resource`) are not supported".to_owned();
            self.problems.push(place.at(offset, None, what, "name the group, or write `principal` alone".to_owned()));
        }
        let mut policies: Vec<_> = set.policies().cloned().collect();
        // Cedar names them policy0, policy1, … in their order.
        policies.sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok());
        let mut from = 0;
        for policy in policies {
            let snippet = policy.to_string();
            let found = source.text.get(from..).and_then(|rest| rest.find(&snippet));
            let offset = found.map_or(from, |found| from + found);
            from = found.map_or(from, |_| offset + snippet.len());
            self.policy(&policy, Place { file: source.name.clone(), text: text.clone(), offset }, own);
        }
    }

    fn policy(&mut self, policy: &Policy, place: Place, own: bool) {
        let name = match policy_name(policy, own) {
            Ok(name) => name,
            Err((what, hint)) => return self.problems.push(place.at(place.annotation("id"), None, what, hint)),
        };
        let id = PolicyId::new(&*name);
        if let Some(other) = self.places.get(&id) {
            let (line, _) = position(&other.text, other.offset);
            let what = format!("the id `{name}` is taken by the policy at {}:{line}", other.file);
            let problem = place.at(place.annotation("id"), Some(&name), what, "give each policy its own".to_owned());
            return self.problems.push(problem);
        }
        if self.rules.len() >= MAX_POLICIES {
            let what = format!("there are more than {MAX_POLICIES} policies");
            return self.problems.push(place.at(place.offset, Some(&name), what, "join some of them".to_owned()));
        }
        let duties = annotations::read(policy).unwrap_or_else(|wrongs| {
            for wrong in wrongs {
                let at = place.annotation(&wrong.annotation);
                self.problems.push(place.at(at, Some(&name), wrong.what, wrong.hint));
            }
            Duties::default()
        });
        let policy = policy.new_id(id.clone());
        let taken_apart = policy.to_json().map_err(Fault::new);
        match taken_apart.and_then(|json| Ok((Prefix::of(&policy, &json)?, json))) {
            Ok((prefix, json)) => {
                let reads = Reads::of(json.get("conditions").unwrap_or(&Value::Null));
                self.rules.push(Rule {
                    name: name.clone(),
                    effect: policy.effect(),
                    policy: policy.clone(),
                    duties,
                    reads,
                    prefix,
                    json,
                });
            }
            Err(error) => self.problems.push(place.at(place.offset, Some(&name), error.to_string(), String::new())),
        }
        if let Err(error) = self.set.add(policy) {
            self.problems.push(place.at(place.offset, Some(&name), error.to_string(), String::new()));
        }
        self.places.insert(id, place);
    }

    fn validate(&mut self, schema: &Schema) {
        let result = Validator::new(schema.clone()).validate(&self.set, ValidationMode::Strict);
        for error in result.validation_errors() {
            if let Some(place) = self.places.get(error.policy_id()) {
                let hint = "see the schema in docs/policies.md";
                self.problems.push(place.problem(Some(error.policy_id()), error, hint));
            }
        }
        for warning in result.validation_warnings() {
            let Some(place) = self.places.get(warning.policy_id()) else { continue };
            let hint = match warning {
                ValidationWarning::ImpossiblePolicy(_) => {
                    "it can never apply: check the action, the types and the conditions"
                }
                // Such a policy is impossible too, which is the clearer warning.
                ValidationWarning::InvalidActionApplication(_) => continue,
                _ => "make sure that it says what it seems to say",
            };
            self.warnings.push(place.problem(Some(warning.policy_id()), warning, hint));
        }
    }

    fn fault(&self, error: &(impl fmt::Display + ?Sized)) -> Problem {
        let place = Place { file: String::new(), text: Arc::from(""), offset: 0 };
        place.at(0, None, error.to_string(), "this is a fault of Postern: please report it".to_owned())
    }

    fn finish(self, sources: Vec<Source>, version: String, schema: Schema) -> Result<Policies, Problem> {
        let build = || -> Result<_, Fault> {
            let of = |effect: Effect, fixed_only: bool| {
                let rules = self.rules.iter().filter(|rule| rule.effect == effect);
                let rules = rules.filter(|rule| !fixed_only || rule.reads.is_nothing());
                PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).map_err(Fault::new)
            };
            let changing = self.rules.iter().filter(|rule| !rule.reads.is_nothing());
            let scopes = changing.map(Rule::scope).collect::<Result<Vec<_>, _>>()?;
            Ok((
                [of(Effect::Permit, false)?, of(Effect::Forbid, false)?],
                [of(Effect::Permit, true)?, of(Effect::Forbid, true)?],
                PolicySet::from_policies(scopes).map_err(Fault::new)?,
                PolicySet::from_policies(self.rules.iter().map(|rule| rule.prefix.policy.clone()))
                    .map_err(Fault::new)?,
                Types::new()?,
                schema.action_entities().map_err(Fault::new)?,
            ))
        };
        let ([permits, forbids], fixed, changing_scopes, prefixes, types, actions) =
            build().map_err(|error| self.fault(&error))?;
        let positions = self.rules.iter().enumerate().map(|(n, rule)| (rule.policy.id().clone(), n)).collect();
        Ok(Policies {
            sources,
            version,
            warnings: self.warnings,
            rules: self.rules,
            positions,
            permits,
            forbids,
            changing_scopes,
            prefixes,
            fixed,
            types,
            actions,
            schema,
        })
    }
}

impl Rule {
    /// A permit with the same scope and these conditions.
    pub(crate) fn with_conditions(&self, conditions: Value) -> Result<Policy, Fault> {
        let mut json = self.json.clone();
        if let Some(object) = json.as_object_mut() {
            object.insert("effect".to_owned(), json!("permit"));
            object.insert("conditions".to_owned(), conditions);
            object.remove("annotations");
        }
        Policy::from_json(Some(self.policy.id().clone()), json).map_err(Fault::new)
    }

    fn scope(&self) -> Result<Policy, Fault> {
        self.with_conditions(json!([]))
    }
}

impl Place {
    fn at(&self, offset: usize, policy: Option<&PolicyName>, what: String, hint: String) -> Problem {
        let (line, column) = position(&self.text, offset);
        Problem { file: self.file.clone(), line, column, policy: policy.cloned(), what, hint }
    }

    /// From one of Cedar's errors: its first label says where.
    fn problem(&self, policy: Option<&PolicyId>, error: &(impl Diagnostic + ?Sized), hint: &str) -> Problem {
        let labels = error.labels().into_iter().flatten();
        let offset = labels.map(|label| label.offset()).min().unwrap_or(self.offset);
        let name = policy.map(|id| PolicyName::from(AsRef::<str>::as_ref(id)));
        let mut what = error.to_string();
        if let Some(name) = &name {
            // Cedar begins with the policy, which has a place of its own here.
            what = what.replace(&format!("for policy `{name}`, "), "");
        }
        let hint = error.help().map_or_else(|| hint.to_owned(), |help| help.to_string());
        self.at(offset, name.as_ref(), what, hint)
    }

    /// Where an annotation begins in the policy.
    fn annotation(&self, name: &str) -> usize {
        let rest = self.text.get(self.offset..).unwrap_or("");
        let starts = rest.match_indices('@').find(|(at, _)| {
            let after = rest.get(at + 1..).unwrap_or("").trim_start();
            let follows = after.strip_prefix(name).map(|rest| rest.chars().next());
            follows.is_some_and(|next| !next.is_some_and(|c| c.is_alphanumeric() || c == '_'))
        });
        // Where a policy lacks it, a later one's must not be pointed at.
        let end = rest.find(';').unwrap_or(rest.len());
        starts.filter(|(at, _)| *at < end).map_or(self.offset, |(at, _)| self.offset + at)
    }
}

/// Line and column, from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn policy_name(policy: &Policy, own: bool) -> Result<PolicyName, (String, String)> {
    let example = "write for example `@id(\"agents-read-only\")` before it".to_owned();
    let name = policy.annotation("id").ok_or(("the policy has no `@id`".to_owned(), example.clone()))?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if name.is_empty() || name.len() > MAX_ID || !name.chars().all(good) {
        let what = format!("an id has 1 to {MAX_ID} letters, digits, `-`, `_`, `.`, `:`");
        return Err((what, example));
    }
    if !own && name.starts_with(builtin::GUARD_PREFIX) {
        let what = format!("ids that begin with `{}` are Postern's own", builtin::GUARD_PREFIX);
        return Err((what, "choose another".to_owned()));
    }
    Ok(PolicyName::from(name))
}

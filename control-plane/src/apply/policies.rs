//! Files of policies: all that are to be in force are checked together, before anything is changed.

use super::{Difference, Run, check, kind_of, take_delete};
use crate::{
    effects::Effect,
    problem::{self, Problem, shorten},
    store::policies::{self, PolicyRow},
};
use postern_api::{
    document::{Change, SourcedDocument},
    policy::{PolicyFile, PolicyProblem},
};
use postern_policy::Policies;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What the name of each file ends with.
const EXTENSION: &str = ".cedar";

/// What becomes of policies.
#[derive(Default)]
pub(super) struct Outcome {
    /// Of each document of that kind, by its position.
    pub(super) removed: Vec<(usize, Change)>,
    /// Of each file, in their order.
    pub(super) files: Vec<Change>,
    /// What is doubtful.
    pub(super) warnings: Vec<PolicyProblem>,
}

impl Run<'_> {
    /// Files are added or replace the one of their name; documents of kind `Policy` remove one.
    pub(super) async fn policies(
        &mut self,
        files: &[PolicyFile],
        documents: &[SourcedDocument],
    ) -> Result<Outcome, Problem> {
        let removals = removals(documents)?;
        if files.is_empty() && removals.is_empty() {
            return Ok(Outcome::default());
        }
        check_files(files, &removals)?;
        let before: BTreeMap<String, String> =
            policies::files(&mut self.tx).await?.into_iter().map(|PolicyRow { name, text, .. }| (name, text)).collect();
        let mut after = before.clone();
        for (_, name) in &removals {
            after.remove(name);
        }
        after.extend(files.iter().map(|file| (file.name.clone(), file.text.clone())));
        let changed = after != before;
        let loaded = crate::policies::load(after).await?;
        let version = if changed {
            self.effects.push(Effect::PoliciesChanged);
            policies::next_version(&mut self.tx, loaded.version()).await?
        } else {
            policies::state(&mut self.tx).await?.version
        };
        let mut outcome = Outcome { warnings: problem::told(loaded.warnings()), ..Outcome::default() };
        for (position, name) in removals {
            policies::end(&mut self.tx, &name, version).await?;
            let change = self.policy(&name, before.get(&name), None, version, &loaded).await?;
            outcome.removed.push((position, change));
        }
        for PolicyFile { name, text } in files {
            let stood = before.get(name);
            if stood != Some(text) {
                let by = self.actor.map(|actor| &actor.id);
                policies::put(&mut self.tx, name, text, version, by, self.now).await?;
            }
            outcome.files.push(self.policy(name, stood, Some(text), version, &loaded).await?);
        }
        Ok(outcome)
    }

    async fn policy(
        &mut self,
        name: &str,
        from: Option<&String>,
        to: Option<&String>,
        version: i64,
        loaded: &Policies,
    ) -> Result<Change, Problem> {
        let value = |text: Option<&String>| text.map(|text| json!({ "text": text }));
        let difference = Difference { kind: "Policy", name: name.to_owned(), from: value(from), to: value(to) };
        self.record(difference, json!({ "version": version, "hash": loaded.version() })).await
    }
}

/// The documents of kind `Policy`, which say nothing but that a file goes: position and name.
fn removals(documents: &[SourcedDocument]) -> Result<Vec<(usize, String)>, Problem> {
    let mut removals = Vec::new();
    for (position, sourced) in documents.iter().enumerate() {
        if kind_of(sourced)? == "Policy" {
            let name = removal(sourced).map_err(|problem| problem.document(&sourced.source))?;
            removals.push((position, name));
        }
    }
    Ok(removals)
}

fn removal(sourced: &SourcedDocument) -> Result<String, Problem> {
    let mut fields = sourced.document.as_object().cloned().unwrap_or_default();
    fields.remove("kind");
    let name = check::name(fields.remove("name").as_ref())?;
    let delete = take_delete(&mut fields)?;
    if let Some(unknown) = fields.keys().next() {
        let message = format!("unknown key `{}`: a Policy has `name` and `delete` alone", shorten(unknown));
        return Err(Problem::invalid(unknown.clone(), message));
    }
    if !delete {
        let message = "a document of kind Policy can only remove a file: `delete: true`";
        return Err(Problem::invalid("delete", message).hint("give the file itself: `postern apply NAME.cedar`"));
    }
    Ok(name)
}

/// Checks the names of files, and that each is named once.
pub(crate) fn check_files(files: &[PolicyFile], removals: &[(usize, String)]) -> Result<(), Problem> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let twice = |name: &str| {
        Problem::invalid("policies.name", format!("the policy file `{name}` is named twice"))
            .hint("a file is known by its name without folders")
    };
    for (_, name) in removals {
        if !names.insert(name) {
            return Err(twice(name));
        }
    }
    for PolicyFile { name, .. } in files {
        check::named("policies.name", name)?;
        if !name.ends_with(EXTENSION) {
            let message = format!("the name of a policy file ends with `{EXTENSION}`, which `{name}` does not");
            return Err(Problem::invalid("policies.name", message));
        }
        if !names.insert(name) {
            return Err(twice(name));
        }
    }
    Ok(())
}

//! What the policies and masks in force say of the results of a statement.

use super::{
    basis::Ruled,
    mask::{Cover, Expected, Masked, Shown},
    policy::Policy,
};
use postern_mask::Key;
use postern_policy::{Outcome, objects::Describe};
use postern_sql::{Catalog, facts};
use postern_wire::error::Report;
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

static KEY: LazyLock<Key> = LazyLock::new(|| {
    let mut secret = [0; 32];
    let _ = aws_lc_rs::rand::fill(&mut secret);
    Key::new(&secret)
});

impl Policy {
    /// Whether any column's values are masked.
    #[must_use]
    pub fn masks_anything(&self) -> bool {
        self.facts().is_ok_and(|facts| !facts.objects.columns.is_empty())
    }

    /// For the masks that need one.
    #[must_use]
    pub fn key(&self) -> Key {
        KEY.clone()
    }

    /// How a statement is shown; nothing where it touches nothing masked.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn mask(
        &self,
        statement: &facts::Statement,
        catalog: &Catalog,
        temp: Option<&str>,
        ruled: &mut Ruled,
    ) -> Result<Option<Masked>, Report> {
        let objects = &self.facts()?.objects;
        let mut masked = Masked { result: Expected::of(statement, catalog, temp), ..Masked::default() };
        let mut tags_of = |relation: &facts::Name, column: Option<&Arc<str>>| {
            let tags = objects.column(relation, column.map(|column| &**column));
            let name = column.map_or_else(
                || format!("{}.{}", relation.schema, relation.name),
                |column| format!("{}.{}.{column}", relation.schema, relation.name),
            );
            if let (Some(column), false) = (column, tags.is_empty()) {
                let decision = self.plan().decide_unmask(&ruled.moment, statement, objects, relation, column);
                if let Outcome::Allow { .. } = decision.outcome {
                    ruled.lifetime = ruled.lifetime.and(decision.lifetime);
                    masked.shown.push(Shown {
                        column: name.into(),
                        tags: tags.iter().cloned().collect(),
                        policies: decision.policies.iter().map(|policy| policy.to_string().into()).collect(),
                    });
                    return None;
                }
            }
            let tags: BTreeSet<Arc<str>> = tags.iter().cloned().collect();
            (!tags.is_empty()).then_some((Arc::<str>::from(name), tags))
        };
        for (column, output) in masked.result.columns.iter_mut().zip(&statement.output.columns) {
            let origins: Vec<_> =
                output.origins.iter().filter_map(|origin| tags_of(&origin.relation, origin.column.as_ref())).collect();
            if !origins.is_empty() {
                let columns = origins.iter().map(|(name, _)| name.clone()).collect();
                let tags = origins.into_iter().flat_map(|(_, tags)| tags).collect();
                column.cover = Some(Cover { mask: None, ty: None, columns, tags });
            }
        }
        masked.withheld = statement.columns.iter().any(|used| tags_of(&used.relation, used.column.as_ref()).is_some());
        let matters = masked.withheld || masked.result.is_masked() || !masked.shown.is_empty();
        Ok(matters.then_some(masked))
    }
}

//! What of the results of a statement is masked.

use super::{Judge, report::names_have_changed};
use crate::pipeline::{
    basis::Ruled,
    mask::{Masked, Masks},
};
use postern_sql::facts::{self, Script, Transaction};
use postern_wire::error::Report;
use std::rc::Rc;

impl Judge {
    /// How the results of a string are shown, by the policies and masks in force.
    pub(super) fn cover(&self, script: &Script, ruled: &mut Ruled) -> Result<(), Report> {
        if !self.policy.masks_anything() {
            return Ok(());
        }
        let mut statements = Vec::with_capacity(script.statements.len());
        for statement in &script.statements {
            statements.push(self.cover_one(statement, ruled)?);
        }
        if statements.iter().any(Option::is_some) {
            ruled.masks = Some(Rc::new(Masks { statements, key: self.policy.key() }));
        }
        Ok(())
    }

    fn cover_one(&self, statement: &facts::Statement, ruled: &mut Ruled) -> Result<Option<Masked>, Report> {
        // INVARIANT: a missing catalog is an obstacle, so that nothing is judged without one.
        let catalog = self.sight.catalog().ok_or_else(names_have_changed)?;
        let masked = self.policy.mask(statement, catalog, self.context.temp_schema.as_deref(), ruled)?;
        // Deferred constraints and triggers speak up now, of what was written before.
        let speaks = matches!(statement.transaction, Some(Transaction::Commit | Transaction::TwoPhase))
            || statement.tag == "SET CONSTRAINTS";
        Ok(masked.or_else(|| speaks.then(|| Masked { withheld: true, ..Masked::default() })))
    }

    /// What may also run in a statement's place has to be shown as that is.
    pub(super) fn is_shown_alike(
        &self,
        earlier: &facts::Statement,
        now: &facts::Statement,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        if !self.policy.masks_anything() || self.cover_one(earlier, ruled)? == self.cover_one(now, ruled)? {
            Ok(())
        } else {
            Err(names_have_changed())
        }
    }
}

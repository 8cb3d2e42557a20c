//! What of the results of a statement is masked.

use super::{Judge, report::names_have_changed};
use crate::pipeline::{
    basis::Ruled,
    mask::{Expected, Masked, Masks},
};
use postern_mask::Encoding;
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
            let mut masked = self.cover_one(statement, ruled)?;
            // What it prepares returns rows once it is executed.
            if let Some(masked) = masked.as_mut().filter(|_| statement.tag == "PREPARE") {
                masked.result = Expected::default();
            }
            statements.push(masked);
        }
        if statements.iter().any(Option::is_some) {
            ruled.masks =
                Some(Rc::new(Masks { statements, key: self.policy.key(), encoding: self.encoding_of(script) }));
        }
        Ok(())
    }

    /// How the text of a string's results is encoded. What the string itself changes of that counts within it.
    fn encoding_of(&self, script: &Script) -> Encoding {
        let changes = |setting: &facts::Setting| match setting.name.as_deref() {
            Some(name) => matches!(name, "client_encoding" | "*"),
            None => true,
        };
        if script.statements.iter().flat_map(|statement| &statement.settings).any(changes) {
            return Encoding::AsciiInside;
        }
        Encoding::named(&self.encoding)
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

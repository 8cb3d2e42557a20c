//! What of the results of a statement is masked.

use super::{Judge, report::names_have_changed};
use crate::{
    pipeline::{
        basis::Ruled,
        binds::Bound,
        decide::Terms,
        inspect::Statement,
        mask::{Expected, Masked, Masks},
        masking::{self, View},
    },
    probes::Value,
};
use postern_mask::Encoding;
use postern_proto::v1::{BoundValue, StatementKind};
use postern_sql::{
    facts::{self, Constant, Script, Transaction},
    literals,
};
use postern_wire::error::Report;
use std::{collections::BTreeMap, rc::Rc};

impl Judge {
    /// How the results of a string are shown, by the policies and masks in force.
    pub(super) fn cover(&self, script: &Script, ruled: &mut Ruled) -> Result<(), Report> {
        let detectors = self.policy.detectors();
        if !self.policy.masks_anything() && detectors.is_empty() {
            return Ok(());
        }
        let mut statements = Vec::with_capacity(script.statements.len());
        let mut texts = BTreeMap::new();
        for statement in &script.statements {
            let mut masked = self.cover_one(statement, ruled)?;
            if let Some(masked) = masked.as_ref().filter(|_| !detectors.is_empty()) {
                texts.extend(masking::texts(self.view()?.catalog, &masked.result));
            }
            // What it prepares returns rows once it is executed.
            if let Some(masked) = masked.as_mut().filter(|_| statement.tag == "PREPARE") {
                masked.result = Expected::default();
            }
            statements.push(masked);
        }
        // What reads relations is compared with the server's description, too, though it was found to touch nothing masked.
        let reads = script.statements.iter().any(|it| reads_relations(it) || (!detectors.is_empty() && shows(it)));
        if reads || statements.iter().any(Option::is_some) {
            let places = self.policy.masked_places(self.view()?);
            let covers = statements.iter().flatten().flat_map(|masked| &masked.result.columns);
            let tags = covers.filter_map(|column| column.cover.as_ref()?.tags.first().cloned()).collect();
            let keys = self.policy.keys(tags)?;
            let encoding = self.encoding_of(script);
            ruled.masks = Some(Rc::new(Masks { statements, keys, encoding, places, reads, detectors, texts }));
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

    pub(super) fn view(&self) -> Result<View<'_>, Report> {
        // INVARIANT: a missing catalog is an obstacle, so that nothing is judged without one.
        let catalog = self.sight.catalog().ok_or_else(names_have_changed)?;
        Ok(View { catalog, own: self.sight.is_own(), temp: self.context.temp_schema.as_deref() })
    }

    fn cover_one(&self, statement: &facts::Statement, ruled: &mut Ruled) -> Result<Option<Masked>, Report> {
        let masked = self.policy.mask(statement, self.view()?, ruled)?;
        // Deferred constraints and triggers speak up now, of what was written before.
        let speaks = matches!(statement.transaction, Some(Transaction::Commit | Transaction::TwoPhase))
            || statement.tag == "SET CONSTRAINTS";
        let speaks = speaks && self.policy.masks_anything();
        let mut masked = masked.or_else(|| speaks.then(|| Masked { withheld: true, ..Masked::default() }));
        if !self.policy.detectors().is_empty() && shows(statement) {
            let view = self.view()?;
            let result = || Expected::of(statement, view.catalog, view.temp);
            let masked = masked.get_or_insert_with(|| Masked { result: result(), ..Masked::default() });
            self.policy.exempt(statement, &mut masked.result, view, ruled)?;
        }
        Ok(masked)
    }

    /// Whether the grant may ask about masked columns what a statement asks, run with these values. It is counted.
    ///
    /// # Errors
    /// When it is too much.
    pub fn draw(&self, statement: &Statement, terms: Option<&Terms>, values: Option<&Bound>) -> Result<(), Report> {
        let Some(masks) = terms.and_then(|terms| terms.masks.as_deref()) else { return Ok(()) };
        if statement.kind == StatementKind::Parse || masks.probes().next().is_none() {
            return Ok(());
        }
        // What SQL has prepared was understood by another text.
        let text = std::str::from_utf8(statement.prepared.text.bytes()).ok();
        let text = text.filter(|_| statement.prepared.made_by_sql.is_none());
        let places = text.and_then(|text| literals(text, self.context.lexing));
        self.policy.asked().draw(masks.probes(), |constant| match constant {
            Constant::Literal(n) => {
                let place = places.as_ref()?.get(usize::try_from(n).ok()?)?;
                Some(Value::Text(text?.get(place.clone())?.as_bytes()))
            }
            Constant::Parameter(n) => Some(match values?.values.get(usize::from(n).checked_sub(1)?)? {
                BoundValue { value: None, .. } => Value::Null,
                BoundValue { length: 1.., .. } => Value::TooLong,
                BoundValue { value: Some(bytes), binary: true, .. } => Value::Binary(bytes),
                BoundValue { value: Some(bytes), .. } => Value::Text(bytes),
            }),
        })
    }

    /// What may also run in a statement's place has to be shown as that is.
    pub(super) fn is_shown_alike(
        &self,
        earlier: &facts::Statement,
        now: &facts::Statement,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        if !self.policy.masks_anything() && self.policy.detectors().is_empty() {
            return Ok(());
        }
        // What it asks by constants is counted by those of the text that runs.
        let shown = |statement, ruled: &mut Ruled| {
            let masked = self.cover_one(statement, ruled)?.unwrap_or_default();
            let result = if masked.strict { masked.result } else { masked.result.looked_through() };
            Ok::<_, Report>(Masked { result, probes: Vec::new(), ..masked })
        };
        let (before, after) = (shown(earlier, ruled)?, shown(now, ruled)?);
        let is_alike = if returns(now) {
            before == after
        } else {
            // CREATE TABLE AS EXECUTE keeps what it would show.
            !before.result.is_masked() && before.withheld == after.withheld
        };
        if is_alike { Ok(()) } else { Err(names_have_changed()) }
    }
}

/// Whether a result comes back that detectors may look through.
fn shows(statement: &facts::Statement) -> bool {
    returns(statement) || matches!(statement.tag, "EXPLAIN" | "SHOW")
}

/// Whether rows come back.
fn returns(statement: &facts::Statement) -> bool {
    statement.output.open || !statement.output.columns.is_empty()
}

/// Whether rows of a user's relations are in a result that the server describes.
fn reads_relations(statement: &facts::Statement) -> bool {
    const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];
    let of_user = |origin: &facts::Origin| !SYSTEM.contains(&&*origin.relation.schema);
    let columns = &statement.output.columns;
    statement.copy_out.is_none() && columns.iter().any(|column| column.origins.iter().any(of_user))
}

//! What a text does, as far as names mean now what they did when it was looked at last.

use super::{
    ENTRY_BYTES, Judge, MAX_REMEMBERED, Understood, Verdict, admit::Permitted, parsed::Parsed, redacts::Redacts,
};
use crate::pipeline::basis::Last;
use postern_sql::{
    Analysis, Context, analyse_in_full,
    facts::{self, Refusal},
    parse::text_of,
};
use postern_wire::error::Report;
use std::rc::Rc;

impl Judge {
    /// What is known of a text, by what names mean now.
    pub(super) fn analysed(&mut self, text: &[u8], types: &[u32]) -> Verdict {
        if types.is_empty()
            && let Some(verdict) = self.shapes.lookup(text)
        {
            return Rc::clone(verdict);
        }
        let mut remembered = self.remembered.get(text).into_iter().flatten();
        if let Some((_, verdict)) = remembered.find(|(of, _)| **of == *types) {
            return Rc::clone(verdict);
        }
        let verdict = self.understand(text, types, &Parsed::default());
        if types.is_empty()
            && let Ok(analysis) = &verdict.analysis
            && self.shapes.keep(text, analysis, Rc::clone(&verdict))
        {
            return verdict;
        }
        let analysis = verdict.analysis.as_ref().map_or(0, Analysis::bytes);
        let bytes = text.len() + size_of_val(types) + analysis + ENTRY_BYTES;
        if self.remembered_bytes + bytes > MAX_REMEMBERED {
            self.forget();
        }
        if bytes <= MAX_REMEMBERED {
            self.remembered_bytes += bytes;
            self.remembered.entry(text.into()).or_default().push((types.into(), Rc::clone(&verdict)));
        }
        verdict
    }

    /// Likewise, where it may execute these. Nothing is remembered of it.
    pub(super) fn understand(&self, text: &[u8], types: &[u32], parsed: &Parsed) -> Verdict {
        let mut context = Context { parameters: types.to_vec(), ..self.context.clone() };
        parsed.put(&mut context);
        let analysis = match self.sight.catalog() {
            Some(catalog) => text_of(text).and_then(|text| analyse_in_full(text, catalog, &context)),
            // INVARIANT: a missing catalog is an obstacle, so that nothing is judged without one.
            None => Err(Refusal {
                cause: facts::Cause::Unresolved,
                message: "the database's catalog is not known yet".to_owned(),
                hint: "Send the statement again.".to_owned(),
                position: None,
            }),
        };
        let analysis = analysis.map_err(Box::new);
        Rc::new(Understood {
            analysis,
            permitted: Permitted::default(),
            basis: Last::default(),
            redaction: Redacts::default(),
        })
    }

    /// Encodings in which a byte of ASCII may be a part of another letter are not read as the server reads them.
    pub(super) fn known_encoding(&self) -> Result<(), Report> {
        const ASCII_IS_ASCII: [&str; 7] = ["UTF8", "SQL_ASCII", "LATIN", "WIN", "ISO_8859", "KOI8", "UNICODE"];
        // In a transaction that has failed it may not be known yet, and nothing runs.
        if self.encoding.is_empty() || ASCII_IS_ASCII.iter().any(|prefix| self.encoding.starts_with(prefix)) {
            return Ok(());
        }
        Err(Report::new(
            "0A000",
            format!("statements in the client encoding {} are not understood", self.encoding),
            "Connect again, and let client_encoding be UTF8.",
        ))
    }
}

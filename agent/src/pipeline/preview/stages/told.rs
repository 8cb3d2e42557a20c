//! What there is to tell of a preview.

use super::{
    super::{
        counts::{self, Written},
        of::Trial,
        plan::grouped,
        sample,
    },
    Stages, sqlstate,
};
use crate::pipeline::mask::errors;
use postern_proto::v1::{ClientError, Effect, EffectPreview, effect_preview::Result as Told};
use postern_wire::error;

impl Stages {
    /// It fails, or a lock that it needs is not to be had.
    pub(super) fn failed(&mut self, error: &[u8]) {
        let text = |field| error::field(error, field).map(|text| String::from_utf8_lossy(text).into_owned());
        if sqlstate(error) == b"55P03" {
            let context = text(b'W').unwrap_or_default();
            let of = context.split("relation \"").nth(1).and_then(|rest| rest.split('"').next());
            let of = of.map(|relation| format!(" on rows of {relation}")).unwrap_or_default();
            self.untried = Some(format!("another transaction holds a lock{of} that it waits for"));
            return;
        }
        let instead = if self.of.withholds { errors::instead(error) } else { None };
        self.fails = Some(match instead {
            Some((report, _)) => ClientError {
                sqlstate: report.sqlstate,
                message: report.message,
                detail: report.detail,
                hint: String::new(),
            },
            None => ClientError {
                sqlstate: text(b'C').unwrap_or_default(),
                message: text(b'M').unwrap_or_default(),
                detail: text(b'D').unwrap_or_default(),
                hint: text(b'H').unwrap_or_default(),
            },
        });
    }

    /// What there is to tell.
    pub fn told(mut self) -> EffectPreview {
        for (oid, total) in &self.totals {
            if let (Ok(total), Some((_, name))) = (u64::try_from(*total), self.of.named.get(oid)) {
                self.plan.scans(name.split_once('.').map_or(name, |(_, relation)| relation), total);
            }
        }
        let mut notes = std::mem::take(&mut self.of.notes);
        if matches!(self.of.trial, Trial::Nothing(_)) {
            for (oid, bytes) in &self.sizes {
                if let Some((_, name)) = self.of.named.get(oid) {
                    notes.push(size(name, *bytes, self.totals.get(oid).copied()));
                }
            }
        }
        let plan = std::mem::take(&mut self.plan.lines);
        if let Some(fails) = self.fails {
            return EffectPreview { result: Some(Told::Fails(fails)), notes, plan, ..EffectPreview::default() };
        }
        let Some(written) = self.written else {
            let why = self.untried.unwrap_or_else(|| "the database did not answer".to_owned());
            return EffectPreview { result: Some(Told::NotMade(why)), notes, plan, ..EffectPreview::default() };
        };
        if let Some(why) = self.untried {
            notes.insert(0, format!("it was not tried: {why}"));
            notes.push("what cascades and triggers would change is not counted".to_owned());
        }
        let target = self.of.target.as_ref();
        let samples = target.and_then(|target| {
            let key = self.key.as_ref();
            sample::sample(&target.name, target.screen.as_ref()?, self.before.as_ref(), self.after, key)
        });
        let effect = Effect {
            exact: self.exact,
            rows: written.iter().map(Written::total).sum(),
            relations: counts::told(&written, &self.totals),
            samples: samples.into_iter().collect(),
        };
        EffectPreview { result: Some(Told::Effect(effect)), notes, plan, ..EffectPreview::default() }
    }
}

/// `public.orders: 12 MB, about 48,110 rows`
fn size(name: &str, bytes: i64, rows: Option<i64>) -> String {
    let mib = u64::try_from(bytes).unwrap_or_default().div_ceil(1 << 20);
    match rows.and_then(|rows| u64::try_from(rows).ok()) {
        Some(rows) => format!("{name}: {} MiB, about {} rows", grouped(mib), grouped(rows)),
        None => format!("{name}: {} MiB", grouped(mib)),
    }
}

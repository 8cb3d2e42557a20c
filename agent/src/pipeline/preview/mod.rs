//! What a statement would do, tried on the session's own backend and rolled back, for the people who decide on it.
//!
//! - [`of`]: what is to be tried, and what may be of it; [`judge`](super::judge)'s `foresee` finds that out
//! - `stages`: what is asked, one batch after the other
//! - `talk`: statements of ours, and the server's answers
//! - `plan`, `counts`, `sample`: what is made of these
//!
//! INVARIANT: what it does is rolled back, in a transaction of its own or to a savepoint of its own, and nothing of the
//! session's own is touched: neither its unnamed statement and portal, nor its settings, nor what its client is told.
//!
//! The caller sends what [`Preview::take_due`] gives, and has [`Preview::hear`] take all that the server says until that
//! tells the transaction's state: it is over then.

mod counts;
pub mod of;
mod plan;
mod sample;
mod stages;
mod talk;

pub use of::{Of, Target, Trial};
pub use sample::Screen;

use postern_proto::v1::{EffectPreview, effect_preview::Result as Told};
use postern_types::time::Micros;
use postern_wire::ProtocolError;
use stages::Stages;
use std::time::Instant;
use talk::Talk;

/// One preview.
#[derive(Debug)]
pub struct Preview {
    began: (i64, Instant),
    stages: Option<Box<Stages>>,
    talk: Talk,
    due: Vec<u8>,
    /// Where nothing is tried.
    told: EffectPreview,
}

impl Preview {
    /// One that is over before it began.
    #[must_use]
    pub fn not_made(why: impl Into<String>) -> Self {
        let told = EffectPreview { result: Some(Told::NotMade(why.into())), ..EffectPreview::default() };
        Self { began: (Micros::now().0, Instant::now()), stages: None, talk: Talk::default(), due: Vec::new(), told }
    }

    /// One that begins.
    #[must_use]
    pub fn begin(of: Of) -> Self {
        let mut due = Vec::new();
        let stages = Some(Box::new(Stages::begin(of, &mut due)));
        Self { stages, due, ..Self::not_made("it did not end") }
    }

    /// Whether nothing more is to be heard for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stages.as_ref().is_none_or(|stages| stages.is_over())
    }

    /// Appends what is to be sent to the server.
    pub fn take_due(&mut self, to_server: &mut Vec<u8>) {
        to_server.append(&mut self.due);
    }

    /// Whether something is.
    #[must_use]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes the server's next bytes, and passes on what is not about the preview. Says how many of them are done with,
    /// and once it is over the transaction's state.
    ///
    /// # Errors
    /// When something is not the protocol.
    pub fn hear(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(usize, Option<u8>), ProtocolError> {
        let (done, heard) = self.talk.hear(bytes, out)?;
        let (Some(heard), Some(stages)) = (heard, &mut self.stages) else { return Ok((done, None)) };
        let status = heard.status;
        stages.heard(heard, &mut self.due);
        if !stages.is_over() {
            return Ok((done, None));
        }
        self.talk.tell_settings(out);
        Ok((done, Some(status)))
    }

    /// What there is to tell.
    #[must_use]
    pub fn finish(self) -> EffectPreview {
        let (at_us, since) = self.began;
        let duration_ms = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
        let told = self.stages.map_or(self.told, |stages| stages.told());
        EffectPreview { at_us, duration_ms, ..told }
    }
}

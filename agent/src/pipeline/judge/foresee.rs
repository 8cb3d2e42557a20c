//! What a preview of a statement has to know.

use super::Judge;
use crate::pipeline::{inspect::Statement, preview::Preview};

impl Judge {
    /// Begins the preview of a statement that is held, in a transaction of this state. `bound` is what its Bind says after the
    /// names; nothing of a simple Query.
    pub fn preview(&mut self, _statement: &Statement, _bound: Option<&[u8]>, _status: u8) -> Preview {
        Preview::not_made("previews are not made yet")
    }
}

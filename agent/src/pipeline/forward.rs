//! What the server gets in place of a refused message.
//!
//! A refusal is played by the server: it gets a message that is certain to fail, and its error is rewritten on
//! the way back. Transaction state, the skipping up to Sync and ReadyForQuery are then PostgreSQL's own.

use postern_proto::v1::StatementKind;
use postern_wire::{
    frame::{put_cstr, put_message},
    frontend::put_query,
};

/// A syntax error in every version and every transaction state.
const CERTAIN_TO_FAIL: &str = "REFUSED BY POSTERN";

/// Appends the message that fails in place of one of this kind.
pub fn refuse(kind: StatementKind, to_server: &mut Vec<u8>) {
    match kind {
        StatementKind::Parse => put_message(to_server, b'P', |out| {
            put_cstr(out, b"");
            put_cstr(out, CERTAIN_TO_FAIL.as_bytes());
            out.extend_from_slice(&[0, 0]);
        }),
        // Under a name, so that the unnamed statement stays, as it would have.
        StatementKind::Execute => put_message(to_server, b'P', |out| {
            put_cstr(out, CERTAIN_TO_FAIL.as_bytes());
            put_cstr(out, CERTAIN_TO_FAIL.as_bytes());
            out.extend_from_slice(&[0, 0]);
        }),
        // A function call is answered as a query is: by an error and ReadyForQuery.
        _ => put_query(to_server, CERTAIN_TO_FAIL),
    }
}

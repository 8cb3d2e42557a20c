//! Ids, time and secrets that every part of Postern agrees on. Pure: no I/O and no clock.
//!
//! In reading order: [`id`] (newtypes for ids), [`time`] (microseconds since the Unix epoch, durations as
//! people write them), [`size`] (numbers of bytes as people write them), [`token`] (bearer tokens and grant secrets: made, printed once, compared by hash).

pub mod id;
pub mod size;
pub mod time;
pub mod token;

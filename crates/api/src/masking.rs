//! What of a connection is masked, and what a mask shows.

use crate::document::{Mask, MaskOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What of a connection is masked, as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaskedConnection {
    /// The connection.
    pub connection: String,
    /// `schema`, `schema.table` or `schema.table.column` → tag.
    pub tags: BTreeMap<String, String>,
    /// Tag → mask, with what may be asked of such columns where that was said.
    pub masks: BTreeMap<String, MaskOptions>,
}

/// The longest value that a mask is tried on, in bytes.
pub const MAX_SAMPLE_BYTES: usize = 1000;

/// The body of `POST /masks/try`: what would a mask show of this made-up value?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryMask {
    /// The mask.
    pub mask: Mask,
    /// The type of the column.
    pub r#type: SampleType,
    /// The value, as PostgreSQL writes it; at most 1,000 bytes. It is recorded nowhere.
    pub value: String,
}

/// The types by which masks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SampleType {
    /// `text`
    Text,
    /// `date`
    Date,
    /// `numeric`
    Numeric,
}

/// The answer to `POST /masks/try`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedMask {
    /// What is shown in its place; null: NULL.
    pub value: Option<String>,
}

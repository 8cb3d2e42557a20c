//! What a scan of a database's columns found, and the tags that it proposes.

use crate::document::Mask;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rows that are read of each table where a scan does not say.
pub const DEFAULT_SAMPLE: u32 = 1000;

/// The most rows that can be asked for.
pub const MAX_SAMPLE: u32 = 10_000;

/// The body of `POST /connections/{name}/scan`: which columns seem to hold personal or payment data? Nothing is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scan {
    /// Only this table: `schema.table`.
    pub table: Option<String>,
    /// Only this column, which is told of whatever is found: `schema.table.column`.
    pub column: Option<String>,
    /// Only this detector.
    pub detector: Option<String>,
    /// Rows of each table; 1,000 where it is left out, at most 10,000.
    pub sample: Option<u32>,
}

/// The answer to a scan: names and counts, and nothing of any value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scanned {
    /// The connection.
    pub connection: String,
    /// The access role by whose login was read.
    pub role: String,
    /// That login.
    pub login: String,
    /// How many tables were looked at.
    pub tables: u32,
    /// There is more than one scan looks at; name a table.
    pub cut: bool,
    /// Columns of which there is something to tell, by name.
    pub columns: Vec<ScannedColumn>,
    /// Tables of which names were seen and no values.
    pub not_sampled: Vec<NotSampled>,
}

/// What was seen of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScannedColumn {
    /// `schema.table.column`.
    pub column: String,
    /// Its type.
    pub r#type: String,
    /// The tag that is proposed.
    pub tag: Option<String>,
    /// The mask of that tag.
    pub mask: Option<Mask>,
    /// The connection has no mask for that tag yet.
    pub mask_is_new: bool,
    /// The tag that it has.
    pub tagged: Option<String>,
    /// How sure the proposal is.
    pub confidence: Option<Confidence>,
    /// What its name says that it holds.
    pub named: Option<String>,
    /// The values that were looked at: neither NULL nor empty.
    pub values: u64,
    /// What was found in them.
    pub found: Vec<Finding>,
}

/// How sure a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Its name says so and its values do not.
    Low,
    /// Its name or its values say so.
    Medium,
    /// Both say so, or nearly all values.
    High,
}

impl Confidence {
    /// As JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What was found in a column's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Whether a key inside a document says so, rather than a detector.
    pub by_name: bool,
    /// Where in a document: `contact.email`; `*` stands for elements and for keys that are data themselves.
    pub path: Option<String>,
    /// Values that are one as a whole.
    pub whole: u64,
    /// Values that hold one among other text.
    pub within: u64,
    /// The share of the values that were looked at, 0 to 1.
    pub share: f64,
}

/// A table of which no values were seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotSampled {
    /// `schema.table`.
    pub table: String,
    /// Why.
    pub why: String,
}

//! Whose consent is needed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose consent is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quorum {
    /// Whether all of the needs have to be met or one is enough.
    pub mode: QuorumMode,
    /// The needs.
    pub needs: Vec<Need>,
}

/// How many of a quorum's needs have to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuorumMode {
    /// All, and a reviewer counts for one of them.
    All,
    /// Any.
    Any,
}

/// So many reviewers, each a member of one of the groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// The groups; none: admins.
    pub groups: Vec<String>,
    /// How many.
    pub count: u32,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.count, self.groups.as_slice()) {
            (1, []) => f.write_str("an admin"),
            (count, []) => write!(f, "{count} admins"),
            (count, groups) => write!(f, "{count} of {}", groups.join(", ")),
        }
    }
}

impl std::fmt::Display for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let between = match self.mode {
            QuorumMode::All => " and ",
            QuorumMode::Any => " or ",
        };
        let needs: Vec<_> = self.needs.iter().map(ToString::to_string).collect();
        f.write_str(&needs.join(between))
    }
}

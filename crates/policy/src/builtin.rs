//! The policies that come with Postern: guards that always hold, what holds where no file was applied, and a starter set.

/// The name under which problems and records know the guards.
pub(crate) const GUARDS_NAME: &str = "postern";

/// What the ids of the guards begin with. No other policy's may.
pub(crate) const GUARD_PREFIX: &str = "postern:";

/// What no policy can permit. They are part of every set.
pub const GUARDS: &str = include_str!("guards.cedar");

/// What holds where no file was applied: what the access roles say.
pub const DEFAULT: (&str, &str) = ("default.cedar", include_str!("../../../deploy/policies/default.cedar"));

/// The starter set, by file name.
pub const STARTER: [(&str, &str); 5] = [
    ("10-agents-read-only.cedar", include_str!("../../../deploy/policies/10-agents-read-only.cedar")),
    ("20-bounded-writes.cedar", include_str!("../../../deploy/policies/20-bounded-writes.cedar")),
    ("30-migrations.cedar", include_str!("../../../deploy/policies/30-migrations.cedar")),
    ("40-tagged-schemas.cedar", include_str!("../../../deploy/policies/40-tagged-schemas.cedar")),
    ("50-freeze-window.cedar", include_str!("../../../deploy/policies/50-freeze-window.cedar")),
];

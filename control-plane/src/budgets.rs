//! What a grant may use up: by the access role when it was granted. Connectors count; the control plane keeps what they
//! report with the ends of statements.

use crate::store::StoreError;
use postern_api::{
    access::{Account, GrantBudget},
    document,
};
use postern_proto::v1::{Amounts, Budget, Usage};
use postern_types::size::parse_bytes;

/// A grant's budget, and what was used of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// At first.
    pub budget: document::Budget,
    /// Since.
    pub used: Usage,
}

impl Balance {
    /// From a grant's columns.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(budget: &str, used: Usage) -> Result<Self, StoreError> {
        let corrupt = |error| StoreError::corrupt("budget", error);
        let balance = Self { budget: serde_json::from_str(budget).map_err(corrupt)?, used };
        Ok(balance)
    }

    fn bytes_out(&self) -> Option<u64> {
        // Checked when it was applied. What cannot be read leaves nothing.
        self.budget.bytes_out.as_deref().map(|text| parse_bytes(text).unwrap_or(0))
    }

    /// What a ticket says of it; none where connectors have nothing to count.
    #[must_use]
    pub fn of_ticket(&self) -> Option<Budget> {
        let document::Budget { statements, rows_read, rows_written, .. } = self.budget;
        let total = Amounts { statements, rows_read, rows_written, bytes_out: self.bytes_out() };
        let left = |total: Option<u64>, used: u64| total.map(|total| total.saturating_sub(used));
        let left = Amounts {
            statements: left(total.statements, self.used.statements),
            rows_read: left(total.rows_read, self.used.rows_read),
            rows_written: left(total.rows_written, self.used.rows_written),
            bytes_out: left(total.bytes_out, self.used.bytes_out),
        };
        (total != Amounts::default()).then_some(Budget { total: Some(total), left: Some(left) })
    }

    /// Whether none of it is used up.
    #[must_use]
    pub fn is_left(&self) -> bool {
        let GrantBudget { statements, rows_read, rows_written, bytes_out, .. } = self.to_api();
        // What had nothing from the start is not used up.
        let used_up = |account: &Account| account.left == 0 && account.total > 0;
        ![statements, rows_read, rows_written, bytes_out].iter().flatten().any(used_up)
    }

    /// As the API shows it.
    #[must_use]
    pub fn to_api(&self) -> GrantBudget {
        let account = |total: Option<u64>, used: u64| {
            total.map(|total| Account { total, used, left: total.saturating_sub(used) })
        };
        GrantBudget {
            statements: account(self.budget.statements, self.used.statements),
            rows_read: account(self.budget.rows_read, self.used.rows_read),
            rows_written: account(self.budget.rows_written, self.used.rows_written),
            bytes_out: account(self.bytes_out(), self.used.bytes_out),
            sessions: self.budget.sessions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left() {
        let budget = r#"{"rows_read": 10, "bytes_out": "1KiB", "sessions": 2}"#;
        let used = Usage { rows_read: 4, bytes_out: 2_000, rows_written: 7, ..Usage::default() };
        let balance = Balance::read(budget, used).unwrap();
        let Budget { total, left } = balance.of_ticket().unwrap();
        let amounts = |rows, bytes| Amounts { rows_read: Some(rows), bytes_out: Some(bytes), ..Amounts::default() };
        assert_eq!((total, left), (Some(amounts(10, 1024)), Some(amounts(6, 0))));
        let shown = balance.to_api();
        assert_eq!(shown.rows_read, Some(Account { total: 10, used: 4, left: 6 }));
        assert_eq!((shown.rows_written, shown.sessions), (None, Some(2)));
        assert!(!balance.is_left());
        assert!(Balance::read(r#"{"rows_read": 5, "rows_written": 0}"#, balance.used).unwrap().is_left());
        // Sessions are counted by the control plane alone.
        assert_eq!(Balance::read(r#"{"sessions": 1}"#, Usage::default()).unwrap().of_ticket(), None);
        assert!(Balance::read("{", Usage::default()).is_err());
    }
}

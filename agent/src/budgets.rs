//! What grants may use up: one count for all sessions of a grant, whichever thread they are on.

use parking_lot::Mutex;
use postern_proto::v1::{Amounts, Ticket};
use postern_types::time::Micros;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Statements that were let through.
    Statements,
    /// Rows that went to the client.
    RowsRead,
    /// Rows that command tags count as written.
    RowsWritten,
    /// Bytes of rows and COPY data that went to the client.
    BytesOut,
}

impl Amount {
    const ALL: [Self; 4] = [Self::Statements, Self::RowsRead, Self::RowsWritten, Self::BytesOut];

    /// As people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Statements => "statements",
            Self::RowsRead => "rows read",
            Self::RowsWritten => "rows written",
            Self::BytesOut => "bytes out",
        }
    }

    fn of(self, amounts: &Amounts) -> Option<u64> {
        match self {
            Self::Statements => amounts.statements,
            Self::RowsRead => amounts.rows_read,
            Self::RowsWritten => amounts.rows_written,
            Self::BytesOut => amounts.bytes_out,
        }
    }
}

#[derive(Debug)]
struct Account {
    total: u64,
    left: AtomicU64,
}

/// One grant's count.
#[derive(Debug)]
pub struct Ledger {
    accounts: [Option<Account>; 4],
}

impl Ledger {
    fn new(total: &Amounts) -> Self {
        let account = |amount: Amount| amount.of(total).map(|total| Account { total, left: AtomicU64::new(total) });
        Self { accounts: Amount::ALL.map(account) }
    }

    fn account(&self, amount: Amount) -> Option<&Account> {
        self.accounts.get(amount as usize).and_then(Option::as_ref)
    }

    /// No more than this is left: others may have used what is not known here.
    fn learn(&self, left: &Amounts) {
        for amount in Amount::ALL {
            if let (Some(account), Some(left)) = (self.account(amount), amount.of(left)) {
                account.left.fetch_min(left, Relaxed);
            }
        }
    }

    /// How much there was at first; none where any amount may be used.
    #[must_use]
    pub fn total(&self, amount: Amount) -> Option<u64> {
        self.account(amount).map(|account| account.total)
    }

    /// How much is left, where it is bounded.
    #[must_use]
    pub fn left(&self, amount: Amount) -> Option<u64> {
        self.account(amount).map(|account| account.left.load(Relaxed))
    }

    /// Takes so much, or nothing if there is less.
    #[must_use]
    pub fn take(&self, amount: Amount, count: u64) -> bool {
        let Some(account) = self.account(amount) else { return true };
        account.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(count)).is_ok()
    }
}

/// A ledger, and when its grant ends.
type Kept = (Arc<Ledger>, Micros);

/// Of all grants with a budget.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    ledgers: Arc<Mutex<HashMap<String, Kept>>>,
}

impl Budgets {
    /// That of a ticket's grant, if it has a budget. It is kept until the grant ends, so that a session which begins anew
    /// does not count anew.
    #[must_use]
    pub fn of(&self, ticket: &Ticket, now: Micros) -> Option<Arc<Ledger>> {
        let budget = ticket.budget.as_ref()?;
        let (total, left) = (budget.total.unwrap_or_default(), budget.left.unwrap_or_default());
        let mut ledgers = self.ledgers.lock();
        ledgers.retain(|_, (_, ends_at)| *ends_at > now);
        let new = || (Arc::new(Ledger::new(&total)), Micros(ticket.grant_ends_at_us));
        let (ledger, ends_at) = ledgers.entry(ticket.grant_id.clone()).or_insert_with(new);
        *ends_at = (*ends_at).max(Micros(ticket.grant_ends_at_us));
        ledger.learn(&left);
        Some(Arc::clone(ledger))
    }

    /// A grant ends later.
    pub fn extend(&self, grant: &str, later: Micros) {
        if let Some((_, ends_at)) = self.ledgers.lock().get_mut(grant) {
            *ends_at = later.max(*ends_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_proto::v1::Budget;

    fn ticket(left: u64, ends: i64) -> Ticket {
        let amounts = |rows| Amounts { rows_read: Some(rows), ..Amounts::default() };
        let budget = Budget { total: Some(amounts(10)), left: Some(amounts(left)) };
        Ticket { grant_id: "grt_a".into(), budget: Some(budget), grant_ends_at_us: ends, ..Ticket::default() }
    }

    #[test]
    fn sessions_of_a_grant_have_one_count() {
        let budgets = Budgets::default();
        assert!(budgets.of(&Ticket::default(), Micros(0)).is_none());
        let one = budgets.of(&ticket(10, 100), Micros(0)).unwrap();
        assert!(one.take(Amount::RowsRead, 6) && one.take(Amount::RowsWritten, 1_000));
        // The control plane has heard of none of it yet.
        let other = budgets.of(&ticket(10, 100), Micros(1)).unwrap();
        assert_eq!((other.left(Amount::RowsRead), other.total(Amount::RowsRead)), (Some(4), Some(10)));
        assert!(!other.take(Amount::RowsRead, 5), "all or nothing");
        assert_eq!(one.left(Amount::RowsRead), Some(4));
        // What was used elsewhere.
        let _ = budgets.of(&ticket(1, 100), Micros(2)).unwrap();
        assert_eq!(one.left(Amount::RowsRead), Some(1));
        // A grant that is over is forgotten.
        assert_eq!(budgets.of(&ticket(10, 300), Micros(200)).unwrap().left(Amount::RowsRead), Some(10));
    }
}

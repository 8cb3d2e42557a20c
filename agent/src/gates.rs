//! How many sessions a connection's database has at once. Who comes when there are as many as there may be waits in turn.

use parking_lot::Mutex;
use postern_wire::error::Report;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Sessions that wait for one connection. Each holds a stream and what its client has sent.
const MAX_WAITING: usize = 1_000;

/// A connection's bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The most sessions; none: any number.
    pub most: Option<usize>,
    /// How long one more waits.
    pub wait: Duration,
}

#[derive(Debug, Default)]
struct Gate {
    bound: Bound,
    inside: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

impl Gate {
    fn has_room(&self) -> bool {
        self.bound.most.is_none_or(|most| self.inside < most)
    }
}

/// The gates of all connections. Touched when a session begins and ends, never in between.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    gates: Arc<Mutex<HashMap<String, Gate>>>,
}

/// A session's place. Dropped, it goes to whoever waits.
#[derive(Debug)]
pub struct Place {
    gates: Gates,
    connection: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(gate) = self.gates.gates.lock().get_mut(&self.connection) {
            gate.inside = gate.inside.saturating_sub(1);
        }
        self.gates.admit(&self.connection);
    }
}

impl Gates {
    /// The bounds of all connections that are served.
    pub fn set(&self, bounds: impl IntoIterator<Item = (String, Bound)>) {
        for (connection, bound) in bounds {
            self.gates.lock().entry(connection.clone()).or_default().bound = bound;
            self.admit(&connection);
        }
    }

    /// Lets in whoever waits, as far as there is room.
    fn admit(&self, connection: &str) {
        loop {
            let mut gates = self.gates.lock();
            let Some(gate) = gates.get_mut(connection).filter(|gate| gate.has_room()) else { return };
            let Some(next) = gate.waiting.pop_front() else { return };
            if next.is_closed() {
                continue;
            }
            gate.inside += 1;
            drop(gates);
            // One that has just gone gives it back by dropping it.
            let _ = next.send(self.place(connection));
        }
    }

    fn place(&self, connection: &str) -> Place {
        Place { gates: self.clone(), connection: connection.to_owned() }
    }

    /// Takes a place, or waits for one in turn.
    ///
    /// # Errors
    /// What the client is to be told when none comes in time.
    pub async fn enter(&self, connection: &str) -> Result<Place, Report> {
        let (place, bound) = {
            let mut gates = self.gates.lock();
            let gate = gates.entry(connection.to_owned()).or_default();
            gate.waiting.retain(|waiting| !waiting.is_closed());
            if gate.has_room() && gate.waiting.is_empty() {
                gate.inside += 1;
                drop(gates);
                return Ok(self.place(connection));
            }
            if gate.waiting.len() >= MAX_WAITING {
                return Err(full(connection, gate.bound, "and too many wait for one to end"));
            }
            let (sender, place) = oneshot::channel();
            gate.waiting.push_back(sender);
            (place, gate.bound)
        };
        match timeout(bound.wait, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(full(connection, bound, &format!("and none ended within {} ms", bound.wait.as_millis()))),
        }
    }
}

fn full(connection: &str, bound: Bound, why: &str) -> Report {
    Report::new(
        "53300",
        format!("the connection {connection} has its {} sessions, {why}", bound.most.unwrap_or_default()),
        "Try again shortly, end sessions that are not needed (`postern sessions`), or use fewer at once.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    const WAIT: Duration = Duration::from_millis(300);

    fn gates(most: usize) -> Gates {
        let gates = Gates::default();
        gates.set([("a".to_owned(), Bound { most: Some(most), wait: WAIT })]);
        gates
    }

    #[tokio::test]
    async fn who_waits_is_let_in_in_turn() {
        let gates = gates(1);
        let mut context = Context::from_waker(Waker::noop());
        let inside = gates.enter("a").await.unwrap();
        let mut second = Box::pin(gates.enter("a"));
        let mut third = pin!(gates.enter("a"));
        assert!(second.as_mut().poll(&mut context).is_pending() && third.as_mut().poll(&mut context).is_pending());
        // Another connection has a gate of its own, which bounds nothing.
        let others = (gates.enter("b").await.unwrap(), gates.enter("b").await.unwrap());
        drop(others);
        drop(inside);
        assert!(third.as_mut().poll(&mut context).is_pending(), "it is not its turn");
        let inside = second.await.unwrap();
        drop(inside);
        third.await.unwrap();
        assert_eq!(gates.gates.lock()["a"].inside, 0);
    }

    #[tokio::test]
    async fn who_goes_leaves_the_queue_and_who_waits_too_long_is_told() {
        let gates = gates(1);
        let mut context = Context::from_waker(Waker::noop());
        let inside = gates.enter("a").await.unwrap();
        let mut gone = Box::pin(gates.enter("a"));
        assert!(gone.as_mut().poll(&mut context).is_pending());
        let mut late = Box::pin(gates.enter("a"));
        assert!(late.as_mut().poll(&mut context).is_pending());
        drop(gone);
        let report = late.await.unwrap_err();
        assert!(report.sqlstate == "53300" && report.message.contains("300 ms"), "{report:?}");
        drop(inside);
        gates.enter("a").await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_comes_as_its_client_goes_is_not_lost() {
        let gates = gates(1);
        let mut context = Context::from_waker(Waker::noop());
        let inside = gates.enter("a").await.unwrap();
        let mut gone = Box::pin(gates.enter("a"));
        assert!(gone.as_mut().poll(&mut context).is_pending());
        drop(inside);
        drop(gone);
        let inside = gates.enter("a").await.unwrap();
        // A higher bound lets in whoever waits.
        let mut waits = Box::pin(gates.enter("a"));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        gates.set([("a".to_owned(), Bound { most: Some(2), wait: WAIT })]);
        drop((waits.await.unwrap(), inside));
        assert_eq!(gates.gates.lock()["a"].inside, 0);
    }
}

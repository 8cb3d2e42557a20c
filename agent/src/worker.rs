//! A thread of the data path: its tunnels, their sessions, its recorder.

use crate::{
    budgets::Budgets,
    catalogs::Catalogs,
    config::Config,
    control::Control,
    gates::Gates,
    journal::{Journal, Works},
    lease::Lease,
    masked::Known,
    outbox::{
        Outbox,
        recorder::{self, Recorder},
    },
    registry::Registry,
    reviews::Reviews,
    roles::Roles,
    rules,
    ticket::Verifier,
    tunnels::{self, Wanted},
};
use arc_swap::ArcSwap;
use postern_ops::thread;
use postern_peer::Keeper;
use secrecy::SecretString;
use std::{cell::RefCell, collections::HashMap, io, rc::Rc, sync::Arc, thread::JoinHandle};
use tokio::{
    sync::mpsc,
    task::{spawn_blocking, spawn_local},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Bytes read from a database at once; one buffer a thread.
const SCRATCH_BYTES: usize = 64 * 1024;

/// A connection that this connector serves, as the control plane says.
#[derive(Debug)]
pub struct Connection {
    /// Where the database is.
    pub url: String,
    /// Passwords by database role, for those that the configuration holds none for. Never written anywhere.
    pub logins: HashMap<String, SecretString>,
    /// Whether roles are made for its sessions.
    pub ephemeral: bool,
}

/// What all threads of a connector have in common.
#[derive(Clone)]
pub struct Common {
    /// The configuration.
    pub config: Arc<Config>,
    /// This connector's identity.
    pub keeper: Keeper,
    /// This process, told from its predecessors.
    pub incarnation: Arc<str>,
    /// Tickets.
    pub verifier: Arc<Verifier>,
    /// What statements are decided by, as the control plane signed it: policies, and of each connection whether it is
    /// frozen and what is tagged. While there is none, nothing runs that policies decide.
    pub rules: Arc<rules::Current>,
    /// What the databases' own catalogs say of names.
    pub catalogs: Catalogs,
    /// Which of their columns are masked.
    pub masked: Arc<Known>,
    /// The connections by name, as the control plane says.
    pub connections: Arc<ArcSwap<HashMap<String, Connection>>>,
    /// What grants may use up.
    pub budgets: Budgets,
    /// How many sessions each connection has.
    pub gates: Gates,
    /// Database roles that are made for one session.
    pub roles: Roles,
    /// All sessions.
    pub registry: Registry,
    /// Whose statements wait for people.
    pub reviews: Reviews,
    /// Whether statements may start.
    pub lease: Lease,
    /// To the control plane.
    pub control: Control,
    /// What it does in databases by itself.
    pub journal: Journal,
    /// Records.
    pub outbox: Outbox,
    /// The identity was revoked: the process has nothing left to do.
    pub revoked: CancellationToken,
    /// Ends everything.
    pub stop: CancellationToken,
}

/// One thread's state.
pub struct Worker {
    common: Common,
    /// This thread's records.
    pub recorder: Rc<Recorder>,
    /// For reading from databases; borrowed only while one is polled.
    pub scratch: RefCell<Vec<u8>>,
}

impl std::ops::Deref for Worker {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

/// A thread that was started.
pub struct Thread {
    /// Tunnels that it is to keep up.
    pub wanted: mpsc::UnboundedSender<Wanted>,
    /// Ends when the thread has written its last record.
    pub handle: JoinHandle<()>,
}

/// Starts a thread. One of them writes what the connector does by itself.
///
/// # Errors
/// When the system gives none.
pub fn spawn(common: Common, index: usize, works: Option<Works>) -> io::Result<Thread> {
    let (wanted, received) = mpsc::unbounded_channel();
    // Statements are parsed here, and the parser recurses as deep as they nest.
    let handle = thread::spawn(format!("connector-{index}"), postern_sql::parse::STACK_BYTES, move || {
        let worker = Rc::new(Worker {
            recorder: Rc::new(Recorder::new(common.outbox.clone())),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            common,
        });
        run(worker, received, works)
    })?;
    Ok(Thread { wanted, handle })
}

async fn run(worker: Rc<Worker>, mut wanted: mpsc::UnboundedReceiver<Wanted>, works: Option<Works>) {
    spawn_local(tick(Rc::clone(&worker)));
    let recorder = Rc::clone(&worker.recorder);
    spawn_local(async move { recorder.commit_forever().await });
    if let Some(works) = works {
        let recorder = Rc::clone(&worker.recorder);
        spawn_local(async move { works.write_forever(&recorder).await });
    }
    loop {
        tokio::select! {
            Some(wanted) = wanted.recv() => drop(spawn_local(tunnels::keep(Rc::clone(&worker), wanted))),
            () = worker.stop.cancelled() => break,
        }
    }
    // What is still in memory is written; the next start ships it.
    if let Err(error) = worker.recorder.flush() {
        tracing::error!(%error, "the last audit records could not be written");
    }
}

/// Writes, syncs and ships what the sessions have recorded.
async fn tick(worker: Rc<Worker>) {
    let mut every = interval(recorder::TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match worker.recorder.tick() {
            Ok(None) => {}
            Ok(Some(unsynced)) => {
                let synced = spawn_blocking(move || unsynced.sync()).await;
                if let Ok(Err(error)) = synced {
                    tracing::error!(%error, "the audit outbox could not be synced; no statement runs from now on");
                    worker.recorder.fail();
                }
            }
            Err(error) => tracing::error!(%error, "the audit outbox could not be written"),
        }
    }
}

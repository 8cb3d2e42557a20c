//! Threads with stacks that are deep enough to parse and analyse on.
//!
//! A caller whose own threads have [`crate::parse::STACK_BYTES`] of stack needs no pool.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use crate::parse::STACK_BYTES;

/// A piece of work. It hands its result to whoever waits for it.
type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads, and a bounded queue before them. The threads end when the pool is dropped.
#[derive(Clone, Debug)]
pub struct Pool {
    queue: SyncSender<Job>,
}

/// The queue is full, or the threads are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is too much to analyse at the moment")]
pub struct Busy;

impl Pool {
    /// Starts `threads` threads with a queue of `waiting` jobs.
    ///
    /// # Errors
    ///
    /// When the system gives no more threads.
    pub fn start(threads: usize, waiting: usize) -> io::Result<Self> {
        let (queue, jobs) = sync_channel::<Job>(waiting);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("sql-{number}")).stack_size(STACK_BYTES).spawn(move || work(&jobs))?;
        }
        Ok(Self { queue })
    }

    /// Queues a job, without waiting.
    ///
    /// # Errors
    ///
    /// When the queue is full. The caller refuses the statement then, or waits and tries again.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        match self.queue.try_send(Box::new(job)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }

    /// Runs a job and waits for its result. Blocks: not for a thread that serves sessions.
    ///
    /// # Errors
    ///
    /// When the queue is full, or the job panicked.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let (send, receive) = sync_channel(1);
        self.submit(move || {
            // Whoever asked may have gone.
            let _ = send.send(job());
        })?;
        receive.recv().map_err(|_| Busy)
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A job that panics must not take the thread with it; its caller sees that no result comes.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

//! A thread of the data path: one runtime, whose tasks never leave it.

use std::{io, sync::mpsc, thread};
use tokio::runtime::{Builder, LocalOptions};

/// Starts a thread that runs `main`, and the tasks that this spawns, to the end of `main`. `stack` is in bytes.
///
/// # Errors
/// When the system gives no thread, or none of what a runtime needs.
pub fn spawn<F: Future<Output = ()>>(
    name: String,
    stack: usize,
    main: impl FnOnce() -> F + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    // The runtime cannot be moved: it is built where it runs.
    let (tell, told) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(name).stack_size(stack).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        // Whoever asked waits for what is told.
        match runtime {
            Ok(runtime) => {
                let _ = tell.send(Ok(()));
                runtime.block_on(main());
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    })?;
    told.recv().map_err(io::Error::other)??;
    Ok(thread)
}

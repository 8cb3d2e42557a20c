//! Records wait here, on disk, until the control plane has acknowledged them.
//!
//! Each thread of the data path writes a segment of its own ([`recorder`]); a segment that is done is shipped
//! ([`shipper`]) and removed once it is acknowledged. A file `*.open` is being written, `*.seg` is done; what a
//! crash left open is cut to its last whole record and shipped as it is.

pub mod recorder;
pub mod shipper;

use crate::config;
use postern_types::id::SegmentId;
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// What the recorders and the shipper share.
#[derive(Clone)]
pub struct Outbox {
    folder: Arc<PathBuf>,
    /// Bytes in the folder.
    backlog: Arc<AtomicU64>,
    /// The same, as `/metrics` shows it.
    gauge: metrics::Gauge,
    config: config::Outbox,
    done: UnboundedSender<SegmentId>,
}

impl Outbox {
    /// Opens the folder and closes what a crash left open. Segments that wait come out of the receiver.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: PathBuf, config: config::Outbox) -> io::Result<(Self, UnboundedReceiver<SegmentId>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let (done, waiting) = mpsc::unbounded_channel();
        let gauge = metrics::gauge!("postern_connector_outbox_bytes");
        let outbox = Self { folder: Arc::new(folder), backlog: Arc::default(), gauge, config, done };
        let mut found = Vec::new();
        for entry in fs::read_dir(outbox.folder.as_path())? {
            let path = entry?.path();
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()) else {
                continue;
            };
            let extension = path.extension().and_then(|extension| extension.to_str());
            if !matches!(extension, Some("open" | "seg")) {
                continue;
            }
            if extension == Some("open") {
                recover(&path, &outbox.path(&id, "seg"))?;
            }
            found.push(id);
        }
        found.sort();
        found.dedup();
        for id in found {
            outbox.grow(fs::metadata(outbox.path(&id, "seg")).map_or(0, |file| file.len()));
            let _ = outbox.done.send(id);
        }
        Ok((outbox, waiting))
    }

    fn path(&self, id: &SegmentId, extension: &str) -> PathBuf {
        self.folder.join(format!("{id}.{extension}"))
    }

    fn grow(&self, bytes: u64) {
        self.backlog.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.set(self.backlog() as f64);
    }

    fn shrink(&self, bytes: u64) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
        self.gauge.set(self.backlog() as f64);
    }

    /// Bytes that wait.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.backlog() >= self.config.max_bytes
    }
}

fn recover(open: &PathBuf, done: &PathBuf) -> io::Result<()> {
    let bytes = fs::read(open)?;
    let whole = postern_audit::segment::whole_prefix(&bytes);
    if whole < bytes.len() {
        tracing::warn!(file = %open.display(), cut = bytes.len() - whole, "a record was torn by a crash; it was never acted on");
        fs::OpenOptions::new().write(true).open(open)?.set_len(whole as u64)?;
    }
    if whole == 0 { fs::remove_file(open) } else { fs::rename(open, done) }
}

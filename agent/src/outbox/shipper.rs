//! Sends segments to the control plane, a few at a time, and removes what it has acknowledged.

use super::Outbox;
use postern_audit::segment;
use postern_peer::Pauses;
use postern_proto::v1::{AuditSegment, connector_control_client::ConnectorControlClient};
use postern_types::id::SegmentId;
use std::{collections::BTreeSet, fs, io, time::Duration};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};

/// Segments on their way at once.
const IN_FLIGHT: usize = 8;

/// Between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Ships for ever.
pub async fn run(outbox: Outbox, mut done: UnboundedReceiver<SegmentId>, channel: Channel, stop: CancellationToken) {
    let mut pauses = Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    let mut waiting = BTreeSet::new();
    loop {
        let shipped = tokio::select! {
            shipped = ship(&outbox, &mut done, &mut waiting, &mut pauses, channel.clone()) => shipped,
            () = stop.cancelled() => return,
        };
        if let Err(status) = shipped {
            tracing::debug!(error = %status.message(), waiting = waiting.len(), "audit segments could not be delivered; trying again");
        }
        tokio::time::sleep(pauses.after_failure()).await;
    }
}

async fn ship(
    outbox: &Outbox,
    done: &mut UnboundedReceiver<SegmentId>,
    waiting: &mut BTreeSet<SegmentId>,
    pauses: &mut Pauses,
    channel: Channel,
) -> Result<(), Status> {
    let (outgoing, segments) = mpsc::channel(IN_FLIGHT);
    let mut control = ConnectorControlClient::new(channel);
    let mut acks = control.append_audit(ReceiverStream::new(segments)).await?.into_inner();
    let mut sent: BTreeSet<SegmentId> = BTreeSet::new();
    loop {
        while sent.len() < IN_FLIGHT {
            let Some(id) = waiting.iter().find(|id| !sent.contains(*id)).cloned() else {
                break;
            };
            match load(outbox, &id).await {
                Ok(payload) => {
                    let segment = AuditSegment { segment_id: id.to_string(), payload: payload.into() };
                    outgoing.send(segment).await.map_err(|_| Status::unavailable("the stream was closed"))?;
                    sent.insert(id);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(waiting.remove(&id)),
                Err(error) => return Err(Status::internal(error.to_string())),
            }
        }
        tokio::select! {
            ack = acks.message() => {
                let ack = ack.inspect_err(|status| set_aside(outbox, waiting, sent.first(), status))?;
                let Some(ack) = ack else { return Ok(()) };
                pauses.reset();
                if let Ok(id) = ack.segment_id.parse::<SegmentId>() {
                    let path = outbox.path(&id, "seg");
                    let length = fs::metadata(&path).map_or(0, |file| file.len());
                    if let Err(error) = fs::remove_file(&path) {
                        tracing::warn!(%error, "an acknowledged audit segment could not be removed");
                    }
                    outbox.shrink(length);
                    sent.remove(&id);
                    waiting.remove(&id);
                }
            }
            Some(id) = done.recv() => drop(waiting.insert(id)),
        }
    }
}

/// A segment that the control plane will never take must not hold up those behind it. It stays on the disk for
/// the operator.
fn set_aside(outbox: &Outbox, waiting: &mut BTreeSet<SegmentId>, first: Option<&SegmentId>, status: &Status) {
    let Some(id) = first.filter(|_| matches!(status.code(), Code::InvalidArgument | Code::DataLoss)) else { return };
    let (from, to) = (outbox.path(id, "seg"), outbox.path(id, "bad"));
    tracing::error!(segment = %id, error = %status.message(), file = %to.display(), "the control plane refuses an audit segment; it is set aside");
    outbox.shrink(fs::metadata(&from).map_or(0, |file| file.len()));
    match fs::rename(from, to) {
        Ok(()) => drop(waiting.remove(id)),
        Err(error) => tracing::error!(%error, "an audit segment could not be set aside"),
    }
}

async fn load(outbox: &Outbox, id: &SegmentId) -> io::Result<Vec<u8>> {
    let path = outbox.path(id, "seg");
    let packed = tokio::task::spawn_blocking(move || segment::pack(&fs::read(path)?).map_err(io::Error::other));
    packed.await.map_err(io::Error::other)?
}

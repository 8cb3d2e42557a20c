//! What the two ends of a tunnel say to each other before its frames: one message each, a `u16` length and protobuf.

use prost::Message;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A hello is an id, a welcome an id and a number.
pub const MAX_BYTES: usize = 512;

/// Says it.
///
/// # Errors
/// When the connection fails, or the message is too long.
pub async fn say<M: Message>(stream: &mut (impl AsyncWrite + Unpin), message: &M) -> io::Result<()> {
    let message = message.encode_to_vec();
    let length = u16::try_from(message.len()).ok().filter(|length| usize::from(*length) <= MAX_BYTES);
    stream.write_u16(length.ok_or_else(too_long)?).await?;
    stream.write_all(&message).await?;
    stream.flush().await
}

/// Hears it, and takes no byte more.
///
/// # Errors
/// When the connection fails, or what comes is too long or not such a message.
pub async fn hear<M: Message + Default>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_BYTES {
        return Err(too_long());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    M::decode(message.as_slice()).map_err(io::Error::other)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what begins the tunnel is too long")
}

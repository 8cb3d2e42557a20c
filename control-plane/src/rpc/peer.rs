//! Who calls: the certificate of the connection, as the services see it.

use super::store_failed;
use crate::{
    Core,
    rights::{self, Action, Resource, Who},
    store::identities,
};
use postern_api::fleet::PartKind;
use postern_peer::Kind;
use postern_types::{
    id::{ConnectorId, GatewayId},
    time::Micros,
};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tonic::{Extensions, Status, transport::server::Connected};
use x509_parser::prelude::FromDer;

/// A connection whose TLS handshake is done.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: ConnectionInfo,
}

/// What is known of a connection: an extension of each of its calls.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

/// What a client's certificate says.
#[derive(Debug, PartialEq, Eq)]
struct Certificate {
    kind: PartKind,
    id: String,
    not_after: Micros,
}

/// A connector or gateway that has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which of the two.
    pub kind: PartKind,
    /// Its identity's id.
    pub id: String,
}

impl Connection {
    /// Reads the client's certificate, if it showed one.
    ///
    /// # Errors
    /// When it is not one that our authority makes for connectors and gateways.
    pub fn new(stream: TlsStream<TcpStream>, address: SocketAddr) -> io::Result<Self> {
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = match leaf {
            Some(leaf) => Some(Arc::new(read(leaf).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "the client's certificate names no connector or gateway")
            })?)),
            None => None,
        };
        Ok(Self { stream, info: ConnectionInfo { address, certificate } })
    }
}

fn read(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let (kind, id) = postern_peer::tls::peer(der)?;
    let kind = match kind {
        Kind::Connector => PartKind::Connector,
        Kind::Gateway => PartKind::Gateway,
        Kind::ControlPlane => return None,
    };
    let well_formed = match kind {
        PartKind::Connector => id.parse::<ConnectorId>().is_ok(),
        PartKind::Gateway => id.parse::<GatewayId>().is_ok(),
    };
    let not_after = Micros(certificate.validity().not_after.timestamp().saturating_mul(1_000_000));
    well_formed.then_some(Certificate { kind, id, not_after })
}

/// From where the caller comes; through a gateway, the gateway's address.
#[must_use]
pub fn address(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectionInfo>().map(|info| info.address)
}

/// The caller, if it has proved itself and is not revoked.
///
/// A connection outlives its certificate: it stays good as long as the identity was renewed in time, on whatever
/// connection.
///
/// # Errors
/// UNAUTHENTICATED without a certificate or with one that has ended, PERMISSION_DENIED when it was revoked.
async fn identify(core: &Core, extensions: &Extensions) -> Result<Peer, Status> {
    let certificate = extensions
        .get::<ConnectionInfo>()
        .and_then(|info| info.certificate.as_ref())
        .ok_or_else(|| Status::unauthenticated("a client certificate is required: enrol first"))?;
    if core.hub.is_revoked(&certificate.id) {
        return Err(revoked());
    }
    let now = Micros::now();
    if certificate.not_after <= now {
        let mut tx = core.store.read().await.map_err(store_failed)?;
        let row = identities::by_id(&mut tx, &certificate.id).await.map_err(store_failed)?;
        match row {
            Some(row) if row.revoked_at.is_some() => return Err(revoked()),
            Some(row) if row.certificate_expires_at > now => {}
            _ => return Err(Status::unauthenticated("the client certificate has expired: enrol again")),
        }
    }
    Ok(Peer { kind: certificate.kind, id: certificate.id.clone() })
}

/// The caller, if it may call that.
///
/// # Errors
/// UNAUTHENTICATED when it has not proved itself, PERMISSION_DENIED when it may not or was revoked.
pub async fn authorize(core: &Core, extensions: &Extensions, rpc: &'static str) -> Result<Peer, Status> {
    let peer = identify(core, extensions).await?;
    if rights::is_allowed(Who::Part(peer.kind, &peer.id), Action::Call, &Resource::Rpc(rpc)) {
        return Ok(peer);
    }
    tracing::warn!(caller = peer.id, rpc, "refused: a {} may not call that", peer.kind.as_str());
    let other = match peer.kind {
        PartKind::Connector => PartKind::Gateway,
        PartKind::Gateway => PartKind::Connector,
    };
    Err(Status::permission_denied(format!("this is for a {} only", other.as_str())))
}

/// What a revoked peer is told.
#[must_use]
pub fn revoked() -> Status {
    Status::permission_denied("the identity was revoked: enrol again with a new join token")
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! The gRPC channel to the control plane. A connector reaches it through a gateway, which passes the TCP
//! connection on by the server name in the TLS greeting and can read nothing of it.

use hyper_util::rt::TokioIo;
use postern_proto::CONTROL_PLANE_SERVER_NAME;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// To reach an address and finish the TLS handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A dead peer is noticed within this long, twice over.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A channel that dials the first of `addresses` that answers, again whenever it is lost. `config` is asked for
/// each connection, so that a renewed certificate is used from then on.
#[must_use]
pub fn channel<A, C>(addresses: A, config: C) -> Channel
where
    A: Fn() -> Vec<String> + Send + Sync + 'static,
    C: Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync + 'static,
{
    let shared = Arc::new((addresses, config));
    let connector = tower::service_fn(move |_| {
        let shared = Arc::clone(&shared);
        async move {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in (shared.0)() {
                match dial(&address, (shared.1)()?).await {
                    Ok(stream) => return Ok(TokioIo::new(stream)),
                    Err(error) => last = error,
                }
            }
            Err::<_, io::Error>(last)
        }
    });
    // The name is never resolved: the connector above dials.
    Endpoint::from_static("http://control-plane.postern.internal")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(Some(1 << 20))
        .connect_with_connector_lazy(connector)
}

async fn dial(address: &str, config: Arc<ClientConfig>) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(CONTROL_PLANE_SERVER_NAME).map_err(io::Error::other)?;
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    };
    timeout(CONNECT_DEADLINE, connect).await.map_err(io::Error::from)?
}

//! Postern's control protocol: messages and gRPC services generated from `proto/postern/v1`.
//!
//! The `.proto` files are the documentation. Wire types stop at the edge of each part: they are converted by
//! hand into that part's own types.

/// Version 1 of the protocol.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("postern.v1");

    /// Prefix of what a ticket's signature covers, so that no other signed message can pass for a ticket.
    pub const TICKET_CONTEXT: &[u8] = b"postern-ticket-v1\0";
}

/// Server name by which a gateway's connector listener passes a connection on to the control plane.
pub const CONTROL_PLANE_SERVER_NAME: &str = "control-plane.postern.internal";

/// Server name of a gateway on its connector listener.
pub const GATEWAY_SERVER_NAME: &str = "gateway.postern.internal";

/// ALPN protocol of the session tunnel.
pub const TUNNEL_ALPN: &[u8] = b"postern-tunnel/1";

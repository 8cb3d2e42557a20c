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

    /// Prefix of what a policy bundle's signature covers.
    pub const POLICIES_CONTEXT: &[u8] = b"postern-policies-v1\0";

    /// Prefix of what the signature of a grant's later end covers.
    pub const EXTENSION_CONTEXT: &[u8] = b"postern-extension-v1\0";

    /// Prefix of what the signature of a statement review's decision covers.
    pub const REVIEW_CONTEXT: &[u8] = b"postern-review-v1\0";
}

impl std::fmt::Debug for v1::ConnectionSpec {
    /// The logins' names only: what is printed ends up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut logins: Vec<_> = self.logins.keys().collect();
        logins.sort();
        f.debug_struct("ConnectionSpec")
            .field("name", &self.name)
            .field("database_url", &self.database_url)
            .field("logins", &logins)
            .finish()
    }
}

/// Server name by which a gateway's connector listener passes a connection on to the control plane.
pub const CONTROL_PLANE_SERVER_NAME: &str = "control-plane.postern.internal";

/// Server name of a gateway on its connector listener.
pub const GATEWAY_SERVER_NAME: &str = "gateway.postern.internal";

/// What the URI in a certificate begins with; `<kind>/<id>` follows.
pub const IDENTITY_URI_PREFIX: &str = "spiffe://postern/";

/// What the ALPN protocol of a session tunnel begins with.
pub const TUNNEL_ALPN: &[u8] = b"postern-tunnel/1";

/// ALPN protocol by which a connector asks for a tunnel to this thread of a gateway.
#[must_use]
pub fn tunnel_alpn(worker: usize) -> Vec<u8> {
    format!("postern-tunnel/1;{worker}").into_bytes()
}

#[cfg(test)]
mod tests {
    use crate::v1::{ConnectionSet, ConnectionSpec, ConnectorCommand, ConnectorWelcome, connector_command::Command};

    #[test]
    fn passwords_are_not_printed() {
        let spec = ConnectionSpec {
            name: "demo".to_owned(),
            database_url: "postgresql://127.0.0.1/shop".to_owned(),
            logins: [("shop_reader".to_owned(), "hunter2".to_owned())].into(),
            ..ConnectionSpec::default()
        };
        let set = ConnectionSet { connections: vec![spec] };
        let welcome = ConnectorWelcome { connections: Some(set.clone()), ..ConnectorWelcome::default() };
        for command in [Command::Connections(set), Command::Welcome(welcome)] {
            let command = ConnectorCommand { command: Some(command) };
            for text in [format!("{command:?}"), format!("{command:#?}")] {
                assert!(text.contains("shop_reader") && !text.contains("hunter2"), "{text}");
            }
        }
    }
}

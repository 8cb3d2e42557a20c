//! What has to be told to connectors and gateways once a change is committed.
//!
//! State changes return effects instead of acting: a change that is rolled back must tell nobody anything.

use postern_proto::v1::ClientError;
use postern_types::{
    id::{GrantId, SessionId},
    time::Micros,
};

/// Something to tell, after the transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A grant is over: its sessions end with this error.
    EndGrant(GrantId, ClientError),
    /// A grant ends later, then.
    GrantExtended(GrantId, Micros),
    /// A session is over.
    EndSession(SessionId, ClientError),
    /// Connectors may have to serve other connections.
    ConnectionsChanged,
    /// Connectors may have to decide by other policies, freezes or tags.
    PoliciesChanged,
    /// A connector or gateway is refused from now on.
    IdentityRevoked(String),
}

//! Messages that come by standard input, one a line, of the one client that has started the process.

use crate::{
    Plane, Refusal,
    tools::{Kept, Tools},
};
use rmcp::{ServiceExt, service::ServerInitializeError, transport::async_rw::AsyncRwTransport};
use std::sync::Arc;

/// The longest message: as long as a body that the control plane takes. What is longer is passed over.
const MAX_MESSAGE: usize = 4 << 20;

/// Serves until the client closes its end.
///
/// # Errors
/// When what comes first is not the protocol.
pub async fn serve(plane: impl Plane) -> Result<(), Refusal> {
    let transport =
        AsyncRwTransport::new_server(tokio::io::stdin(), tokio::io::stdout()).with_max_line_length(MAX_MESSAGE);
    match Tools::new(Arc::new(plane), Arc::new(Kept::default())).serve(transport).await {
        Ok(serving) => {
            // Only a panic would be an error, and that has been reported.
            let _ = serving.waiting().await;
            Ok(())
        }
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(_) => Err(Refusal::new("usage", "what came by standard input is not the Model Context Protocol")
            .hint("It is for a client of that protocol to start this command.")),
    }
}

//! stub
use crate::Core; use std::{net::SocketAddr, sync::Arc};
/// x
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct RpcError;
/// x
pub struct Running { /// x
 pub address: SocketAddr }
impl Running { /// x
 pub async fn shutdown(self) {} }
/// x
pub async fn start(core: Arc<Core>) -> Result<Running, RpcError> { Ok(Running{address: core.config.grpc.listen}) }

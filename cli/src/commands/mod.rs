//! The commands, one file each. Those that call the control plane take a [`Context`].

pub mod apply;
pub mod audit;
pub mod completion;
pub mod connect;
pub mod connections;
pub mod credentials;
pub mod decide;
pub mod exec;
pub mod fleet;
pub mod grants;
pub mod join_token;
pub mod login;
pub mod policy;
pub mod request;
pub mod sessions;
pub mod tokens;
pub mod url;
pub mod users;
pub mod whoami;

use crate::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::Format,
};

/// What each command is given beside its own arguments.
pub struct Context {
    /// How to write results.
    pub format: Format,
    /// Where the control plane is.
    pub client_args: ClientArgs,
}

impl Context {
    /// A client of the control plane.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.client_args)
    }
}

/// A duration on the command line, checked before it is sent and sent as it was written.
pub fn duration_text(text: &str) -> Result<String, String> {
    postern_types::time::parse_duration(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A principal's name with its kind where that says something: `agent ci for alice`.
pub fn who(
    principal: &postern_api::identity::PrincipalRef,
    on_behalf_of: Option<&postern_api::identity::PrincipalRef>,
) -> String {
    match on_behalf_of {
        Some(user) => format!("{} for {}", principal.name, user.name),
        None => principal.name.clone(),
    }
}

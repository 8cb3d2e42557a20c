//! The commands, one file each. Those that call the control plane take a [`Context`].

pub mod access;
pub mod apply;
pub mod audit;
pub mod completion;
pub mod connect;
pub mod connections;
pub mod credentials;
pub mod decide;
pub mod device;
pub mod exec;
pub mod fleet;
pub mod grants;
pub mod join_token;
pub mod login;
pub mod mcp;
pub mod notifications;
pub mod policy;
pub mod policy_replay;
pub mod policy_test;
pub mod request;
pub mod requests;
pub mod reviews;
pub mod scan;
pub mod sessions;
pub mod standing;
pub mod stop;
pub mod tokens;
pub mod url;
pub mod users;
pub mod whoami;

use crate::{
    client::{Client, ClientArgs},
    failure::Failure,
    output::Format,
};
use postern_api::{Micros, identity::PrincipalName};
use postern_types::time::parse_duration;

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
    parse_duration(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
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

/// A principal on the command line.
pub fn principal(text: &str) -> Result<PrincipalName, String> {
    text.parse()
}

/// A time, or how long ago.
pub fn moment(text: &str) -> Result<Micros, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.into());
    }
    let ago =
        parse_duration(text).map_err(|_| "write a time as 2026-01-31T12:00:00Z, or how long ago as 1h".to_owned())?;
    let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
    Ok(Micros(Micros::now().0.saturating_sub(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), Micros(1_000_000));
        let hour_ago = moment("1h").unwrap();
        assert!((3_599..3_602).contains(&Micros::now().since(hour_ago).as_secs()));
        assert!(moment("yesterday").is_err());
    }
}

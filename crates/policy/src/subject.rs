//! Who acts, on which connection, under which grant, at which moment.

use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Tags of an object.
pub type Tags = BTreeSet<Arc<str>>;

/// Everything that is fixed for a grant. A [`Plan`](crate::Plan) is made for one of these.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Who acts.
    pub principal: Principal,
    /// Where.
    pub connection: Connection,
    /// By which grant.
    pub grant: Grant,
}

/// Who acts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// A person or an agent.
    pub kind: PrincipalKind,
    /// The name, as policies have it: `User::"alice@example.com"`.
    pub name: Arc<str>,
    /// The groups of which it is a member.
    pub groups: BTreeSet<Arc<str>>,
}

/// What kind of principal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// An AI agent, a CI job, a service account.
    Agent,
}

/// The connection on which something is done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Its name.
    pub name: Arc<str>,
    /// Its tags. Everything in it has them too.
    pub tags: Tags,
    /// Whether changes are frozen for everyone.
    pub freeze: bool,
}

/// The grant under which something is done. An empty text says that there is none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// The access role.
    pub role: String,
    /// Whether the access role is read-only.
    pub read_only: bool,
    /// Why it was asked for.
    pub reason: String,
    /// The ticket in another system that it was asked for with.
    pub ticket: String,
    /// The user for whom an agent acts.
    pub on_behalf_of: String,
    /// Whether what the principal has read may steer it.
    pub tainted: bool,
    /// The task that it belongs to.
    pub task: String,
}

/// When, and from where.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// The time.
    pub now: Micros,
    /// Seconds east of UTC at this time in the zone in which policies count hours and weekdays.
    pub offset: i32,
    /// The client's address.
    pub client: IpAddr,
}

impl Moment {
    /// The client's address as sessions are told it, most often with its port. Of one that is not understood nothing is
    /// known: 0.0.0.0.
    #[must_use]
    pub fn client(address: &str) -> IpAddr {
        let with_port = address.parse::<SocketAddr>().map(|address| address.ip());
        let address = with_port.or_else(|_| address.parse()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        // An IPv4 client of a listener that takes both.
        address.to_canonical()
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Agent => "agent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn clients_have_addresses() {
        for (text, address) in [
            ("192.0.2.7:5000", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:db8::1]:5000", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[::ffff:192.0.2.7]:5000", "192.0.2.7"),
            ("", "0.0.0.0"),
            ("nowhere:5000", "0.0.0.0"),
        ] {
            assert_eq!(Moment::client(text).to_string(), address, "{text}");
        }
    }
}

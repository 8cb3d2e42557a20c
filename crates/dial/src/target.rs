//! Where to connect: a `postgresql://` URL as libpq reads it.

use crate::tls::TlsMode;
use secrecy::SecretString;
use std::path::PathBuf;
use thiserror::Error;

/// A URL that cannot be used. Never holds the URL: it may contain a password.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// Not `postgresql://` or `postgres://`.
    #[error("a database URL begins with `postgresql://`")]
    Scheme,
    /// A part that cannot be read.
    #[error("the database URL's {0} cannot be read")]
    Part(&'static str),
    /// A parameter that is not known, so that a misspelling is not taken for a default.
    #[error("the database URL has the unknown parameter `{0}`")]
    Parameter(String),
}

/// One host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or address.
    Tcp(String, u16),
    /// The folder of a Unix socket, and the port in its name.
    Unix(PathBuf, u16),
}

/// A certificate of one's own, for servers that ask for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The chain, one's own first, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// Everything that a connection needs.
#[derive(Clone, Debug)]
pub struct Target {
    /// Tried in order.
    pub hosts: Vec<Host>,
    /// The database role.
    pub user: String,
    /// Its password, if it has one.
    pub password: Option<SecretString>,
    /// The database; the user's name when empty.
    pub database: String,
    /// How much TLS is asked for.
    pub tls: TlsMode,
    /// Certificates to trust instead of the system's.
    pub root_certificate: Option<PathBuf>,
    /// What is shown to a server that asks for it.
    pub own_certificate: Option<OwnCertificate>,
    /// Further startup parameters, in order.
    pub parameters: Vec<(String, String)>,
    /// Minor version of protocol 3 to ask for.
    pub minor: u16,
}

impl Target {
    /// Reads a URL: `postgresql://user:password@host:port,host2:port2/database?sslmode=…`.
    ///
    /// # Errors
    /// When a part is malformed or a parameter unknown.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let rest =
            url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://")).ok_or(TargetError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let mut target = Self {
            hosts: Vec::new(),
            user: decode(user, "user")?,
            password: password.map(|text| decode(text, "password").map(SecretString::from)).transpose()?,
            database: decode(database, "database")?,
            tls: TlsMode::Prefer,
            root_certificate: None,
            own_certificate: None,
            parameters: Vec::new(),
            minor: 0,
        };
        let mut port = 5432;
        let mut query_hosts = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(TargetError::Part("query"))?;
            let value = decode(value, "query")?;
            match name {
                "host" => query_hosts = Some(value),
                "port" => port = value.parse().map_err(|_| TargetError::Part("port"))?,
                "user" => target.user = value,
                "password" => target.password = Some(SecretString::from(value)),
                "dbname" => target.database = value,
                "sslmode" => target.tls = value.parse().map_err(|()| TargetError::Part("sslmode"))?,
                "sslrootcert" => target.root_certificate = Some(PathBuf::from(value)),
                "application_name" | "options" | "client_encoding" => target.parameters.push((name.to_owned(), value)),
                "connect_timeout" | "channel_binding" | "gssencmode" => {}
                _ => return Err(TargetError::Parameter(name.chars().take(64).collect())),
            }
        }
        let hosts = query_hosts.unwrap_or_else(|| hosts.to_owned());
        for host in hosts.split(',') {
            target.hosts.push(parse_host(host, port)?);
        }
        Ok(target)
    }

    /// The database's name, which is the user's when none was given.
    #[must_use]
    pub fn database(&self) -> &str {
        if self.database.is_empty() { &self.user } else { &self.database }
    }
}

fn decode(text: &str, part: &'static str) -> Result<String, TargetError> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| TargetError::Part(part))
}

fn parse_host(text: &str, default_port: u16) -> Result<Host, TargetError> {
    let text = decode(text, "host")?;
    if text.starts_with('/') {
        return Ok(Host::Unix(PathBuf::from(text), default_port));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(TargetError::Part("host"))?;
            (host, after.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text.as_str(), None),
        },
    };
    let port = match port {
        Some(port) if !port.is_empty() => port.parse().map_err(|_| TargetError::Part("port"))?,
        _ => default_port,
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(Host::Tcp(host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn urls() {
        let target =
            Target::parse("postgresql://al%40ice:p%3Aw+d=1@db:6432,[::1]/shop?sslmode=verify-full&application_name=x")
                .unwrap();
        assert_eq!(target.user, "al@ice");
        assert_eq!(target.password.as_ref().unwrap().expose_secret(), "p:w+d=1");
        assert_eq!(target.hosts, [Host::Tcp("db".into(), 6432), Host::Tcp("::1".into(), 5432)]);
        assert_eq!((target.database(), target.tls), ("shop", TlsMode::VerifyFull));
        let unix = Target::parse("postgres:///?host=/run/pg&port=5433&user=bob").unwrap();
        assert_eq!(unix.hosts, [Host::Unix("/run/pg".into(), 5433)]);
        assert_eq!(unix.database(), "bob");
        assert_eq!(Target::parse("postgresql://u@/d").unwrap().hosts, [Host::Tcp("localhost".into(), 5432)]);
    }

    #[test]
    fn wrong_urls_name_what_is_wrong() {
        for (url, expect) in [
            ("mysql://x", TargetError::Scheme),
            ("postgresql://h/d?sslmodus=require", TargetError::Parameter("sslmodus".into())),
            ("postgresql://h/d?sslmode=maybe", TargetError::Part("sslmode")),
            ("postgresql://h:port/d", TargetError::Part("port")),
        ] {
            assert_eq!(Target::parse(url).unwrap_err(), expect, "{url}");
        }
    }

    mod fuzz {
        use super::*;
        use postern_fuzz::{mangled, proptest, target, text};
        use proptest::prelude::*;
        use secrecy::ExposeSecret;

        fn url() -> impl Strategy<Value = Vec<u8>> {
            let word = || text("ab%40%2f[]:,@/?&=", 8);
            let query =
                prop::sample::select(vec!["", "?sslmode=verify-full", "?host=%2Frun&port=1", "?user=x&dbname=y"]);
            (word(), word(), word(), word(), query).prop_map(|(user, password, host, database, query)| {
                format!("postgresql://{user}:{password}@{host}/{database}{query}").into_bytes()
            })
        }

        target!(fuzz_urls, mangled(url()), |url| {
            let url = String::from_utf8_lossy(&url).into_owned();
            match Target::parse(&url) {
                Ok(read) => {
                    prop_assert!(!read.hosts.is_empty());
                    prop_assert!(read.hosts.iter().all(|host| !matches!(host, Host::Tcp(name, _) if name.is_empty())));
                    let again = Target::parse(&url).unwrap();
                    let secret = |target: &Target| target.password.as_ref().map(|it| it.expose_secret().to_owned());
                    prop_assert_eq!(secret(&again), secret(&read));
                }
                // The name of an unknown parameter is the only part of a URL that an error may show.
                Err(TargetError::Parameter(name)) => prop_assert!(name.chars().count() <= 64 && url.contains(&name)),
                Err(_) => {}
            }
            Ok(())
        });
    }
}

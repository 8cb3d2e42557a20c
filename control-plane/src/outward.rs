//! The HTTP client that speaks to others, receivers of notifications, issuers of identity tokens and identity providers, and where it does not go.

use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use url::{Host, Url};

/// A connection must be there by then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer must be there by then. Less than a delivery's lease.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where clouds answer their machines outside of the link-local networks: Alibaba, Azure, Oracle; AWS.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The client. It follows no redirect: what is signed for one receiver is not taken to another, and keys come from where
/// their issuer says.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client() -> reqwest::Result<Client> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Resolver))
        .build()
}

/// An answer's body cannot be had.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The line broke.
    #[error("the answer breaks off")]
    Broken(#[source] reqwest::Error),
    /// Over the bound.
    #[error("the answer is too long")]
    TooLong,
}

/// An answer's body, if it is not longer than that.
///
/// # Errors
/// When it is, or breaks off.
pub async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| BodyError::Broken(error.without_url()))? {
        if body.len() + part.len() > most {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// Resolves as the system does, and leaves out where nothing is sent.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| !is_refused(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address to which anything is sent", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether nothing is ever sent there: what answers at such an address believes whoever asks to be its machine.
fn is_refused(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || v6 == METADATA_V6,
    }
}

/// An address, if something may be sent there. Addresses that are written out pass no resolver, so that they
/// are looked at here.
///
/// # Errors
/// Says why not.
pub fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL: write `https://hooks.example.com/postern`")?;
    let is_loopback = match url.host() {
        None => return Err("names no host"),
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(v4)) if is_refused(v4.into()) => return Err("is an address to which nothing is sent"),
        Some(Host::Ipv6(v6)) if is_refused(v6.into()) => return Err("is an address to which nothing is sent"),
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return Err("must begin with `https://`; `http://` is for loopback addresses");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_something_is_sent() {
        for good in [
            "https://hooks.example.com/x?y=z",
            "https://10.0.0.1:8443/",
            "https://[fd00::1]/",
            "http://127.0.0.1:8080/hook",
            "http://localhost/hook",
            "http://[::1]/hook",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "hooks.example.com",
            "ftp://hooks.example.com/",
            "http://hooks.example.com/",
            "http://10.0.0.1/",
            "https://user:pass@hooks.example.com/",
            "https://user@hooks.example.com/",
            "https://169.254.169.254/latest/meta-data",
            "https://0xa9fea9fe/",
            "https://2852039166/",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[fd00:ec2::254]/",
            "https://168.63.129.16/",
            "https://0.0.0.0/",
            "file:///etc/passwd",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn names_that_lead_to_refused_addresses() {
        // Written as a name is, so that it reaches the resolver.
        assert!(Resolver.resolve("169.254.169.254".parse().unwrap()).await.is_err());
        assert!(Resolver.resolve("127.0.0.1".parse().unwrap()).await.is_ok());
    }
}

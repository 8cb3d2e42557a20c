//! Joining and renewing.

use crate::{
    control,
    identity::{Identity, IdentityError, Kind},
    tls,
};
use arc_swap::ArcSwap;
use backon::{ExponentialBuilder, Retryable};
use nix::fcntl::{Flock, FlockArg};
use postern_proto::v1::{EnrolRequest, RenewRequest, enrolment_client::EnrolmentClient, renewal_client::RenewalClient};
use postern_types::time::Micros;
use rcgen::{CertificateParams, KeyPair};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tonic::{Code, transport::Channel};

/// A renewal that failed is tried again after at most this long.
const RENEW_RETRY: Duration = Duration::from_secs(60);

/// An identity cannot be had.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// No identity is kept and no join token is configured.
    #[error("this part has no identity yet: configure `join_token` (made by `postern join-token`)")]
    NoToken,
    /// Not a join token.
    #[error("the join token is malformed: it looks like `postern_join_…_…`")]
    Token,
    /// Another process runs there.
    #[error("another process uses the data folder")]
    InUse,
    /// The identity that is kept is another part's.
    #[error("the data folder holds the identity of another kind of part")]
    Kind,
    /// Keeping it failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The key pair.
    #[error("the certificate request cannot be made")]
    Request(#[from] rcgen::Error),
    /// The control plane refused, or cannot be reached.
    #[error("the control plane refused to enrol this part: {}", .0.message())]
    Refused(#[source] Box<tonic::Status>),
}

/// Keeps the current identity: everything that needs it asks here each time.
#[derive(Clone)]
pub struct Keeper {
    current: Arc<ArcSwap<Identity>>,
    folder: PathBuf,
    /// Two processes on one folder would share an identity and an outbox.
    _lock: Arc<Flock<File>>,
}

impl Keeper {
    /// The identity kept in `folder`, or a new one bought with `join_token`. Retries while the control plane
    /// cannot be reached.
    ///
    /// # Errors
    /// When there is neither identity nor token, or the token is refused.
    pub async fn obtain(
        kind: Kind,
        folder: PathBuf,
        addresses: Vec<String>,
        join_token: Option<&SecretString>,
    ) -> Result<Self, EnrolError> {
        let lock = lock(&folder)?;
        let identity = match Identity::load(&folder)? {
            Some(identity) if identity.expires_at > Micros::now() => identity,
            kept => {
                if kept.is_some() {
                    tracing::warn!("the certificate kept in the data folder has expired; enrolling again");
                }
                let identity = enrol(addresses, join_token.ok_or(EnrolError::NoToken)?).await?;
                identity.save(&folder)?;
                identity
            }
        };
        if identity.kind != kind {
            return Err(EnrolError::Kind);
        }
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(identity)), folder, _lock: Arc::new(lock) })
    }

    /// As of now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// A gRPC channel to the control plane with this identity.
    #[must_use]
    pub fn channel<A>(&self, addresses: A) -> Channel
    where
        A: Fn() -> Vec<String> + Send + Sync + 'static,
    {
        let keeper = self.clone();
        control::channel(addresses, move || {
            tls::client(&keeper.identity(), b"h2").map(Arc::new).map_err(io::Error::other)
        })
    }

    /// Renews at two thirds of each certificate's life, for ever.
    ///
    /// Cancel safe: a renewal that is cut off is made again.
    pub async fn renew_forever(&self, channel: Channel) {
        loop {
            let identity = self.identity();
            let life = identity.expires_at.since(identity.obtained_at);
            let due = identity.obtained_at.plus(life * 2 / 3);
            tokio::time::sleep(due.since(Micros::now())).await;
            match self.renew(channel.clone()).await {
                Ok(identity) => tracing::info!(expires_at = %identity.expires_at, "certificate renewed"),
                Err(error) => {
                    tracing::warn!(%error, "the certificate could not be renewed; trying again");
                    tokio::time::sleep(RENEW_RETRY.min(life / 12)).await;
                }
            }
        }
    }

    async fn renew(&self, channel: Channel) -> Result<Arc<Identity>, EnrolError> {
        let (request, key) = certificate_request()?;
        let response = RenewalClient::new(channel)
            .renew(RenewRequest { certificate_request: request.into() })
            .await
            .map_err(|status| EnrolError::Refused(Box::new(status)))?;
        let identity = response.into_inner().identity.ok_or(IdentityError::Unusable("it is empty"))?;
        let identity = Arc::new(Identity::from_proto(identity, key)?);
        identity.save(&self.folder)?;
        self.current.store(Arc::clone(&identity));
        Ok(identity)
    }
}

fn lock(folder: &Path) -> Result<Flock<File>, EnrolError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(IdentityError::from)?;
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock"));
    Flock::lock(file.map_err(IdentityError::from)?, FlockArg::LockExclusiveNonblock).map_err(|_| EnrolError::InUse)
}

/// A PKCS#10 request for a new key, and the key. Its subject is ignored by the control plane.
fn certificate_request() -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?;
    Ok((request.der().to_vec(), key.serialize_der()))
}

async fn enrol(addresses: Vec<String>, token: &SecretString) -> Result<Identity, EnrolError> {
    let ca = token.expose_secret().rsplit('_').next().unwrap_or_default();
    let ca: [u8; 32] = data_encoding::HEXLOWER
        .decode(ca.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(EnrolError::Token)?;
    let config = Arc::new(tls::enrolment(ca)?);
    let channel = control::channel(move || addresses.clone(), move || Ok(Arc::clone(&config)));
    let (request, key) = certificate_request()?;
    let attempt = || {
        let mut client = EnrolmentClient::new(channel.clone());
        let request = EnrolRequest {
            join_token: token.expose_secret().to_owned(),
            certificate_request: request.clone().into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        async move { client.enrol(request).await }
    };
    let response = attempt
        .retry(ExponentialBuilder::default().with_jitter().without_max_times().with_max_delay(RENEW_RETRY / 6))
        .when(|status: &tonic::Status| status.code() == Code::Unavailable)
        .notify(|status, after| tracing::warn!(error = %status.message(), ?after, "the control plane cannot be reached yet"))
        .await
        .map_err(|status| EnrolError::Refused(Box::new(status)))?;
    let identity = response.into_inner().identity.ok_or(IdentityError::Unusable("it is empty"))?;
    Ok(Identity::from_proto(identity, key)?)
}

//! What all parts of the control plane share.

use crate::{
    ca::{Authority, CaError},
    config::{Config, ConfigError},
    effects::Effect,
    hub::Hub,
    identity::{issuers::Exchange, people::SignIns, refusals::Refusals},
    outward,
    seal::{SealError, Sealer},
    store::{Store, StoreError},
    ticket::{KeyError, Signer},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use thiserror::Error;
use tokio::sync::Semaphore;

/// The control plane's own things cannot be made or read.
#[derive(Debug, Error)]
pub enum CoreError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be made.
    #[error("the data folder cannot be made")]
    DataDir(#[source] std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The HTTP client.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// What all parts of the control plane share, as `Arc<Core>`.
pub struct Core {
    /// The database.
    pub store: Store,
    /// Who is attached.
    pub hub: Hub,
    /// The certificate authority.
    pub ca: Authority,
    /// Seals secrets for the database.
    pub sealer: Arc<Sealer>,
    /// Signs tickets and policy bundles.
    pub tickets: Arc<Signer>,
    /// Signs the audit.
    pub audit_signer: Signer,
    /// Exchanges tokens of identity providers.
    pub exchange: Exchange,
    /// Signs people in at identity providers.
    pub people: SignIns,
    /// Records refusals of tokens at the gateways.
    pub(crate) refused_tokens: Refusals,
    /// As it was read.
    pub config: Config,
    /// Where the HTTP listener is, once it is.
    pub(crate) http_address: OnceLock<SocketAddr>,
    /// Speaks to receivers of notifications and to issuers.
    pub(crate) outward: reqwest::Client,
    /// Callers that follow the events.
    pub(crate) event_streams: Arc<Semaphore>,
    /// Exports of the audit that may begin.
    pub(crate) exports: Arc<Semaphore>,
}

impl Core {
    /// Opens the store and reads the keys; makes at the first start what is not there yet.
    ///
    /// # Errors
    /// When something cannot be opened, read or made.
    pub async fn load(config: Config) -> Result<Arc<Self>, CoreError> {
        config.validate()?;
        crate::config::create_data_dir(&config.data_dir).map_err(CoreError::DataDir)?;
        let store = Store::open(&config.store_config().await?).await?;
        let sealer = Arc::new(Sealer::load(&config).await?);
        let ca = Authority::load(&store, &sealer, config.certificate_lifetime).await?;
        let tickets = Arc::new(Signer::load(&store, &sealer).await?);
        let audit_signer = Signer::load_audit(&store, &sealer).await?;
        let public_url = config.http.public_url.clone();
        let hub = Hub::new(store.clone(), Arc::clone(&sealer), Arc::clone(&tickets), public_url).await?;
        let outward = outward::client()?;
        Ok(Arc::new(Self {
            store,
            hub,
            ca,
            sealer,
            tickets,
            audit_signer,
            exchange: Exchange::new(outward.clone()),
            people: SignIns::new(outward.clone()),
            http_address: OnceLock::new(),
            refused_tokens: Refusals::new("token.refused", "postern_token_logins_refused_total"),
            config,
            outward,
            exports: Arc::new(Semaphore::new(crate::audit::export::MAX_EXPORTS)),
            event_streams: Arc::new(Semaphore::new(crate::api::MAX_EVENT_STREAMS)),
        }))
    }

    /// Where people reach the console, without a slash at the end: as it is configured, or the listener without TLS, which is
    /// on loopback.
    #[must_use]
    pub fn own_url(&self) -> Option<String> {
        let configured = self.config.http.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        let listener = || self.http_address.get().filter(|_| self.config.http.tls.is_none());
        configured.or_else(|| listener().map(|address| format!("http://{address}")))
    }

    /// Where a provider sends people back to: exactly this address is registered there.
    #[must_use]
    pub fn callback_url(&self, provider: &str) -> Option<String> {
        self.own_url().map(|own| format!("{own}/oauth/callback/{provider}"))
    }

    /// Tells connectors and gateways what was changed, after it was committed.
    pub fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::EndGrant(grant, error) => self.hub.end_grant(&grant, error),
                Effect::GrantExtended(grant, ends_at) => self.hub.extend_grant(&grant, ends_at),
                Effect::EndSession(session, error) => self.hub.end_session(&session, error),
                Effect::ConnectionsChanged | Effect::PoliciesChanged => self.hub.connections_changed(),
                Effect::IdentityRevoked(id) => self.hub.identity_revoked(&id),
            }
        }
    }

    /// The public key of the audit's signatures, in base64.
    #[must_use]
    pub fn audit_public_key(&self) -> String {
        BASE64.encode(self.audit_signer.public_key())
    }
}

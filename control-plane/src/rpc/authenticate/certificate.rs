//! A certificate beside a grant's secret or a token: the gateway has seen the client prove that it has its key. Alone it opens
//! nothing, so that a gateway that is not what it was gains nothing by saying that it saw one.

use super::{Attempt, Proof};
use crate::{
    grants::{LoginGrant, ask_again},
    identity::issuers::{
        self,
        certificates::{Refused, Shown},
    },
    store::StoreError,
};
use postern_proto::v1::{AuthBegin, ClientError};
use postern_types::time::Micros;
use rustls::pki_types::CertificateDer;

/// What the client has shown to the gateway.
pub(super) fn shown(begin: &AuthBegin) -> Shown {
    Shown::chain(begin.client_certificates.iter().map(|der| CertificateDer::from(der.to_vec())).collect())
}

impl Attempt {
    /// Where the grant is bound to a certificate, notes with the proof that the client has shown it; or why there is no session.
    pub(super) async fn certify(
        &self,
        begin: &AuthBegin,
        login: &LoginGrant,
        proved: &mut Proof,
        now: Micros,
    ) -> Result<Option<ClientError>, StoreError> {
        let Some(bound) = &login.bound_certificate else { return Ok(None) };
        match issuers::shows(&self.core.store, &shown(begin), bound, &login.principal, now).await? {
            Ok(()) => {
                proved.certificate = Some(bound.clone());
                Ok(None)
            }
            Err(refused) => Ok(Some(uncertified(login, &refused))),
        }
    }
}

fn uncertified(login: &LoginGrant, refused: &Refused) -> ClientError {
    ClientError {
        sqlstate: "28000".to_owned(),
        message: format!("the grant is bound to a client certificate: {refused}"),
        detail: String::new(),
        hint: format!(
            "connect with the certificate by which the grant was asked for: sslcert=FILE sslkey=FILE (PGSSLCERT, \
             PGSSLKEY); with another one, {}",
            ask_again(login.connection.name(), &login.role_name)
        ),
    }
}

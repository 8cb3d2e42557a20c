//! A session through a gateway, as any client has one: with the credential of a grant, and nothing more.

use crate::Refusal;
use postern_api::access::Credential;
use postern_dial::{Connection, DialError, Host, OwnCertificate, Target, TlsMode};
use postern_wire::{error, frame};
use secrecy::SecretString;
use std::{path::PathBuf, time::Duration};

/// How long it may take until a session is ready.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// Opens a session under this application name, to a gateway that is known by this root. It is shown a certificate of one's `own`
/// if there is one.
///
/// # Errors
/// When the gateway cannot be reached, or does not let it in.
pub async fn connect(
    credential: &Credential,
    root: Option<PathBuf>,
    own: Option<OwnCertificate>,
    application_name: &str,
) -> Result<(Connection, Target), Refusal> {
    let target = target(credential, root, own, application_name)?;
    let connected = tokio::time::timeout(CONNECT_DEADLINE, postern_dial::connect(&target)).await;
    let late = || {
        Refusal::unavailable(format!("the gateway did not answer within {} s", CONNECT_DEADLINE.as_secs()))
            .hint("Try again; if it lasts, tell whoever runs Postern.")
    };
    let connection = connected.map_err(|_| late())?.map_err(|error| not_connected(&error))?;
    Ok((connection, target))
}

fn target(
    credential: &Credential,
    root: Option<PathBuf>,
    own: Option<OwnCertificate>,
    application_name: &str,
) -> Result<Target, Refusal> {
    let tls: TlsMode = credential
        .sslmode
        .parse()
        .map_err(|()| Refusal::unavailable(format!("the sslmode `{}` is not known", credential.sslmode)))?;
    Ok(Target {
        hosts: vec![Host::Tcp(credential.host.clone(), credential.port)],
        user: credential.user.clone(),
        password: Some(SecretString::from(credential.secret.as_str())),
        database: credential.database.clone(),
        tls,
        root_certificate: root,
        own_certificate: own,
        parameters: vec![
            ("client_encoding".to_owned(), "UTF8".to_owned()),
            ("application_name".to_owned(), application_name.to_owned()),
        ],
        minor: 0,
    })
}

fn not_connected(error: &DialError) -> Refusal {
    match error {
        // The response is kept whole: header and body.
        DialError::Server { response, .. } => refused(response.get(frame::HEADER_BYTES..).unwrap_or_default()),
        DialError::Io(cause) => Refusal::unavailable(format!("the gateway cannot be reached: {cause}"))
            .hint("Try again; if it lasts, tell whoever runs Postern."),
        other => Refusal::unavailable(other.to_string()),
    }
}

/// An ErrorResponse, with all that says what to do.
#[must_use]
pub fn refused(body: &[u8]) -> Refusal {
    let text = |code: u8| error::field(body, code).map(|text| Box::<str>::from(String::from_utf8_lossy(text)));
    let message = text(b'M').unwrap_or_else(|| "the server sent an error without a message".into());
    Refusal { detail: text(b'D'), hint: text(b'H'), sqlstate: text(b'C'), ..Refusal::new("sql", message) }
}

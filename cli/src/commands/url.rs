//! `postern url`.

use super::{
    Context,
    grants::{self, Selection},
};
use crate::{
    failure::Failure,
    files,
    output::{self, Format},
};
use aws_lc_rs::digest;
use postern_api::access::{Credential, CredentialUse};
use postern_dial::OwnCertificate;
use std::path::PathBuf;

/// Print a postgresql:// URL for an open grant, and nothing else
///
/// Each call makes a new secret and ends the one before; sessions that run are left alone. The URL is for any
/// PostgreSQL client. Treat it as a password: it is good until the grant ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern url demo --role read
  psql \"$(postern url demo --role read)\"")]
pub struct UrlArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Runs `url`.
pub async fn run(context: &Context, args: UrlArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let (grant, credential) = grants::credential(&client, &args.selection, CredentialUse::Url).await?;
    let root = root_certificate(&credential)?;
    let url = url_of(&credential, root.as_ref(), context.client_args.own_certificate()?.as_ref());
    match context.format {
        Format::Json => output::json(&serde_json::json!({
            "url": url, "grant": grant.id, "connection": grant.connection, "role": grant.role,
            "expires_at": credential.expires_at,
        })),
        Format::Table | Format::Csv => output::line(url),
    }
}

/// The URL for libpq and everything that reads its URLs.
fn url_of(credential: &Credential, root: Option<&PathBuf>, own: Option<&OwnCertificate>) -> String {
    let host = if credential.host.contains(':') { format!("[{}]", credential.host) } else { credential.host.clone() };
    let mut parameters = Vec::new();
    // `prefer` is what libpq does by itself, and not every driver knows the word.
    if credential.sslmode != "prefer" {
        parameters.push(("sslmode", credential.sslmode.clone()));
        parameters.extend(root.map(|root| ("sslrootcert", root.to_string_lossy().into_owned())));
    }
    if let Some(OwnCertificate { certificate, key }) = own {
        parameters.push(("sslcert", certificate.to_string_lossy().into_owned()));
        parameters.push(("sslkey", key.to_string_lossy().into_owned()));
    }
    let parameters: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={}", escaped(&value))).collect();
    format!(
        "postgresql://{}:{}@{host}:{}/{}{}{}",
        escaped(&credential.user),
        escaped(&credential.secret),
        credential.port,
        escaped(&credential.database),
        if parameters.is_empty() { "" } else { "?" },
        parameters.join("&"),
    )
}

/// Percent-encoded as RFC 3986 has it: everything but the unreserved characters.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The file with the root certificate by which the gateway is known, where it is not a public one. It is named
/// by what is in it, so that the paths in URLs given earlier stay good.
pub fn root_certificate(credential: &Credential) -> Result<Option<PathBuf>, Failure> {
    let Some(pem) = &credential.root_certificate_pem else {
        return Ok(None);
    };
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot keep the gateway's root certificate: {error}"));
    let hash = digest::digest(&digest::SHA256, pem.as_bytes());
    let name: String = data_encoding::HEXLOWER.encode(hash.as_ref()).chars().take(16).collect();
    let folder = crate::credentials::path()?.with_file_name("roots");
    let path = folder.join(format!("{name}.pem"));
    if !std::fs::read(&path).is_ok_and(|there| there == pem.as_bytes()) {
        files::write_private(&path, pem.as_bytes()).map_err(failed)?;
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::Micros;

    #[test]
    fn what_a_url_is_made_of_is_escaped() {
        let credential = Credential {
            id: None,
            user: "grt_1".into(),
            secret: "p@ss/w:rd?".into(),
            host: "::1".into(),
            port: 5432,
            database: "orders prod".into(),
            sslmode: "verify-full".into(),
            root_certificate_pem: None,
            expires_at: Micros(0),
        };
        assert_eq!(
            url_of(&credential, Some(&PathBuf::from("/a b/c.pem")), None),
            "postgresql://grt_1:p%40ss%2Fw%3Ard%3F@[::1]:5432/orders%20prod?sslmode=verify-full&sslrootcert=%2Fa%20b%2Fc.pem"
        );
        let own = OwnCertificate { certificate: "c.pem".into(), key: "k&.pem".into() };
        let url = url_of(&Credential { sslmode: "prefer".into(), ..credential }, None, Some(&own));
        assert!(url.ends_with("/orders%20prod?sslcert=c.pem&sslkey=k%26.pem"), "{url}");
    }
}

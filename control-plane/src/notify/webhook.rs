//! Webhooks, as Standard Webhooks has them (<https://www.standardwebhooks.com>).

use super::deliver::{Failed, secret};
use crate::{Core, outward};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_api::notification::Webhook;
use postern_types::time::Micros;
use reqwest::{Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use zeroize::Zeroizing;

/// What a signing secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// How many bytes a signing secret has.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Delivers one message.
pub(super) async fn send(core: &Core, webhook: &Webhook, id: &str, body: String, now: Micros) -> Result<(), Failed> {
    let url = outward::address(&webhook.url).map_err(|problem| Failed::again(format!("its URL {problem}")))?;
    let timestamp = now.0.div_euclid(1_000_000).to_string();
    let mut signatures = Vec::new();
    for name in &webhook.secrets {
        let signed = signature(&secret(core, name).await?, id, &timestamp, &body);
        signatures.push(signed.ok_or_else(|| {
            Failed::again(format!("the secret `{name}` is none: `{SECRET_PREFIX}` and 24 to 64 bytes in base64"))
        })?);
    }
    let request = core
        .outward
        .post(url)
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signatures.join(" "))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let response = request.send().await.map_err(Failed::transport)?;
    match response.status() {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err(Failed::Gone("the receiver answered 410 Gone: it wants no more".to_owned())),
        status => {
            Err(Failed::Again { error: format!("the receiver answered {status}"), not_before: retry_after(&response) })
        }
    }
}

/// How long a receiver asks to be left alone.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// `v1,` and the HMAC of id, timestamp and body. None: the secret is none.
fn signature(secret: &SecretString, id: &str, timestamp: &str, body: &str) -> Option<String> {
    let encoded = secret.expose_secret().strip_prefix(SECRET_PREFIX)?;
    let key = Zeroizing::new(BASE64.decode(encoded).ok()?);
    if !SECRET_BYTES.contains(&key.len()) {
        return None;
    }
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    for part in [id, ".", timestamp, ".", body] {
        context.update(part.as_bytes());
    }
    Some(format!("v1,{}", BASE64.encode(context.sign())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn signs_as_the_specification_does() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let signed = signature(
            &secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "{\"test\": 2432232314}",
        );
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_%%%"] {
            assert!(signature(&secret(bad), "a", "1", "{}").is_none(), "{bad}");
        }
    }
}

//! Signing in by a browser, on this machine or on another (RFC 8628).

use crate::{client::Client, failure::Failure, output};
use postern_api::{
    issuer::ExchangedToken,
    provider::{CLIENT_ID, DEVICE_GRANT, DeviceAuthorization},
};
use secrecy::SecretString;
use std::{
    io::{self, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How much longer to wait between two calls once the control plane says that they come too fast.
const SLOWER: Duration = Duration::from_secs(5);

/// The token of a sign-in; none where nobody signs in at an identity provider.
pub async fn sign_in(client: &Client, browser: bool) -> Result<Option<SecretString>, Failure> {
    let asked = client.oauth("device_authorization", &[("client_id", CLIENT_ID)]).await?;
    let device: DeviceAuthorization = match asked {
        Ok(device) => device,
        Err(refused) if refused.error == "unauthorized_client" => return Ok(None),
        Err(refused) => return Err(Failure::failed(refused.error_description)),
    };
    let page = output::printable(&device.verification_uri_complete);
    let code = output::printable(&device.user_code);
    let opened = browser && open(&device.verification_uri_complete);
    let told = if opened { "Your browser opens" } else { "Open" };
    // What is asked of people is no result.
    let _ = writeln!(io::stderr(), "{told} {page}\nSay yes there if it shows the code {code}");
    wait(client, &device).await.map(Some)
}

async fn wait(client: &Client, device: &DeviceAuthorization) -> Result<SecretString, Failure> {
    let deadline = Instant::now() + Duration::from_secs(device.expires_in);
    let mut pause = Duration::from_secs(device.interval.clamp(1, 60));
    let form = [("grant_type", DEVICE_GRANT), ("device_code", device.device_code.as_str()), ("client_id", CLIENT_ID)];
    let over = || Failure::failed("nobody said yes in time").hint("Run `postern login` again.");
    while Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        let refused = match client.oauth("token", &form).await? {
            Ok(ExchangedToken { access_token, .. }) => return Ok(SecretString::from(access_token)),
            Err(refused) => refused,
        };
        match refused.error.as_str() {
            "authorization_pending" => {}
            "slow_down" => pause += SLOWER,
            "access_denied" => return Err(Failure::denied("somebody said no in the browser")),
            "expired_token" => return Err(over()),
            _ => return Err(Failure::failed(refused.error_description)),
        }
    }
    Err(over())
}

/// Whether a browser could be started. Without a display there is none.
fn open(url: &str) -> bool {
    let is_mac = cfg!(target_os = "macos");
    let has_display = is_mac || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let program = if is_mac { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    has_display && command.spawn().is_ok()
}

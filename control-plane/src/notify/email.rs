//! Mail, by SMTP.

use super::{
    deliver::{Failed, secret},
    words,
};
use crate::{Core, store::notifications::DeliveryRow};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use postern_api::notification::{Email, EmailTls, Message};
use secrecy::ExposeSecret;
use std::time::Duration;

/// Each step of the protocol is over by then.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends one mail to all addresses.
pub(super) async fn send(core: &Core, email: &Email, row: &DeliveryRow, message: &Message) -> Result<(), Failed> {
    let mail =
        written(email, row, message).map_err(|error| Failed::again(format!("the mail cannot be written: {error}")))?;
    let (host, port) = server(&email.server).ok_or_else(|| Failed::again("`server` is not `HOST:PORT`".to_owned()))?;
    let parameters = || TlsParameters::new(host.to_owned()).map_err(|error| Failed::again(error.to_string()));
    let tls = match email.tls {
        EmailTls::Starttls => Tls::Required(parameters()?),
        EmailTls::Tls => Tls::Wrapper(parameters()?),
        EmailTls::None => Tls::None,
    };
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).tls(tls).timeout(Some(TIMEOUT));
    if let (Some(user), Some(password)) = (&email.user, &email.password) {
        let password = secret(core, password).await?;
        transport = transport.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
    }
    transport.build().send(mail).await.map(drop).map_err(|error| Failed::again(crate::api::chain(&error)))
}

/// Host and port.
pub(crate) fn server(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    (!host.is_empty() && host.chars().all(good)).then_some((host, port.parse().ok().filter(|port| *port > 0)?))
}

fn written(email: &Email, row: &DeliveryRow, message: &Message) -> Result<Mail, Box<dyn std::error::Error>> {
    let from: Mailbox = email.from.parse()?;
    // The same at each attempt, so that a mail that came twice is shown once; and what is about one thing is together.
    let domain = from.email.domain().to_owned();
    let id = format!("<{}@{domain}>", row.id);
    let thread = format!("<{}@{domain}>", row.thread);
    let headline = words::headline(message);
    let mut mail =
        Mail::builder().from(from).subject(format!("[Postern] {headline}")).message_id(Some(id)).references(thread);
    for to in &email.to {
        mail = mail.to(to.parse()?);
    }
    let (text, html) = bodies(&headline, message);
    Ok(mail.multipart(MultiPart::alternative_plain_html(text, html))?)
}

/// The text, and the same as HTML.
fn bodies(headline: &str, message: &Message) -> (String, String) {
    let mut text = format!("{headline}\n\n");
    let mut html = format!("<!doctype html><p><b>{}</b></p><table>", escaped(headline));
    for (name, value) in words::facts(message) {
        text.push_str(&format!("{name}: {value}\n"));
        html.push_str(&format!(
            "<tr><td>{}</td><td style=\"white-space:pre-wrap\">{}</td></tr>",
            escaped(name),
            escaped(&value)
        ));
    }
    html.push_str("</table>");
    if let Some(statement) = words::statement(message) {
        text.push_str(&format!("\n{statement}\n"));
        html.push_str(&format!("<pre>{}</pre>", escaped(&statement)));
    }
    if let Some(url) = &message.data.url {
        text.push_str(&format!("\n{url}\n"));
        html.push_str(&format!("<p><a href=\"{0}\">{0}</a></p>", escaped(url)));
    }
    (text, html)
}

/// Text in which HTML reads no markup.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

//! The control plane's events, followed as they come.

use crate::{client::Client, failure::Failure, output};
use postern_api::event::Changed;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Three beats of the control plane's.
const SILENCE: Duration = Duration::from_secs(50);

/// The longest line: events are small.
const MAX_LINE: usize = 64 << 10;

/// The first pause after a stream broke, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Something that was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Happening {
    /// From here on nothing is missed.
    Connected,
    /// This changed.
    Changed(Changed),
    /// Something may have been missed.
    Resync,
}

/// A stream of events, made again whenever it breaks.
pub struct Events<'a> {
    client: &'a Client,
    response: Option<reqwest::Response>,
    parser: Parser,
    is_new: bool,
    pause: Duration,
}

/// Begins to follow.
///
/// A first attempt that fails is a failure; what breaks later is made again.
pub async fn follow(client: &Client) -> Result<Events<'_>, Failure> {
    let response = client.stream("events").await?;
    let parser = Parser::default();
    Ok(Events { client, response: Some(response), parser, is_new: true, pause: PAUSES.0 })
}

impl Events<'_> {
    /// What comes next.
    pub async fn next(&mut self) -> Result<Happening, Failure> {
        loop {
            if std::mem::take(&mut self.is_new) {
                return Ok(Happening::Connected);
            }
            if let Some(happening) = self.parser.next()? {
                return Ok(happening);
            }
            let Some(response) = &mut self.response else {
                self.again().await?;
                continue;
            };
            match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    self.pause = PAUSES.0;
                    self.parser.add(&bytes);
                }
                _ => self.response = None,
            }
        }
    }

    async fn again(&mut self) -> Result<(), Failure> {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        match self.client.stream("events").await {
            Ok(response) => {
                self.response = Some(response);
                self.parser = Parser::default();
                self.is_new = true;
                Ok(())
            }
            // Told what is wrong with the call, trying on would not mend it.
            Err(failure) if !matches!(failure.report.code.as_str(), "failed" | "unavailable" | "internal") => {
                Err(failure)
            }
            Err(failure) => {
                output::remark(format!("{failure}\nTrying again."));
                Ok(())
            }
        }
    }
}

/// Reads server-sent events from bytes that come in any pieces.
#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
    event: String,
    data: String,
}

impl Parser {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<Happening>, Failure> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
                if event == "resync" {
                    return Ok(Some(Happening::Resync));
                }
                // What a newer control plane tells besides is not known here.
                if let Ok(changed) = serde_json::from_str(&data) {
                    return Ok(Some(Happening::Changed(changed)));
                }
            } else if let Some(event) = line.strip_prefix("event:") {
                event.trim_start().clone_into(&mut self.event);
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data.push_str(data.trim_start());
            }
        }
        if self.bytes.len() + self.data.len() > MAX_LINE {
            return Err(Failure::failed("the control plane's events cannot be read"));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::event::Subject;

    #[test]
    fn events_come_in_any_pieces() {
        let stream =
            b": beat\n\nevent: review\nid: 7\ndata: {\"kind\":\"review\",\"id\":\"rev_1\",\"status\":\"pending\"}\n\n\
                       event: weather\ndata: {}\n\nevent: resync\r\ndata: {}\r\n\r\n";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let mut heard = Vec::new();
            for piece in stream.chunks(size) {
                parser.add(piece);
                while let Some(happening) = parser.next().unwrap() {
                    heard.push(happening);
                }
            }
            let changed = Changed { kind: Subject::Review, id: "rev_1".to_owned(), status: "pending".to_owned() };
            assert_eq!(heard, [Happening::Changed(changed), Happening::Resync], "{size}");
        }
        let mut parser = Parser::default();
        parser.add(&[b'x'; MAX_LINE + 1]);
        assert!(parser.next().is_err());
    }
}

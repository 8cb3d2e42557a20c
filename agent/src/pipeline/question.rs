//! Questions of ours to a session's own backend, in band: asked between two statements of the client, answered to us.

use postern_wire::{
    ProtocolError, backend,
    frame::{self, HEADER_BYTES, put_cstr, put_message},
};

/// Names of ours in the session's own space, for the moment of one question.
pub(super) const NAME: &[u8] = b"postern's own question";

/// What all answers of one question may take together: the catalog of a large database is of some megabytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Of the settings that are other ones while a catalog is read, the server reports this one to the client (from 18 on).
const REPORTED: &[u8] = b"search_path";

/// A row in text form.
pub type Row = Vec<Option<String>>;

/// The rows of each statement of a question, or nothing where one of them failed.
pub type Answer = Option<Vec<Vec<Row>>>;

/// A question that the server is answering.
pub struct Question {
    /// It was asked within a savepoint, to which the session is rolled back.
    apart: bool,
    /// ReadyForQuery that are still to come.
    rounds: u8,
    rows: Vec<Row>,
    answers: Vec<Vec<Row>>,
    failed: bool,
    bytes: usize,
    /// The start of a message that is not all there.
    partial: Vec<u8>,
}

impl Question {
    /// Asks outside any transaction, or in one that it cannot harm: nothing that it does fails.
    pub fn ask(sql: &str, out: &mut Vec<u8>) -> Self {
        put_statements(&[sql], out);
        Self::asked(false)
    }

    /// Asks within the transaction that is open, which is afterwards as it was before: neither a failure nor a lock nor a
    /// setting of the question stays.
    pub fn ask_apart(statements: &[String], out: &mut Vec<u8>) -> Self {
        let name = String::from_utf8_lossy(NAME);
        let [savepoint, back, release] =
            ["SAVEPOINT", "ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT"].map(|verb| format!("{verb} \"{name}\""));
        let all: Vec<&str> = std::iter::once(&savepoint).chain(statements).map(String::as_str).collect();
        put_statements(&all, out);
        put_statements(&[&back, &release], out);
        Self::asked(true)
    }

    fn asked(apart: bool) -> Self {
        Self {
            apart,
            rounds: if apart { 2 } else { 1 },
            rows: Vec::new(),
            answers: Vec::new(),
            failed: false,
            bytes: 0,
            partial: Vec::new(),
        }
    }

    /// Takes the server's next bytes, and passes on what is not about the question. Says how many of them are done with,
    /// and once it is answered the transaction's state.
    ///
    /// # Errors
    /// When something is not the protocol.
    pub fn hear(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(usize, Option<u8>), ProtocolError> {
        let before = self.partial.len();
        let mut heard = std::mem::take(&mut self.partial);
        heard.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(header) = frame::header(heard.get(at..).unwrap_or_default())? {
            if header.total() > MAX_ANSWER_BYTES {
                return Err(ProtocolError::TooLarge { tag: header.tag, length: header.body, limit: MAX_ANSWER_BYTES });
            }
            let Some(message) = heard.get(at..at + header.total()) else { break };
            at += header.total();
            if let Some(status) = self.message(header.tag, message, out)? {
                return Ok((at - before, Some(status)));
            }
        }
        heard.drain(..at);
        self.partial = heard;
        Ok((bytes.len(), None))
    }

    fn message(&mut self, tag: u8, message: &[u8], out: &mut impl FnMut(&[u8])) -> Result<Option<u8>, ProtocolError> {
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        match tag {
            b'S' if self.apart && body.split(|byte| *byte == 0).next() == Some(REPORTED) => {}
            b'A' | b'N' | b'S' => out(message),
            b'E' => self.failed = true,
            b'D' => {
                self.bytes += message.len();
                self.failed |= self.bytes > MAX_ANSWER_BYTES;
                if !self.failed {
                    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
                    self.rows.push(backend::data_row(body)?.into_iter().map(text).collect());
                }
            }
            b'C' => self.answers.push(std::mem::take(&mut self.rows)),
            b'Z' => {
                self.rounds = self.rounds.saturating_sub(1);
                if self.rounds == 0 {
                    return Ok(Some(body.first().copied().unwrap_or(b'I')));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// What the server said.
    #[must_use]
    pub fn answer(self) -> Answer {
        // The first is the savepoint's; those of the way back stand behind what was asked for.
        let answers = self.answers.into_iter().skip(usize::from(self.apart));
        (!self.failed).then(|| answers.collect())
    }
}

/// Appends statements as [`put_own`] does, as a batch of their own.
fn put_statements(statements: &[&str], out: &mut Vec<u8>) {
    put_own(statements, out);
    put_message(out, b'S', |_| {});
}

/// Appends statements as messages that touch nothing of the session's own: neither its unnamed statement nor portal.
pub(super) fn put_own(statements: &[&str], out: &mut Vec<u8>) {
    for statement in statements {
        // What an earlier question may have left when it failed.
        put_close(out);
        put_message(out, b'P', |out| {
            put_cstr(out, NAME);
            put_cstr(out, statement.as_bytes());
            out.extend_from_slice(&[0, 0]);
        });
        put_message(out, b'B', |out| {
            put_cstr(out, NAME);
            put_cstr(out, NAME);
            out.extend_from_slice(&[0; 6]);
        });
        put_message(out, b'E', |out| {
            put_cstr(out, NAME);
            out.extend_from_slice(&[0; 4]);
        });
    }
    put_close(out);
}

/// Appends what closes what a question of ours may have left.
pub(super) fn put_close(out: &mut Vec<u8>) {
    for kind in [b'P', b'S'] {
        put_message(out, b'C', |out| {
            out.push(kind);
            put_cstr(out, NAME);
        });
    }
}

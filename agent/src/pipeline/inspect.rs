//! What a client's message asks for: which statement it brings, or to which earlier one it refers.

use super::{
    judge::Judged,
    redact::{Redacted, Redaction},
};
use crate::outbox::recorder::Text;
use postern_proto::v1::StatementKind;
use postern_sql::{
    counting::{Counting, counting},
    facts::Refusal,
};
use postern_wire::{
    ProtocolError,
    frame::Header,
    frontend::{self, Bind, Target},
    tracker::Sent,
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// Prepared statements and portals of a session: PostgreSQL has no bound, a client that leaks them has.
const MAX_NAMES: usize = 100_000;

/// A statement's or portal's name.
const MAX_NAME_BYTES: usize = 8 * 1024;

/// Of a longer name PostgreSQL looks at the first so many.
pub const NAME_BYTES: usize = 63;

/// Messages of these types are short. One that claims more is not buffered.
const MAX_SHORT_BYTES: usize = 64 * 1024;

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its text.
    pub text: Text,
    /// The types that its parameters were declared to have, by object id.
    pub types: Box<[u32]>,
    /// What it is, where it was not made by a message.
    pub made_by_sql: Option<MadeBySql>,
    /// What it was understood to do; nothing where it was not looked at.
    pub judged: RefCell<Option<Judged>>,
    /// What was recorded of it last in place of its text.
    pub redacted: RefCell<Option<(Redaction, Rc<Redacted>)>>,
    /// How the rows that it writes are counted, once somebody has asked.
    counting: OnceCell<Result<Counting, Refusal>>,
    /// The number under which its Parse was recorded, until the first Execute takes it over.
    parse: Cell<Option<u64>>,
    /// The number of its Parse, whoever has it.
    number: Cell<u64>,
    /// Which batch its Parse was in.
    batch: u64,
}

/// What a message runs that no message has made, by name.
#[derive(Debug)]
pub enum MadeBySql {
    /// A prepared statement.
    Statement(Box<str>),
    /// A cursor.
    Cursor(Box<str>),
}

/// Something that is decided and recorded.
#[derive(Debug)]
pub struct Statement {
    /// By which message it came.
    pub kind: StatementKind,
    /// What is to be run.
    pub prepared: Rc<Prepared>,
    /// The number of a record that this one continues.
    pub adopted: Option<u64>,
}

/// A message, understood.
pub enum Inspected {
    /// To be decided and recorded.
    Statement(Decidable),
    /// Only to be passed on; the tracker is told, if it has an answer.
    Unrecorded(Option<Sent<u64>>),
}

/// A statement, and what the tracker is told once it has a number.
pub struct Decidable {
    statement: Statement,
    sent: fn(u64) -> Sent<u64>,
}

impl Decidable {
    /// What the tracker is told, but for the number.
    pub fn sent(&self) -> Sent<u64> {
        (self.sent)(0)
    }

    /// Both.
    pub fn parts(self) -> (Statement, fn(u64) -> Sent<u64>) {
        (self.statement, self.sent)
    }
}

/// Follows the names that a session gives.
#[derive(Debug, Default)]
pub struct Inspector {
    statements: BTreeMap<Box<[u8]>, Rc<Prepared>>,
    portals: BTreeMap<Box<[u8]>, Rc<Prepared>>,
    bound: Option<Rc<Prepared>>,
    abandoned: Option<u64>,
    /// What a name stood for before a Parse of which it is not known yet whether it took effect, by that Parse's number.
    replaced: BTreeMap<u64, (Box<[u8]>, Rc<Prepared>)>,
    /// The last replaced by a Parse that has no number yet.
    replacing: Option<(Box<[u8]>, Rc<Prepared>)>,
    /// Counts Sync: messages of one batch are passed over together once one of them fails.
    batch: u64,
    /// Each Parse up to this number has taken effect, or has failed.
    parsed: u64,
}

impl Inspector {
    /// Understands one message.
    ///
    /// # Errors
    /// When it is malformed, or no message that a client may send now.
    pub fn inspect(&mut self, tag: u8, body: &[u8]) -> Result<Inspected, ProtocolError> {
        let unrecorded = |sent| Ok(Inspected::Unrecorded(sent));
        match tag {
            b'Q' => {
                let text = frontend::query(body)?;
                Ok(decidable(StatementKind::Query, prepared(text), Sent::Query))
            }
            b'P' => {
                let parse = frontend::parse(body)?;
                let types =
                    parse.types.chunks_exact(4).map(|oid| oid.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)));
                let statement = Prepared { types: types.collect(), batch: self.batch, ..Prepared::new(parse.text) };
                let statement = Rc::new(statement);
                bounded(tag, parse.name, self.statements.len())?;
                let replaced = self.statements.insert(key(parse.name).into(), Rc::clone(&statement));
                // The unnamed one goes whether or not the Parse succeeds.
                let kept = replaced.clone().filter(|_| !parse.name.is_empty());
                self.replacing = kept.map(|kept| (key(parse.name).into(), kept));
                self.abandon(replaced);
                Ok(decidable(StatementKind::Parse, statement, Sent::Parse))
            }
            b'B' => {
                let bind = bind_names(body)?.ok_or(ProtocolError::Malformed { tag })?;
                bounded(tag, bind.portal, self.portals.len())?;
                let statement = self.bound_to(bind.statement).prepared;
                self.portals.insert(key(bind.portal).into(), Rc::clone(&statement));
                self.bound = Some(statement);
                unrecorded(Some(Sent::Bind))
            }
            b'E' => {
                let (portal, _) = frontend::execute(body)?;
                let statement = match self.portals.get(key(portal)) {
                    Some(statement) => Rc::clone(statement),
                    None => unseen(portal, MadeBySql::Cursor),
                };
                Ok(decidable(StatementKind::Execute, statement, Sent::Execute))
            }
            b'C' => {
                match frontend::target(tag, body)? {
                    Target::Statement(name) => {
                        let closed = self.statements.remove(key(name));
                        self.abandon(closed);
                    }
                    Target::Portal(name) => drop(self.portals.remove(key(name))),
                }
                unrecorded(Some(Sent::Close))
            }
            b'D' => frontend::target(tag, body).and_then(|_| unrecorded(Some(Sent::Describe))),
            b'S' => {
                self.batch += 1;
                empty(tag, body).and_then(|()| unrecorded(Some(Sent::Sync)))
            }
            b'H' | b'X' => empty(tag, body).and_then(|()| unrecorded(None)),
            b'd' => unrecorded(Some(Sent::CopyData)),
            b'c' | b'f' => unrecorded(Some(Sent::CopyEnd)),
            b'F' => {
                let text = prepared(b"<function call message>");
                Ok(decidable(StatementKind::FunctionCall, text, Sent::Query))
            }
            tag => Err(ProtocolError::Unexpected { tag }),
        }
    }

    /// What a Bind of this name would run.
    pub fn bound_to(&self, name: &[u8]) -> Statement {
        // A name that is not there may be one that SQL's PREPARE has made, or none: the server knows.
        let prepared = self.statements.get(key(name)).cloned();
        let prepared = prepared.unwrap_or_else(|| unseen(name, MadeBySql::Statement));
        Statement { kind: StatementKind::Execute, prepared, adopted: None }
    }

    /// What the Bind just inspected is for.
    pub fn take_bound(&mut self) -> Option<Statement> {
        let prepared = self.bound.take()?;
        Some(Statement { kind: StatementKind::Execute, prepared, adopted: None })
    }

    fn abandon(&mut self, statement: Option<Rc<Prepared>>) {
        self.abandoned = statement.and_then(|statement| statement.parse.take());
    }

    /// The number of a Parse whose statement has just gone without having been executed.
    pub fn take_abandoned(&mut self) -> Option<u64> {
        self.abandoned.take()
    }

    /// A statement has got its number: the first Execute of what a Parse made continues the Parse's record.
    pub fn recorded(&mut self, statement: &Statement, seq: u64) {
        if statement.kind == StatementKind::Parse {
            statement.prepared.parse.set(Some(seq));
            statement.prepared.number.set(seq);
            if let Some(replaced) = self.replacing.take() {
                self.replaced.insert(seq, replaced);
            }
        }
    }

    /// The Parse of this number has taken effect.
    pub fn parsed(&mut self, seq: u64) {
        self.parsed = seq;
        self.replaced.remove(&seq);
    }

    /// A statement of this number has failed or was passed over. If it was a Parse, its name stands for what it stood for
    /// before.
    pub fn failed(&mut self, seq: u64) {
        if seq <= self.parsed {
            return;
        }
        let before = self.replaced.remove(&seq);
        if let Some((_, (_, later))) = self.replaced.iter_mut().find(|(_, (_, kept))| kept.number.get() == seq) {
            // It was replaced again meanwhile.
            if let Some((_, kept)) = before {
                *later = kept;
            }
            return;
        }
        let name = self.statements.iter().find(|(_, statement)| statement.number.get() == seq);
        let Some(name) = name.map(|(name, _)| name.clone()) else { return };
        match before {
            Some((_, kept)) => drop(self.statements.insert(name, kept)),
            None => drop(self.statements.remove(&name)),
        }
    }

    /// Whether it is not known yet what a Bind of this name would be for: the last Parse of the name was of an earlier batch,
    /// so that the Bind is not passed over when that fails.
    pub fn awaits(&self, name: &[u8]) -> bool {
        self.statements
            .get(key(name))
            .is_some_and(|statement| statement.batch != self.batch && statement.number.get() > self.parsed)
    }

    /// What SQL finds under a name, if it is known that a Parse has made it: one that has taken effect, and that was
    /// understood. PostgreSQL tells names apart by so many bytes, and folds some letters.
    pub fn executed(&self, name: &str) -> Option<Rc<Prepared>> {
        let is_plain = !name.is_empty() && name.len() < NAME_BYTES && name.is_ascii();
        let statement = self.statements.get(name.as_bytes()).filter(|_| is_plain)?;
        let is_known = statement.number.get() <= self.parsed && statement.judged.borrow().is_some();
        is_known.then(|| Rc::clone(statement))
    }

    /// A name means something else now than what a Parse has made.
    pub fn forget(&mut self, name: &[u8]) {
        let statement = self.statements.remove(name);
        self.abandon(statement);
    }

    /// What portals are for is not known any more.
    pub fn forget_portals(&mut self) {
        self.portals.clear();
    }

    /// The text that a Bind of this name would run.
    pub fn text_of_statement(&self, name: &[u8]) -> Option<&[u8]> {
        self.statements.get(key(name)).map(|statement| statement.text.bytes())
    }

    /// The text that an Execute of this portal would run.
    pub fn text_of_portal(&self, name: &[u8]) -> Option<&[u8]> {
        self.portals.get(key(name)).map(|statement| statement.text.bytes())
    }
}

impl Prepared {
    fn new(text: &[u8]) -> Self {
        Self {
            text: Text::new(text),
            types: Box::default(),
            made_by_sql: None,
            judged: RefCell::new(None),
            redacted: RefCell::new(None),
            counting: OnceCell::new(),
            parse: Cell::new(None),
            number: Cell::new(0),
            batch: 0,
        }
    }

    /// How the rows that it writes are counted.
    pub fn counting(&self) -> &Result<Counting, Refusal> {
        self.counting.get_or_init(|| counting(self.text.bytes()))
    }
}

fn prepared(text: &[u8]) -> Rc<Prepared> {
    Rc::new(Prepared::new(text))
}

/// The statement of a Query.
pub fn queried(text: &[u8]) -> Statement {
    Statement { kind: StatementKind::Query, prepared: prepared(text), adopted: None }
}

/// A statement that was not seen to be prepared by a message: the record says so, since its text is elsewhere
/// (in a PREPARE or DECLARE that was recorded when it ran).
fn unseen(name: &[u8], made: fn(Box<str>) -> MadeBySql) -> Rc<Prepared> {
    let name = String::from_utf8_lossy(name);
    let text = format!("<prepared by SQL as {name:?}>");
    Rc::new(Prepared { made_by_sql: Some(made(name.into())), ..Prepared::new(text.as_bytes()) })
}

fn decidable(kind: StatementKind, prepared: Rc<Prepared>, sent: fn(u64) -> Sent<u64>) -> Inspected {
    let adopted = if kind == StatementKind::Execute { prepared.parse.take() } else { None };
    Inspected::Statement(Decidable { statement: Statement { kind, prepared, adopted }, sent })
}

/// By what PostgreSQL tells statements and portals apart (`NAMEDATALEN`).
pub fn key(name: &[u8]) -> &[u8] {
    name.get(..NAME_BYTES).unwrap_or(name)
}

fn bounded(tag: u8, name: &[u8], names: usize) -> Result<(), ProtocolError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(ProtocolError::TooLarge { tag, length: name.len(), limit: MAX_NAME_BYTES });
    }
    if names >= MAX_NAMES {
        return Err(ProtocolError::TooLarge { tag, length: names, limit: MAX_NAMES });
    }
    Ok(())
}

fn empty(tag: u8, body: &[u8]) -> Result<(), ProtocolError> {
    if body.is_empty() { Ok(()) } else { Err(ProtocolError::Malformed { tag }) }
}

/// The record of a statement that is too large to be looked at.
pub fn too_large(tag: u8) -> Statement {
    let kind = match tag {
        b'P' => StatementKind::Parse,
        b'F' => StatementKind::FunctionCall,
        _ => StatementKind::Query,
    };
    Statement { kind, prepared: prepared(b"<too large to be inspected>"), adopted: None }
}

/// The names at the start of a Bind's body, which need not be all there, or `None` while they are not. However much
/// is there, no more is looked at than the longest names have.
///
/// # Errors
/// When they are too long.
pub fn bind_names(body: &[u8]) -> Result<Option<Bind<'_>>, ProtocolError> {
    const LONGEST: usize = 2 * (MAX_NAME_BYTES + 1);
    let tag = b'B';
    match frontend::bind(body.get(..LONGEST).unwrap_or(body)) {
        Ok(bind) => {
            let length = bind.portal.len().max(bind.statement.len());
            if length > MAX_NAME_BYTES {
                return Err(ProtocolError::TooLarge { tag, length, limit: MAX_NAME_BYTES });
            }
            Ok(Some(bind))
        }
        Err(_) if body.len() >= LONGEST => Err(ProtocolError::TooLarge { tag, length: LONGEST, limit: MAX_NAME_BYTES }),
        Err(_) => Ok(None),
    }
}

/// Whether a message is to be awaited whole, judged by its header, before any of it is buffered.
///
/// # Errors
/// When its type is unknown, or is short and it claims to be long.
pub fn admit(header: Header) -> Result<(), ProtocolError> {
    let Header { tag, body: length } = header;
    match tag {
        b'Q' | b'P' | b'F' | b'B' | b'd' => Ok(()),
        b'E' | b'C' | b'D' | b'S' | b'H' | b'X' | b'c' | b'f' if length <= MAX_SHORT_BYTES => Ok(()),
        b'E' | b'C' | b'D' | b'S' | b'H' | b'X' | b'c' | b'f' => {
            Err(ProtocolError::TooLarge { tag, length, limit: MAX_SHORT_BYTES })
        }
        _ => Err(ProtocolError::Unexpected { tag }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Parse that goes on under this number.
    fn parse(inspector: &mut Inspector, name: &str, text: &str, seq: u64) {
        let body = [name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat();
        let Ok(Inspected::Statement(statement)) = inspector.inspect(b'P', &body) else { panic!("{name}") };
        inspector.recorded(&statement.parts().0, seq);
    }

    fn text<'a>(inspector: &'a Inspector, name: &str) -> Option<&'a str> {
        inspector.text_of_statement(name.as_bytes()).map(|text| std::str::from_utf8(text).unwrap())
    }

    #[test]
    fn a_name_is_what_it_was_when_a_second_parse_of_it_fails() {
        let mut inspector = Inspector::default();
        for (seq, text) in [(1, "one"), (2, "two"), (3, "three")] {
            parse(&mut inspector, "s", text, seq);
        }
        inspector.parsed(1);
        inspector.failed(2);
        assert_eq!(text(&inspector, "s"), Some("three"), "as long as it may be that");
        inspector.failed(3);
        assert_eq!(text(&inspector, "s"), Some("one"));
        // The end of its Execute has the number of its Parse.
        inspector.failed(1);
        assert_eq!(text(&inspector, "s"), Some("one"));
        // It was closed between, so that the second takes effect.
        parse(&mut inspector, "s", "four", 4);
        inspector.parsed(4);
        inspector.failed(4);
        assert_eq!(text(&inspector, "s"), Some("four"));
    }

    #[test]
    fn what_failed_has_no_name() {
        let mut inspector = Inspector::default();
        parse(&mut inspector, "s", "one", 1);
        parse(&mut inspector, "", "two", 2);
        parse(&mut inspector, "", "three", 3);
        inspector.failed(1);
        assert_eq!((text(&inspector, "s"), text(&inspector, "")), (None, Some("three")));
        inspector.parsed(2);
        inspector.failed(3);
        assert_eq!(text(&inspector, ""), None, "the unnamed one is gone, whatever took its place");
    }

    #[test]
    fn a_bind_waits_for_a_parse_that_does_not_fail_with_it() {
        let mut inspector = Inspector::default();
        parse(&mut inspector, "s", "one", 1);
        assert!(!inspector.awaits(b"s"), "within a batch both are passed over");
        inspector.inspect(b'S', b"").unwrap();
        assert!(inspector.awaits(b"s") && !inspector.awaits(b"other"));
        inspector.parsed(1);
        assert!(!inspector.awaits(b"s"));
    }
}

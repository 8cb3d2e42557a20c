//! Statements that differ in nothing but plain literals have the same facts, and are analysed once.
//!
//! A *shape* is a text with its literals cut out. Two texts of one shape whose literals differ only where the analysis
//! reads nothing but a literal's type have equal analyses (but for where the statement ends in its string):
//!
//! - `cut`: texts of one shape consist of the same tokens, so that the parser makes the same tree of them but for values.
//!   Grammar and parser look at a literal's value only in places that are not free
//! - `free`: the analysis takes the same way through both trees, since it never reads the value of a free literal
//! - literals that are not free have to be the same byte for byte
//!
//! It holds with one catalog and one [`Context`]: who keeps analyses forgets them when these change, as
//! with those kept by exact text. Texts have shapes only while literals are read as by default: with
//! `standard_conforming_strings` off a backslash would matter (none has a shape with one in it), and older servers'
//! check of numbers looks into strings. It is not libpg_query's fingerprint, which takes different names for one.

mod cut;
mod free;

use std::{collections::HashMap, ops::Range};

use pg_query::{NodeEnum, protobuf::RawStmt};

use crate::{Analysis, Context, context::Lexing};
pub(crate) use cut::Cut;

/// Which literals of a text are free, in the order in which they stand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Free(Box<[bool]>);

/// The free literals of a query string that was analysed. `None`: other texts of its shape may have another analysis.
pub(crate) fn free(text: &str, statements: &[RawStmt], context: &Context) -> Option<Free> {
    let [RawStmt { stmt: Some(statement), .. }] = statements else { return None };
    // With parameters declared the analysis depends on their types, too.
    if context.lexing != Lexing::default() || !context.parameters.is_empty() {
        return None;
    }
    let statement: &NodeEnum = statement.node.as_ref()?;
    let mut cut = Cut::default();
    if !cut.cut(text.as_bytes()) {
        return None;
    }
    free::free(statement, text.as_bytes(), &cut).map(Free)
}

/// A text without its free literals.
#[derive(Debug)]
pub struct Form {
    /// The same for all texts that differ from it in free literals only, and for no other.
    pub shape: Vec<u8>,
    /// The free literals: the number of each among all literals of the text, and where it stands.
    pub free: Vec<(u32, Range<usize>)>,
}

/// What stays of a text, which has this analysis, without its free literals. `None`: it has none.
#[must_use]
pub fn form(text: &str, analysis: &Analysis) -> Option<Form> {
    let free = analysis.free.as_ref()?;
    let mut cut = Cut::default();
    if !cut.cut(text.as_bytes()) || free.0.len() != cut.literals.len() {
        return None;
    }
    let mut others = Vec::new();
    fixed(&mut others, text.as_bytes(), &cut, free);
    let places = (0..).zip(&cut.literals).zip(&free.0).filter(|(_, free)| **free);
    let free: Vec<_> = places.map(|((number, place), _)| (number, place.clone())).collect();
    let mut shape = std::mem::take(&mut cut.shape);
    // No text with a shape has this byte in it.
    shape.push(0);
    shape.extend(others);
    (!free.is_empty()).then_some(Form { shape, free })
}

/// What is kept by statements' shapes, for one catalog and one context.
#[derive(Debug)]
pub struct Shapes<V> {
    forms: HashMap<Box<[u8]>, Kept<V>>,
    bytes: usize,
    most_bytes: usize,
    cut: Cut,
    fixed: Vec<u8>,
}

/// Of one shape.
#[derive(Debug)]
struct Kept<V> {
    free: Free,
    /// By the literals that are not free, one after the other.
    values: HashMap<Box<[u8]>, V>,
}

/// What an entry takes besides its texts and its value, about.
const ENTRY_BYTES: usize = 256;

impl<V> Shapes<V> {
    /// Keeps up to about this many bytes; when there would be more, all is forgotten.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        Self { forms: HashMap::new(), bytes: 0, most_bytes, cut: Cut::default(), fixed: Vec::new() }
    }

    /// What was kept for a text that differs from this one in free literals only. Not for statements whose parameters'
    /// types are declared.
    pub fn lookup(&mut self, text: &[u8]) -> Option<&mut V> {
        if self.forms.is_empty() || !self.cut.cut(text) {
            return None;
        }
        let form = self.forms.get_mut(self.cut.shape.as_slice())?;
        fixed(&mut self.fixed, text, &self.cut, &form.free);
        form.values.get_mut(self.fixed.as_slice())
    }

    /// Keeps a value for all texts that differ from this one, which has this analysis, in free literals only. Whether
    /// there are such texts.
    pub fn keep(&mut self, text: &[u8], analysis: &Analysis, value: V) -> bool {
        let Some(free) = &analysis.free else { return false };
        if !self.cut.cut(text) || free.0.len() != self.cut.literals.len() {
            return false;
        }
        fixed(&mut self.fixed, text, &self.cut, free);
        let bytes = self.cut.shape.len() + self.fixed.len() + analysis.bytes() + ENTRY_BYTES;
        if self.bytes + bytes > self.most_bytes {
            self.clear();
        }
        if bytes <= self.most_bytes {
            self.bytes += bytes;
            let new = || Kept { free: free.clone(), values: HashMap::new() };
            let form = self.forms.entry(self.cut.shape.as_slice().into()).or_insert_with(new);
            form.values.insert(self.fixed.as_slice().into(), value);
        }
        true
    }

    /// Forgets all: another catalog, or names mean something else.
    pub fn clear(&mut self) {
        self.forms.clear();
        self.bytes = 0;
    }
}

/// Puts together the literals that are not free. None has the byte between them in it.
fn fixed(out: &mut Vec<u8>, text: &[u8], cut: &Cut, free: &Free) {
    out.clear();
    for (literal, _) in cut.literals.iter().zip(&free.0).filter(|(_, free)| !**free) {
        out.extend_from_slice(text.get(literal.clone()).unwrap_or_default());
        out.push(0);
    }
}

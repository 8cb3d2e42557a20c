//! What of a statement is not recorded: the constants that meet a column whose values are masked, whoever may see them.
//!
//! INVARIANT: where it cannot be told which constants do, none is recorded.

use super::binds::Bound;
use crate::outbox::recorder::Text;
use postern_policy::objects::{Describe, Objects};
use postern_sql::{
    context::Lexing,
    facts::{Constant, Name, Origin, Place, Script, Statement},
    literals,
    values::{Value, values},
};
use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    sync::Arc,
};

/// What stands for a value where it is not known of which tag it is.
const REDACTED: &str = "redacted";

/// What stands for a text of which it cannot be told where its values are.
const WITHHELD: &str = "<a text that may hold masked values>";
const WITHHELD_REASON: &str = "it is not understood, and what was not may hold masked values";

/// What of a text and its parameters is not recorded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Redaction {
    /// It is recorded as it stands.
    #[default]
    Nothing,
    /// These constants.
    Constants(Arc<Constants>),
    /// All literals and parameters.
    Literals,
    /// Whatever might be a value: it is not understood what the text does.
    Values,
}

/// Constants and the tag of the column that each meets.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Constants {
    literals: BTreeMap<u32, Arc<str>>,
    parameters: BTreeMap<u16, Arc<str>>,
}

impl Redaction {
    /// For a text that was understood.
    #[must_use]
    pub fn of(script: &Script, objects: &Objects) -> Self {
        let mut constants = Constants::default();
        for statement in &script.statements {
            if is_unclear(statement, objects) {
                return Self::Literals;
            }
            for meeting in &statement.meets {
                let column = &meeting.column;
                let Some(tag) = tag(objects, &column.relation, column.column.as_deref()) else { continue };
                match meeting.constant {
                    Constant::Literal(number) => constants.literals.entry(number).or_insert(tag),
                    Constant::Parameter(number) => constants.parameters.entry(number).or_insert(tag),
                };
            }
        }
        let none = constants.literals.is_empty() && constants.parameters.is_empty();
        if none { Self::Nothing } else { Self::Constants(Arc::new(constants)) }
    }

    /// What is recorded in place of a text; nothing: it is recorded as it stands.
    #[must_use]
    pub fn text(&self, text: &[u8], lexing: Lexing) -> Option<Redacted> {
        let Ok(text) = std::str::from_utf8(text) else {
            return (*self != Self::Nothing).then(Redacted::withheld);
        };
        let places = match self {
            Self::Nothing => return None,
            Self::Constants(constants) if constants.literals.is_empty() => return None,
            Self::Constants(constants) => literals(text, lexing).and_then(|places| constants.places(&places)),
            Self::Literals => literals(text, lexing)
                .map(|places| places.into_iter().map(|place| (place, in_quotes(REDACTED))).collect()),
            Self::Values => values(text, lexing).map(|places| places.into_iter().map(blotted).collect()),
        };
        Some(places.map_or_else(Redacted::withheld, |places| Redacted::with(text, &places)))
    }

    /// Whether a constant of a text is told.
    #[must_use]
    pub fn tells(&self, constant: Constant) -> bool {
        match (self, constant) {
            (Self::Nothing, _) => true,
            (Self::Constants(constants), Constant::Literal(number)) => !constants.literals.contains_key(&number),
            (Self::Constants(constants), Constant::Parameter(number)) => !constants.parameters.contains_key(&number),
            (Self::Literals | Self::Values, _) => false,
        }
    }

    /// Takes values out of those that a statement is run with. NULL is told.
    pub fn bound(&self, bound: &mut Bound) {
        for (number, bound) in (1_u16..).zip(&mut bound.values) {
            let tag = match self {
                Self::Nothing => None,
                Self::Constants(constants) => constants.parameters.get(&number).map(|tag| &**tag),
                Self::Literals | Self::Values => Some(REDACTED),
            };
            if let (Some(tag), Some(value)) = (tag, &mut bound.value) {
                *value = format!("[{tag}]").into_bytes().into();
                (bound.binary, bound.length) = (false, 0);
            }
        }
    }
}

impl Constants {
    /// Where they stand in a text with literals at these places.
    fn places(&self, places: &[Range<usize>]) -> Option<Vec<(Range<usize>, String)>> {
        let place = |(number, tag): (&u32, &Arc<str>)| {
            let place = places.get(usize::try_from(*number).ok()?)?;
            Some((place.clone(), in_quotes(tag)))
        };
        self.literals.iter().map(place).collect()
    }
}

fn in_quotes(tag: &str) -> String {
    format!("'[{tag}]'")
}

fn blotted((place, value): (Range<usize>, Value)) -> (Range<usize>, String) {
    let text = match value {
        Value::Literal => in_quotes(REDACTED),
        Value::Name => format!("\"[{REDACTED}]\""),
        Value::Comment => format!("/* [{REDACTED}] */"),
    };
    (place, text)
}

/// A text as it is recorded.
#[derive(Debug)]
pub struct Redacted {
    /// The text.
    pub text: Text,
    /// What was taken out; none where all was.
    taken: Option<Vec<String>>,
}

impl Redacted {
    fn withheld() -> Self {
        Self { text: Text::new(WITHHELD.as_bytes()), taken: None }
    }

    fn with(text: &str, places: &[(Range<usize>, String)]) -> Self {
        let (mut out, mut taken, mut at) = (String::with_capacity(text.len()), Vec::new(), 0);
        for (place, instead) in places {
            out += text.get(at..place.start).unwrap_or_default();
            out += instead;
            taken.push(text.get(place.clone()).unwrap_or_default().to_owned());
            at = place.end;
        }
        out += text.get(at..).unwrap_or_default();
        Self { text: Text::new(out.as_bytes()), taken: Some(taken) }
    }

    /// The reason of a refusal without what was taken out, which it may quote.
    #[must_use]
    pub fn reason(&self, reason: &str) -> String {
        let Some(taken) = &self.taken else { return WITHHELD_REASON.to_owned() };
        let mut told = reason.to_owned();
        for value in taken {
            let bare = value.trim_matches(|c: char| !c.is_alphanumeric());
            // One letter tells nothing, and stands in every sentence.
            if bare.chars().nth(1).is_some() {
                told = told.replace(bare, REDACTED);
            }
        }
        told
    }
}

/// The first of a column's tags; of all columns of a relation where it is not known which it is.
fn tag(objects: &Objects, relation: &Name, column: Option<&str>) -> Option<Arc<str>> {
    objects.column(relation, column).iter().next().cloned()
}

/// Whether a tagged column meets constants of which the analysis does not tell which they are.
fn is_unclear(statement: &Statement, objects: &Objects) -> bool {
    let mut tagged = statement
        .columns
        .iter()
        .filter(|used| tag(objects, &used.relation, used.column.as_deref()).is_some())
        .peekable();
    // Texts within the text, and arguments that something else takes to a column.
    let holds_others = ["EXECUTE", "DO", "CALL", "CREATE FUNCTION", "CREATE PROCEDURE"].contains(&statement.tag);
    if holds_others {
        return tagged.peek().is_some() || statement.tag.starts_with("CREATE") || statement.tag == "DO";
    }
    tagged.any(|used| match used.place {
        Place::Inside => true,
        Place::Compared | Place::Filter | Place::Join | Place::Write | Place::Overwrite => {
            let met = |column: &Option<Arc<str>>| used.column.is_some() && *column == used.column;
            !statement.meets.iter().any(|it| it.column.relation == used.relation && met(&it.column.column))
        }
        // By a pair of columns, or by what is no column.
        Place::Joined => {
            let is_it = |it: &Origin| it.relation == used.relation && it.column == used.column;
            !statement.joins.iter().any(|(one, other)| is_it(one) || is_it(other))
        }
        Place::Output
        | Place::Derived
        | Place::Counted
        | Place::Group
        | Place::Order
        | Place::Window
        | Place::Source
        | Place::Argument => false,
    })
}

/// The names of relations with tagged columns, for sessions whose statements are not looked at otherwise.
#[derive(Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// Those of a connection.
    #[must_use]
    pub fn of(objects: &Objects) -> Self {
        Self(objects.columns.keys().map(|relation| relation.name.to_lowercase()).collect())
    }

    /// What is not recorded of a text: all literals where it names any of them.
    #[must_use]
    pub fn redaction(&self, text: &[u8]) -> Redaction {
        let text = String::from_utf8_lossy(text).to_lowercase();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut words = text.split(|c| !is_word(c));
        let odd = |name: &&String| !name.chars().all(is_word);
        let named = words.any(|word| self.0.contains(word))
            || self.0.iter().filter(odd).any(|name| text.contains(name.as_str()));
        if named { Redaction::Values } else { Redaction::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_policy::subject::Tags;
    use postern_proto::v1::BoundValue;
    use postern_sql::facts::{ColumnUse, Meeting, Meets};

    fn people() -> Name {
        Name { schema: "public".into(), name: "people".into() }
    }

    fn objects() -> Objects {
        let tags = |tag: &str| Arc::new(Tags::from([tag.into()]));
        let columns = [("email", tags("pii.email")), ("ssn", tags("pii.ssn"))];
        let columns = columns.into_iter().map(|(column, tags)| (column.into(), tags)).collect();
        Objects { columns: [(people(), columns)].into(), ..Objects::default() }
    }

    fn statement(tag: &'static str, uses: &[(&str, Place)], meets: &[(Constant, &str)]) -> Script {
        let column = |column: &&str| Some(Arc::from(*column));
        let used =
            |(name, place): &(&str, Place)| ColumnUse { relation: people(), column: column(name), place: *place };
        let meeting = |(constant, name): &(Constant, &str)| Meeting {
            constant: *constant,
            column: Origin { relation: people(), column: column(name) },
            how: Meets::Compared,
        };
        let statement = Statement {
            columns: uses.iter().map(used).collect(),
            meets: meets.iter().map(meeting).collect(),
            span: 0..0,
            tag,
            accesses: Vec::new(),
            functions: Vec::new(),
            joins: Vec::new(),
            output: Default::default(),
            copy_out: None,
            settings: Vec::new(),
            transaction: None,
            bound: Default::default(),
            effects: Default::default(),
            barrier: Default::default(),
        };
        Script { statements: vec![statement] }
    }

    fn recorded(redaction: &Redaction, text: &str) -> Option<String> {
        let redacted = redaction.text(text.as_bytes(), Lexing::default())?;
        Some(String::from_utf8(redacted.text.bytes().to_vec()).unwrap())
    }

    #[test]
    fn constants_that_meet_a_tagged_column() {
        let text = "select name from people where email = 'a@b' and city = 'Cork' and ssn = 7";
        let uses =
            [("name", Place::Output), ("email", Place::Compared), ("ssn", Place::Compared), ("city", Place::Compared)];
        let meets = [(Constant::Literal(0), "email"), (Constant::Literal(1), "city"), (Constant::Literal(2), "ssn")];
        let redaction = Redaction::of(&statement("SELECT", &uses, &meets), &objects());
        let expect = "select name from people where email = '[pii.email]' and city = 'Cork' and ssn = '[pii.ssn]'";
        assert_eq!(recorded(&redaction, text).as_deref(), Some(expect));
        // Another text of its shape.
        let other = recorded(&redaction, "select name from people where email = '' and city = 'x y' and ssn = 12");
        assert!(other.unwrap().ends_with("email = '[pii.email]' and city = 'x y' and ssn = '[pii.ssn]'"));
        // What has fewer literals is none.
        assert_eq!(recorded(&redaction, "select 1").as_deref(), Some(WITHHELD));
    }

    #[test]
    fn what_is_not_told_is_all_redacted() {
        let text = "select 1 from people where email like 'a%' and city = 'Cork'";
        let all = "select '[redacted]' from people where email like '[redacted]' and city = '[redacted]'";
        for (tag, place, expect) in [
            ("SELECT", Place::Filter, Some(all)),
            ("SELECT", Place::Compared, Some(all)),
            ("SELECT", Place::Overwrite, Some(all)),
            ("SELECT", Place::Inside, Some(all)),
            ("SELECT", Place::Output, None),
            ("SELECT", Place::Group, None),
            ("EXECUTE", Place::Output, Some(all)),
        ] {
            let redaction = Redaction::of(&statement(tag, &[("email", place)], &[]), &objects());
            assert_eq!(recorded(&redaction, text).as_deref(), expect, "{tag} {place:?}");
        }
        for (tag, is) in [("EXECUTE", false), ("SELECT", false), ("DO", true), ("CREATE FUNCTION", true)] {
            let redaction = Redaction::of(&statement(tag, &[("city", Place::Filter)], &[]), &objects());
            assert_eq!(redaction == Redaction::Literals, is, "{tag}");
        }
    }

    #[test]
    fn what_is_not_understood_shows_no_value() {
        let text = "selekt 'a@b' from \"c@d\" -- e@f\n where x = 7";
        let expect = "selekt '[redacted]' from \"[redacted]\" /* [redacted] */\n where x = '[redacted]'";
        assert_eq!(recorded(&Redaction::Values, text).as_deref(), Some(expect));
        assert_eq!(recorded(&Redaction::Values, "select 'a@b").as_deref(), Some(WITHHELD));
        assert!(Redaction::Values.text(b"select '\xff'", Lexing::default()).is_some());
        assert!(Redaction::Nothing.text(b"select '\xff'", Lexing::default()).is_none());
        let redacted = Redaction::Values.text(text.as_bytes(), Lexing::default()).unwrap();
        assert_eq!(
            redacted.reason("syntax error at or near \"'a@b'\", 7"),
            "syntax error at or near \"'redacted'\", 7"
        );
        assert_eq!(Redacted::withheld().reason("unterminated at \"a@b\""), WITHHELD_REASON);
    }

    #[test]
    fn parameters() {
        let value = |text: &str| BoundValue { value: Some(text.to_owned().into()), length: 9, binary: true };
        let bound = || {
            let mut bound = Bound::default();
            bound.values.extend([value("a@b"), value("x"), BoundValue::default()]);
            bound
        };
        let meets =
            [(Constant::Parameter(1), "email"), (Constant::Parameter(3), "email"), (Constant::Parameter(2), "city")];
        let script = statement("SELECT", &[("email", Place::Compared)], &meets);
        let redaction = Redaction::of(&script, &objects());
        let mut redacted = bound();
        redaction.bound(&mut redacted);
        let expect = BoundValue { value: Some("[pii.email]".into()), length: 0, binary: false };
        assert_eq!(redacted.values, [expect, value("x"), BoundValue::default()]);
        let mut all = bound();
        Redaction::Literals.bound(&mut all);
        assert!(all.values[..2].iter().all(|value| value.value.as_deref() == Some(&b"[redacted]"[..])));
        let mut none = bound();
        Redaction::Nothing.bound(&mut none);
        assert_eq!(none, bound());
        assert_eq!(recorded(&redaction, "select 'x'"), None);
    }

    #[test]
    fn a_name_is_enough_where_nothing_is_understood() {
        let names = Names::of(&objects());
        for (text, is) in [
            ("select 'x' from People", true),
            ("select 1 from public.\"people\" where a='x'", true),
            ("select 'x' from peoples where email = 1", false),
        ] {
            assert_eq!(names.redaction(text.as_bytes()) == Redaction::Values, is, "{text}");
        }
    }
}

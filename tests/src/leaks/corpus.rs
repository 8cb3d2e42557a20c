//! What is tried, and what comes of it.

use std::{fs, path::Path};

/// Where the corpus lies.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/mask/tests/corpus");

/// One attempt to learn a secret.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What it is called.
    pub title: String,
    /// Statements, each sent for itself.
    pub steps: Vec<String>,
    /// What stops it.
    pub outcome: Outcome,
    /// The same with nothing secret in it, which works.
    pub twin: Vec<String>,
}

/// What comes of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs, and its values are masked.
    Masked,
    /// It is refused, and the error says by which of these guards.
    Refused(Vec<String>),
    /// It fails with this SQLSTATE, and what the server says of it is withheld.
    Withheld(String),
}

/// What an error says of the guards that have stopped an attempt. Of some tags nothing may be asked, by whatever guard.
const TOLD: [(&str, &[&str]); 18] = [
    ("analysis", &[""]),
    ("argument", &["given to a function, operator or cast"]),
    ("changes", &["tell about its values", "makes code that the database runs", "files and programs of the server"]),
    ("channels", &["is sent to the channel"]),
    ("compared", &[NOTHING]),
    ("explain", &["the estimates of a plan"]),
    ("filter", &["a condition other than equality", NOTHING]),
    ("functions", &["the function", "what a block of code reads"]),
    ("group", &["would tell which values are equal", NOTHING]),
    ("inside", &["a function that the statement calls reads it"]),
    ("join", &["may be joined", NOTHING]),
    ("joined", &["may be joined", NOTHING]),
    ("order", &["an order would tell"]),
    ("overwrite", &["may not be written over"]),
    ("relations", &["shows values of other relations"]),
    ("source", &["stored or sent"]),
    ("unresolved", &["cannot be told"]),
    ("window", &["a window would tell"]),
];

const NOTHING: &str = "nothing may be asked";

/// A file of the corpus.
#[must_use]
pub fn text(name: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()
}

/// All attempts. An entry is a title after `##`, statements, each but the last ended by `;` at the end of a line, and lines
/// after `=`: the outcome, the guards that stop it, and the twin, in which `;;` parts statements.
#[must_use]
pub fn attempts() -> Vec<Attempt> {
    let text = format!("\n{}", text("leaks.txt"));
    let entries = text.split("\n## ").skip(1);
    entries.map(attempt).collect()
}

fn attempt(entry: &str) -> Attempt {
    let (title, rest) = entry.split_once('\n').unwrap();
    let (expected, statements): (Vec<&str>, Vec<&str>) = rest.lines().partition(|line| line.starts_with("= "));
    let said = |word: &str| expected.iter().find_map(|line| line.strip_prefix("= ")?.strip_prefix(word));
    let steps = |text: &str, between: &str| text.split(between).map(|step| step.trim().to_owned()).collect();
    let guards = said("guards: ").unwrap_or_else(|| panic!("{title} names no guards"));
    let guards = guards.split(", ").filter(|guard| *guard != "mask").map(str::to_owned).collect();
    let outcome = match (said("masked"), said("refused"), said("withheld: ")) {
        (Some(_), None, None) => Outcome::Masked,
        (None, Some(_), None) => Outcome::Refused(guards),
        (None, None, Some(code)) => Outcome::Withheld(code.to_owned()),
        _ => panic!("{title}: it has no one outcome"),
    };
    let twin = said("twin: ").unwrap_or_else(|| panic!("{title} has no twin"));
    Attempt {
        title: title.to_owned(),
        steps: steps(statements.join("\n").trim(), ";\n"),
        outcome,
        twin: steps(twin, ";;"),
    }
}

impl Attempt {
    /// Whether an error says that one of these guards has stopped it.
    #[must_use]
    pub fn is_told(guards: &[String], error: &str) -> bool {
        let told = TOLD.iter().filter(|(guard, _)| guards.iter().any(|one| one == guard));
        told.flat_map(|(_, phrases)| *phrases).any(|phrase| error.contains(phrase))
    }

    /// Whether it is refused.
    #[must_use]
    pub fn refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(_))
    }

    /// The statement, where it is one that COPY takes.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        let [only] = self.steps.as_slice() else { return None };
        let upper = only.to_uppercase();
        let first = upper.trim_start_matches('(').split_whitespace().next()?;
        let returns = match first {
            "SELECT" | "WITH" | "VALUES" | "TABLE" => !upper.contains(" INTO "),
            "INSERT" | "UPDATE" | "DELETE" => upper.contains(" RETURNING "),
            _ => false,
        };
        returns.then_some(only)
    }

    /// Whether there is nothing to undo.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.query().is_some_and(|query| query.starts_with("SELECT") && !query.contains("FOR UPDATE"))
    }

    /// Whether the server's files are what it is about: such are not tried past Postern.
    #[must_use]
    pub fn outside(&self) -> bool {
        self.steps.iter().any(|step| ["/tmp/", "pg_read_file"].iter().any(|word| step.contains(word)))
    }
}

//! The time-outs of a session that policies bound: the client may set less, not more, and not none.

use super::judge::startup::command_line;
use postern_policy::Obligations;
use postern_proto::v1::Setting;
use postern_sql::facts;
use postern_wire::error::Report;
use std::rc::Rc;

/// The settings that have ceilings.
const NAMES: [&str; 3] = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];

/// The ceilings of one session, in milliseconds, in the order of [`NAMES`].
#[derive(Debug, Default)]
pub struct Ceilings {
    most: [Option<u64>; 3],
    by: Rc<str>,
}

fn of(obligations: &Obligations) -> [Option<u64>; 3] {
    [obligations.statement_timeout_ms, obligations.lock_timeout_ms, obligations.idle_in_transaction_session_timeout_ms]
}

impl Ceilings {
    /// What the permits for `connect` ask for.
    #[must_use]
    pub fn new(obligations: &Obligations, by: &Rc<str>) -> Self {
        Self { most: of(obligations), by: Rc::clone(by) }
    }

    fn ceiling(&self, name: &str) -> Option<u64> {
        let same = |(known, _): &(&str, Option<u64>)| name.eq_ignore_ascii_case(known);
        NAMES.into_iter().zip(self.most).find(same).and_then(|(_, most)| most)
    }

    /// Appends what the session is to begin with: the ceiling itself, where neither the client nor the access role asks
    /// for less. What the client asks for was, or will be, admitted as the SET that it is.
    pub fn put_parameters(&self, asked: &[Setting], role: &[Setting], parameters: &mut Vec<(String, String)>) {
        for (name, most) in NAMES.into_iter().zip(self.most) {
            let Some(most) = most else { continue };
            let own = role.iter().rev().find(|setting| setting.name.eq_ignore_ascii_case(name));
            let value = own.map(|setting| setting.value.clone()).or_else(|| asked_for(asked, name));
            if !value.is_some_and(|value| is_within(&value, most)) {
                parameters.push((name.to_owned(), format!("{most}ms")));
            }
        }
    }

    /// Whether a statement leaves the time-outs within their ceilings.
    ///
    /// # Errors
    /// Which it does not.
    pub fn admit(&self, statement: &facts::Statement) -> Result<(), Report> {
        for setting in &statement.settings {
            let Some(name) = setting.name.as_deref() else { continue };
            let Some(most) = self.ceiling(name) else { continue };
            let good = match &setting.value {
                Some(value) => is_within(value, most),
                // The default is what the session began with. What is computed could be anything.
                None => matches!(statement.tag, "SET" | "RESET"),
            };
            if !good {
                return Err(Report::new(
                    "42501",
                    format!("{name} may be at most {most} ms, by {}", self.by),
                    format!("Set it to {most}ms or less, and not to 0, which means no limit."),
                ));
            }
        }
        Ok(())
    }

    /// Whether the session began with time-outs that are as strict as a statement's permits ask for. Statements' own time
    /// is measured, too; the others are the session's.
    ///
    /// # Errors
    /// Which is not.
    pub fn cover(&self, obligations: &Obligations) -> Result<(), Report> {
        for ((name, asked), most) in NAMES.into_iter().zip(of(obligations)).zip(self.most).skip(1) {
            if asked.is_some_and(|asked| most.is_none_or(|most| most > asked)) {
                return Err(Report::new(
                    "0A000",
                    format!("the policies permit this statement with a {name} that the session did not begin with"),
                    "Connect again; if that does not help, have it put on the permit for `connect`.",
                ));
            }
        }
        Ok(())
    }
}

/// The value that a client asks for at start-up.
fn asked_for(asked: &[Setting], name: &str) -> Option<String> {
    let of = |setting: &Setting| {
        if setting.name == "options" {
            let options = command_line(&setting.value).unwrap_or_default();
            options.into_iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        } else {
            setting.name.eq_ignore_ascii_case(name).then(|| setting.value.clone())
        }
    };
    asked.iter().rev().find_map(of)
}

fn is_within(value: &str, most: u64) -> bool {
    millis(value).is_some_and(|millis| (1..=most).contains(&millis))
}

/// A time as PostgreSQL reads it: a number, of milliseconds unless a unit follows. `None` where it is read otherwise, or
/// not understood.
fn millis(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.len() - value.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
    let (number, unit) = value.split_at_checked(digits)?;
    let factor = match unit.trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    // A number that begins with a zero may be octal.
    if number.len() > 1 && number.starts_with('0') && !number.starts_with("0.") {
        return None;
    }
    let millis = (number.parse::<f64>().ok()? * factor).round();
    // Within these bounds nothing is lost.
    (0.0..=f64::from(i32::MAX)).contains(&millis).then_some(millis as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_postgresql_reads_them() {
        for (value, expected) in [
            ("0", Some(0)),
            ("250", Some(250)),
            (" 30s ", Some(30_000)),
            ("1.5 s", Some(1_500)),
            ("1min", Some(60_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("600us", Some(1)),
            ("010", None),
            ("0x10", None),
            ("-1", None),
            ("1e3", None),
            ("1 m", None),
            ("", None),
            ("25d", None),
        ] {
            assert_eq!(millis(value), expected, "{value:?}");
        }
    }

    #[test]
    fn the_session_begins_within_its_ceilings() {
        let obligations =
            Obligations { statement_timeout_ms: Some(30_000), lock_timeout_ms: Some(1_000), ..Obligations::default() };
        let ceilings = Ceilings::new(&obligations, &"the policy p".into());
        let setting = |name: &str, value: &str| Setting { name: name.into(), value: value.into() };
        let begins = |asked: &[Setting], role: &[Setting]| {
            let mut parameters = Vec::new();
            ceilings.put_parameters(asked, role, &mut parameters);
            parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(begins(&[], &[]), ["statement_timeout=30000ms", "lock_timeout=1000ms"]);
        assert_eq!(begins(&[setting("statement_timeout", "5s")], &[]), ["lock_timeout=1000ms"]);
        let options = setting("options", "-c Statement_Timeout=0 -c lock_timeout=10");
        assert_eq!(begins(&[options], &[]), ["statement_timeout=30000ms"]);
        assert_eq!(begins(&[], &[setting("lock_timeout", "2s")]), ["statement_timeout=30000ms", "lock_timeout=1000ms"]);
        assert_eq!(begins(&[setting("lock_timeout", "1")], &[setting("lock_timeout", "0")]).len(), 2);
        // What a statement asks for beyond that cannot be had.
        assert!(ceilings.cover(&obligations).is_ok());
        let stricter = Obligations { lock_timeout_ms: Some(10), ..Obligations::default() };
        assert!(ceilings.cover(&stricter).is_err());
        let idle = Obligations { idle_in_transaction_session_timeout_ms: Some(10), ..Obligations::default() };
        assert!(ceilings.cover(&idle).is_err());
        assert!(ceilings.cover(&Obligations { statement_timeout_ms: Some(1), ..Obligations::default() }).is_ok());
    }
}

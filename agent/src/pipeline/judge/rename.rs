//! `application_name` keeps its prefix, by which a session is known in the database, whatever the client sets it to.

use postern_sql::facts::{Script, Setting, Statement};
use postern_wire::error::Report;
use std::ops::Range;

const NAME: &str = "application_name";

/// What the name begins with: `postern:<grant>:`.
#[derive(Debug)]
pub struct Prefix(pub String);

impl Prefix {
    /// Whether what a statement does to the name can be put right.
    ///
    /// # Errors
    /// Why it may not do that.
    pub fn admit(&self, statement: &Statement) -> Result<(), Report> {
        let mut settings = statement.settings.iter().filter(|setting| setting.name.as_deref() == Some(NAME));
        // A SET is put right, and what it is reset to has the prefix.
        let good = |setting: &Setting| {
            matches!(statement.tag, "SET" | "RESET")
                || setting.value.as_ref().is_some_and(|value| value.starts_with(&self.0))
        };
        if settings.all(good) {
            return Ok(());
        }
        Err(Report::new(
            "42501",
            format!("application_name begins with \"{}\" in this session, which a function may not change", self.0),
            "Use `SET application_name = '…'`: what you set follows the prefix.",
        ))
    }

    /// The query string with the prefix in each SET of the name; nothing where there is none to be put right.
    pub fn put_right(&self, text: &str, script: &Script) -> Option<String> {
        let statements =
            script.statements.iter().filter_map(|statement| Some((self.in_place_of(statement)?, statement)));
        let mut replaced = String::new();
        let mut done = 0;
        for (set, Statement { span: Range { start, end }, .. }) in statements {
            replaced.push_str(text.get(done..*start)?);
            replaced.push_str(&set);
            done = *end;
        }
        (done > 0).then(|| replaced + text.get(done..).unwrap_or_default())
    }

    fn in_place_of(&self, statement: &Statement) -> Option<String> {
        let [setting] = statement.settings.as_slice() else { return None };
        let value = setting.value.as_ref().filter(|value| !value.starts_with(&self.0));
        let value = value.filter(|_| statement.tag == "SET" && setting.name.as_deref() == Some(NAME))?;
        // As PostgreSQL does it; a quote or backslash would have to be quoted as the session's settings have it.
        let plain = |letter: char| matches!(letter, ' '..='~') && !matches!(letter, '\'' | '\\');
        let value: String = value.chars().map(|letter| if plain(letter) { letter } else { '?' }).collect();
        let scope = if setting.local { "LOCAL" } else { "SESSION" };
        Some(format!("SET {scope} {NAME} = '{}{value}'", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_sql::{Catalog, Context, analyse, catalog::Builder};

    fn catalog() -> Catalog {
        Builder::new(None).build()
    }

    #[test]
    fn the_prefix_stays() {
        let prefix = Prefix("postern:gr_1:".to_owned());
        let right = |text: &str| {
            let script = analyse(text, &catalog(), &Context::new(18, "u")).unwrap();
            script.statements.iter().for_each(|statement| prefix.admit(statement).unwrap());
            prefix.put_right(text, &script)
        };
        let set = |name: &str| Some(format!("SET SESSION application_name = 'postern:gr_1:{name}'"));
        assert_eq!(right("SET application_name = 'psql'"), set("psql"));
        assert_eq!(right("set session application_name to psql"), set("psql"));
        assert_eq!(right("SET application_name = 'it''s \\ é'"), set("it?s ? ?"));
        assert_eq!(right("SET application_name = ''"), set(""));
        let several = right("BEGIN; SET LOCAL application_name = 'a' ; SET application_name = 'b'; COMMIT;");
        let expected = "BEGIN; SET LOCAL application_name = 'postern:gr_1:a'; \
                        SET SESSION application_name = 'postern:gr_1:b'; COMMIT;";
        assert_eq!(several.as_deref(), Some(expected));
        for untouched in [
            "SELECT 1",
            "RESET application_name",
            "SET application_name TO DEFAULT",
            "SET application_name = 'postern:gr_1:psql'",
            "SET search_path = application_name",
            "RESET ALL",
        ] {
            assert_eq!(right(untouched), None, "{untouched}");
        }
    }

    #[test]
    fn only_a_set_can_be_put_right() {
        let prefix = Prefix("postern:gr_1:".to_owned());
        let of = |tag: &'static str, value: Option<&str>| {
            let mut statement = analyse("SET application_name = 'x'", &catalog(), &Context::new(18, "u")).unwrap();
            let mut statement = statement.statements.remove(0);
            statement.tag = tag;
            statement.settings[0].value = value.map(str::to_owned);
            prefix.admit(&statement).is_ok()
        };
        assert!(of("SET", Some("x")) && of("RESET", None) && of("SELECT", Some("postern:gr_1:x")));
        assert!(!of("SELECT", Some("x")) && !of("SELECT", None) && !of("EXECUTE", Some("x")));
    }
}

//! Makes a role for one session.

use super::{
    Bounds, Lease, MakeError, Roles, identifier, literal, shield,
    workshop::{Maker, Tool},
};
use aws_lc_rs::rand;
use postern_dial::DialError;
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Write as _;

const PASSWORD_BYTES: usize = 32;

/// What stands in a role's comment before the role that it was mapped to.
pub(super) const FOR: &str = ", for ";

/// What a role is made for.
#[derive(Debug)]
pub struct Wanted {
    /// The role that it is a member of.
    pub mapped: String,
    /// What its member is kept to.
    pub bounds: Bounds,
    /// Whose session.
    pub session_id: String,
    /// Of which grant.
    pub grant_id: String,
    /// The login is good until then.
    pub until: Micros,
}

/// A setting of the mapped role.
struct Setting {
    name: String,
    value: String,
    /// Only who may set it for others can give it to the session.
    privileged: bool,
}

pub(super) async fn make(roles: &Roles, maker: Maker, wanted: &Wanted) -> Result<Lease, MakeError> {
    let password = password()?;
    let name = roles.name(&wanted.session_id);
    let mut tool = roles.shared.workshops.tool(&maker).await?;
    if tool.is_standby() {
        return Err(MakeError::Standby);
    }
    let settings = settings(&mut tool, &wanted.mapped).await?;
    if settings.iter().any(|setting| setting.name.eq_ignore_ascii_case("role")) {
        return Err(MakeError::Switches);
    }
    let group = match &wanted.bounds {
        Bounds { only: Some(_), .. } => None,
        Bounds { hidden, only: None } if hidden.is_empty() => Some(wanted.mapped.clone()),
        Bounds { only: None, .. } => Some(shield::of(roles, &mut tool, &maker.connection, wanted).await?),
    };
    let (privileged, own): (Vec<_>, Vec<_>) = settings.into_iter().partition(|setting| setting.privileged);
    // The server gets what verifies the password, so that no log of its has more; ours has not even that.
    let verifier = postern_dial::scram_verifier(password.expose_secret().as_bytes());
    let statements = |verifier| statements((&name, group.as_deref()), verifier, wanted, &privileged);
    let (sql, shown) = (statements(&verifier), statements("…"));
    let begins_as = group.as_deref().filter(|group| *group == wanted.mapped);
    roles.shared.live.lock().insert(name.clone());
    // From here on whatever was made is dropped again.
    let lease = Lease { roles: roles.clone(), maker, name, password, options: options(begins_as, &own) };
    tool.change(&sql, &shown).await?;
    if wanted.bounds.only.is_some() {
        shield::give(&mut tool, &wanted.mapped, &lease.name, &wanted.bounds).await?;
    }
    Ok(lease)
}

fn password() -> Result<SecretString, MakeError> {
    let mut random = [0u8; PASSWORD_BYTES];
    rand::fill(&mut random).map_err(|_| MakeError::Random)?;
    let mut hexadecimal = String::with_capacity(2 * PASSWORD_BYTES);
    for byte in random {
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    Ok(hexadecimal.into())
}

/// What the mapped role's sessions begin with in this database. What is set for the database counts, and so comes last.
async fn settings(tool: &mut Tool, mapped: &str) -> Result<Vec<Setting>, DialError> {
    let sql = format!(
        "SELECT split_part(given, '=', 1), substr(given, strpos(given, '=') + 1), \
         EXISTS (SELECT FROM pg_settings WHERE lower(name) = lower(split_part(given, '=', 1)) AND context LIKE 'superuser%') \
         FROM pg_db_role_setting, unnest(setconfig) AS given \
         WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = {}) \
         AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY setdatabase",
        literal(mapped)
    );
    let setting = |row: Vec<Option<String>>| {
        let mut fields = row.into_iter().flatten();
        let (name, value) = (fields.next()?, fields.next()?);
        Some(Setting { name, value, privileged: fields.next()? == "t" })
    };
    Ok(tool.ask(&sql).await?.into_iter().filter_map(setting).collect())
}

/// All in one transaction. The comment ends with whom the role's end hands on to.
fn statements((name, group): (&str, Option<&str>), verifier: &str, wanted: &Wanted, settings: &[Setting]) -> String {
    let role = identifier(name);
    let group = group.map(|group| format!(" IN ROLE {}", identifier(group))).unwrap_or_default();
    let mut sql = format!(
        "CREATE ROLE {role} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 1 \
         PASSWORD {} VALID UNTIL {}{group}; COMMENT ON ROLE {role} IS {}",
        literal(verifier),
        literal(&wanted.until.to_string()),
        literal(&format!("Postern: grant {}, session {}{FOR}{}", wanted.grant_id, wanted.session_id, wanted.mapped)),
    );
    for Setting { name, value, .. } in settings {
        let named: Vec<_> = name.split('.').map(identifier).collect();
        // As it is stored, which may be a list.
        let _ = write!(
            sql,
            "; SELECT set_config({}, {}, true); ALTER ROLE {role} SET {} FROM CURRENT",
            literal(name),
            literal(value),
            named.join(".")
        );
    }
    sql
}

/// The session begins as the mapped role where it is its member, and with its settings. They come before the client's own, and
/// RESET restores them.
fn options(begins_as: Option<&str>, settings: &[Setting]) -> String {
    let role = begins_as.map(|mapped| option("role", mapped));
    let settings = settings.iter().map(|Setting { name, value, .. }| option(name, value));
    role.into_iter().chain(settings).collect::<Vec<_>>().join(" ")
}

fn option(name: &str, value: &str) -> String {
    let mut option = "-c ".to_owned();
    for letter in format!("{name}={value}").chars() {
        if letter == '\\' || letter.is_ascii_whitespace() || letter == '\u{b}' {
            option.push('\\');
        }
        option.push(letter);
    }
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str) -> Setting {
        Setting { name: name.to_owned(), value: value.to_owned(), privileged: false }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        let wanted = Wanted {
            mapped: "it's".to_owned(),
            bounds: Bounds::default(),
            session_id: "ses_1".to_owned(),
            grant_id: "grt_'1".to_owned(),
            until: Micros(0),
        };
        let sql = statements(("postern_a_b", Some("an \"odd\" role")), "verifier", &wanted, &[setting("a.b", "it's")]);
        assert!(sql.contains(
            r#" IN ROLE "an ""odd"" role"; COMMENT ON ROLE "postern_a_b" IS 'Postern: grant grt_''1, session ses_1, for it''s'"#
        ));
        assert!(sql.contains("PASSWORD 'verifier'"), "{sql}");
        assert!(sql.contains("VALID UNTIL '1970-01-01T00:00:00Z'"), "{sql}");
        assert!(sql.ends_with(
            r#"; SELECT set_config('a.b', 'it''s', true); ALTER ROLE "postern_a_b" SET "a"."b" FROM CURRENT"#
        ));
    }

    #[test]
    fn options_are_read_as_they_were_stored() {
        let settings = [setting("search_path", "\"$user\", public"), setting("app.tenant", "a\\b\nc")];
        let expected = "-c role=my\\ role -c search_path=\"$user\",\\ public -c app.tenant=a\\\\b\\\nc";
        assert_eq!(options(Some("my role"), &settings), expected);
        assert_eq!(options(None, &settings), expected.strip_prefix("-c role=my\\ role ").unwrap());
        assert_eq!(options(None, &[]), "");
    }
}

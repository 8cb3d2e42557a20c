//! Which database is fronted as `demo`, with which logins, and what its access roles are.

use super::cluster::{Cluster, DATABASE, OWNER_ROLE, READER_ROLE, WRITER_ROLE};
use anyhow::{Context, bail};
use postern_dial::Target;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

/// The name under which it is reached.
pub const CONNECTION: &str = "demo";

/// The connector's name.
pub const CONNECTOR: &str = "dev";

/// The longest grant.
const MAX_DURATION: &str = "24h";

/// A database, as control plane and connector need it described.
pub struct Database {
    /// Where it is, without user and password.
    url: String,
    /// The connector's logins: role and password.
    logins: Vec<(String, Option<SecretString>)>,
    /// Which of them serves the access role: read, write, all; the same one thrice is mode `shared`.
    roles: Roles,
}

enum Roles {
    /// A database role for each access role.
    Separate,
    /// The one login of a URL.
    Shared,
}

impl Database {
    /// The throwaway cluster.
    pub fn of_cluster(cluster: &Cluster) -> Self {
        let passwords = &cluster.passwords;
        let logins =
            [(READER_ROLE, &passwords.reader), (WRITER_ROLE, &passwords.writer), (OWNER_ROLE, &passwords.owner)];
        Self {
            url: format!("postgresql://127.0.0.1:{}/{DATABASE}", cluster.port),
            logins: logins.into_iter().map(|(role, password)| (role.to_owned(), Some(password.clone()))).collect(),
            roles: Roles::Separate,
        }
    }

    /// The database of a URL, with the URL's own login.
    pub fn of_url(url: &SecretString) -> anyhow::Result<Self> {
        let target = Target::parse(url.expose_secret()).context("--postgres")?;
        let user = if target.user.is_empty() { default_user()? } else { target.user.clone() };
        let password = target.password.clone().or_else(|| std::env::var("PGPASSWORD").ok().map(SecretString::from));
        let database = if target.database.is_empty() { user.clone() } else { target.database };
        Ok(Self {
            url: without_login(url.expose_secret(), &database)?,
            logins: vec![(user, password)],
            roles: Roles::Shared,
        })
    }

    /// The document that states the connection. It is stated anew at each start; what is to stay different
    /// belongs in a file for --config.
    pub fn document(&self) -> Value {
        let role = |read_only: bool, database_role: &str| {
            let mut role = json!({
                "read_only": read_only, "max_duration": MAX_DURATION, "reviewers": ["dba"], "approvals": 1,
            });
            if let Some(role) = role.as_object_mut() {
                match self.roles {
                    Roles::Separate => {
                        role.insert("mode".to_owned(), "login".into());
                        role.insert("database_role".to_owned(), database_role.into());
                    }
                    Roles::Shared => {
                        role.insert("mode".to_owned(), "shared".into());
                    }
                }
            }
            role
        };
        let mut read = role(true, READER_ROLE);
        let mut all = role(false, OWNER_ROLE);
        if let (Some(read), Some(all)) = (read.as_object_mut(), all.as_object_mut()) {
            read.insert("settings".to_owned(), json!({ "statement_timeout": "30s" }));
            all.insert("application_name".to_owned(), "unchanged".into());
        }
        let (tags, masks) = match self.roles {
            Roles::Separate => (shop_tags(), shop_masks()),
            Roles::Shared => (json!({}), json!({})),
        };
        json!({
            "kind": "Connection", "name": CONNECTION, "database": self.url, "connector": CONNECTOR,
            "roles": { "read": read, "write": role(false, WRITER_ROLE), "all": all },
            "tags": tags, "masks": masks,
        })
    }

    /// The connector's `connections` setting: the same logins for each of these names.
    pub fn connector_setting<'a>(&self, names: impl Iterator<Item = &'a str>) -> Value {
        let login = |password: Option<&SecretString>| {
            password.map_or_else(|| json!({}), |password| json!({ "password": { "value": password.expose_secret() } }))
        };
        let entries = self.logins.iter();
        let logins: Map<String, Value> =
            entries.map(|(role, password)| (role.clone(), login(password.as_ref()))).collect();
        // Of a URL's one login it is told that the backstop is absent.
        let mut connection = json!({ "logins": logins, "privileged_readers": matches!(self.roles, Roles::Shared) });
        // The owner's login comes last, and is the only one of a URL.
        if let Some((user, password)) = self.logins.last() {
            let mut shared = login(password.as_ref());
            if let (Some(connection), Some(fields)) = (connection.as_object_mut(), shared.as_object_mut()) {
                fields.insert("user".to_owned(), user.as_str().into());
                connection.insert("ephemeral".to_owned(), shared.clone());
                connection.insert("shared".to_owned(), shared);
            }
        }
        names.map(|name| (name.to_owned(), connection.clone())).collect::<Map<String, Value>>().into()
    }
}

fn shop_tags() -> Value {
    json!({
        "public.customers.name": "pii.name",
        "public.customers.email": "pii.email",
        "public.customers.phone": "pii.phone",
        "public.customers.ssn": "pii.ssn",
        "public.customers.card_number": "pci.pan",
        "public.customers.birth_date": "pii.birth_date",
        "public.customers.address": "pii.address",
    })
}

fn shop_masks() -> Value {
    json!({
        "pii.name": "redact", "pii.email": "email", "pii.phone": { "partial": 2 }, "pii.ssn": { "partial": 4 },
        "pci.pan": { "partial": 4 }, "pii.birth_date": "date_year", "pii.address": "redact",
    })
}

/// As libpq does where a URL names no user.
fn default_user() -> anyhow::Result<String> {
    if let Ok(user) = std::env::var("PGUSER") {
        return Ok(user);
    }
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective())?;
    Ok(user.context("--postgres names no user, and this process has none with a name")?.name)
}

/// The URL with its database spelt out, without user and password.
fn without_login(url: &str, database: &str) -> anyhow::Result<String> {
    let Some((_, rest)) = url.split_once("://") else { bail!("--postgres is no URL") };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let kept =
        |pair: &&str| !["user=", "password=", "dbname="].iter().any(|name| pair.starts_with(name)) && !pair.is_empty();
    let query: Vec<&str> = query.split('&').filter(kept).collect();
    let database: String = database.bytes().map(escaped).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("postgresql://{hosts}/{database}{mark}{}", query.join("&")))
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_the_document() {
        let url = SecretString::from("postgres://bob:hush@h1:5433,h2/the%20db?sslmode=require&password=hush2&user=x");
        let database = Database::of_url(&url).unwrap();
        assert_eq!(database.url, "postgresql://h1:5433,h2/the%20db?sslmode=require");
        let document = database.document().to_string();
        assert!(!document.contains("hush") && document.contains("\"shared\""), "{document}");
        let setting = database.connector_setting(["demo"].into_iter());
        assert_eq!(setting["demo"]["shared"]["user"], "x");
        assert_eq!(setting["demo"]["shared"]["password"]["value"], "hush2");
    }

    #[test]
    fn the_database_is_spelt_out() {
        let database = Database::of_url(&SecretString::from("postgresql:///?host=/run/pg&user=bob")).unwrap();
        assert_eq!(database.url, "postgresql:///bob?host=/run/pg");
    }
}

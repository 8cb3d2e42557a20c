//! A database of its own behind `postern dev`, whose login could do anything: what is kept out, policies keep out.

use crate::{
    client::{self, Client},
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{Dev, Grant},
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use std::time::Duration;

/// "At once" is promised; a loaded machine with an unoptimised build gets this.
pub const IN_FORCE_WITHIN: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    create table orders (id int primary key, note text, total int default 0);
    insert into orders select n, 'order ' || n from generate_series(1, 10) n;
    create table secrets (id int, word text);
    insert into secrets values (1, 'xyzzy');
    create table lines (id int primary key, order_id int references orders on delete cascade);
    create function dark() returns int language plpgsql as 'begin return 1; end';
    create table noted (id int);
    create function note() returns trigger language plpgsql as 'begin return new; end';
    create trigger note before insert on noted for each row execute function note();
    create sequence tickets;
    create schema app;
    create schema trap;
    create table trap.orders (id int);
    create role other;
";

/// Policies for tests: everyone connects, and a test adds what roles may do.
pub const CONNECT: &str = "@id(\"connect\") permit (principal, action == Action::\"connect\", resource);\n";

/// The database and the connection to it, with the access roles `read`, `write`, `migrate` and `all`.
pub struct Shop {
    /// The server.
    pub cluster: Cluster,
    /// Postern.
    pub dev: Dev,
}

impl Shop {
    /// Makes one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Makes one whose server has these settings.
    pub async fn start_with(settings: &[&str]) -> Self {
        let settings = [&["log_statement=all", "max_prepared_transactions=2"], settings].concat();
        let cluster = Cluster::start_with(&settings).await;
        let url = cluster.url("postgres", SUPERUSER_PASSWORD, "app");
        client::connect(&url).await.batch_execute(SCHEMA).await.unwrap();
        let config = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        let role = "migrate: { mode: shared, max_duration: 1h, reviewers: [dba] }";
        let tags = "tags:\n  public.orders: open\n";
        std::fs::write(config.path(), format!("kind: Connection\nname: demo\nroles:\n  {role}\n{tags}")).unwrap();
        let url = url.replace(&format!(":{SUPERUSER_PASSWORD}"), "");
        let args = ["--postgres", &url, "--config", config.path().to_str().unwrap()];
        let dev = Dev::start_with(&args, &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
        Self { cluster, dev }
    }

    /// As the owner, past Postern.
    pub async fn owner(&self) -> Client {
        client::connect(&self.cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await
    }

    /// A grant of an access role.
    #[must_use]
    pub fn grant(&self, role: &str) -> Grant {
        self.dev.grant(role, "30m")
    }

    /// A session of an access role, by a driver.
    pub async fn client(&self, role: &str) -> Client {
        client::connect(&self.grant(role).url).await
    }

    /// A session of an access role, by hand.
    pub async fn raw(&self, role: &str) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&Login::of_url(&self.grant(role).url)).await.unwrap();
        raw
    }

    /// Puts one file of policies in force, in place of the one before it.
    pub fn apply(&self, policies: &str) {
        let file = self.dev.data().join("test.cedar");
        std::fs::write(&file, policies).unwrap();
        let _ = self.dev.admin().run(&["apply", file.to_str().unwrap()]).ok();
    }

    /// Freezes the connection, or ends that.
    pub fn freeze(&self, on: bool) {
        let args: &[&str] = if on { &["freeze", "demo", "--reason", "a test"] } else { &["freeze", "demo", "--off"] };
        let _ = self.dev.admin().run(args).ok();
    }
}

/// Policies of a demo shop: everybody reads, agents no payments, and order items under review.
pub const READERS: &str = r#"
@id("readers")
permit (principal, action in [Action::"connect", Action::"read"], resource);

@id("no-payments")
@message("payments are not for agents")
@hint("ask finance")
forbid (principal is Agent, action == Action::"read", resource == Table::"demo/public.payments");

@id("held")
@review("group:dba")
permit (principal, action == Action::"read", resource == Table::"demo/public.order_items");
"#;

/// What a client is told when a statement is refused.
pub async fn refusal(client: &Client, sql: &str) -> Option<String> {
    let error = client.batch_execute(sql).await.err()?;
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).clone();
    Some(format!("{} {} {:?} {:?}", error.code().code(), error.message(), error.detail(), error.hint()))
}

/// Waits until a statement is refused, and gives the refusal; or until it is not.
pub async fn until(client: &Client, sql: &str, refused: bool) -> String {
    wait::until("it is in force", IN_FORCE_WITHIN, || async {
        let refusal = refusal(client, sql).await;
        (refusal.is_some() == refused).then(|| refusal.unwrap_or_default())
    })
    .await
}

/// The SQLSTATE of the first error among answers.
#[must_use]
pub fn code(messages: &[Message]) -> Option<String> {
    messages.iter().find(|message| message.tag == b'E').map(Message::sqlstate)
}

/// Both protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A Query.
    Simple,
    /// Parse to Execute, and Sync.
    Extended,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Simple, Self::Extended];

    /// Runs a statement, and gives the SQLSTATE of its error.
    pub async fn run(self, raw: &mut Raw, sql: &str) -> Option<String> {
        match self {
            Self::Simple => raw.send(&raw::query(sql)).await,
            Self::Extended => raw.send(&[raw::extended(sql), raw::sync()].concat()).await,
        }
        code(&raw.until_ready().await)
    }
}

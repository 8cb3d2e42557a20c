//! A cluster with a login that makes roles, and the parts on it.

use postern_e2e::{
    client::{self, Client, sqlstate},
    cluster::Cluster,
    dev::{self, Grant},
    parts::{Part, Parts, Setup},
    process::tail,
    wait,
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// "Within a second" is promised; a loaded machine with an unoptimised build gets this.
pub const SOON: Duration = Duration::from_secs(20);

pub const MAKER_PASSWORD: &str = "seeded-maker-password-3ac8";

/// What a role is told by.
const MADE: &str = "rolname ~ '^postern_[0-9a-z]{26}_[0-9a-z]{26}$'";

/// A cluster with a login that may make roles and nothing else, and what tells a mapped role's sessions from others.
const SET_UP: &str = "
    alter role app_reader set search_path = odd, public;
    alter role app_reader set statement_timeout = '77s';
    alter role app_reader in database app set statement_timeout = '78s';
    alter role app_reader set app.tenant = 'it''s \\ \"odd\"';
    alter role app_reader set log_min_duration_statement = '3h';
    create schema odd;
    grant usage on schema odd to app_reader;
    create table odd.named (id int);
    grant select on odd.named to app_reader;
    create table for_all (id int);
    grant select on for_all to public;
    grant create on schema public to app;
    create table not_for_app (id int);
";

pub struct Installation {
    pub parts: Parts,
    pub superuser: Client,
}

impl Installation {
    /// With both access roles of mode `ephemeral`.
    pub async fn start(cluster: &Cluster) -> Self {
        let mut parts = Parts::start_with(cluster, Setup::default()).await;
        parts.stop(Part::Connector);
        let file = parts.path("agent.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let maker = format!("ephemeral: {{ user: maker, password: {{ value: {MAKER_PASSWORD} }} }}");
        fs::write(&file, text.replace("  orders:\n", &format!("  orders:\n    {maker}\n"))).unwrap();
        let mut installation = Self { parts, superuser: cluster.superuser().await };
        installation.map("read: { mode: ephemeral }, all: { mode: ephemeral }");
        installation.launch();
        installation
    }

    pub fn launch(&mut self) {
        self.parts.launch(Part::Connector);
        self.parts.until_up();
    }

    pub fn map(&self, roles: &str) {
        let file = self.parts.path("roles.yaml");
        fs::write(&file, format!("kind: Connection\nname: orders\nroles: {{ {roles} }}\n")).unwrap();
        let _ = self.parts.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    }

    pub fn grant(&self, role: &str, duration: &str) -> Grant {
        dev::grant(self.parts.agent(), self.parts.admin(), "orders", role, duration)
    }

    /// Makes the login that makes roles a member of the tables' owner.
    pub async fn maker_may_give_what_app_has(&self) {
        let version = self.superuser.text("select current_setting('server_version_num')").await;
        let inherit = if version.parse::<u32>().unwrap() < 16_00_00 { "" } else { " with inherit true" };
        self.superuser.batch_execute(&format!("grant app to maker{inherit}")).await.unwrap();
    }

    /// For these relations alone.
    pub fn grant_for(&self, role: &str, relations: &[&str]) -> Grant {
        let (agent, admin) = (self.parts.agent(), self.parts.admin());
        let mut args = vec!["request", "orders", "--role", role, "--for", "1h", "--reason", "a test", "--json"];
        relations.iter().for_each(|relation| args.extend(["--table", relation]));
        let request = agent.run(&args).json();
        let approved = admin.run(&["approve", request["id"].as_str().unwrap(), "--json"]).json();
        let url = agent.run(&["url", "orders", "--role", role]).ok();
        Grant { id: approved["grant_id"].as_str().unwrap().to_owned(), url: url.trim_end().to_owned() }
    }

    pub async fn open(&self, grant: &Grant) -> (Client, String) {
        let client =
            wait::until("a session opens", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
        let role = client.text("select session_user").await;
        (client, role)
    }

    /// The roles that were made, by name.
    pub async fn made(&self) -> Vec<String> {
        let sql = format!("select rolname from pg_roles where {MADE} order by 1");
        let rows = self.superuser.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect()
    }

    pub async fn until_made(&self, expected: &[&str]) {
        let mut expected: Vec<_> = expected.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        let start = Instant::now();
        let made = async {
            while self.made().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SOON, made).await.is_err() {
            let log = self.parts.log(Part::Connector);
            panic!("there are the roles {:?} and not {expected:?}: {}", self.made().await, tail(&log));
        }
        eprintln!("the roles were {expected:?} after {:.0?}", start.elapsed());
    }

    /// The SQLSTATE, message, detail and hint with which a session is refused.
    pub async fn refusal(&self, grant: &Grant) -> String {
        let error = client::try_connect(&grant.url).await.err().expect("the session is refused");
        let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        format!("{} {} {:?} {:?}", sqlstate(&error), told.message(), told.detail(), told.hint())
    }
}

pub async fn cluster(major: Option<u16>) -> Cluster {
    let settings = ["log_statement=ddl"];
    let cluster = match major {
        Some(major) => Cluster::start_major(major, &settings).await,
        None => Cluster::start_with(&settings).await,
    };
    let superuser = cluster.superuser().await;
    superuser.batch_execute(&format!("create role maker login createrole password '{MAKER_PASSWORD}'")).await.unwrap();
    superuser.batch_execute(SET_UP).await.unwrap();
    if superuser.text("select current_setting('server_version_num')").await.parse::<u32>().unwrap() >= 16_00_00 {
        // As little as makes members of it.
        let sql = "grant app_reader, app to maker with admin option, inherit false, set false;
                   grant set on parameter log_min_duration_statement to maker";
        superuser.batch_execute(sql).await.unwrap();
    }
    cluster
}

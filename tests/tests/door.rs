//! Clients that come with a token in the place of a grant's secret: by OAUTHBEARER as libpq 18 and RFC 7628 have it, and
//! as a password.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    cluster::{APP_PASSWORD, Cluster},
    dev::{Caller, Dev},
    packages,
    parts::{Part, Parts, Setup},
    raw::{Login, Message, Raw, Tls, cstr, message},
};
use serde_json::{Value, json};
use std::process::{Command, Output};

const CONFIG: &str = "
kind: User
name: dana
groups: [dba]
---
kind: User
name: nobody
---
kind: Connection
name: demo
roles:
  rule:  { mode: shared, max_duration: 1h, groups: [agents, dba], approvals: 0 }
  asks:  { mode: shared, max_duration: 1h, groups: [agents], reviewers: [dba] }
  dbas:  { mode: shared, max_duration: 1h, groups: [dba], approvals: 0 }
";

struct Fixture {
    dev: Dev,
    dana: Caller,
    _cluster: Cluster,
}

impl Fixture {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let config = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(config.path(), CONFIG).unwrap();
        let (url, config) = (cluster.app_url_without_password(), config.path().to_str().unwrap());
        let dev = Dev::start_with(&["--postgres", &url, "--config", config], &[("PGPASSWORD", APP_PASSWORD)]);
        let dana = Caller::new(http(&dev), &token(&dev, "user:dana", &[]), &dev.data());
        Self { dev, dana, _cluster: cluster }
    }

    /// What a session by this token and these names says of itself, or the error that ends it.
    async fn session(&self, user: &str, database: &str, token: &str) -> Result<String, Message> {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::Negotiated).await;
        bearer(&mut raw, user, database, &initial(token)).await?;
        Ok(raw.text("select current_database()").await)
    }

    /// The newest events of the control plane with this action.
    fn events(&self, action: &str) -> Vec<Value> {
        let events = self.dev.admin().run(&["audit", "search", "--type", "control", "--json"]).json();
        events.as_array().unwrap().iter().filter(|event| event["action"] == action).cloned().collect()
    }
}

fn http(dev: &Dev) -> &str {
    dev.ready()["http_url"].as_str().unwrap()
}

fn token(dev: &Dev, whose: &str, more: &[&str]) -> String {
    let args = [&["tokens", "create", "--for", whose, "--name", "test", "--json"], more].concat();
    dev.admin().run(&args).json()["token"].as_str().unwrap().to_owned()
}

/// RFC 7628's first message.
fn initial(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

/// The mechanism OAUTHBEARER, by hand; gives what the server says in it when it refuses.
async fn bearer(raw: &mut Raw, user: &str, database: &str, first: &[u8]) -> Result<Option<Value>, Message> {
    let login = Login { user: user.to_owned(), database: database.to_owned(), ..Login::of_url("postgresql://a:b@c/d") };
    raw.send(&login.packet()).await;
    let offer = raw.read().await;
    assert_eq!((offer.tag, &offer.body[..4]), (b'R', &10_i32.to_be_bytes()[..]), "{offer:?}");
    assert!(offer.body.windows(11).any(|window| window == b"OAUTHBEARER"), "{offer:?}");
    let length = i32::try_from(first.len()).unwrap().to_be_bytes();
    raw.send(&message(b'p', &[&cstr("OAUTHBEARER")[..], &length, first].concat())).await;
    let mut said = None;
    loop {
        let answer = raw.read().await;
        match (answer.tag, answer.body.get(..4)) {
            (b'E', _) => return Err(answer),
            (b'R', Some([0, 0, 0, 11])) => {
                said = Some(serde_json::from_slice(&answer.body[4..]).unwrap());
                raw.send(&message(b'p', b"\x01")).await;
            }
            (b'Z', _) => return Ok(said),
            _ => {}
        }
    }
}

/// libpq 18 as a program has it that brings its own tokens (PQsetAuthDataHook).
fn libpq_18(dev: &Dev, user: &str, token: &str, issuer: &str) -> Output {
    let library = packages::server(18).join("lib");
    let conninfo = format!(
        "host=localhost port={} dbname=demo user={user} sslmode=require oauth_issuer={issuer} oauth_client_id=postern",
        dev.pg_port
    );
    Command::new("python3")
        .arg(packages::script("libpq18.py"))
        .args([library.join("libpq.so.5.18").to_str().unwrap(), &conninfo, "select current_user"])
        .env("LD_LIBRARY_PATH", &library)
        .env("TOKEN", token)
        // Loopback has no https.
        .env("PGOAUTHDEBUG", "UNSAFE")
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_connect() {
    let fixture = Fixture::start().await;
    let agent = fixture.dev.agent();
    what_is_foreseen(&fixture);
    let by_agent = |user: &'static str| fixture.session(user, "demo", agent.token());

    // A rule gives a grant at once, and the next session has the same one.
    assert_eq!(by_agent("rule").await.unwrap(), "app");
    assert_eq!(by_agent("rule").await.unwrap(), "app");
    let grants = agent.run(&["grants", "--json"]).json();
    assert_eq!(grants.as_array().unwrap().len(), 1, "{grants}");
    assert_eq!((&grants[0]["role"], &grants[0]["reason"]), (&json!("rule"), &json!("a session by a token")));
    let sessions = agent.run(&["sessions", "--status", "all", "--json"]).json();
    assert_eq!(sessions[0]["auth_method"], "oauthbearer");

    // Where people are asked nothing is had by connecting, until they have answered.
    let refused = by_agent("asks").await.unwrap_err();
    assert_eq!(refused.sqlstate(), "28000");
    let expected = format!("agent {} has no open grant for `asks` of `demo`", name(&agent));
    assert_eq!(refused.field(b'M').unwrap(), expected);
    assert!(refused.field(b'D').unwrap().contains("the role needs 1 of dba"), "{refused:?}");
    assert!(refused.field(b'H').unwrap().contains("postern request demo --role asks"), "{refused:?}");
    assert!(agent.run(&["requests", "--status", "pending", "--json"]).json().as_array().unwrap().is_empty());
    let request = agent.request("demo", "asks", "10m");
    let _ = fixture.dana.run(&["approve", &request]).ok();
    assert_eq!(by_agent("asks").await.unwrap(), "app");
    // By its id, too; somebody else's not.
    let id = agent.newest_grant();
    assert_eq!(fixture.session(&id, "demo", agent.token()).await.unwrap(), "app");
    let refused = fixture.session(&id, "demo", fixture.dana.token()).await.unwrap_err();
    assert!(refused.field(b'M').unwrap().starts_with("there is no grant"), "{refused:?}");

    hostile(&fixture).await;
    libpq(&fixture);
    assert!(!fixture.dev.log().contains(fixture.dana.token()), "a token is in a log");
}

fn name(caller: &Caller) -> String {
    caller.run(&["whoami", "--json"]).json()["name"].as_str().unwrap().to_owned()
}

fn what_is_foreseen(fixture: &Fixture) {
    let ways = fixture.dev.agent().run(&["whoami", "--on", "demo", "--json"]).json();
    let way = |role: &str| ways["roles"].as_array().unwrap().iter().find(|way| way["role"] == role).cloned();
    assert_eq!(way("rule").unwrap()["answer"], "granted");
    let asks = way("asks").unwrap();
    assert_eq!((&asks["answer"], &asks["because"]), (&json!("review"), &json!("in agents")));
    assert_eq!((&asks["rule"], way("dbas")), (&json!("the role needs 1 of dba"), None));
    let reached = fixture.dev.admin().run(&["access", "agent:agent", "--json"]).json();
    assert_eq!(
        reached["connections"][0]["roles"].as_array().unwrap().iter().find(|way| way["role"] == "asks"),
        Some(&asks)
    );
    let who = fixture.dev.admin().run(&["access", "--to", "demo"]).ok();
    assert!(
        who.contains("agent:agent") && who.contains("the role needs 1 of dba") && who.contains("user:dana"),
        "{who}"
    );
    assert_eq!(fixture.dana.run(&["access", "agent:agent"]).code, 3);
    let table = fixture.dana.run(&["whoami", "--on", "demo"]).ok();
    assert!(table.contains("user dana on demo; in dba") && table.contains("granted at once"), "{table}");
}

/// Each is refused, and recorded with why.
async fn hostile(fixture: &Fixture) {
    let (dev, agent) = (&fixture.dev, fixture.dev.agent());
    let revoked = token(dev, "user:dana", &[]);
    let listed = fixture.dana.run(&["tokens", "--json"]).json();
    let _ = fixture.dana.run(&["tokens", "delete", listed[0]["id"].as_str().unwrap()]).ok();
    let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwiLCJzdWIiOiJjaSJ9.";
    let stranger = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V2aWwiLCJzdWIiOiJjaSJ9.AAAA";
    for (token, why) in [
        ("postern_guess", "unknown, expired or revoked"),
        (revoked.as_str(), "unknown, expired or revoked"),
        (unsigned, "algorithm"),
        (stranger, "is not known here"),
        ("posternweb_0000", "not a signed JSON Web Token"),
    ] {
        let mut raw = Raw::connect(dev.pg_port, Tls::Negotiated).await;
        let refused = bearer(&mut raw, "rule", "demo", &initial(token)).await.unwrap_err();
        assert_eq!(refused.sqlstate(), "28000", "{token}");
        assert!(refused.field(b'M').unwrap().contains(why), "{token}: {refused:?}");
        let events = fixture.events("token.refused");
        assert!(events[0]["detail"]["why"].as_str().unwrap().contains(why), "{token}: {}", events[0]);
        assert!(!events[0].to_string().contains(token), "a token is in the audit");
    }
    let nobody = token(dev, "user:nobody", &[]);
    for (user, database, token, why) in [
        ("asks", "demo", nobody.as_str(), "only members of agents"),
        ("dbas", "demo", agent.token(), "only members of dba"),
        ("nothing", "demo", agent.token(), "has no role `nothing`"),
        ("rule", "other", agent.token(), "there is no connection `other`"),
        ("rule", "", agent.token(), "the database is the connection's name"),
        ("rule' --", "demo", agent.token(), "has no role"),
        ("crd_00000000000000000000000000", "demo", agent.token(), "does not go with"),
        ("grt_00000000000000000000000000", "demo", agent.token(), "there is no grant"),
    ] {
        let refused = fixture.session(user, database, token).await.unwrap_err();
        assert_eq!(refused.sqlstate(), "28000", "{user}");
        assert!(refused.field(b'M').unwrap().contains(why), "{user} {database}: {refused:?}");
        assert!(fixture.events("login.refused")[0]["detail"]["message"].as_str().unwrap().contains(why), "{user}");
    }
    for first in
        [&b"n,a=admin,\x01auth=Bearer x\x01\x01"[..], b"p=tls-unique,,\x01auth=Bearer x\x01\x01", b"n,,", b"\xff"]
    {
        let mut raw = Raw::connect(dev.pg_port, Tls::Negotiated).await;
        assert_eq!(bearer(&mut raw, "rule", "demo", first).await.unwrap_err().sqlstate(), "08P01");
    }
    // Who listens in gets nothing: in clear the mechanism is neither offered nor taken.
    let mut raw = Raw::connect(dev.pg_port, Tls::None).await;
    let login = Login { user: "rule".to_owned(), ..Login::of_url("postgresql://a:b@c/demo") };
    raw.send(&login.packet()).await;
    assert!(!raw.read().await.body.windows(11).any(|window| window == b"OAUTHBEARER"));
    let length = i32::try_from(initial(agent.token()).len()).unwrap().to_be_bytes();
    raw.send(&message(b'p', &[&cstr("OAUTHBEARER")[..], &length, &initial(agent.token())].concat())).await;
    assert_eq!(raw.read().await.sqlstate(), "08P01");
    // Their twin.
    assert_eq!(fixture.session("rule", "demo", agent.token()).await.unwrap(), "app");
}

/// Asked without a token the server says where they are to be had; libpq compares that with its `oauth_issuer`.
fn libpq(fixture: &Fixture) {
    let (dev, agent) = (&fixture.dev, fixture.dev.agent());
    let done = libpq_18(dev, "rule", agent.token(), http(dev));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "app");
    let refused = libpq_18(dev, "rule", "postern_guess", http(dev));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unknown, expired or revoked"), "{refused:?}");
    // One server's token is not given to another that names it.
    let elsewhere = libpq_18(dev, "rule", agent.token(), "http://127.0.0.1:1");
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("is incompatible with oauth_issuer"), "{elsewhere:?}");
    // With a grant's id libpq proves the secret, as ever.
    let url = agent.run(&["url", "demo", "--role", "asks"]).ok();
    assert!(client::psql(url.trim(), "select 1").status.success());
}

/// A driver that knows no tokens gives one as its password, where the gateway's configuration says so.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_as_passwords() {
    let cluster = Cluster::start().await;
    let setup = Setup { clients: "token_as_password: true", ..Setup::default() };
    let parts = Parts::start_with(&cluster, setup).await;
    let (agent, admin) = (parts.agent(), parts.admin());
    let url = |user: &str, password: &str| {
        format!("postgresql://{user}:{password}@localhost:{}/orders?sslmode=require", parts.pg_port)
    };
    let by_token = url("all", agent.token());
    let refused = client::psql(&by_token, "select 1");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no open grant for `all`"), "{refused:?}");
    let request = agent.request("orders", "all", "10m");
    let _ = admin.run(&["approve", &request]).ok();
    let done = client::psql(&by_token, "select current_user");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "app", "{done:?}");
    assert_eq!(client::connect(&by_token).await.text("select 6 * 7").await, "42");
    let sessions = agent.run(&["sessions", "--status", "all", "--json"]).json();
    assert_eq!(sessions[0]["auth_method"], "token-as-password");
    // Another's, one that nobody has, and a grant's secret, which is proved by SCRAM as ever.
    let guess = client::try_connect(&url("all", "postern_guess")).await;
    assert_eq!(client::sqlstate(&guess.err().unwrap()), "28000");
    let by_secret = agent.run(&["url", "orders", "--role", "all"]).ok();
    assert!(client::psql(by_secret.trim(), "select 1").status.success());
    let sessions = agent.run(&["sessions", "--status", "all", "--json"]).json();
    assert_eq!(sessions[0]["auth_method"], "scram-sha-256-plus");
    for part in Part::ALL {
        assert!(!parts.log(part).contains(agent.token()), "a token is in the log of {part:?}");
    }
}

//! How access is asked for, agreed to, extended and taken away, by the command line and what clients see of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::{APP_PASSWORD, Cluster},
    dev::{Caller, Dev, Done},
    wait,
};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio_postgres::{Config, NoTls};

/// One second is promised; a loaded machine with an unoptimised build gets more.
const ENDS_WITHIN: Duration = Duration::from_secs(4);

const CONFIG: &str = "
kind: User
name: dana
groups: [dba]
---
kind: User
name: sam
groups: [security]
---
kind: User
name: olga
groups: [oncall]
---
kind: User
name: alice
---
kind: Connection
name: demo
roles:
  both:   { mode: shared, max_duration: 1h, reviewers: { all: { dba: 1, security: 1 } } }
  either: { mode: shared, max_duration: 1h, reviewers: { any: { dba: 2, security: 1 } } }
  one:    { mode: shared, max_duration: 1h, reviewers: [dba] }
  night:  { mode: shared, max_duration: 1h, reviewers: [dba] }
  rule:   { mode: shared, max_duration: 1h, approvals: 0 }
  first:  { mode: shared, max_duration: 1h, approvals: 0, bind: [first_use] }
  from:   { mode: shared, max_duration: 1h, approvals: 0, bind: [address] }
  glass:
    mode: shared
    groups: [nobody]
    reviewers: [dba]
    break_glass: { groups: [oncall], duration: 15m }
";

struct Fixture {
    dev: Dev,
    agent: Caller,
    admin: Caller,
    dana: Caller,
    sam: Caller,
    olga: Caller,
    alice: Caller,
    _cluster: Cluster,
}

impl Fixture {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let config = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(config.path(), CONFIG).unwrap();
        let (url, config) = (cluster.app_url_without_password(), config.path().to_str().unwrap());
        let dev = Dev::start_with(&["--postgres", &url, "--config", config], &[("PGPASSWORD", APP_PASSWORD)]);
        let (agent, admin) = (dev.agent(), dev.admin());
        let user = |name: &str| {
            let made = admin.run(&["tokens", "create", "--for", &format!("user:{name}"), "--name", "test", "--json"]);
            Caller::new(dev.ready()["http_url"].as_str().unwrap(), made.json()["token"].as_str().unwrap(), &dev.data())
        };
        let (dana, sam, olga, alice) = (user("dana"), user("sam"), user("olga"), user("alice"));
        Self { dev, agent, admin, dana, sam, olga, alice, _cluster: cluster }
    }

    /// A grant of a role that is approved by rule, or by dana, and its URL.
    fn grant(&self, role: &str, more: &[&str]) -> (String, String) {
        let request = ask(&self.agent, role, "30m", more).json();
        let id = text(&request, "id");
        let grant = match request["grant_id"].as_str() {
            Some(grant) => grant.to_owned(),
            None => text(&self.dana.run(&["approve", &id, "--json"]).json(), "grant_id"),
        };
        (grant, self.agent.run(&["url", "demo", "--role", role]).ok().trim_end().to_owned())
    }

    /// Events of the audit with this action, newest first.
    fn events(&self, action: &str) -> Vec<Value> {
        let found = self.admin.run(&["audit", "search", "--type", "control", "--action", action, "--json"]).json();
        found.as_array().unwrap().clone()
    }
}

fn ask(caller: &Caller, role: &str, duration: &str, more: &[&str]) -> Done {
    let args = ["request", "demo", "--role", role, "--for", duration, "--reason", "a test", "--json"];
    caller.run(&[&args[..], more].concat())
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}")).to_owned()
}

/// Refused, in words that say this.
fn refused(done: &Done, says: &str) {
    assert!(matches!(done.code, 1 | 3) && done.stderr.contains(says), "{says}: {done:#?}");
}

/// The client is told that its session is over.
async fn assert_ends(what: &str, session: &Client) {
    let end = wait::until(what, ENDS_WITHIN, || async { session.events(|events| events.end.clone()) }).await;
    assert_eq!(end.1.as_deref(), Some("57P01"), "{what}: {end:?}");
}

async fn lives(session: &Client) {
    assert_eq!(session.text("select 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_agreed_to_and_taken_away() {
    let fixture = Fixture::start().await;
    several_groups_agree(&fixture);
    what_is_said_and_narrowed(&fixture);
    an_open_grant_is_the_answer(&fixture);
    a_grant_ends_later(&fixture).await;
    standing_approvals(&fixture);
    grants_are_bound(&fixture).await;
    break_glass(&fixture).await;
    all_of_a_role_or_connection(&fixture).await;
    an_agent_is_stopped(&fixture).await;
}

fn several_groups_agree(fixture: &Fixture) {
    let Fixture { agent, dana, sam, alice, admin, .. } = fixture;
    let request = ask(agent, "both", "10m", &[]).json();
    let id = text(&request, "id");
    assert_eq!(request["policy_reason"], "the role needs 1 of dba and 1 of security");
    refused(&alice.run(&["approve", &id]), "there is no request");
    refused(&agent.run(&["approve", &id]), "an agent cannot review requests");
    let noted = dana.run(&["approve", &id]).ok();
    assert!(noted.contains("still needs a reviewer of security"), "{noted}");
    // The same person a second time is still one, and an admin of another group none of these.
    let again = dana.run(&["approve", &id, "--json"]).json();
    assert_eq!((&again["status"], again["missing"][0]["groups"][0].as_str()), (&"pending".into(), Some("security")));
    assert_eq!(admin.run(&["approve", &id, "--json"]).json()["status"], "pending");
    assert_eq!(sam.run(&["approve", &id, "--json"]).json()["status"], "approved");

    let id = text(&ask(agent, "either", "10m", &[]).json(), "id");
    assert_eq!(dana.run(&["approve", &id, "--json"]).json()["status"], "pending");
    assert_eq!(sam.run(&["approve", &id, "--json"]).json()["status"], "approved");
    let id = text(&ask(agent, "either", "20m", &["--ticket", "INC-1"]).json(), "id");
    assert_eq!(sam.run(&["deny", &id, "--reason", "use the replica", "--json"]).json()["status"], "denied");
    let shown = agent.run(&["requests", "show", &id]).ok();
    assert!(shown.contains("sam denied") && shown.contains("use the replica"), "{shown}");
    assert_eq!(text(&ask(agent, "rule", "10m", &[]).json(), "policy_reason"), "the role needs no approval");
}

fn what_is_said_and_narrowed(fixture: &Fixture) {
    let Fixture { agent, dana, alice, .. } = fixture;
    let request = ask(agent, "one", "30m", &["--table", "public.items", "--table", "public.notes"]).json();
    let id = text(&request, "id");
    let _ = dana.run(&["comment", &id, "which items?"]).ok();
    let _ = agent.run(&["comment", &id, "the old ones"]).ok();
    refused(&alice.run(&["comment", &id, "hm"]), "there is no request");
    let shown = dana.run(&["requests", "show", &id]).ok();
    for part in ["table       public.items", "dana", "which items?", "the old ones"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    refused(
        &dana.run(&["approve", &id, "--table", "public.customers"]),
        "only public.items, public.notes was asked for",
    );
    refused(&dana.run(&["approve", &id, "--for", "31m"]), "only 30m was asked for");
    let approved = dana.run(&["approve", &id, "--table", "public.items", "--for", "10m", "--json"]).json();
    assert_eq!((&approved["duration"], &approved["relations"]), (&"10m".into(), &vec!["public.items"].into()));
    let grants = agent.run(&["grants", "--json"]).json();
    assert_eq!(grants[0]["relations"], Value::from(vec!["public.items"]));

    let id = text(&ask(agent, "one", "30m", &[]).json(), "id");
    refused(&dana.run(&["withdraw", &id]), "only the requester withdraws");
    assert_eq!(agent.run(&["withdraw", &id, "--json"]).json()["status"], "withdrawn");
    refused(&dana.run(&["approve", &id]), "withdrawn already");
}

fn an_open_grant_is_the_answer(fixture: &Fixture) {
    let Fixture { agent, .. } = fixture;
    let (grant, _) = fixture.grant("one", &[]);
    let again = ask(agent, "one", "20m", &[]).json();
    assert_eq!((&again["reused"], again["grant_id"].as_str()), (&true.into(), Some(grant.as_str())));
    let told = agent.run(&["request", "demo", "--role", "one", "--for", "20m", "--reason", "again"]).ok();
    assert!(told.contains("You have an open grant already") && told.contains(&grant), "{told}");
    assert_eq!(fixture.events("grant.reused").len(), 2);
    // For longer, for a short while, or for somebody it is another.
    for (duration, more) in [("31m", &[][..]), ("1m", &[]), ("20m", &["--on-behalf-of", "alice"])] {
        let request = ask(agent, "one", duration, more).json();
        assert_eq!((&request["status"], &request["reused"]), (&"pending".into(), &false.into()), "{duration}");
        let _ = agent.run(&["withdraw", &text(&request, "id")]).ok();
    }
    let _ = agent.run(&["revoke", &grant]).ok();
}

async fn a_grant_ends_later(fixture: &Fixture) {
    const SHORT: Duration = Duration::from_secs(8);
    let Fixture { agent, admin, dana, .. } = fixture;
    let id = text(&ask(agent, "one", "8s", &[]).json(), "id");
    let start = Instant::now();
    let grant = text(&dana.run(&["approve", &id, "--json"]).json(), "grant_id");
    let url = agent.run(&["url", "demo", "--role", "one"]).ok().trim_end().to_owned();
    let session = client::connect(&url).await;
    refused(&admin.run(&["extend", &grant, "--for", "5s", "--reason", "x"]), "only the principal of a grant");
    let asked = agent.run(&["extend", &grant, "--for", "8s", "--reason", "it takes longer", "--json"]).json();
    assert_eq!((&asked["kind"], &asked["status"]), (&"extension".into(), &"pending".into()));
    let approved = dana.run(&["approve", &text(&asked, "id"), "--json"]).json();
    assert_eq!(approved["grant_id"].as_str(), Some(grant.as_str()));
    assert!(start.elapsed() < SHORT, "this machine is too slow for what is tried here");
    // Over the old end the session goes on, and another begins; at the new one they end.
    tokio::time::sleep((SHORT + Duration::from_secs(1)).saturating_sub(start.elapsed())).await;
    lives(&session).await;
    let other = client::connect(&url).await;
    lives(&other).await;
    tokio::time::sleep((2 * SHORT).saturating_sub(start.elapsed())).await;
    assert_ends("the old session", &session).await;
    assert_ends("the new session", &other).await;
    refused(&agent.run(&["extend", &grant, "--for", "5s", "--reason", "x"]), "expired");
    assert_eq!(fixture.events("grant.extended").len(), 1);

    // What nobody agreed to ends when it was to.
    let id = text(&ask(agent, "one", "4s", &[]).json(), "id");
    let grant = text(&dana.run(&["approve", &id, "--json"]).json(), "grant_id");
    let session = client::connect(agent.run(&["url", "demo", "--role", "one"]).ok().trim_end()).await;
    let _ = agent.run(&["extend", &grant, "--for", "1h", "--reason", "x"]).ok();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_ends("what was not extended", &session).await;
}

fn standing_approvals(fixture: &Fixture) {
    let Fixture { agent, dana, alice, .. } = fixture;
    let add = |more: &[&str]| {
        let args = ["standing", "add", "demo", "--role", "night", "--for", "30m", "--until", "2099-12-31"];
        agent.run(&[&args[..], &["--reason", "the report", "--json"], more].concat())
    };
    refused(&add(&[]), "within a year");
    let until = ["standing", "add", "demo", "--role", "night", "--for", "30m", "--reason", "the report", "--json"];
    let soon = soon();
    let with = |window: &str| agent.run(&[&until[..], &["--until", &soon, "--window", window]].concat());
    refused(&with("daily 00:00-00:00 Mars/Olympus"), "time zone");
    let asked = with("daily 00:00-00:00 Europe/Berlin").json();
    let id = text(&asked, "id");
    assert_eq!(ask(agent, "night", "10m", &[]).json()["status"], "pending");
    refused(&agent.run(&["approve", &id]), "an agent cannot review requests");
    assert_eq!(dana.run(&["approve", &id, "--json"]).json()["status"], "approved");
    let listed = agent.run(&["standing", "list", "--json"]).json();
    assert_eq!((listed.as_array().unwrap().len(), listed[0]["id"].as_str()), (1, Some(id.as_str())));
    let request = ask(agent, "night", "10m", &[]).json();
    assert_eq!(request["status"], "approved");
    assert!(text(&request, "policy_reason").contains(&id), "{request}");
    // More than was agreed to waits.
    assert_eq!(ask(agent, "night", "31m", &[]).json()["status"], "pending");
    refused(&alice.run(&["standing", "end", &id]), "there is no request");
    let _ = dana.run(&["standing", "end", &id, "--reason", "enough"]).ok();
    assert_eq!(agent.run(&["standing", "list", "--json"]).json(), Value::Array(Vec::new()));
    assert_eq!(ask(agent, "night", "10m", &["--ticket", "INC-2"]).json()["status"], "pending");
}

/// A day that is not far.
fn soon() -> String {
    let output = std::process::Command::new("date").args(["-u", "-d", "+2 days", "+%F"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Connects from an address of this machine, in clear.
async fn connect_from(url: &str, address: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config: Config = url.split("&sslrootcert=").next().unwrap().parse().unwrap();
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let port = config.get_ports()[0];
    let stream = socket.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn grants_are_bound(fixture: &Fixture) {
    let elsewhere = |result: Result<tokio_postgres::Client, tokio_postgres::Error>| {
        let error = result.expect_err("it is refused");
        assert_eq!(client::sqlstate(&error), "28000", "{error:?}");
        let told = error.as_db_error().unwrap().message().to_owned();
        assert!(told.contains("bound to another client's address"), "{told}");
    };
    let (_, url) = fixture.grant("first", &[]);
    connect_from(&url, "127.0.0.2").await.unwrap();
    connect_from(&url, "127.0.0.2").await.unwrap();
    elsewhere(connect_from(&url, "127.0.0.3").await);
    let grants = fixture.agent.run(&["grants", "--json"]).json();
    assert_eq!(grants[0]["bound_address"], "127.0.0.2");

    refused(&ask(&fixture.agent, "from", "10m", &[]), "bound to a client's address");
    let (_, url) = fixture.grant("from", &["--from", "127.0.0.3"]);
    elsewhere(connect_from(&url, "127.0.0.2").await);
    connect_from(&url, "127.0.0.3").await.unwrap();
}

async fn break_glass(fixture: &Fixture) {
    let Fixture { agent, dana, olga, sam, .. } = fixture;
    for caller in [agent, dana, sam] {
        refused(&ask(caller, "glass", "10m", &["--break-glass"]), "emergency");
    }
    refused(&ask(olga, "glass", "16m", &["--break-glass"]), "at most 15m");
    refused(&ask(olga, "glass", "10m", &[]), "only members of nobody");
    let request = ask(olga, "glass", "10m", &["--break-glass"]).json();
    assert_eq!((&request["status"], &request["to_review"]), (&"approved".into(), &true.into()));
    let id = text(&request, "id");
    lives(&client::connect(olga.run(&["url", "demo", "--role", "glass"]).ok().trim_end()).await).await;
    assert_eq!(fixture.events("grant.break_glass").len(), 1);
    let open = || dana.run(&["requests", "--to-review", "--json"]).json().as_array().unwrap().len();
    assert_eq!(open(), 1);
    refused(&olga.run(&["close", &id, "--reason", "fine"]), "nobody closes the review of what is their own");
    refused(&agent.run(&["close", &id, "--reason", "fine"]), "there is no request");
    let _ = dana.run(&["close", &id, "--reason", "it was needed"]).ok();
    assert_eq!(open(), 0);
    assert!(dana.run(&["requests", "show", &id]).ok().contains("it was needed"));
}

async fn all_of_a_role_or_connection(fixture: &Fixture) {
    let Fixture { admin, dana, .. } = fixture;
    let (_, rule) = fixture.grant("rule", &["--ticket", "INC-3"]);
    let (_, one) = fixture.grant("one", &["--ticket", "INC-3"]);
    let (rule, one) = (client::connect(&rule).await, client::connect(&one).await);
    refused(&dana.run(&["revoke", "--connection", "demo"]), "only an admin");
    let ended = admin.run(&["revoke", "--connection", "demo", "--role", "rule", "--json"]).json();
    assert!(ended.as_array().unwrap().iter().all(|grant| grant["role"] == "rule" && grant["status"] == "revoked"));
    assert_ends("a session of that role", &rule).await;
    lives(&one).await;
    let _ = admin.run(&["revoke", "--connection", "demo", "--reason", "INC-3"]).ok();
    assert_ends("a session of another", &one).await;
    assert_eq!(fixture.agent.run(&["grants", "--json"]).json(), Value::Array(Vec::new()));
}

async fn an_agent_is_stopped(fixture: &Fixture) {
    let Fixture { dev, agent, admin, dana, .. } = fixture;
    let (_, url) = fixture.grant("rule", &[]);
    let session = client::connect(&url).await;
    let waits = text(&ask(agent, "one", "10m", &[]).json(), "id");
    refused(&dana.run(&["stop", "agent:agent"]), "only an admin");
    let stopped = admin.run(&["stop", "agent:agent", "--reason", "it runs wild", "--json"]).json();
    assert_eq!(stopped["grants"], 1);
    assert_ends("the agent's session", &session).await;
    let refusal = client::try_connect(&url).await.err().expect("it is refused");
    assert_eq!(client::sqlstate(&refusal), "28000");
    assert_eq!(agent.run(&["requests", "show", &waits, "--json"]).json()["status"], "withdrawn");
    refused(&ask(agent, "rule", "10m", &[]), "it runs wild");
    // No file lifts it.
    let file = dev.data().join("agent.yaml");
    std::fs::write(&file, "kind: Agent\nname: agent\ngroups: [agents]\n").unwrap();
    let _ = admin.run(&["apply", file.to_str().unwrap()]).ok();
    refused(&ask(agent, "rule", "10m", &[]), "stopped by admin");
    assert!(admin.run(&["agents"]).ok().contains("stopped"));
    let _ = admin.run(&["stop", "agent:agent", "--off"]).ok();
    assert_eq!(ask(agent, "rule", "10m", &[]).json()["status"], "approved");
}

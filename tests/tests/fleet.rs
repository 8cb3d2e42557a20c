//! Several gateways, certificates that end, peers that are revoked, a network that fails, parts that are drained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, sqlstate},
    cluster::Cluster,
    dev::{self, Grant},
    parts::{Part, Parts, Setup},
    process::tail,
    raw::{self, Login, Raw, Tls},
    wait,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// What parts say to one another is there by then, also on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A session over one of the gateways, and the key that cancels it.
async fn open(port: u16, grant: &Grant, minor: i16) -> (Raw, raw::Greeting) {
    let login = Login { minor, ..Login::of_url(&grant.url) };
    let mut raw = Raw::connect(port, Tls::Negotiated).await;
    let greeting = raw.login(&login).await.unwrap();
    (raw, greeting)
}

/// The grant's URL by way of the second gateway.
fn by_second(parts: &Parts, grant: &Grant) -> String {
    let (first, second) = (format!(":{}/", parts.pg_port), format!(":{}/", parts.second_pg_port));
    assert!(grant.url.contains(&first), "{first}");
    grant.url.replace(&first, &second)
}

async fn until_sleeping(cluster: &Cluster, pid: i32) {
    let watcher = cluster.superuser().await;
    wait::until("the statement runs", SOON, || async {
        let sql = "select 1 from pg_stat_activity where pid = $1 and state = 'active' and wait_event = 'PgSleep'";
        let rows = watcher.query(sql, &[&pid]).await.unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start_with(&cluster, Setup { two_gateways: true, ..Setup::default() }).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "all", "10m");
    let second = by_second(&parts, &grant);
    wait::until("the second gateway serves", SOON, || async { client::try_connect(&second).await.ok() }).await;

    // A cancel request that comes to the other gateway, both ways and for both forms of key.
    for (minor, tls) in [(0, Tls::Negotiated), (2, Tls::Direct)] {
        for (session_at, cancel_at) in [(parts.pg_port, parts.second_pg_port), (parts.second_pg_port, parts.pg_port)] {
            let (mut session, greeting) = open(session_at, &grant, minor).await;
            session.send(&raw::query("select pg_sleep(60)")).await;
            until_sleeping(&cluster, greeting.pid).await;
            let start = Instant::now();
            let mut wrong = greeting.secret.clone();
            wrong[0] ^= 1;
            raw::cancel(cancel_at, tls, greeting.pid, &wrong).await;
            raw::cancel(cancel_at, tls, greeting.pid, &greeting.secret).await;
            let messages = session.until_ready().await;
            let error = messages.iter().find(|message| message.tag == b'E').unwrap();
            assert_eq!(error.sqlstate(), "57014", "{error:?}");
            assert!(start.elapsed() < Duration::from_secs(5));
            assert_eq!(session.text("select 1").await, "1", "the session goes on");
        }
    }

    // One goes; the other's sessions do not notice, new ones can be had, and it is served again once it is back.
    let (mut kept, _) = open(parts.second_pg_port, &grant, 0).await;
    parts.stop(Part::Gateway);
    assert_eq!(kept.text("select 2").await, "2");
    client::connect(&second).await;
    parts.launch(Part::Gateway);
    wait::until("the first gateway serves again", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
    assert_eq!(kept.text("select 3").await, "3");

    // Revoking the grant ends its sessions at both.
    let first = client::connect(&grant.url).await;
    let _ = parts.admin().run(&["revoke", &grant.id]).ok();
    let what = "both sessions are told";
    wait::until(what, SOON, || async { first.events(|events| events.end.clone()) }).await;
    let last = wait::within(what, SOON, kept.until_closed()).await;
    assert_eq!(last.last().map(raw::Message::sqlstate).as_deref(), Some("57P01"), "{last:?}");
}

/// Certificates are renewed at two thirds of their life; this many lives are lived through.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_while_sessions_run() {
    const LIFETIME: Duration = Duration::from_secs(12);
    let cluster = Cluster::start().await;
    let setup = Setup { certificate_lifetime: Some("12s"), ..Setup::default() };
    let mut parts = Parts::start_with(&cluster, setup).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "read", "10m");
    let session = client::connect(&grant.url).await;
    let end = Instant::now() + LIFETIME * 2;
    let mut opened = 0;
    while Instant::now() < end {
        parts.assert_running();
        assert_eq!(session.text("select 'still'").await, "still");
        client::connect(&grant.url).await;
        opened += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for part in [Part::Gateway, Part::Connector] {
        let renewals = parts.log(part).matches("certificate renewed").count();
        assert!(renewals >= 2, "{part:?} renewed {renewals} times: {}", tail(&parts.log(part)));
    }
    drop(session);
    // What was renewed is what counts after a restart: the join token was good once.
    for part in [Part::Gateway, Part::Connector] {
        parts.stop(part);
        parts.launch(part);
        parts.until_up();
    }
    wait::until("a session opens", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
    eprintln!("{opened} sessions opened meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_connector_is_cut_off_and_can_join_again() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "read", "10m");

    // A join token buys one identity.
    parts.stop(Part::Connector);
    std::fs::rename(parts.path("agent"), parts.path("agent-before")).unwrap();
    parts.launch(Part::Connector);
    wait::until_now("the used token is refused", SOON, || {
        parts.log(Part::Connector).contains("refused to enrol").then_some(())
    });
    parts.kill(Part::Connector);
    std::fs::remove_dir_all(parts.path("agent")).unwrap();
    std::fs::rename(parts.path("agent-before"), parts.path("agent")).unwrap();
    parts.launch(Part::Connector);
    parts.until_up();

    let session = wait::until("a session opens", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
    let connectors = parts.admin().run(&["connectors", "--json"]).json();
    let id = connectors[0]["id"].as_str().unwrap().to_owned();
    let start = Instant::now();
    let _ = parts.admin().run(&["connectors", "revoke", &id]).ok();
    wait::until("its sessions end", SOON, || async { session.events(|events| events.end.clone()) }).await;
    eprintln!("the session ended {:.0?} after the revocation", start.elapsed());
    let error = client::try_connect(&grant.url).await.err().expect("nothing is served");
    assert_eq!(sqlstate(&error), "08006");

    // With a new token, under the same name, in a clean folder.
    parts.kill(Part::Connector);
    std::fs::remove_dir_all(parts.path("agent")).unwrap();
    parts.join(Part::Connector);
    parts.launch(Part::Connector);
    parts.until_up();
    wait::until("a session opens again", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
}

/// How long the network is away in the test.
const OUTAGE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_loses_its_network_for_a_minute() {
    let cluster = Cluster::start().await;
    let parts = Parts::start_with(&cluster, Setup { link: true, ..Setup::default() }).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "all", "10m");
    let session = client::connect(&grant.url).await;
    let pid = session.backend_pid().await;
    parts.link().set_up(false);
    let down = Instant::now();
    // Whoever comes meanwhile gets an error in a time that a client waits, not silence.
    wait::until("a new client is told", OUTAGE, || async {
        let tried = client::try_connect(&grant.url);
        let error = tokio::time::timeout(Duration::from_secs(40), tried).await.expect("an answer").err()?;
        (sqlstate(&error) == "08006").then_some(())
    })
    .await;
    eprintln!("new clients were refused {:.0?} after the network had failed", down.elapsed());
    let ended =
        wait::until("the session is told", OUTAGE, || async { session.events(|events| events.end.clone()) }).await;
    eprintln!("the session ended after {:.0?}: {ended:?}", down.elapsed());
    // The database does not keep what nobody can reach.
    let watcher = cluster.superuser().await;
    wait::until("the backend is gone", OUTAGE * 2, || async {
        let rows = watcher.query("select 1 from pg_stat_activity where pid = $1", &[&pid]).await.unwrap();
        rows.is_empty().then_some(())
    })
    .await;
    eprintln!("the backend was gone after {:.0?}", down.elapsed());
    tokio::time::sleep(OUTAGE.saturating_sub(down.elapsed())).await;
    parts.link().set_up(true);
    let up = Instant::now();
    let again = wait::until("sessions open again", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
    eprintln!("sessions opened again after {:.0?}", up.elapsed());
    again.text("select 'after the outage'").await;
    wait::until("what ran is in the audit", SOON, || async {
        (parts.admin().statements("after the outage").len() == 1).then_some(())
    })
    .await;
}

/// Parts that are told to stop let sessions finish, take no new ones, and then end.
#[tokio::test(flavor = "multi_thread")]
async fn draining_cuts_nothing_that_can_finish() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start_with(&cluster, Setup { two_gateways: true, ..Setup::default() }).await;
    for part in [Part::Gateway, Part::Connector] {
        let grant = dev::grant(parts.agent(), parts.admin(), "orders", "all", "10m");
        wait::until("a session opens", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
        let mut working = JoinSet::new();
        for worker in 0..4 {
            let client = Arc::new(client::connect(&grant.url).await);
            working.spawn(async move {
                client.batch_execute("begin").await.unwrap();
                for step in 0..8 {
                    let sql = format!("insert into items values ({}, 'drained')", 10_000 + worker * 100 + step);
                    client.batch_execute(&sql).await.unwrap();
                    client.batch_execute("select pg_sleep(0.25)").await.unwrap();
                }
                client.batch_execute("commit").await.unwrap();
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let process = parts.process(part);
        process.signal(nix::sys::signal::Signal::SIGTERM);
        // While the old ones work, nobody new gets in over it.
        wait::until("new sessions are refused", SOON, || async { client::try_connect(&grant.url).await.err() }).await;
        while let Some(worked) = working.join_next().await {
            worked.unwrap();
        }
        parts.stop(part);
        let rows = cluster.app().await.text("select count(*) from items where name = 'drained'").await;
        assert_eq!(rows, "32", "{part:?}: all that was begun was committed");
        cluster.app().await.batch_execute("delete from items where name = 'drained'").await.unwrap();
        parts.launch(part);
        parts.until_up();
    }
}

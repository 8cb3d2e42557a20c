//! Any one process is killed with SIGKILL while clients work: they get clean errors, nothing hangs, and what reached
//! the database is in the audit, once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::Cluster,
    dev,
    parts::{Part, Parts},
    wait,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_postgres::{error::SqlState, types::ToSql};

const CLIENTS: usize = 6;

/// A client waits no longer for anything. Nothing that it does takes more than a moment by itself.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// All parts work together again by then, also on a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Part(Part),
    /// One backend: PostgreSQL then ends all others, too.
    Backend,
    Server,
}

const VICTIMS: [Victim; 5] = [
    Victim::Part(Part::Gateway),
    Victim::Part(Part::Connector),
    Victim::Part(Part::ControlPlane),
    Victim::Backend,
    Victim::Server,
];

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    done: usize,
    /// Errors by SQLSTATE; without one, the connection was closed.
    errors: BTreeMap<String, usize>,
}

/// Works until it is told to stop: each statement has a text of its own, but for the one that is prepared.
async fn work(url: String, name: String, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let opened = tokio::time::timeout(HANGS_AFTER, client::try_connect(&url)).await;
        let ended = match opened.unwrap_or_else(|_| panic!("{name}: connecting hangs")) {
            Err(error) => Err(error),
            Ok(client) => {
                let worked = tokio::time::timeout(HANGS_AFTER * 4, run(&client, &name, &mut n, &stop, &mut seen)).await;
                worked.unwrap_or_else(|_| panic!("{name}: a statement hangs"))
            }
        };
        if let Err(error) = ended {
            *seen.errors.entry(clean(&name, &error)).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    seen
}

async fn run(
    client: &Client,
    name: &str,
    n: &mut usize,
    stop: &AtomicBool,
    seen: &mut Seen,
) -> Result<(), tokio_postgres::Error> {
    let prepared = client.prepare(&format!("select length('{name}.prepared') + $1::int")).await?;
    while !stop.load(Ordering::Relaxed) {
        *n += 1;
        let own = |kind: &str| format!("{name}.{kind}.{n}");
        match *n % 4 {
            0 => client.batch_execute(&format!("select '{}.'", own("simple"))).await?,
            1 => client.batch_execute(&format!("insert into marks values ('{}.')", own("insert"))).await?,
            2 => drop(client.query(&format!("select '{}.'", own("extended")), &[]).await?),
            _ => {
                // In one pipeline.
                let one: [&(dyn ToSql + Sync); 1] = [&1_i32];
                let (a, b) = tokio::join!(client.query(&prepared, &one), client.query(&prepared, &one));
                a?;
                b?;
            }
        }
        seen.done += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The SQLSTATE of an error that a client can make sense of; panics if it is of another kind.
fn clean(name: &str, error: &tokio_postgres::Error) -> String {
    const CLEAN: [SqlState; 7] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::CONNECTION_FAILURE,
        SqlState::CONNECTION_EXCEPTION,
        SqlState::CONNECTION_DOES_NOT_EXIST,
        SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
    ];
    if let Some(code) = error.code() {
        assert!(CLEAN.contains(code), "{name}: {error:?}");
        return code.code().to_owned();
    }
    let source = error.source().map(ToString::to_string);
    assert!(error.is_closed() || source.is_some_and(|_| is_io(error)), "{name}: {error:?}");
    "closed".to_owned()
}

/// Whether it is the network's, not the protocol's.
fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn strike(victim: Victim, parts: &mut Parts, cluster: &mut Cluster) {
    match victim {
        Victim::Part(part) => {
            parts.kill(part);
            tokio::time::sleep(Duration::from_millis(700)).await;
            parts.launch(part);
        }
        Victim::Backend => {
            let watcher = cluster.superuser().await;
            let sql = "select pid from pg_stat_activity where usename = 'app' limit 1";
            let pid: i32 = watcher.query_one(sql, &[]).await.unwrap().get(0);
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        Victim::Server => cluster.crash().await,
    }
}

/// The marks in the server's log of statements, with how often each was run.
fn reached(cluster: &Cluster) -> HashMap<String, usize> {
    let mut found: HashMap<String, usize> = HashMap::new();
    for line in cluster.log().lines() {
        let runs = line.contains("LOG:  statement: ") || line.contains("LOG:  execute ");
        if let Some(mark) = mark(line).filter(|_| runs) {
            *found.entry(mark).or_default() += 1;
        }
    }
    found
}

/// `chaos.<round>.<client>.<kind>[.<n>.]` in a text.
fn mark(text: &str) -> Option<String> {
    let text = &text[text.find("'chaos.")? + 1..];
    Some(text[..text.find('\'')?].to_owned())
}

fn recorded(parts: &Parts, prefix: &str) -> Vec<Value> {
    let args = ["audit", "search", "--text", prefix, "--limit", "10000", "--json"];
    let events: Vec<Value> = serde_json::from_value(parts.admin().run(&args).json()).unwrap();
    assert!(events.len() < 10_000, "the test looks at all of them");
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_nothing_is_lost() {
    let mut cluster = Cluster::start_with(&["log_statement=all", "restart_after_crash=on"]).await;
    cluster.app().await.batch_execute("create table marks (mark text)").await.unwrap();
    let mut parts = Parts::start(&cluster).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "all", "30m");
    for (round, victim) in VICTIMS.into_iter().enumerate() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(work(grant.url.clone(), format!("chaos.{round}.{client}"), Arc::clone(&stop)));
        }
        tokio::time::sleep(Duration::from_millis(1200)).await;
        strike(victim, &mut parts, &mut cluster).await;
        wait::until("sessions can be had again", BACK_WITHIN, || async { client::try_connect(&grant.url).await.ok() })
            .await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        stop.store(true, Ordering::Relaxed);
        let mut errors: BTreeMap<String, usize> = BTreeMap::new();
        let mut done = 0;
        while let Some(seen) = clients.join_next().await {
            let seen = seen.unwrap();
            assert!(seen.done > 0);
            done += seen.done;
            for (state, n) in seen.errors {
                *errors.entry(state).or_default() += n;
            }
        }
        eprintln!("{victim:?}: {done} steps done; errors: {errors:?}");
        if !matches!(victim, Victim::Part(Part::ControlPlane)) {
            assert!(!errors.is_empty(), "{victim:?}: somebody noticed");
        }
        check(round, victim, &parts, &cluster).await;
    }
}

/// What the server's log has of a round is in the audit, and nothing is there twice.
async fn check(round: usize, victim: Victim, parts: &Parts, cluster: &Cluster) {
    let prefix = format!("chaos.{round}.");
    let reached: HashMap<_, _> = reached(cluster).into_iter().filter(|(mark, _)| mark.starts_with(&prefix)).collect();
    assert!(reached.len() > CLIENTS, "the load was one: {reached:?}");
    let events = wait::until("the audit has all of it, ended", BACK_WITHIN, || async {
        let events = recorded(parts, &prefix);
        let marks: BTreeSet<_> = events.iter().filter_map(|event| mark(event["sql"].as_str()?)).collect();
        let settled = events.iter().all(|event| event["outcome"].is_string());
        (settled && reached.keys().all(|mark| marks.contains(mark))).then_some(events)
    })
    .await;
    let mut ids = BTreeSet::new();
    let mut recorded: HashMap<String, usize> = HashMap::new();
    for event in &events {
        assert!(ids.insert((event["session"].to_string(), event["seq"].as_u64())), "{victim:?}: twice: {event}");
        if event["outcome"] != "prepared" {
            *recorded.entry(mark(event["sql"].as_str().unwrap()).unwrap()).or_default() += 1;
        }
    }
    for (mark, runs) in &reached {
        let times = recorded.get(mark).copied().unwrap_or_default();
        assert!(times >= *runs, "{victim:?}: {mark} ran {runs} times and is there {times} times");
        assert!(times == 1 || mark.ends_with("prepared"), "{victim:?}: {mark} is there {times} times");
    }
    let unknown = events.iter().filter(|event| event["outcome"] == "unknown").count();
    let (reached, recorded) = (reached.values().sum::<usize>(), recorded.values().sum::<usize>());
    eprintln!("{victim:?}: {reached} statements ran, {recorded} are on record, of {unknown} the end is not known");
}

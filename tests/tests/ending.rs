//! How access ends: by revocation, expiry or kill, within a second the client has 57P01 and the backend is gone,
//! whatever the session was doing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::{APP_PASSWORD, Cluster},
    dev::{Dev, Grant},
    raw::{self, Login, Raw, Tls},
    wait,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// One second is promised; a loaded machine with an unoptimised build gets another.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// What a session does when its end comes.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Nothing,
    Running,
    RunningExtended,
    InTransaction,
}

const DOINGS: [Doing; 4] = [Doing::Nothing, Doing::Running, Doing::RunningExtended, Doing::InTransaction];

struct Session {
    doing: Doing,
    client: Arc<Client>,
    pid: i32,
    statement: Option<JoinHandle<Result<(), tokio_postgres::Error>>>,
}

async fn open(url: &str, doing: Doing, watcher: &Client) -> Session {
    let client = Arc::new(client::connect(url).await);
    let pid = client.backend_pid().await;
    let task = Arc::clone(&client);
    let statement = match doing {
        Doing::Nothing => None,
        Doing::InTransaction => {
            let sql = "begin; insert into items values (1000, 'not to stay')";
            client.batch_execute(sql).await.unwrap();
            None
        }
        Doing::Running => Some(tokio::spawn(async move { task.batch_execute("select pg_sleep(60)").await })),
        Doing::RunningExtended => Some(tokio::spawn(async move {
            let slept = task.query("select pg_sleep(60)", &[]).await;
            slept.map(drop)
        })),
    };
    let state = match doing {
        Doing::Nothing => "idle",
        Doing::InTransaction => "idle in transaction",
        Doing::Running | Doing::RunningExtended => "active",
    };
    wait::until("the session does it", Duration::from_secs(10), || async move {
        let sql = format!(
            "select 1 from pg_stat_activity where pid = {pid} and state = '{state}'
                 and (state <> 'active' or query like '%pg_sleep%')"
        );
        let rows = watcher.query(sql.as_str(), &[]).await.unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;
    Session { doing, client, pid, statement }
}

/// The client has 57P01 and the backend is gone, both in time since `start`.
async fn assert_ends(session: Session, watcher: &Client, start: Instant) {
    let (doing, pid) = (session.doing, session.pid);
    let left = || ENDS_WITHIN.saturating_sub(start.elapsed());
    let what = format!("{doing:?}: the client is told");
    let end = wait::until(&what, left(), || async { session.client.events(|events| events.end.clone()) }).await;
    // The driver gives a last error to the statement that runs, if there is one.
    let (text, code) = match session.statement {
        None => end,
        Some(statement) => {
            let result = wait::within(&what, left(), statement).await.unwrap();
            let error = result.expect_err("the statement does not go through");
            (format!("{error:?}"), Some(client::sqlstate(&error)))
        }
    };
    assert_eq!(code.as_deref(), Some("57P01"), "{doing:?}: {text}");
    let what = format!("{doing:?}: the backend is gone");
    wait::until(&what, left(), || async {
        let sql = "select 1 from pg_stat_activity where pid = $1";
        let rows = watcher.query(sql, &[&pid]).await.unwrap();
        rows.is_empty().then_some(())
    })
    .await;
    eprintln!("{doing:?}: over after {:.0?}: {text}", start.elapsed());
}

struct Fixture {
    dev: Dev,
    watcher: Client,
    _cluster: Cluster,
}

async fn fixture() -> Fixture {
    let cluster = Cluster::start().await;
    let url = cluster.app_url_without_password();
    let dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", APP_PASSWORD)]);
    let watcher = cluster.superuser().await;
    Fixture { dev, watcher, _cluster: cluster }
}

impl Fixture {
    async fn sessions(&self, grant: &Grant) -> Vec<Session> {
        let mut sessions = Vec::new();
        for doing in DOINGS {
            sessions.push(open(&grant.url, doing, &self.watcher).await);
        }
        sessions
    }

    async fn assert_all_end(&self, sessions: Vec<Session>, start: Instant) {
        let ends = sessions.into_iter().map(|session| assert_ends(session, &self.watcher, start));
        futures_util::future::join_all(ends).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_access_ends() {
    let fixture = fixture().await;
    revocation(&fixture).await;
    expiry(&fixture).await;
    kill(&fixture).await;
    closing(&fixture).await;
    let left = fixture.watcher.text("select count(*) from items where id = 1000").await;
    assert_eq!(left, "0", "what was not committed is rolled back");
}

async fn revocation(fixture: &Fixture) {
    let (admin, agent) = (fixture.dev.admin(), fixture.dev.agent());
    let other = fixture.dev.grant("all", "10m");
    let bystander = client::connect(&other.url).await;
    let grant = fixture.dev.grant("all", "10m");
    let sessions = fixture.sessions(&grant).await;
    let start = Instant::now();
    let _ = admin.run(&["revoke", &grant.id, "--reason", "enough"]).ok();
    eprintln!("revoke took {:.0?}", start.elapsed());
    fixture.assert_all_end(sessions, start).await;
    let refused = client::try_connect(&grant.url).await.err().unwrap();
    assert_eq!(client::sqlstate(&refused), "28000", "{refused:?}");
    let again = admin.run(&["revoke", &grant.id]);
    assert!(again.code <= 1, "{again:?}");
    assert_eq!(bystander.text("select 1").await, "1", "other grants go on");
    // Whoever holds a grant may give it back.
    let _ = agent.run(&["revoke", &other.id]).ok();
    let start = Instant::now();
    wait::until("the holder gave it back", ENDS_WITHIN, || async { bystander.events(|events| events.end.clone()) })
        .await;
    assert!(start.elapsed() < ENDS_WITHIN);
}

async fn expiry(fixture: &Fixture) {
    // Time counts from the approval, whatever the client does.
    let (agent, admin) = (fixture.dev.agent(), fixture.dev.admin());
    let request = agent.request("demo", "all", "4s");
    let approval = Instant::now();
    let approved = admin.run(&["approve", &request, "--json"]).json();
    let approved_within = approval.elapsed();
    let url = agent.run(&["url", "demo", "--role", "all"]).ok();
    let grant = Grant { id: approved["grant_id"].as_str().unwrap().to_owned(), url: url.trim().to_owned() };
    let sessions = fixture.sessions(&grant).await;
    let end = approval + Duration::from_secs(4);
    assert!(Instant::now() < end, "the sessions were set up before the end");
    for session in &sessions {
        assert!(session.client.events(|events| events.end.is_none()));
    }
    tokio::time::sleep_until(end.into()).await;
    fixture.assert_all_end(sessions, end + approved_within).await;
    let refused = client::try_connect(&grant.url).await.err().unwrap();
    assert_eq!(client::sqlstate(&refused), "28000", "{refused:?}");
    let message = refused.as_db_error().unwrap();
    assert!(message.hint().is_some_and(|hint| hint.contains("postern request demo --role all")), "{message:?}");
}

async fn kill(fixture: &Fixture) {
    let admin = fixture.dev.admin();
    let grant = fixture.dev.grant("all", "10m");
    for session in fixture.sessions(&grant).await {
        let pid = session.pid;
        let id = wait::until("the session is listed", Duration::from_secs(5), || async {
            let listed = admin.run(&["sessions", "--json"]).json();
            let listed = listed.as_array().unwrap().clone();
            let found = listed.into_iter().find(|listed| listed["backend_pid"] == pid)?;
            Some(found["id"].as_str().unwrap().to_owned())
        })
        .await;
        let start = Instant::now();
        let args = ["sessions", "kill", &id, "--reason", "runaway"];
        let _ = admin.run(&args).ok();
        assert_ends(session, &fixture.watcher, start).await;
        let ended = wait::until("the end is on record", Duration::from_secs(5), || async {
            let shown = admin.run(&["sessions", "show", &id, "--json"]).json();
            (shown["status"] == "ended").then_some(shown)
        })
        .await;
        assert!(ended["end_reason"].as_str().unwrap().contains("kill"), "{ended}");
    }
    // Only the sessions ended: the grant is good.
    assert_eq!(client::connect(&grant.url).await.text("select 1").await, "1");
}

/// A client that vanishes leaves no backend behind, whatever it was doing. The one that runs something may get a
/// few seconds: it could still be waiting for its answer, having closed only its own direction.
async fn closing(fixture: &Fixture) {
    let grant = fixture.dev.grant("all", "10m");
    for sql in [
        "",
        "select pg_sleep(60)",
        "begin; insert into items values (1000, 'not to stay')",
        "select pg_sleep(1); select repeat('x', 1000000) from generate_series(1, 1000)",
        "copy items from stdin",
    ] {
        let mut raw = Raw::connect(fixture.dev.pg_port, Tls::Negotiated).await;
        let greeting = raw.login(&Login::of_url(&grant.url)).await.unwrap();
        raw.send(&raw::query(sql)).await;
        let alive = || async {
            let sql = "select query from pg_stat_activity where pid = $1";
            let rows = fixture.watcher.query(sql, &[&greeting.pid]).await.unwrap();
            rows.first().map(|row| row.get::<_, String>(0))
        };
        wait::until("it runs", Duration::from_secs(5), || async {
            (alive().await.as_deref() == Some(sql)).then_some(())
        })
        .await;
        drop(raw);
        let what = format!("the backend of a client that vanished is gone: {sql}");
        wait::until(&what, Duration::from_secs(10), || async { alive().await.is_none().then_some(()) }).await;
    }
}

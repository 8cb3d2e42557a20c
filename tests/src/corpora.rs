//! The shop of the analysis's corpora, in `crates/sql/tests/corpus/`, on the real stack, where the database's own login
//! could do anything: the backstop of missing privileges is absent.

use crate::{
    client::Client,
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{Dev, Grant},
    packages::script,
    raw::{self, Login, Message, Raw, Tls},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
    process::Command,
};

const SETTINGS: [&str; 3] = ["log_statement=all", "max_prepared_transactions=2", "autovacuum=off"];

/// What the session itself has: its settings, who it is, and what it has made.
const SESSION: &str = "select md5(string_agg(name || '=' || coalesce(setting, ''), ',' order by name)) || current_user \
    || session_user || (select count(*) from pg_prepared_statements) || (select count(*) from pg_cursors) \
    || (select count(*) from pg_listening_channels()) || pg_my_temp_schema() from pg_settings";

/// What a statement leaves on the server at once: a transaction that writes or locks rows takes a number.
const TRACES: &str = "select concat_ws(' ', pg_snapshot_xmax(pg_current_snapshot()), \
    (select count(*) from pg_locks where locktype = 'advisory'), (select count(*) from pg_prepared_xacts), \
    (select count(*) from pg_replication_slots), pg_notification_queue_usage(), pg_conf_load_time())";

/// A running stack with the shop in its database.
pub struct Corpora {
    /// The database.
    pub cluster: Cluster,
    /// Postern.
    pub dev: Dev,
    /// An open grant of the access role `read`.
    pub read: Grant,
}

/// Everything that a statement could change and leave behind, by what it is.
pub type State = BTreeMap<String, String>;

/// A text of the analysis's corpora.
#[must_use]
pub fn corpus(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sql/tests/corpus").join(name);
    fs::read_to_string(file).unwrap()
}

/// Titles and statements. An entry is a title after `##`, a statement, and what is expected of it after `=`.
#[must_use]
pub fn entries(name: &str) -> Vec<(String, String)> {
    let text = format!("\n{}", corpus(name));
    let entries = text.split("\n## ").skip(1).map(|entry| {
        let (title, rest) = entry.split_once('\n').unwrap();
        let statement: Vec<&str> = rest.lines().take_while(|line| !line.starts_with("= ")).collect();
        (title.to_owned(), statement.join("\n").trim().to_owned())
    });
    entries.collect()
}

/// The refusal among a statement's answers.
#[must_use]
pub fn refusal(messages: &[Message]) -> Option<&Message> {
    messages.iter().find(|message| message.tag == b'E')
}

/// What two states differ in.
#[must_use]
pub fn differences(before: &State, after: &State) -> Vec<String> {
    let keys = before.keys().chain(after.keys()).collect::<BTreeSet<_>>();
    let differ = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    differ.map(|key| format!("{key}: {:?}, then {:?}", before.get(key), after.get(key))).collect()
}

impl Corpora {
    /// With the server that is installed.
    pub async fn start() -> Self {
        Self::start_on(Cluster::start_with(&SETTINGS).await).await
    }

    /// With a server of this major version.
    pub async fn start_major(major: u16) -> Self {
        Self::start_on(Cluster::start_major(major, &SETTINGS).await).await
    }

    async fn start_on(cluster: Cluster) -> Self {
        let owner = cluster.superuser().await;
        let mut schema = corpus("schema.sql");
        if owner.text("show server_version_num").await.parse::<u32>().unwrap() < 140_000 {
            schema = schema.lines().filter(|line| !line.contains("BEGIN ATOMIC")).collect::<Vec<_>>().join("\n");
        }
        owner.batch_execute(&schema).await.unwrap();
        let orders = "alter database app set search_path = \"$user\", shop, public;
            insert into shop.orders (customer_id, total) values (1, 10), (1, 20.5);
            insert into shop.queue (job) values ('first'), ('second')";
        owner.batch_execute(orders).await.unwrap();
        let url = cluster.url("postgres", SUPERUSER_PASSWORD, "app").replace(&format!(":{SUPERUSER_PASSWORD}"), "");
        let dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
        let read = dev.grant("read", "1h");
        Self { cluster, dev, read }
    }

    /// The URL straight to the database.
    #[must_use]
    pub fn direct_url(&self) -> String {
        self.cluster.url("postgres", SUPERUSER_PASSWORD, "app")
    }

    /// A reader's session.
    pub async fn raw(&self) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&Login::of_url(&self.read.url)).await.unwrap();
        raw
    }

    /// Everything that a statement could have changed and left behind.
    pub async fn state(&self) -> State {
        let admin = self.cluster.superuser().await;
        let mut state = State::new();
        let mut take = |rows: Vec<tokio_postgres::Row>| {
            state.extend(
                rows.into_iter()
                    .map(|row| (row.get::<_, String>(0), row.get::<_, Option<String>>(1).unwrap_or_default())),
            );
        };
        // Each row of each table, catalog and sequence, with the transactions that made and locked it.
        let relations = "select format('%I.%I', nspname, relname), relkind = 'S' from pg_class \
            join pg_namespace n on n.oid = relnamespace \
            where relkind in ('r', 'm', 'S') and nspname <> 'pg_toast' and relpersistence <> 't'";
        let each = admin.query(relations, &[]).await.unwrap().into_iter().map(|row| {
            let (name, sequence): (String, bool) = (row.get(0), row.get(1));
            let whole = if sequence { "last_value, log_cnt, is_called" } else { "whole" };
            format!(
                "select '{name}', count(*) || ' ' || coalesce(md5(string_agg(md5(concat_ws('/', {whole}, xmin, xmax, ctid)), \
                 '' order by ctid)), '') from only {name} whole"
            )
        });
        let each: Vec<String> = each.collect();
        take(admin.query(&each.join(" union all "), &[]).await.unwrap());
        take(
            admin
                .query("select 'setting ' || name, concat_ws(' ', setting, reset_val, source) from pg_settings", &[])
                .await
                .unwrap(),
        );
        let others = "select 'reset', concat_ws(' ', (select string_agg(stats_reset::text, ' ' order by datid) from pg_stat_database), \
            (select stats_reset from pg_stat_bgwriter)) \
            union all select 'write-ahead log', pg_walfile_name(pg_current_wal_lsn())";
        take(admin.query(others, &[]).await.unwrap());
        state.insert("traces".to_owned(), admin.text(TRACES).await);
        let data = self.cluster.data();
        for folder in ["", "base", "pg_replslot", "pg_twophase", "pg_tblspc", "pg_snapshots"] {
            let files = fs::read_dir(data.join(folder)).unwrap();
            let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            files.sort();
            state.insert(format!("files in {folder}"), files.join(" "));
        }
        for file in ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"] {
            state.insert(file.to_owned(), fs::read_to_string(data.join(file)).unwrap());
        }
        state
    }

    /// Runs the corpus of evasions, each by both protocols, alone and in a transaction: each is refused, none leaves a
    /// trace, none reaches the server.
    pub async fn nothing_slips_past_a_reader(&self) {
        let bystander = self.cluster.superuser().await;
        bystander.batch_execute("listen c").await.unwrap();
        let major = self.major(&bystander).await;
        let before = self.state().await;
        let traces = bystander.text(TRACES).await;
        // What is refused for what an older server would make of it.
        let newer = |title: &str| {
            (title.ends_with("that an older server reads otherwise") && major >= 16)
                || (title == "a function of the user's that a newer grammar knows" && major >= 17)
        };
        let evasions: Vec<_> = entries("evasions.txt").into_iter().filter(|(title, _)| !newer(title)).collect();
        assert!(evasions.len() >= 200, "{}", evasions.len());
        let mut got_by = Vec::new();
        let mut raw = self.raw().await;
        let session = raw.text(SESSION).await;
        for (title, sql) in &evasions {
            for (way, bytes) in ways(sql) {
                let (mut refused, mut status) = (false, b'I');
                for bytes in bytes {
                    raw.send(&bytes).await;
                    let messages = raw.until_ready().await;
                    refused |= refusal(&messages).is_some();
                    status = messages.last().unwrap().body[0];
                }
                if !refused {
                    got_by.push(format!("{title} ({way}): {sql}"));
                }
                if status != b'I' {
                    raw.query("rollback").await;
                }
            }
            // The next statement is served, and the session is as it was.
            if raw.text(SESSION).await != session {
                got_by.push(format!("{title} has changed the session"));
                raw = self.raw().await;
            }
            if bystander.text(TRACES).await != traces {
                got_by.push(format!("{title} left a trace"));
            }
        }
        // What was refused never reached the server: it logs all that does, as `statement: …` or `execute name: …`.
        let log = self.cluster.log();
        let logged = log.lines().filter_map(|line| line.split_once("LOG:  ")?.1.split_once(": "));
        let reached: HashSet<&str> = logged.map(|(_, statement)| statement).collect();
        for (title, sql) in &evasions {
            let first = sql.lines().next().unwrap();
            if reached.contains(first) {
                got_by.push(format!("{title} reached the server: {first}"));
            }
        }
        assert!(reached.contains("begin"), "it logs what reaches it");
        assert!(got_by.is_empty(), "{}", got_by.join("\n"));
        let changed = differences(&before, &self.state().await);
        assert!(changed.is_empty(), "{}", changed.join("\n"));
        let files =
            evasions.iter().flat_map(|(_, sql)| sql.split(['\'', ' '])).filter(|word| word.starts_with("/tmp/"));
        files.for_each(|file| assert!(!Path::new(file).exists(), "{file}"));
        bystander.events(|events| assert!(events.notifications.is_empty() && events.end.is_none()));
        self.evasions_would_do_something(&evasions, &before).await;
    }

    /// The twin: whoever may runs most of them, and they show in the state.
    async fn evasions_would_do_something(&self, evasions: &[(String, String)], before: &State) {
        let mut ran = 0;
        let outside = |sql: &str| ["/tmp/", "PROGRAM", "STDIN"].iter().any(|word| sql.contains(word));
        for (_, sql) in evasions.iter().filter(|(_, sql)| !outside(sql)) {
            let direct = self.cluster.superuser().await;
            direct.batch_execute("set statement_timeout = '200ms'").await.unwrap();
            ran += usize::from(direct.simple_query(sql).await.is_ok());
        }
        assert!(ran >= 120, "{ran} of {}", evasions.len());
        let changed = differences(before, &self.state().await).join("\n");
        for part in ["shop.queue", "pg_catalog.pg_authid", "pg_catalog.pg_class", "traces", "auto.conf", "reset"] {
            assert!(changed.contains(part), "{part}: {changed}");
        }
    }

    /// Runs the corpus of what readers' tools and agents send: what the server answers, it answers a reader.
    pub async fn readers_read(&self) {
        let mut direct = Raw::connect(self.cluster.port, Tls::None).await;
        direct.login(&Login::of_url(&self.direct_url())).await.unwrap();
        let mut through = self.raw().await;
        let (mut refused, mut answered) = (Vec::new(), 0);
        for (title, sql) in entries("readers.txt") {
            let (right, left) = (direct.query(&sql).await, through.query(&sql).await);
            answered += usize::from(refusal(&right).is_none());
            if let (None, Some(error)) = (refusal(&right), refusal(&left)) {
                refused.push(format!("{title}: {sql}\n    {:?} {:?}", error.sqlstate(), error.field(b'M')));
            }
            for session in [&mut direct, &mut through] {
                session.query("rollback").await;
            }
        }
        assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n"));
        // Some of a tool's statements are for servers of other versions.
        assert!(answered >= 200, "{answered}");
    }

    /// All that psql's backslash commands tell is told to a reader, the same.
    pub fn psql_tells_a_reader_all(&self, psql: &Path) {
        let commands = fs::read_to_string(script("psql_commands.txt")).unwrap();
        let told = [self.direct_url(), self.read.url.clone()].map(|url| {
            let mut psql = Command::new(psql);
            psql.args(["-X", "-d", &url, "-f"]).arg(script("psql_commands.txt")).env("PSQL_PAGER", "cat");
            let output = psql.output().unwrap();
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        });
        let differ = told[0].lines().zip(told[1].lines()).find(|(left, right)| left != right);
        assert!(differ.is_none() && told[0].len() == told[1].len(), "{differ:?}");
        assert!(told[0].lines().count() > 10 * commands.lines().count(), "{}", told[0]);
    }

    /// What pg_dump writes of a database it writes for a reader, the same; what it cannot is told.
    pub async fn pg_dump_writes_for_a_reader(&self, pg_dump: &Path) {
        let run = |url: &str, args: &[&str]| {
            let output = Command::new(pg_dump).args(["--no-sync", "-d", url]).args(args).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            // Lines that are made up anew for each dump.
            let lines =
                text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
            let text = lines.collect::<Vec<_>>().join("\n");
            (output.status.success(), text, String::from_utf8_lossy(&output.stderr).into_owned())
        };
        // A policy calls a function on reading `guarded` of which it is not known what it does.
        let open = ["-T", "shop.guarded"];
        for args in [
            &["--schema-only"][..],
            &["--data-only"],
            &[],
            &["--inserts", "--schema", "shop"],
            &["--clean", "--create", "--if-exists"],
            &["--serializable-deferrable", "--table", "shop.customers", "--column-inserts"],
        ] {
            let args = [args, &open].concat();
            let direct = run(&self.direct_url(), &args);
            assert!(direct.0 && direct.1.len() > 500, "{args:?}: {direct:?}");
            let postern = run(&self.read.url, &args);
            // The name of the database is the connection's.
            assert_eq!((postern.0, postern.1.replace("demo", "app"), postern.2), direct, "{args:?}");
        }
        let objects = self.cluster.superuser().await;
        objects.batch_execute("select lo_from_bytea(4711, 'x')").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parallel");
        let parallel =
            [&open[..], &["--no-blobs", "--jobs=2", "--format=directory", "--file", file.to_str().unwrap()]].concat();
        for (args, refused) in
            [(&[][..], "shop.may"), (&open, "could not open large object"), (&parallel, "pg_export_snapshot")]
        {
            let (done, _, told) = run(&self.read.url, args);
            assert!(!done && told.contains(refused), "{args:?}: {told}");
        }
        assert!(run(&self.read.url, &["-T", "shop.guarded", "--no-blobs"]).0);
    }

    /// The server's major version.
    pub async fn major(&self, client: &Client) -> u16 {
        client
            .text("show server_version_num")
            .await
            .parse::<u32>()
            .map(|number| number / 10_000)
            .unwrap()
            .try_into()
            .unwrap()
    }
}

/// The ways in which a statement is sent, each as one or more messages up to a ReadyForQuery.
fn ways(sql: &str) -> [(&'static str, Vec<Vec<u8>>); 4] {
    let pipeline = [raw::extended("begin"), raw::extended(sql), raw::extended("commit"), raw::sync()];
    [
        ("simple", vec![raw::query(sql)]),
        ("extended", vec![[raw::extended(sql), raw::sync()].concat()]),
        ("simple, in a transaction", vec![raw::query("begin"), raw::query(sql), raw::query("commit")]),
        ("extended, in a pipeline", vec![pipeline.concat()]),
    ]
}

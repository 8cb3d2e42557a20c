//! A throw-away PostgreSQL cluster with a small shop in it, and its catalog as a connector would load it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use postern_sql::{
    Catalog, Context,
    catalog::{Builder, Query, queries},
};

/// What stands for NULL in psql's output.
const NULL: &str = "\u{1}null\u{1}";

pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    pub major: u16,
}

/// Whether this process may not run a server itself, since PostgreSQL refuses to run as root.
fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == "0"
}

fn as_server_user(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn server_programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().unwrap_or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().expect("PostgreSQL is not installed");
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}

impl Cluster {
    pub fn start() -> Self {
        let bin = server_programs();
        let folder = std::env::temp_dir().join(format!("postern-sql-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
        }
        let run = |command: &mut Command| {
            let output = command.current_dir("/").stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            output
        };
        let data = folder.join("data");
        run(as_server_user(&bin.join("initdb")).arg("-D").arg(&data).args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]));
        let options = format!("-k {} -c listen_addresses= -c fsync=off", folder.display());
        let mut start = as_server_user(&bin.join("pg_ctl"));
        start.arg("-D").arg(&data).args(["-o", &options, "-w", "-l"]).arg(folder.join("log")).arg("start");
        // The server would keep a pipe open for as long as it runs.
        assert!(start.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let mut cluster = Self { folder, bin, major: 0 };
        let number: u32 = cluster.csv("SHOW server_version_num")[0][0].as_deref().unwrap().parse().unwrap();
        cluster.major = u16::try_from(number / 10_000).unwrap();
        let (out, ok) = cluster.psql(include_str!("../corpus/schema.sql"), &["-v", "ON_ERROR_STOP=1"]);
        assert!(ok, "{out}");
        cluster
    }

    fn command(&self) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-U", "postgres", "-d", "postgres", "-h"]).arg(&self.folder);
        command
    }

    /// Runs a script; what it printed, errors among it.
    pub fn psql(&self, script: &str, args: &[&str]) -> (String, bool) {
        use std::io::Write;
        let file = self.folder.join(format!("script-{}.sql", script.len()));
        std::fs::File::create(&file).unwrap().write_all(script.as_bytes()).unwrap();
        let out = self.folder.join("out");
        let output = std::fs::File::create(&out).unwrap();
        let status = self
            .command()
            .args(args)
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        (String::from_utf8_lossy(&std::fs::read(&out).unwrap()).into_owned(), status.success())
    }

    pub fn csv(&self, query: &str) -> Vec<Vec<Option<String>>> {
        let output = self
            .command()
            .args(["--csv", "-t", "-P", &format!("null={NULL}"), "-c", "SET search_path = ''", "-c", query])
            .output()
            .unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(output.stdout.as_slice());
        let row = |record: csv::StringRecord| {
            record.iter().map(|field| (field != NULL).then(|| field.to_owned())).collect::<Vec<_>>()
        };
        reader.records().map(|record| row(record.unwrap())).collect()
    }

    pub fn catalog(&self, earlier: Option<&Catalog>) -> Catalog {
        let from = if earlier.is_some() { "16384" } else { "0" };
        let mut builder = Builder::new(earlier.map(Catalog::system));
        for (query, text) in queries(self.major) {
            for row in self.csv(&text.replace("$1", from)) {
                let row: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
                builder.row(query, &row).unwrap();
            }
        }
        builder.build()
    }

    pub fn context(&self) -> Context {
        let mut context = Context::new(self.major, "reader");
        context.search_path = vec!["$user".into(), "shop".into(), "public".into()];
        context
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = as_server_user(&self.bin.join("pg_ctl"));
        stop.arg("-D").arg(self.folder.join("data")).args(["-m", "immediate", "stop"]);
        let _ = stop.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs on a thread with the stack that the analysis needs.
pub fn on_deep_stack<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(postern_sql::parse::STACK_BYTES);
        thread.spawn_scoped(scope, job).unwrap().join().unwrap()
    })
}

/// An entry of a corpus file: a statement, and the lines of what is expected of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub title: String,
    pub sql: String,
    pub expect: Vec<String>,
}

/// Blocks separated by lines that begin with `## `, which is a title; then the statement; then lines that begin with `= `.
pub fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            entries.push(Entry { title: title.into(), sql: String::new(), expect: Vec::new() });
        } else if let Some(entry) = entries.last_mut() {
            if let Some(expect) = line.strip_prefix("= ") {
                entry.expect.push(expect.into());
            } else {
                entry.sql.push_str(line);
                entry.sql.push('\n');
            }
        }
    }
    for entry in &mut entries {
        entry.sql = entry.sql.trim().to_owned();
    }
    entries
}

/// A catalog by hand, for tests that need no server.
pub fn small_catalog() -> Catalog {
    small_catalog_with(&[])
}

/// The same with more in it.
pub fn small_catalog_with(more: &[(Query, &[&str])]) -> Catalog {
    let mut builder = Builder::new(None);
    let mut row = |query: Query, row: &[&str]| {
        let row: Vec<Option<&str>> = row.iter().map(|field| (*field != "NULL").then_some(*field)).collect();
        builder.row(query, &row).unwrap();
    };
    row(Query::Schemas, &["11", "pg_catalog"]);
    row(Query::Schemas, &["2200", "public"]);
    for (oid, name) in [("16", "bool"), ("20", "int8"), ("23", "int4"), ("25", "text"), ("1700", "numeric")] {
        row(Query::Types, &[oid, "pg_catalog", name, "b", "0", "false", "0", "-1"]);
    }
    row(Query::Relations, &["20000", "public", "t", "r", "p", "owner", "false", "20001", "NULL", "NULL", "NULL"]);
    row(Query::Columns, &["20000", "1", "a", "23", "NULL", "", "false", "-1"]);
    row(Query::Columns, &["20000", "2", "b", "25", "NULL", "", "false", "-1"]);
    row(Query::Schemas, &["21000", "pg_temp_3"]);
    row(Query::Schemas, &["21001", "first"]);
    row(Query::Relations, &["20010", "pg_temp_3", "t", "r", "t", "owner", "false", "20011", "NULL", "NULL", "NULL"]);
    row(Query::Columns, &["20010", "1", "mine", "25", "NULL", "", "false", "-1"]);
    row(Query::Relations, &["20020", "first", "t", "r", "p", "owner", "false", "20021", "NULL", "NULL", "NULL"]);
    row(Query::Columns, &["20020", "1", "other", "25", "NULL", "", "false", "-1"]);
    for name in ["+", "-", "*", "=", "<", ">", "||"] {
        row(Query::Operators, &[name, "pg_catalog", "23", "23", "23", "100", "100"]);
    }
    more.iter().for_each(|(query, fields)| row(*query, fields));
    let function = |oid: &str, name: &str, args: &str| {
        let fields = [oid, "pg_catalog", name, "f", "internal", "i", "false", args, "0", "0", "25", "false", "NULL"];
        fields.map(str::to_owned).to_vec()
    };
    for (oid, name, args) in [("100", "sign", "23"), ("101", "lower", "25"), ("102", "count", ""), ("103", "sum", "23")]
    {
        let fields = function(oid, name, args);
        let mut fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        fields.extend(["NULL", "NULL", "NULL", "NULL", "NULL", "NULL"]);
        row(Query::Routines, &fields);
    }
    builder.build()
}

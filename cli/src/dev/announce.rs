//! What a newcomer reads once everything is ready: the next four commands.

use super::folder::{Ready, path};
use std::path::Path;

/// The text. It holds no token: what is written to a terminal or a file is read by others.
pub fn text(folder: &Path, ready: &Ready, foreign: bool) -> String {
    let postern = program();
    let here = here(folder);
    let connections: Vec<String> = ready
        .connections
        .iter()
        .map(|connection| format!("{} ({})", connection.name, connection.roles.join(", ")))
        .collect();
    let query = if foreign { "select current_user, now()" } else { "select status, count(*) from orders group by 1" };
    format!(
        "Postern is ready.

  console, API {http}
  PostgreSQL   {host}:{port}
  connections  {connections}
  for scripts  {file}

{limits}
The next four commands. An agent asks for ten minutes of reading:

  eval \"$({postern} dev env agent{here})\" && {postern} request demo --role read --for 10m --reason \"a first look\"

An admin approves it; the ID is in the answer to the first:

  (eval \"$({postern} dev env admin{here})\" && {postern} approve ID)

The agent connects with any PostgreSQL client:

  psql \"$({postern} url demo --role read)\" -c \"{query}\"

The admin reads who ran which statement:

  (eval \"$({postern} dev env admin{here})\" && {postern} audit search)

",
        http = ready.http_url,
        host = ready.pg_host,
        port = ready.pg_port,
        connections = connections.join(", "),
        file = folder.join("dev.json").display(),
        limits = limits(foreign),
    )
}

/// How one that was left running is ended.
pub fn background(folder: &Path) -> String {
    format!("It runs in the background until: {} dev stop{}", program(), here(folder))
}

/// The folder as an option; nothing where the commands find it by themselves.
fn here(folder: &Path) -> String {
    match path(None) {
        Ok(usual) if usual.canonicalize().is_ok_and(|usual| usual == folder) => String::new(),
        _ => format!(" --data-dir {}", quoted(&folder.display().to_string())),
    }
}

/// What is enforced by what, and what is not.
fn limits(foreign: bool) -> &'static str {
    if foreign {
        "There is no backstop: the access roles read,
write and all share the login of the --postgres URL, so `read` is read-only by the analysis of its statements
alone, not for lack of privileges. Use a login that may do no more than you would give away.
"
    } else {
        "The shop's personal data is tagged, and comes back masked to `read` and `write`. `read` sessions only
read: by the analysis of their statements, and under a database role that may only SELECT.
"
    }
}

/// How the user called us, so that the commands can be typed as they are printed.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = called.to_string_lossy();
    quoted(if called.is_empty() { "postern" } else { &called })
}

/// As a word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/+:=@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_shown() {
        let ready = Ready {
            http_url: "http://127.0.0.1:8080".into(),
            pg_host: "127.0.0.1".into(),
            pg_port: 15432,
            admin_token: "hush-admin".into(),
            agent_token: "hush-agent".into(),
            audit_public_key: "key".into(),
            connections: Vec::new(),
        };
        for foreign in [true, false] {
            let text = text(Path::new("/some where"), &ready, foreign);
            assert!(!text.contains("hush") && text.contains("--data-dir '/some where'"), "{text}");
        }
    }
}

//! A shop whose secrets are to stay in it: the corpus of leaks in `crates/mask/tests/corpus/`, on the real stack, where the
//! database's own login could read anything.
//!
//! In reading order: [`corpus`] (what is tried), [`forms`] (how each is sent), [`secrets`] (what must not come back), [`random`]
//! (queries that nobody has thought of).

pub mod corpus;
pub mod forms;
pub mod random;
pub mod secrets;

use crate::{
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{Dev, Grant},
    link::Link,
    process::free_port,
    raw::{Login, Raw, Tls},
};
use corpus::text;
use std::{collections::BTreeMap, path::Path};

/// The database, or one that differs from it in its secrets only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As they are written.
    These,
    /// Others of the same length, with the same hashes, years and last characters.
    Others,
}

/// A running stack with the shop in its database, which can be exchanged behind it.
pub struct Leaks {
    /// The database.
    pub cluster: Cluster,
    /// Postern.
    pub dev: Dev,
    link: Link,
}

impl Leaks {
    /// With these secrets.
    pub async fn start(secrets: Secrets) -> Self {
        let cluster = shop(secrets).await;
        let port = free_port();
        let link = Link::start(port, cluster.port).await;
        let url = cluster.url("postgres", SUPERUSER_PASSWORD, "app").replace(&format!(":{SUPERUSER_PASSWORD}"), "");
        let url = url.replace(&format!(":{}/", cluster.port), &format!(":{port}/"));
        let config = Path::new(corpus::FOLDER).join("leaks.yaml");
        let args = ["--postgres", &url, "--config", config.to_str().unwrap()];
        let dev = Dev::start_with(&args, &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
        Self { cluster, dev, link }
    }

    /// Puts another database in the place of this one, which ends.
    pub async fn exchange(&mut self, secrets: Secrets) {
        let cluster = shop(secrets).await;
        self.link.lead_to(cluster.port);
        self.cluster = cluster;
    }

    /// A session of a grant, by hand.
    pub async fn raw(&self, grant: &Grant) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&Login::of_url(&grant.url)).await.unwrap();
        raw
    }

    /// A session of the owner's, past Postern, by hand.
    pub async fn direct(&self) -> Raw {
        let mut raw = Raw::connect(self.cluster.port, Tls::None).await;
        raw.login(&Login::of_url(&self.cluster.url("postgres", SUPERUSER_PASSWORD, "app"))).await.unwrap();
        raw
    }

    /// What is in the shop, by relation.
    pub async fn state(&self) -> BTreeMap<String, String> {
        let owner = self.cluster.superuser().await;
        let relations = "select format('%I.%I', nspname, relname), relkind = 'S' from pg_class
            join pg_namespace n on n.oid = relnamespace where relkind in ('r', 'm', 'S') and nspname in ('shop', 'public')
            union all select 'pg_largeobject_metadata', false";
        let mut state = BTreeMap::new();
        for row in owner.query(relations, &[]).await.unwrap() {
            let (name, sequence): (String, bool) = (row.get(0), row.get(1));
            let whole = if sequence { "last_value" } else { "whole" };
            let rows =
                format!("select coalesce(string_agg({whole}::text, ' ' order by {whole}::text), '') from {name} whole");
            state.insert(name, owner.text(&rows).await);
        }
        state
    }
}

/// A database with the shop in it.
async fn shop(secrets: Secrets) -> Cluster {
    let cluster = Cluster::start_with(&["autovacuum=off", "jit=off"]).await;
    let owner = cluster.superuser().await;
    let script = text("leaks.sql");
    let (head, rest) = script.split_once("CREATE SCHEMA").unwrap();
    let pieces = rest.split("<<").enumerate().map(|(at, piece)| match (at, piece.split_once(">>")) {
        (0, _) => piece.to_owned(),
        (_, Some((pair, after))) => {
            let (these, others) = pair.split_once('|').unwrap();
            [if secrets == Secrets::These { these } else { others }, after].concat()
        }
        (_, None) => panic!("a pair does not end: {piece}"),
    });
    let script = format!("{head}CREATE SCHEMA{}", pieces.collect::<String>());
    owner.batch_execute(&script).await.unwrap();
    owner.batch_execute("alter database app set search_path = \"$user\", shop, public").await.unwrap();
    cluster
}

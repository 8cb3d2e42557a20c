//! The transitions of the control plane, driven in random order and at the same time, against a small reference model: no
//! interleaving gives access that the model denies, lets anything be used twice that is for once, or counts a vote twice.
//!
//! - [`reference`]: what has to hold, in memory
//! - [`plane`]: the real thing: its stores, one for each replica, and the people who act
//! - [`steps`]: what happens, made at random
//!
//! `make test` tries the same few stories each time; with `MODEL_CASES` there are so many, and others each time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod plane;
mod reference;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use plane::{Install, Plane};
use postern_control_plane::config::StoreConfig;
use postern_fuzz::proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};
use reference::{Model, Rule};
use secrecy::SecretString;
use steps::Step;
use tokio::runtime::Runtime;

/// How many stories `make test` tries on each store.
const CASES: u32 = 24;

/// Where the fixed ones begin.
const SEED: u64 = 7;

/// At most so many are tried until a rule that is left out has shown.
const CASES_FOR_A_RULE: u32 = 400;

fn cases() -> Option<u32> {
    std::env::var("MODEL_CASES").ok()?.parse().ok()
}

/// The first difference between the control plane and the model, in a story made as small as it gets.
fn difference(install: &Install, runtime: &Runtime, config: Config, without: Option<Rule>) -> Option<String> {
    let result = TestRunner::new(config)
        .run(&steps::story(), |steps| runtime.block_on(told(install, &steps, without)).map_err(TestCaseError::fail));
    match result {
        Ok(()) => None,
        Err(TestError::Fail(reason, steps)) => Some(format!("{reason}\n{steps:#?}")),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Tells one story to both.
async fn told(install: &Install, steps: &[Step], without: Option<Rule>) -> Result<(), String> {
    let plane = Plane::new(install).await;
    let mut model = Model::new(without);
    for (number, step) in steps.iter().enumerate() {
        steps::take(&plane, &mut model, (number, step))
            .await
            .map_err(|what| format!("step {number}, {step:?}: {what}"))?;
    }
    Ok(())
}

fn agrees(install: &Install, runtime: &Runtime) {
    let config = match cases() {
        None => Config { cases: CASES, rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..Config::default() },
        Some(cases) => Config { cases, failure_persistence: None, ..Config::default() },
    };
    if let Some(difference) = difference(install, runtime, config, None) {
        panic!("{difference}");
    }
}

#[test]
fn on_sqlite() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let config = StoreConfig::Sqlite { path: folder.path().join("postern.db") };
    agrees(&runtime.block_on(Install::new(config, 1)), &runtime);
}

#[test]
fn on_postgresql_with_two_replicas() {
    let (runtime, cluster) = (Runtime::new().unwrap(), support::postgres::Cluster::start());
    let config = StoreConfig::Postgres { url: SecretString::from(cluster.url()) };
    agrees(&runtime.block_on(Install::new(config, 2)), &runtime);
}

/// The stories come upon each rule: a model that leaves it out differs.
#[test]
fn each_rule_matters() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let config = StoreConfig::Sqlite { path: folder.path().join("postern.db") };
    let install = runtime.block_on(Install::new(config, 1));
    for rule in Rule::ALL {
        let config = Config {
            cases: CASES_FOR_A_RULE,
            rng_seed: RngSeed::Fixed(SEED),
            failure_persistence: None,
            max_shrink_iters: 0,
            ..Config::default()
        };
        let difference = difference(&install, &runtime, config, Some(rule));
        assert!(difference.is_some(), "nothing shows that {rule:?} is kept");
    }
}

//! The transitions of the control plane, driven in random order and at the same time, against a small reference model: no
//! interleaving gives access that the model denies, lets anything be used twice that is for once, or counts a vote twice.
//!
//! - [`reference`]: what has to hold, in memory
//! - [`plane`]: the real thing: its stores, one for each replica, and the people who act
//! - [`statements`]: what connectors and reviewers say of statements that wait
//! - [`steps`]: what happens, made at random
//!
//! `make test` tries the same few stories each time; with `MODEL_CASES` there are so many, and others each time. Models that
//! leave out a rule are told them, too: among many each has to differ somewhere, or else nothing would show that it is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod plane;
mod reference;
mod statements;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use plane::{Install, Plane};
use postern_control_plane::config::StoreConfig;
use postern_fuzz::proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use reference::{Model, Rule};
use secrecy::SecretString;
use std::{cell::RefCell, collections::BTreeSet};
use steps::Step;
use tokio::runtime::Runtime;

/// Where the stories begin that `make test` tries.
const SEED: u64 = 7;

fn cases() -> Option<u32> {
    std::env::var("MODEL_CASES").ok()?.parse().ok()
}

/// Tells stories to both; gives the rules whose absence none of them would show.
fn agrees(runtime: &Runtime, install: &Install, usual: u32) -> BTreeSet<Rule> {
    let config = match cases() {
        None => Config { cases: usual, rng_seed: RngSeed::Fixed(SEED), ..Config::default() },
        Some(cases) => Config { cases, ..Config::default() },
    };
    let hidden = RefCell::new(BTreeSet::from(Rule::ALL));
    let result = TestRunner::new(Config { failure_persistence: None, ..config })
        .run(&steps::story(), |steps| runtime.block_on(told(install, &steps, &hidden)).map_err(TestCaseError::fail));
    match result {
        Ok(()) => hidden.into_inner(),
        Err(TestError::Fail(reason, steps)) => panic!("{reason}\n{steps:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Tells one story. A model that leaves out a rule is told it, too, until it differs.
async fn told(install: &Install, steps: &[Step], hidden: &RefCell<BTreeSet<Rule>>) -> Result<(), String> {
    let plane = Plane::new(install).await;
    let mut model = Model::new(None);
    let mut without: Vec<_> = hidden.borrow().iter().map(|rule| (*rule, Model::new(Some(*rule)))).collect();
    for (number, step) in steps.iter().enumerate() {
        let at = |what: String| format!("step {number}, {step:?}: {what}");
        let Some(moment) = steps::take(&plane, &mut model, number, step).await.map_err(at)? else { continue };
        moment.told(&mut model).map_err(at)?;
        without.retain_mut(|(rule, model)| moment.told(model).is_ok() || !hidden.borrow_mut().remove(&*rule));
    }
    Ok(())
}

#[test]
fn on_sqlite() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let config = StoreConfig::Sqlite { path: folder.path().join("postern.db") };
    let hidden = agrees(&runtime, &runtime.block_on(Install::new(config, 1)), 40);
    assert!(cases().is_none() || hidden.is_empty(), "nothing would show that these are not kept: {hidden:?}");
}

#[test]
fn on_postgresql_with_two_replicas() {
    let (runtime, cluster) = (Runtime::new().unwrap(), support::postgres::Cluster::start());
    let config = StoreConfig::Postgres { url: SecretString::from(cluster.url()) };
    agrees(&runtime, &runtime.block_on(Install::new(config, 2)), 10);
}

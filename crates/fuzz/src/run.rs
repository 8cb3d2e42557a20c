//! Runs a target until its time is up.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseResult, TestError, TestRunner},
};
use std::{
    cell::Cell,
    env,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// All targets together take less than a minute by this, one after another.
const DEFAULT_TIME: Duration = Duration::from_millis(1_500);

/// Inputs between two looks at what else is to be done.
const BATCH: u32 = 256;

/// How often a line says how far a target has come.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A failing input is made smaller for this long at most, in milliseconds.
const SHRINK_FOR_MS: u32 = 30_000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Gives inputs to `property` until the time is up. What fails is kept in the file `kept`.
///
/// # Panics
/// When an input fails, with that input made small and the seed that leads to it.
#[allow(clippy::panic, clippy::print_stdout, reason = "a test fails by panicking, and says how far it has come")]
pub fn run<S: Strategy>(name: &str, kept: &'static str, strategy: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    let time = number("FUZZ_SECONDS").map_or(DEFAULT_TIME, Duration::from_secs);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
    let began = Instant::now();
    let tried = Cell::new(0u64);
    let mut told = began;
    println!("{name}: FUZZ_SEED={seed}, for {time:?}");
    for batch in 0u64.. {
        let config = Config {
            cases: BATCH,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
            source_file: Some(kept),
            rng_seed: RngSeed::Fixed(seed.wrapping_add(batch)),
            max_shrink_time: SHRINK_FOR_MS,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(strategy, |input| {
            // The batch that is under way when the time is up ends without doing more, unless it is the first.
            if batch > 0 && began.elapsed() >= time {
                return Ok(());
            }
            tried.set(tried.get() + 1);
            property(input)
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, input)) => panic!(
                "{name}: {why}\ninput: {input:?}\nTo try it again: run this test, for which {kept} keeps it, or set \
                 FUZZ_SEED={seed}"
            ),
            Err(TestError::Abort(why)) => panic!("{name}: {why}"),
        }
        if began.elapsed() >= time {
            break;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!("{name}: {} inputs in {:.0?} of {time:?}", tried.get(), began.elapsed());
        }
    }
    println!("{name}: {} inputs in {:.1?}, none failed", tried.get(), began.elapsed());
}

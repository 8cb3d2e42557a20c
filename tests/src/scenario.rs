//! Several checks on one set-up. Runners start each test in a process of its own, and setting up costs seconds.

use std::{any::Any, future::Future, time::Instant};

/// Runs checks one after the other; all of them, whatever fails, and panics at the end with what failed.
#[derive(Default)]
pub struct Scenarios {
    failures: Vec<String>,
}

impl Scenarios {
    /// Runs one.
    pub async fn run<F>(&mut self, name: &str, check: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let start = Instant::now();
        let result = tokio::spawn(check).await;
        let took = start.elapsed();
        match result {
            Ok(()) => eprintln!("ok   {name} ({took:.1?})"),
            Err(error) => {
                let text = if error.is_panic() {
                    panic_text(error.into_panic().as_ref())
                } else {
                    "it was cancelled".to_owned()
                };
                eprintln!("FAIL {name} ({took:.1?}): {text}");
                self.failures.push(format!("{name}: {text}"));
            }
        }
    }

    /// Panics if something failed.
    pub fn end(self) {
        assert!(self.failures.is_empty(), "{} failed:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

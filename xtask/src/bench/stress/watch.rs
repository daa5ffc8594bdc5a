//! Whether the admin API answers while the rest is under load: asked ten times a second, on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::admin;
use crate::bench::histogram::Histogram;
use crate::shell::Outcome;

/// From one question to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the admin API did meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// Of good answers, connecting included.
    pub(super) answers: Histogram,
    /// No answer, or not a good one.
    pub(super) failures: u64,
    pub(super) last_failure: String,
}

/// The asking thread.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Watched>,
}

impl Watch {
    pub(super) fn start(socket: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let ask = move || match admin::ask(&socket, "GET", "/api/v1/status", "") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(message) => Err(message),
        };
        Self { stop, thread: thread::spawn(move || watch(&seen, ask)) }
    }

    pub(super) fn finish(self) -> Outcome<Watched> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the watching thread panicked".to_owned())
    }
}

impl Watched {
    /// The longest answer, in milliseconds; what failed is longer than anything.
    pub(super) fn worst_ms(&self) -> f64 {
        if self.failures > 0 { f64::INFINITY } else { self.answers.max_ms() }
    }
}

fn watch(stop: &AtomicBool, ask: impl Fn() -> Outcome) -> Watched {
    let mut watched = Watched::default();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match ask() {
            Ok(()) => watched.answers.record(asked.elapsed().as_micros() as u64),
            Err(message) => {
                watched.failures += 1;
                watched.last_failure = message;
            }
        }
        sleep(INTERVAL.saturating_sub(asked.elapsed()));
    }
    watched
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_failure_is_worse_than_any_wait() {
        let stop = AtomicBool::new(false);
        let turn = Cell::new(0);
        let answers = |fails: bool| {
            turn.set(0);
            stop.store(false, Ordering::Relaxed);
            watch(&stop, || {
                turn.set(turn.get() + 1);
                stop.store(turn.get() == 2, Ordering::Relaxed);
                if fails && turn.get() == 1 { Err("deaf".to_owned()) } else { Ok(()) }
            })
        };
        let good = answers(false);
        assert!(good.answers.total() == 2 && good.worst_ms() < 1e9);
        let bad = answers(true);
        assert_eq!((bad.failures, &*bad.last_failure, bad.worst_ms()), (1, "deaf", f64::INFINITY));
    }
}

//! A time limit that only counts time in which this thread was awake.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The limit is waited for in so many parts, and this thread looks at its sockets at least once in each.
const PARTS: u32 = 8;
/// A part that ends so much too late (in parts) tells that this thread stood still.
const STALL_PARTS: u32 = 2;
/// After a stall the whole limit begins anew, but not for ever.
const FRESH_STARTS: u32 = 4;

/// What came of waiting.
#[derive(Debug)]
pub(crate) struct Waited<T> {
    /// The future's output; `None` when the time was over.
    pub(crate) output: Option<T>,
    /// Whether this thread stood still for a quarter of the limit or longer at one time. What went wrong meanwhile
    /// may be our fault: the answer lay there, and nobody looked.
    pub(crate) stalled: bool,
}

/// Waits for the future's output for at most `limit`, not counting the time that this thread was kept from
/// running. A timer that fires late must not look like a peer that is slow: after a pause of the machine, or
/// a task that held this thread, every peer would look so at once (F37).
pub(crate) async fn patiently<F: Future>(limit: Duration, future: F) -> Waited<F::Output> {
    let mut future = pin!(future);
    let part = limit / PARTS;
    let (mut waited, mut fresh_starts, mut stalled) = (0, 0, false);
    let mut until = Instant::now() + part;
    loop {
        // The future is looked at before the time, so what came during a stall is seen.
        let output = timeout_at(until, future.as_mut()).await;
        let late = Instant::now().saturating_duration_since(until);
        let is_stall = late > part * STALL_PARTS;
        stalled |= is_stall;
        if let Ok(output) = output {
            return Waited { output: Some(output), stalled };
        }
        waited += 1;
        until += part;
        if is_stall && fresh_starts < FRESH_STARTS {
            fresh_starts += 1;
            waited = 0;
            until = Instant::now() + part;
        }
        if waited >= PARTS {
            return Waited { output: None, stalled };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::thread;
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn an_undisturbed_wait_lasts_as_long_as_was_said() {
        let began = Instant::now();
        let waited = patiently(LIMIT, pending::<()>()).await;
        assert!(waited.output.is_none());
        assert!(began.elapsed() >= LIMIT);
        assert!(waited.stalled || began.elapsed() < LIMIT * 3, "{:?}", began.elapsed());
        assert_eq!(patiently(LIMIT, ready(7)).await.output, Some(7));
    }

    #[tokio::test]
    async fn after_a_stall_the_time_begins_anew() {
        let answer = async {
            sleep(LIMIT * 3 / 4).await;
            thread::sleep(LIMIT * 2);
            // The time is long over, and yet there is enough left for an answer that takes some turns more.
            sleep(LIMIT * 3 / 4).await;
            "answer"
        };
        let waited = patiently(LIMIT, answer).await;
        assert_eq!(waited.output, Some("answer"));
        assert!(waited.stalled);
    }

    #[tokio::test]
    async fn an_answer_in_the_very_moment_of_waking_is_known_to_be_late() {
        let waited = patiently(LIMIT, async { thread::sleep(LIMIT * 2) }).await;
        assert!(waited.output.is_some() && waited.stalled);
    }

    #[tokio::test]
    async fn endless_stalls_end_all_the_same() {
        let stalls = async {
            loop {
                sleep(Duration::from_millis(1)).await;
                thread::sleep(LIMIT / 2);
            }
        };
        let waited: Waited<()> = patiently(LIMIT, stalls).await;
        assert!(waited.output.is_none() && waited.stalled);
    }
}

//! What real traffic saw, on its way to the registry.

use std::collections::HashMap;
use std::time::Duration;

use evenkeel_base::{PoolName, TargetId};
use evenkeel_health::Outcome;
use evenkeel_state::{Pool, Registry, Snapshot, Totals};
use tokio::time::{MissedTickBehavior, interval};

/// How often the planes' counters are read: a share of errors is found within a blink, at the price of adding
/// up some forty numbers per target and worker four times a second.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Feeds the planes' signals to the registry.
pub(crate) async fn take_signals(registry: &Registry) {
    let Some(mut signals) = registry.take_signals() else { return };
    while let Some(signal) = signals.recv().await {
        registry.handle(signal.pool.as_str(), signal.target, Outcome::ConnectErrors(signal.streak));
    }
}

/// Feeds what the planes counted to the registry, for pools that judge by it.
pub(crate) async fn sample(registry: &Registry) {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = Sampler::default();
    loop {
        ticks.tick().await;
        for (pool, target, outcome) in sampler.take(&registry.snapshot()) {
            registry.handle(pool.as_str(), target, outcome);
        }
    }
}

/// The counts as of the last sample.
#[derive(Debug, Default)]
struct Sampler {
    last: HashMap<TargetId, Counts>,
}

/// What came of a target's requests, summed over its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    answers: u64,
    answers_5xx: u64,
    /// Tries without a valid answer.
    unanswered: u64,
}

impl Counts {
    fn of(totals: &Totals) -> Self {
        Self {
            answers: totals.answers.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            answers_5xx: totals.answers[4],
            unanswered: totals.failures,
        }
    }
}

impl Sampler {
    /// What came since the last sample. The first one of a target is where counting begins: what happened before
    /// the pool judged by it is not held against the target.
    fn take(&mut self, snapshot: &Snapshot) -> Vec<(PoolName, TargetId, Outcome)> {
        let mut counts = HashMap::with_capacity(self.last.len());
        let mut outcomes = Vec::new();
        for pool in snapshot.pools.values().filter(|pool| is_judged(pool)) {
            for target in pool.targets.iter().filter(|target| !target.emergency) {
                let now = Counts::of(&target.live.totals());
                counts.insert(target.id, now);
                let Some(outcome) = self.last.get(&target.id).and_then(|last| increment(*last, now)) else {
                    continue;
                };
                outcomes.push((pool.name().clone(), target.id, outcome));
            }
        }
        self.last = counts;
        outcomes
    }
}

fn is_judged(pool: &Pool) -> bool {
    pool.config.passive.as_ref().is_some_and(|passive| passive.http_5xx_percent > 0)
}

/// A try without a valid answer counts as a 5xx, since that is what a client gets for it. A target that never
/// answered by HTTP has no share of 5xx: its failures are dials, which have a limit of their own.
fn increment(last: Counts, now: Counts) -> Option<Outcome> {
    let unanswered = now.unanswered.saturating_sub(last.unanswered);
    let requests = now.answers.saturating_sub(last.answers).saturating_add(unanswered);
    let failures_5xx = now.answers_5xx.saturating_sub(last.answers_5xx).saturating_add(unanswered);
    (now.answers > 0 && requests > 0).then_some(Outcome::Answers { requests, failures_5xx })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(answers: [u64; 5], failures: u64) -> Totals {
        Totals { answers, failures, ..Totals::default() }
    }

    #[test]
    fn a_request_without_an_answer_counts_as_a_server_error() {
        let last = Counts::of(&totals([0, 10, 0, 0, 2], 1));
        let now = Counts::of(&totals([0, 14, 1, 1, 3], 4));
        assert_eq!(increment(last, now), Some(Outcome::Answers { requests: 10, failures_5xx: 4 }));
        assert_eq!(increment(now, now), None, "nothing happened, nothing is told");
    }

    #[test]
    fn dials_that_fail_are_no_share_of_answers() {
        let (none, failed) = (Counts::of(&totals([0; 5], 0)), Counts::of(&totals([0; 5], 99)));
        assert_eq!(increment(none, failed), None);
        // Nor are they held against the target once it answers.
        let answered = Counts::of(&totals([0, 1, 0, 0, 0], 99));
        assert_eq!(increment(failed, answered), Some(Outcome::Answers { requests: 1, failures_5xx: 0 }));
    }
}

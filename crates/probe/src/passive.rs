//! What real traffic saw, on its way to the registry.

use std::collections::HashSet;
use std::time::Duration;

use evenkeel_base::{IdMap, PoolName, TargetId};
use evenkeel_health::Outcome;
use evenkeel_state::{Pool, Registry, Snapshot};
use tokio::time::{MissedTickBehavior, interval};

/// How often the planes' counters are read: a share of errors is found soon, at the price of adding up six numbers per
/// target and worker four times a second.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Of more targets than so many, each is looked at every second or fourth time only.
const AT_ONCE: usize = 2_500;
/// But at least once a second.
const MOST_TURNS: usize = 4;

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
        for (pool, outcomes) in sampler.take(&registry.snapshot()) {
            registry.handle_all(pool.as_str(), outcomes);
        }
    }
}

/// The counts as of the last sample.
#[derive(Debug, Default)]
struct Sampler {
    last: IdMap<TargetId, Counts>,
    /// Of the snapshot that they were taken from.
    generation: u64,
    ticks: usize,
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
    fn of((answers, unanswered): ([u64; 5], u64)) -> Self {
        let sum = answers.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        Self { answers: sum, answers_5xx: answers[4], unanswered }
    }
}

impl Sampler {
    /// What came since the last sample. The first one of a target is where counting begins: what happened before
    /// the pool judged by it is not held against the target.
    fn take(&mut self, snapshot: &Snapshot) -> Vec<(PoolName, Vec<(TargetId, Outcome)>)> {
        let pools: Vec<&Pool> =
            snapshot.pools.values().map(|pool| &**pool).filter(|pool| is_judged(pool)).collect();
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            let ids: HashSet<_> =
                pools.iter().flat_map(|pool| &pool.targets).map(|target| target.id).collect();
            self.last.retain(|id, _| ids.contains(id));
        }
        let targets = pools.iter().map(|pool| pool.targets.len()).sum::<usize>();
        let turns = targets.div_ceil(AT_ONCE).clamp(1, MOST_TURNS);
        self.ticks += 1;
        // Counted over all pools, so that many small ones are not all looked at in the same turn.
        let mut first = self.ticks % turns;
        let mut outcomes = Vec::new();
        for pool in pools {
            let targets = pool.targets.iter().skip(first).step_by(turns).filter(|target| !target.emergency);
            first = (first + turns - pool.targets.len() % turns) % turns;
            let of_pool = targets.filter_map(|target| {
                let now = Counts::of(target.live.answers());
                let last = self.last.insert(target.id, now);
                Some((target.id, increment(last?, now)?))
            });
            let of_pool: Vec<_> = of_pool.collect();
            if !of_pool.is_empty() {
                outcomes.push((pool.name().clone(), of_pool));
            }
        }
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

    #[test]
    fn a_request_without_an_answer_counts_as_a_server_error() {
        let last = Counts::of(([0, 10, 0, 0, 2], 1));
        let now = Counts::of(([0, 14, 1, 1, 3], 4));
        assert_eq!(increment(last, now), Some(Outcome::Answers { requests: 10, failures_5xx: 4 }));
        assert_eq!(increment(now, now), None, "nothing happened, nothing is told");
    }

    #[test]
    fn dials_that_fail_are_no_share_of_answers() {
        let (none, failed) = (Counts::of(([0; 5], 0)), Counts::of(([0; 5], 99)));
        assert_eq!(increment(none, failed), None);
        // Nor are they held against the target once it answers.
        let answered = Counts::of(([0, 1, 0, 0, 0], 99));
        assert_eq!(increment(failed, answered), Some(Outcome::Answers { requests: 1, failures_5xx: 0 }));
    }
}

//! What it costs to judge one of so many targets.

use std::time::Duration;

use divan::{Bencher, black_box};
use evenkeel_base::{Reason, SplitMix64};
use evenkeel_health::{Outcome, PassivePolicy, Policy, PoolHealth, ProbePolicy};

use crate::size;

const TARGETS: [usize; 3] = [10, 1_000, 10_000];
const TEST: usize = 1_000;

const POLICY: Policy = Policy {
    probe: Some(ProbePolicy { rise: 2, fall: 3 }),
    passive: Some(PassivePolicy {
        connect_errors: 3,
        http_5xx_percent: 50,
        min_requests: 20,
        window: Duration::from_secs(10),
        eject_for: Duration::from_secs(10),
        max_eject_for: Duration::from_secs(300),
        max_ejected_percent: 50,
    }),
};

/// Targets that their probes found up.
fn pool(targets: usize) -> PoolHealth<u32> {
    let mut health = PoolHealth::new(POLICY);
    for key in 0..targets as u32 {
        health.insert(key, Duration::ZERO);
        health.handle(key, Outcome::ProbeOk, Duration::ZERO);
    }
    health
}

/// An outcome of some target, ten microseconds after the last one.
fn handle<const N: usize>(bencher: Bencher<'_, '_>, outcome: impl Fn(u64) -> Outcome) {
    let targets = size(N, TEST);
    let (mut health, mut random, mut count) = (pool(targets), SplitMix64::new(1), 0);
    bencher.bench_local(|| {
        count += 1;
        let (key, now) = (random.below(targets as u64) as u32, Duration::from_micros(10 * count));
        health.handle(black_box(key), outcome(count), now)
    });
}

#[divan::bench(consts = TARGETS)]
fn handle_a_good_probe<const N: usize>(bencher: Bencher<'_, '_>) {
    handle::<N>(bencher, |_| Outcome::ProbeOk);
}

/// Half of the probes fail: verdicts change.
#[divan::bench(consts = TARGETS)]
fn handle_flapping_probes<const N: usize>(bencher: Bencher<'_, '_>) {
    handle::<N>(bencher, |count| match count % 8 {
        0..4 => Outcome::ProbeOk,
        _ => Outcome::ProbeFailed(Reason::ProbeRefused),
    });
}

#[divan::bench(consts = TARGETS)]
fn handle_answers<const N: usize>(bencher: Bencher<'_, '_>) {
    handle::<N>(bencher, |count| Outcome::Answers { requests: 100, failures_5xx: count % 3 });
}

/// A third streak in three ejects; with time the ejections end.
#[divan::bench(consts = TARGETS)]
fn handle_connect_errors<const N: usize>(bencher: Bencher<'_, '_>) {
    handle::<N>(bencher, |count| Outcome::ConnectErrors((count % 3) as u32 + 1));
}

#[divan::bench(consts = TARGETS)]
fn poll_when_nothing_is_due<const N: usize>(bencher: Bencher<'_, '_>) {
    let (mut health, mut count) = (pool(size(N, TEST)), 0);
    bencher.bench_local(|| {
        count += 1;
        health.poll(Duration::from_micros(count))
    });
}

/// Half of the targets come back at once.
#[divan::bench(consts = TARGETS, sample_count = 20)]
fn poll_when_half_are_due<const N: usize>(bencher: Bencher<'_, '_>) {
    let targets = size(N, TEST);
    let mut ejected = pool(targets);
    for key in 0..targets as u32 / 2 {
        ejected.handle(key, Outcome::ConnectErrors(3), Duration::from_secs(1));
    }
    let ejected = || ejected.clone();
    bencher.with_inputs(ejected).bench_local_refs(|health| health.poll(Duration::from_secs(60)));
}

//! A pool of fifty flapping targets in virtual time, replayable from the seed that a failure prints.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_base::{Reason, SplitMix64};

use crate::{Outcome, PassivePolicy, Policy, PoolHealth, ProbePolicy, State, first_probe_delay, probe_delay};

const TARGETS: u32 = 50;
const INTERVAL: Duration = Duration::from_secs(2);
const LENGTH: Duration = Duration::from_secs(900);

const POLICY: Policy = Policy {
    probe: Some(ProbePolicy { rise: 2, fall: 3 }),
    passive: Some(PassivePolicy {
        connect_errors: 3,
        http_5xx_percent: 50,
        min_requests: 20,
        window: Duration::from_secs(10),
        eject_for: Duration::from_secs(10),
        max_eject_for: Duration::from_secs(120),
        max_ejected_percent: 40,
    }),
};

/// The truth about a target, which the brain only sees through outcomes.
struct Origin {
    works: bool,
    fails_requests: bool,
    changes_at: Duration,
    probe_at: Duration,
    streak: u32,
}

struct World {
    seed: u64,
    random: SplitMix64,
    now: Duration,
    health: PoolHealth<u32>,
    origins: BTreeMap<u32, Origin>,
    transitions: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut health = PoolHealth::new(POLICY);
        let mut origins = BTreeMap::new();
        for key in 0..TARGETS {
            health.insert(key, Duration::ZERO);
            let probe_at = first_probe_delay(INTERVAL, random.next_u64());
            let changes_at = Duration::from_millis(random.below(30_000));
            let origin = Origin { works: true, fails_requests: false, changes_at, probe_at, streak: 0 };
            origins.insert(key, origin);
        }
        Self { seed, random, now: Duration::ZERO, health, origins, transitions: 0 }
    }

    fn run(&mut self) {
        while self.now < LENGTH {
            self.now += Duration::from_millis(100);
            self.transitions += self.health.poll(self.now).len() as u32;
            for key in 0..TARGETS {
                self.turn(key);
            }
            self.check();
        }
    }

    fn turn(&mut self, key: u32) {
        let now = self.now;
        let Some(origin) = self.origins.get_mut(&key) else { return };
        if origin.changes_at <= now {
            // Every fifth target flaps fast, the others seldom.
            let scale = if key.is_multiple_of(5) { 3_000 } else { 120_000 };
            origin.changes_at = now + Duration::from_millis(500 + self.random.below(scale));
            origin.works = !origin.works;
            origin.fails_requests = self.random.below(4) == 0;
        }
        let mut outcomes = Vec::new();
        if origin.probe_at <= now {
            origin.probe_at = now + probe_delay(INTERVAL, self.random.next_u64());
            outcomes.push(if origin.works {
                Outcome::ProbeOk
            } else {
                Outcome::ProbeFailed(Reason::ProbeTimeout)
            });
        }
        if self.health.state(key).is_some_and(State::is_available) {
            let requests = self.random.below(8);
            if origin.works {
                origin.streak = 0;
                let failures_5xx = if origin.fails_requests { requests } else { 0 };
                outcomes.push(Outcome::Answers { requests, failures_5xx });
            } else if requests > 0 {
                origin.streak += requests as u32;
                outcomes.push(Outcome::ConnectErrors(origin.streak));
            }
        }
        for outcome in outcomes {
            self.transitions += u32::from(self.health.handle(key, outcome, now).is_some());
        }
    }

    fn check(&mut self) {
        let (seed, now) = (self.seed, self.now);
        self.transitions += self.health.poll(now).len() as u32;
        let states: Vec<State> = self.health.states().map(|(_, state)| state).collect();
        let count = |is: fn(&State) -> bool| states.iter().filter(|state| is(state)).count();
        let ejected = count(|state| matches!(state, State::Ejected { .. }));
        let down = count(|state| matches!(state, State::Down { .. }));
        assert!(ejected <= 20, "seed {seed} at {now:?}: {ejected} of 50 ejected");
        let available = self.health.available();
        assert!(available > 0 || down == 50, "seed {seed} at {now:?}: {ejected} ejected and nobody left");
        assert!(self.health.next_deadline().is_none_or(|at| at > now), "seed {seed} at {now:?}: overdue");
        for state in states {
            if let State::Ejected { until, .. } = state {
                assert!(
                    until > now && until <= now + Duration::from_secs(120),
                    "seed {seed} at {now:?}: {until:?}"
                );
            }
        }
    }
}

/// Other seeds than these few: `EVENKEEL_SIM_SEED=… cargo test -p evenkeel-health simulation`.
fn seeds() -> Vec<u64> {
    let wished = std::env::var("EVENKEEL_SIM_SEED").ok().and_then(|text| text.parse().ok());
    wished.map_or_else(|| (1..=6).collect(), |seed| vec![seed])
}

#[test]
fn fifty_flapping_targets_keep_the_pool_alive_and_then_recover() {
    for seed in seeds() {
        let mut world = World::new(seed);
        world.run();
        assert!(
            world.transitions > 200,
            "seed {seed}: only {} transitions, nothing was tried",
            world.transitions
        );
        // Everything is repaired: after the window and the longest ejection all are up.
        for origin in world.origins.values_mut() {
            (origin.works, origin.fails_requests, origin.changes_at) = (true, false, Duration::MAX);
        }
        let end = LENGTH + Duration::from_secs(10 + 120 + 1);
        while world.now < end {
            world.now += Duration::from_millis(100);
            (0..TARGETS).for_each(|key| world.turn(key));
            world.check();
        }
        let unwell: Vec<_> = world.health.states().filter(|(_, state)| *state != State::Up).collect();
        assert!(unwell.is_empty(), "seed {seed}: {unwell:?}");
    }
}

/// F18: the target works every other second, and the probes are as nervous as they can be.
#[test]
fn flapping_at_one_hertz_is_damped() {
    for seed in seeds() {
        let policy = Policy { probe: Some(ProbePolicy { rise: 1, fall: 1 }), passive: None };
        let mut health = PoolHealth::new(policy);
        health.insert(0, Duration::ZERO);
        let mut random = SplitMix64::new(seed);
        let (mut now, mut flips, mut contrary, mut last) = (Duration::ZERO, 0, 0, true);
        while now < Duration::from_secs(600) {
            now += probe_delay(Duration::from_millis(700), random.next_u64());
            let works = now.as_millis() % 2_000 < 1_000;
            contrary += u32::from(works != last);
            last = works;
            let outcome = if works { Outcome::ProbeOk } else { Outcome::ProbeFailed(Reason::ProbeStatus) };
            flips += u32::from(health.handle(0, outcome, now).is_some());
        }
        // Without damping each contrary result would be a flip.
        assert!(contrary > 300 && flips * 10 < contrary, "seed {seed}: {flips} flips of {contrary}");
    }
}

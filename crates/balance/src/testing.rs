//! What the tests of all algorithms share.

use std::cell::Cell;

use proptest::test_runner::{Config, RngSeed};

use crate::member::Member;
use crate::table::{Candidate, Loads, Slot, Ticket};

/// Loads that stand still, and count how often they are asked.
#[derive(Debug)]
pub(crate) struct Stand {
    open: Vec<bool>,
    pub(crate) in_flight: Vec<u32>,
    pub(crate) latency_us: Vec<u32>,
    questions: Cell<u64>,
}

impl Stand {
    pub(crate) fn idle(targets: usize) -> Self {
        Self {
            open: vec![true; targets],
            in_flight: vec![0; targets],
            latency_us: vec![0; targets],
            questions: Cell::new(0),
        }
    }

    pub(crate) fn close(&mut self, slot: u32) {
        self.open[slot as usize] = false;
    }

    pub(crate) fn is_open(&self, slot: Slot) -> bool {
        self.open[slot.0 as usize]
    }

    /// Questions since the last call, or the beginning.
    pub(crate) fn questions(&self) -> u64 {
        self.questions.take()
    }

    fn ask<T>(&self, answer: T) -> T {
        self.questions.set(self.questions.get() + 1);
        answer
    }
}

impl Loads for Stand {
    fn admits(&self, slot: Slot) -> bool {
        self.ask(self.is_open(slot))
    }

    fn in_flight(&self, slot: Slot) -> u32 {
        self.ask(self.in_flight[slot.0 as usize])
    }

    fn in_flight_in_all(&self) -> u64 {
        self.ask(self.in_flight.iter().map(|&count| u64::from(count)).sum())
    }

    fn latency_us(&self, slot: Slot) -> u32 {
        self.ask(self.latency_us[slot.0 as usize])
    }
}

/// A ticket whose parts are all `n`: as poor in entropy as callers can make it.
pub(crate) fn ticket(n: u64) -> Ticket {
    Ticket { sequence: n, hash: n, random: n }
}

/// Available candidates of one priority, with the keys 0, 1, 2, …
pub(crate) fn pool(weights: &[u16]) -> Vec<Candidate> {
    let candidate = |(key, &weight)| Candidate { key, weight, priority: 0, available: true };
    (0..).zip(weights).map(candidate).collect()
}

/// The members of [`pool`].
pub(crate) fn members(weights: &[u16]) -> Vec<Member> {
    (0..).zip(weights).map(|(slot, &weight)| Member { slot: Slot(slot), key: slot.into(), weight }).collect()
}

/// How often each of `targets` slots comes out of `picks` picks; `pick` gets their numbers.
pub(crate) fn shares(targets: usize, picks: u64, mut pick: impl FnMut(u64) -> Option<Slot>) -> Vec<u64> {
    let mut counts = vec![0; targets];
    for n in 0..picks {
        counts[pick(n).unwrap().0 as usize] += 1;
    }
    counts
}

/// So many cases, the same ones every time.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(0x4556_454e), failure_persistence: None, ..Config::default() }
}

//! A target as the planes see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use evenkeel_base::{Reason, TargetAddr, TargetId, Weight, WorkerId};
use evenkeel_health::State;

use crate::cells::{Padded, TargetCell, Totals, in_flight};

/// What an operator wants of a target, apart from its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Serve.
    Enabled,
    /// Finish what is there and keep remembered clients; take nothing else.
    Draining,
    /// Take nothing.
    Disabled,
}

/// Whether a target may be chosen, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It gets work.
    Available,
    /// An operator drains it, or its weight is 0.
    Draining,
    /// An operator disabled it.
    Disabled,
    /// Its name has no address.
    Unresolved,
    /// Probes found it down.
    Down(Reason),
    /// Real traffic found it failing; it is tried again later.
    Ejected(Reason),
}

impl Standing {
    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "up",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
            Self::Unresolved => "unresolved",
            Self::Down(_) => "down",
            Self::Ejected(_) => "ejected",
        }
    }

    /// Every word of [`Standing::as_str`].
    pub const WORDS: [&'static str; 6] = ["up", "draining", "disabled", "unresolved", "down", "ejected"];

    /// Why it is not available.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Available => None,
            Self::Draining => Some(Reason::Drained),
            Self::Disabled => Some(Reason::Disabled),
            Self::Unresolved => Some(Reason::NotResolved),
            Self::Down(reason) | Self::Ejected(reason) => Some(reason),
        }
    }
}

/// One member of a pool, fixed for the life of a snapshot.
#[derive(Debug)]
pub struct Target {
    /// Unique in this process.
    pub id: TargetId,
    /// As written.
    pub address: TargetAddr,
    /// What to dial, in order; one for a literal address, none for a unix path or an unresolved name.
    pub resolved: Arc<[SocketAddr]>,
    /// Its share.
    pub weight: Weight,
    /// Lower is preferred.
    pub priority: u16,
    /// Leases at once.
    pub max_connections: Option<u32>,
    /// What the operator wants.
    pub duty: Duty,
    /// What its health says.
    pub health: State,
    /// Whether it is the pool's emergency target.
    pub emergency: bool,
    /// Counts that outlive the snapshot.
    pub live: Arc<TargetLive>,
}

impl Target {
    /// Whether it may be chosen, and why not.
    pub fn standing(&self) -> Standing {
        match self.duty {
            Duty::Disabled => return Standing::Disabled,
            Duty::Draining => return Standing::Draining,
            Duty::Enabled => {}
        }
        if matches!(self.address, TargetAddr::Name { .. }) && self.resolved.is_empty() {
            return Standing::Unresolved;
        }
        match self.health {
            State::Down { reason } => Standing::Down(reason),
            State::Ejected { reason, .. } => Standing::Ejected(reason),
            State::Unknown | State::Up if self.weight == Weight::ZERO => Standing::Draining,
            State::Unknown | State::Up => Standing::Available,
        }
    }

    /// Whether a remembered client may still be served here.
    pub fn serves_remembered(&self) -> bool {
        matches!(self.standing(), Standing::Available | Standing::Draining)
    }
}

/// What outlives snapshots of a target.
#[derive(Debug)]
pub struct TargetLive {
    /// Leases held, counted only when the target has a limit: exactness costs a shared atomic.
    pub(crate) limited: AtomicU32,
    /// Failures in a row as the data path sees them.
    pub(crate) failures_in_a_row: AtomicU32,
    /// For `peak-ewma`.
    pub(crate) latency: KnownLatency,
    cells: Box<[Padded<TargetCell>]>,
}

impl TargetLive {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            limited: AtomicU32::new(0),
            failures_in_a_row: AtomicU32::new(0),
            latency: KnownLatency::default(),
            cells: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// The cell that this worker writes.
    #[inline]
    pub fn cell(&self, worker: WorkerId) -> &TargetCell {
        &self.cells[usize::from(worker.0)]
    }

    /// Sums over all workers.
    pub fn totals(&self) -> Totals {
        Totals::of(self.cells.iter().map(|cell| &cell.0))
    }

    /// Answers by class, and tries without one: what a target is judged by, over all workers.
    pub fn answers(&self) -> ([u64; 5], u64) {
        let mut sum = ([0; 5], 0);
        for cell in &self.cells {
            for (total, answers) in sum.0.iter_mut().zip(&cell.answers) {
                *total += answers.read();
            }
            sum.1 += cell.failures.read();
        }
        sum
    }

    /// Leases taken so far, less those that were given up and taken elsewhere: retries must not enlarge the budget
    /// that they are paid from.
    pub fn first_tries(&self) -> u64 {
        let of = |cell: &Padded<TargetCell>| cell.started.read().saturating_sub(cell.retries.read());
        self.cells.iter().map(of).sum()
    }

    /// Leases held now.
    pub fn in_flight(&self) -> u32 {
        let sum: u64 = self.cells.iter().map(|cell| in_flight(&cell.started, &cell.ended)).sum();
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    /// Failures in a row as of now.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row.load(Relaxed)
    }
}

/// How long a target takes to answer, as `peak-ewma` knows it: a slower answer counts at once, a faster one by an
/// eighth, and what is known halves with each second without an answer (Finagle's Peak EWMA decays by time, too).
/// Otherwise a target that was slow once would never again get the request that shows it is not.
#[derive(Debug, Default)]
pub(crate) struct KnownLatency {
    /// In microseconds, and below when the last answer came, in quarters of a second: one word, so that they agree.
    us_and_time: AtomicU64,
}

impl KnownLatency {
    /// In microseconds; 0 is unknown.
    pub(crate) fn known_us(&self, now: Duration) -> u32 {
        let word = self.us_and_time.load(Relaxed);
        let us = (word >> 32) as u32;
        let idle_seconds = quarters(now).saturating_sub(word as u32) / 4;
        if us == 0 { 0 } else { us.checked_shr(idle_seconds).unwrap_or(0).max(1) }
    }

    /// An answer took so long. Of two that come at once, one is forgotten.
    pub(crate) fn learn(&self, us: u64, now: Duration) {
        let (old, new) = (u64::from(self.known_us(now)), us.max(1));
        let mean = if new > old { new } else { old - (old - new) / 8 };
        let word = mean.min(u64::from(u32::MAX)) << 32 | u64::from(quarters(now));
        self.us_and_time.store(word, Relaxed);
    }
}

/// Enough for 34 years; later is as late as that.
fn quarters(now: Duration) -> u32 {
    u32::try_from(now.as_millis() / 250).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn slower_answers_count_at_once_and_faster_ones_by_an_eighth() {
        let latency = KnownLatency::default();
        assert_eq!(latency.known_us(at(9)), 0);
        latency.learn(800, at(9));
        latency.learn(1600, at(9));
        assert_eq!(latency.known_us(at(9)), 1600);
        latency.learn(0, at(9));
        assert_eq!(latency.known_us(at(9)), 1401);
    }

    #[test]
    fn what_is_known_fades_and_stays_known() {
        let latency = KnownLatency::default();
        latency.learn(1 << 20, at(100));
        assert_eq!([100, 101, 103].map(|t| latency.known_us(at(t))), [1 << 20, 1 << 19, 1 << 17]);
        assert_eq!([120, 1_000, u64::MAX].map(|t| latency.known_us(at(t))), [1, 1, 1]);
        assert_eq!(latency.known_us(at(50)), 1 << 20, "the past counts as then");
        latency.learn(u64::MAX, Duration::MAX);
        assert_eq!(latency.known_us(Duration::ZERO), u32::MAX);
    }
}

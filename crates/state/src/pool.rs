//! A pool as the planes see it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_balance::{Slot, Table};
use evenkeel_base::{IdMap, PoolName, TargetId, WorkerId};
use evenkeel_health::RetryBudget;
use tokio::sync::{Notify, mpsc};

use crate::cells::{Padded, PoolCell, in_flight};
use crate::clients::ClientTables;
use crate::registry::Signal;
use crate::target::{Standing, Target, TargetLive};

/// A pool, fixed for the life of a snapshot.
#[derive(Debug)]
pub struct Pool {
    /// As checked.
    pub config: Arc<evenkeel_config::Pool>,
    /// Every member in the order of the file; the emergency target, if any, is the last.
    pub targets: Vec<Arc<Target>>,
    /// The same members in the same order: what every request asks of them.
    pub(crate) seats: Box<[Seat]>,
    /// Where each member is, when the pool has affinity.
    pub(crate) slots: IdMap<TargetId, Slot>,
    /// Counts that outlive the snapshot.
    pub live: Arc<PoolLive>,
    /// Where each client was sent, when the pool has affinity.
    pub clients: Option<Arc<ClientTables>>,
    /// Counts up each time the pool is built.
    pub(crate) version: u64,
    /// See [`Target::tier`].
    pub(crate) tiers: [Table; TIERS],
}

/// What every request asks of a target. Seats lie side by side, so that one of thousands costs a request a cache line
/// shared with its neighbours rather than those of the whole [`Target`].
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) live: Arc<TargetLive>,
    pub(crate) id: TargetId,
    /// Leases at once; [`Seat::UNLIMITED`] is any number.
    pub(crate) most: u32,
}

impl Seat {
    pub(crate) const UNLIMITED: u32 = u32::MAX;

    pub(crate) fn of(target: &Target) -> Self {
        let most = target.max_connections.unwrap_or(Self::UNLIMITED);
        Self { live: Arc::clone(&target.live), id: target.id, most }
    }

    #[inline]
    pub(crate) fn is_limited(&self) -> bool {
        self.most != Self::UNLIMITED
    }
}

/// Tried in this order: the available targets, the emergency target, the ejected ones (their verdict is only a
/// suspicion), and with `fail_open` those that probes found down.
pub(crate) const TIERS: usize = 4;

impl Target {
    /// Which tier of its pool it is in; `None` is none.
    pub(crate) fn tier(&self, fail_open: bool) -> Option<usize> {
        match self.standing() {
            Standing::Available if self.emergency => Some(1),
            Standing::Available => Some(0),
            Standing::Ejected(_) => Some(2),
            Standing::Down(_) if fail_open => Some(3),
            _ => None,
        }
    }
}

impl Pool {
    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.config.name
    }

    /// The member with this identity.
    pub fn target(&self, id: TargetId) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.id == id)
    }

    /// How many members may be chosen now.
    pub fn available(&self) -> usize {
        self.targets.iter().filter(|t| !t.emergency && t.standing() == Standing::Available).count()
    }
}

/// What outlives snapshots of a pool.
#[derive(Debug)]
pub struct PoolLive {
    /// Shared by all workers, so that equal weights alternate exactly over all of them.
    pub(crate) sequence: Padded<AtomicU64>,
    /// Leases held, counted only when the pool has a limit.
    pub(crate) limited: Padded<AtomicU32>,
    /// Requests and connections waiting for a lease.
    pub(crate) waiting: Padded<AtomicU32>,
    /// Rung when a lease ends while somebody waits.
    pub(crate) freed: Notify,
    /// How often it was rung.
    pub(crate) rings: AtomicU64,
    /// The version that is published now.
    pub(crate) version: AtomicU64,
    pub(crate) signals: mpsc::Sender<Signal>,
    budget: Mutex<RetryBudget>,
    cells: Box<[Padded<PoolCell>]>,
}

/// Retries that are always allowed, so that a pool with little traffic can still fail over.
const FREE_RETRIES_PER_SECOND: u32 = 3;

impl PoolLive {
    pub(crate) fn new(workers: usize, signals: mpsc::Sender<Signal>, budget_percent: u8) -> Self {
        Self {
            sequence: Padded::default(),
            limited: Padded::default(),
            waiting: Padded::default(),
            freed: Notify::new(),
            rings: AtomicU64::new(0),
            version: AtomicU64::new(0),
            signals,
            budget: Mutex::new(RetryBudget::new(budget_percent, FREE_RETRIES_PER_SECOND)),
            cells: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// The cell that this worker writes.
    #[inline]
    pub(crate) fn cell(&self, worker: WorkerId) -> &PoolCell {
        &self.cells[usize::from(worker.0)]
    }

    /// Leases held now, on all targets.
    pub(crate) fn in_flight(&self) -> u64 {
        self.cells.iter().map(|cell| in_flight(&cell.started, &cell.ended)).sum()
    }

    /// Says that this version of the pool is published: whoever waits by an older one looks it up again.
    pub(crate) fn published(&self, version: u64) {
        if self.version.swap(version, SeqCst) != version {
            self.freed.notify_waiters();
        }
    }

    /// How many requests or connections wait for a lease now.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether the pool's retry budget admits one more retry. Called only when something failed; `requests` is
    /// the number of requests so far, which the budget's share is taken of.
    pub(crate) fn admits_retry(&self, requests: u64, now: Duration) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.observe_total(requests, now);
        budget.try_retry(now)
    }

    pub(crate) fn set_budget(&self, percent: u8) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.set_limits(percent, FREE_RETRIES_PER_SECOND);
    }
}

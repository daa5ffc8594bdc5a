//! The right to use a target once, and the queue for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use evenkeel_balance::{Algorithm, Slot};
use evenkeel_base::{Reason, TargetId, WorkerId};

use crate::cells::TargetCell;
use crate::choose::{Caller, Refused, Tried, give_back};
use crate::pool::{Pool, Seat};
use crate::registry::{Signal, uptime};
use crate::target::Target;

/// The right to use a target once. Counts as in flight until it is dropped, and reports what came of it.
#[derive(Debug)]
pub struct Lease<'p> {
    pool: &'p Pool,
    slot: Slot,
    worker: WorkerId,
    /// Whether a place of the target, and of the pool, was taken: a limit may differ in the next snapshot.
    counted: (bool, bool),
    /// A client that belongs here again if this works.
    pub(crate) returning: Option<IpAddr>,
}

impl<'p> Lease<'p> {
    pub(crate) fn begin(pool: &'p Pool, slot: Slot, worker: WorkerId) -> Self {
        let seat = &pool.seats[slot.0 as usize];
        seat.live.cell(worker).started.add(1);
        pool.live.cell(worker).started.add(1);
        let counted = (seat.is_limited(), pool.config.limits.connections.is_some());
        Self { pool, slot, worker, counted, returning: None }
    }

    #[inline]
    fn seat(&self) -> &'p Seat {
        &self.pool.seats[self.slot.0 as usize]
    }

    /// Whose right it is.
    #[inline]
    pub fn id(&self) -> TargetId {
        self.seat().id
    }

    /// Where to go; [`Lease::id`] and [`Lease::cell`] are nearer at hand.
    #[inline]
    pub fn target(&self) -> &'p Arc<Target> {
        &self.pool.targets[self.slot.0 as usize]
    }

    /// Its place in the pool, for [`Tried`].
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// This worker's counters for the target.
    #[inline]
    pub fn cell(&self) -> &'p TargetCell {
        self.seat().live.cell(self.worker)
    }

    /// The target did what was asked: a streak of failures ends.
    #[inline]
    pub fn succeeded(&self) {
        let streak = &self.seat().live.failures_in_a_row;
        // Read first: in the steady state nobody writes here, and the line stays shared between workers.
        if streak.load(Relaxed) != 0 {
            streak.store(0, Relaxed);
        }
        if let (Some(ip), Some(clients)) = (self.returning, &self.pool.clients) {
            clients.remember(ip, self.id(), uptime());
        }
    }

    /// The target could not be reached, or gave no answer.
    pub fn failed(&self, reason: Reason) {
        self.cell().failures.add(1);
        // Want of our own descriptors or ports says nothing about the target.
        if matches!(reason, Reason::Overloaded | Reason::LocalPortsExhausted) {
            return;
        }
        let streak = self.seat().live.failures_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        let limit = self.pool.config.passive.as_ref().map_or(0, |passive| passive.connect_errors);
        if limit != 0 && streak >= u32::from(limit) {
            let signal = Signal { pool: self.pool.name().clone(), target: self.id(), streak };
            // Full means that the control side has plenty to do already; the next failure says it again.
            let _ = self.pool.live.signals.try_send(signal);
        }
    }

    /// The head of a final answer came after so long.
    #[inline]
    pub fn answered(&self, status: u16, latency_us: u64) {
        let cell = self.cell();
        let class = usize::from((status / 100).clamp(1, 5) - 1);
        cell.answers[class].add(1);
        cell.latency.record(latency_us);
        self.learn(latency_us);
        self.succeeded();
    }

    /// The connection that was asked for stands after so long (TCP).
    pub fn connected(&self, latency_us: u64) {
        self.cell().connects.add(1);
        self.cell().latency.record(latency_us);
        self.learn(latency_us);
        self.succeeded();
    }

    #[inline]
    fn learn(&self, latency_us: u64) {
        if self.pool.config.algorithm == Algorithm::PeakEwma {
            self.seat().live.latency.learn(latency_us, uptime());
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.cell().ended.add(1);
        self.pool.live.cell(self.worker).ended.add(1);
        if self.counted.0 {
            give_back(&self.seat().live.limited);
        }
        if self.counted.1 {
            give_back(&self.pool.live.limited);
        }
        if (self.counted.0 || self.counted.1) && self.pool.live.waiting.load(SeqCst) > 0 {
            self.pool.live.rings.fetch_add(1, SeqCst);
            self.pool.live.freed.notify_one();
        }
    }
}

/// What [`Pool::lease`] gives: a lease, or a place in the queue.
#[derive(Debug)]
pub enum Turn<'p> {
    /// Go.
    Now(Lease<'p>),
    /// Every target is at its limit: await [`Waiting::next`], with the pool's `queue_timeout` around it.
    Wait(Waiting<'p>),
}

/// A place in the pending queue; leaving it is dropping it.
#[derive(Debug)]
pub struct Waiting<'p> {
    pool: &'p Pool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.live.waiting.fetch_sub(1, SeqCst);
    }
}

impl Pool {
    /// A lease, a place in the queue, or the reason why neither.
    pub fn lease(&self, caller: &Caller, tried: &Tried) -> Result<Turn<'_>, Reason> {
        let nobody_waits = self.live.waiting.load(Relaxed) == 0;
        if nobody_waits || !self.has_limits() {
            match self.choose(caller, tried) {
                Ok(lease) => return Ok(Turn::Now(lease)),
                Err(Refused::NoTarget) => return Err(Reason::NoTarget),
                Err(Refused::Saturated) => {}
            }
        }
        let before = self.live.waiting.fetch_add(1, SeqCst);
        let waiting = Waiting { pool: self };
        if before >= self.config.limits.pending {
            return Err(Reason::QueueFull);
        }
        Ok(Turn::Wait(waiting))
    }

    fn has_limits(&self) -> bool {
        self.config.limits.connections.is_some() || self.seats.iter().any(Seat::is_limited)
    }

    /// Whether one more retry fits the pool's budget.
    pub fn admits_retry(&self, now: std::time::Duration) -> bool {
        let requests = self.seats.iter().map(|seat| seat.live.first_tries()).sum();
        self.live.admits_retry(requests, now)
    }
}

impl<'p> Waiting<'p> {
    /// Waits for a place. First come, first served, but for a place that a newcomer took in between, and for one
    /// at a target that this request has tried already: the ring is passed on then, once by each who waits.
    ///
    /// `None`: the pool has been built anew meanwhile – a target came, went or drains – so the caller looks it up
    /// again (see [`Worker::pool`](crate::Worker::pool)) and asks the new one.
    pub async fn next(&self, caller: &Caller, tried: &Tried) -> Result<Option<Lease<'p>>, Reason> {
        let mut passed_on = self.pool.live.rings.load(SeqCst);
        loop {
            let freed = self.pool.live.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // In line before looking: a place freed from here on is not missed.
            freed.as_mut().enable();
            if self.pool.live.version.load(SeqCst) != self.pool.version {
                return Ok(None);
            }
            match self.pool.choose(caller, tried) {
                Ok(lease) => return Ok(Some(lease)),
                Err(Refused::NoTarget) => return Err(Reason::NoTarget),
                Err(Refused::Saturated) => {
                    let ring = self.pool.live.rings.load(SeqCst);
                    if ring != passed_on {
                        passed_on = ring;
                        self.pool.live.freed.notify_one();
                    }
                    freed.await;
                }
            }
        }
    }
}

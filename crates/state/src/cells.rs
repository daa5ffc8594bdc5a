//! Counters that one worker writes and the control side reads.
//!
//! A cell belongs to one worker: it adds with a plain load and store, without a locked instruction. Readers
//! add the workers' cells up; a sum may lag by the increments of the moment, and never goes back.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use evenkeel_base::Reason;

/// Keeps its content on cache lines of its own; 128 bytes, since CPUs prefetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> Deref for Padded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A count that only its owning worker increases.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; to be called by the owning worker alone.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What has been begun and not ended.
#[inline]
pub(crate) fn in_flight(begun: &Counter, ended: &Counter) -> u64 {
    // `ended` first: read the other way round, one could end in between and the difference wrap.
    let ended = ended.read();
    begun.read().saturating_sub(ended)
}

/// Upper limits of the latency buckets, in microseconds; one more bucket takes what lies beyond.
pub const BUCKET_LIMITS_US: [u64; 20] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600, 819_200,
    1_638_400, 3_276_800, 6_553_600, 13_107_200, 26_214_400,
];

/// Latencies in buckets that double, with their sum.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Histogram {
    sum_us: Counter,
    buckets: [Counter; BUCKET_LIMITS_US.len() + 1],
}

impl Histogram {
    /// Counts one latency.
    #[inline]
    pub fn record(&self, us: u64) {
        // 50 µs doubles per bucket, so the index is a logarithm.
        let steps = us.saturating_sub(1) / BUCKET_LIMITS_US[0];
        let index = (u64::BITS - steps.leading_zeros()) as usize;
        self.buckets[index.min(BUCKET_LIMITS_US.len())].add(1);
        self.sum_us.add(us);
    }

    /// Adds this cell's counts to `into`.
    pub fn add_to(&self, into: &mut Totals) {
        for (sum, bucket) in into.latency.iter_mut().zip(&self.buckets) {
            *sum += bucket.read();
        }
        into.latency_sum_us += self.sum_us.read();
    }
}

/// What one worker counts for one target.
///
/// In this order, what a usual request counts lies in the first two cache lines: with thousands of targets each line is
/// one that no cache knows.
#[derive(Debug, Default)]
#[repr(C)]
pub struct TargetCell {
    /// Leases taken.
    pub started: Counter,
    /// Leases given back; the difference is in flight.
    pub ended: Counter,
    /// Requests sent over a pooled connection instead of a new one.
    pub reused: Counter,
    /// Bytes sent to the target.
    pub bytes_to: Counter,
    /// Bytes received from the target.
    pub bytes_from: Counter,
    /// Answers by class: 1xx (final 101 only), 2xx, 3xx, 4xx, 5xx.
    pub answers: [Counter; 5],
    /// No valid answer came.
    pub failures: Counter,
    /// From the request's last byte to the answer's head (HTTP), or the time to connect (TCP).
    pub latency: Histogram,
    /// Dials that failed.
    pub connect_errors: Counter,
    /// Dials that succeeded.
    pub connects: Counter,
    /// Tries given up here and made elsewhere.
    pub retries: Counter,
}

/// A sum over workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Leases taken.
    pub started: u64,
    /// Leases now held.
    pub in_flight: u64,
    /// Dials that failed.
    pub connect_errors: u64,
    /// Dials that succeeded.
    pub connects: u64,
    /// Requests over a pooled connection.
    pub reused: u64,
    /// Tries made elsewhere after this target failed.
    pub retries: u64,
    /// Answers by class.
    pub answers: [u64; 5],
    /// Requests without a valid answer.
    pub failures: u64,
    /// Bytes sent to the target.
    pub bytes_to: u64,
    /// Bytes received from it.
    pub bytes_from: u64,
    /// Counts per bucket of [`BUCKET_LIMITS_US`], then the rest; not cumulative.
    pub latency: [u64; BUCKET_LIMITS_US.len() + 1],
    /// Sum of all latencies.
    pub latency_sum_us: u64,
}

impl Totals {
    /// Adds the cells up.
    pub fn of<'c>(cells: impl IntoIterator<Item = &'c TargetCell>) -> Self {
        let mut sum = Self::default();
        for cell in cells {
            sum.started += cell.started.read();
            sum.in_flight += in_flight(&cell.started, &cell.ended);
            sum.connect_errors += cell.connect_errors.read();
            sum.connects += cell.connects.read();
            sum.reused += cell.reused.read();
            sum.retries += cell.retries.read();
            for (total, answers) in sum.answers.iter_mut().zip(&cell.answers) {
                *total += answers.read();
            }
            sum.failures += cell.failures.read();
            sum.bytes_to += cell.bytes_to.read();
            sum.bytes_from += cell.bytes_from.read();
            cell.latency.add_to(&mut sum);
        }
        sum
    }
}

/// What one worker counts for one pool.
#[derive(Debug, Default)]
pub(crate) struct PoolCell {
    /// Leases taken.
    pub(crate) started: Counter,
    /// Leases given back; the difference is in flight.
    pub(crate) ended: Counter,
}

/// What one worker counts for one listener.
#[derive(Debug)]
pub struct ListenerCell {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections ended.
    pub closed: Counter,
    /// Requests read (HTTP).
    pub requests: Counter,
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// Tasks that panicked and were contained.
    pub panics: Counter,
    reasons: [Counter; Reason::ALL.len()],
}

impl Default for ListenerCell {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            closed: Counter::default(),
            requests: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            panics: Counter::default(),
            reasons: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl ListenerCell {
    /// Counts one end of a request or connection by its cause.
    #[inline]
    pub fn count(&self, reason: Reason) {
        self.reasons[reason as usize].add(1);
    }

    /// How often this cause was counted.
    pub fn counted(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize].read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_whose_limit_holds_them() {
        for us in [0, 1, 50, 51, 100, 101, 799, 800, 801, 26_214_400, 26_214_401, u64::MAX / 2] {
            let histogram = Histogram::default();
            histogram.record(us);
            let mut totals = Totals::default();
            histogram.add_to(&mut totals);
            let expected = BUCKET_LIMITS_US.iter().position(|limit| us <= *limit).unwrap_or(20);
            assert_eq!(totals.latency[expected], 1, "{us} µs");
        }
    }

    #[test]
    fn totals_add_workers_up() {
        let cells = [TargetCell::default(), TargetCell::default()];
        cells[0].started.add(3);
        cells[1].started.add(2);
        cells[1].ended.add(1);
        cells[0].answers[4].add(7);
        let totals = Totals::of(&cells);
        assert_eq!((totals.started, totals.in_flight, totals.answers[4]), (5, 4, 7));
    }
}

//! Two counters over a sliding window of time, in bounded memory.

use std::time::Duration;

/// How many steps a window moves in.
const BUCKETS: usize = 10;

/// Sums of two counters over the last `BUCKETS` steps of time, the current one included.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Of one bucket; at least 1.
    width_ns: u64,
    /// Number of the newest bucket since time zero.
    newest: u64,
    buckets: [(u64, u64); BUCKETS],
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        let width_ns = (nanos(length) / BUCKETS as u64).max(1);
        Self { width_ns, newest: 0, buckets: [(0, 0); BUCKETS] }
    }

    pub(crate) fn clear(&mut self) {
        self.buckets = [(0, 0); BUCKETS];
    }

    pub(crate) fn add(&mut self, now: Duration, first: u64, second: u64) {
        let bucket = self.advance(now);
        bucket.0 = bucket.0.saturating_add(first);
        bucket.1 = bucket.1.saturating_add(second);
    }

    /// Both sums over the window that ends at `now`.
    pub(crate) fn sums(&mut self, now: Duration) -> (u64, u64) {
        self.advance(now);
        self.buckets.iter().fold((0, 0), |sum: (u64, u64), bucket| {
            (sum.0.saturating_add(bucket.0), sum.1.saturating_add(bucket.1))
        })
    }

    /// Both counters of the bucket that `now` falls in.
    pub(crate) fn current(&mut self, now: Duration) -> (u64, u64) {
        *self.advance(now)
    }

    /// Empties what `now` has left behind. A `now` in the past counts as the latest one.
    fn advance(&mut self, now: Duration) -> &mut (u64, u64) {
        let number = (nanos(now) / self.width_ns).max(self.newest);
        let steps = number - self.newest;
        if steps >= BUCKETS as u64 {
            self.clear();
        } else {
            for left in 1..=steps {
                self.buckets[place(self.newest + left)] = (0, 0);
            }
        }
        self.newest = number;
        &mut self.buckets[place(number)]
    }
}

fn place(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}

/// 2^64 nanoseconds are 584 years; what is longer counts as that.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn counts_leave_one_bucket_at_a_time() {
        let mut window = Window::new(SECOND(10));
        for t in 0..10 {
            window.add(SECOND(t), 1, 2);
        }
        assert_eq!(window.sums(SECOND(9)), (10, 20));
        assert_eq!(window.sums(SECOND(10)), (9, 18));
        assert_eq!(window.sums(SECOND(18)), (1, 2));
        assert_eq!(window.sums(SECOND(19)), (0, 0));
    }

    #[test]
    fn extremes_neither_panic_nor_wrap() {
        let mut window = Window::new(Duration::ZERO);
        window.add(Duration::ZERO, u64::MAX, 1);
        window.add(Duration::ZERO, u64::MAX, 1);
        assert_eq!(window.sums(Duration::ZERO), (u64::MAX, 2));
        window.add(Duration::MAX, 1, 1);
        assert_eq!(window.sums(Duration::MAX), (1, 1));
        assert_eq!(window.sums(SECOND(1)), (1, 1), "the past counts as the latest time");
        assert_eq!(Window::new(Duration::MAX).sums(Duration::MAX), (0, 0));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_last_ten_buckets(
            steps in prop::collection::vec((0u64..5_000, 0u64..9), 1..60), width_ms in 1u64..700,
        ) {
            let mut window = Window::new(Duration::from_millis(width_ms * 10));
            let (mut seen, mut now) = (Vec::new(), 0);
            for (pause, count) in steps {
                now += pause;
                window.add(Duration::from_millis(now), count, 1);
                seen.push((now / width_ms, count));
                let inside = seen.iter().filter(|(bucket, _)| bucket + 10 > now / width_ms);
                let expected = inside.fold((0, 0), |sum, (_, count)| (sum.0 + count, sum.1 + 1));
                prop_assert_eq!(window.sums(Duration::from_millis(now)), expected);
            }
        }
    }
}

//! How many retries a pool may afford.

use std::time::Duration;

use crate::window::Window;

/// The time over which retries are weighed against requests.
const WINDOW: Duration = Duration::from_secs(10);

/// A bound on retries, so that failing targets do not get more work than working ones (retry storm).
///
/// A retry is granted while the retries of the last 10 s stay within a share of the requests of that time,
/// or while the current second has seen fewer than a minimum: a quiet pool may retry, too. From this
/// follows, for every time span from the start: retries ≤ `percent` % of the requests, plus
/// `min_per_second` for each second. So the targets never see more than (100 + `percent`) % of what the
/// clients sent, plus the minimum.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    percent: u8,
    min_per_second: u32,
    /// Requests, and retries granted.
    seen: Window,
    /// How many requests [`Self::observe_total`] was told of, and when.
    total: (u64, Duration),
}

impl RetryBudget {
    /// Retries may add `percent` to the requests; and `min_per_second` are always granted. Both may be 0.
    pub fn new(percent: u8, min_per_second: u32) -> Self {
        Self { percent, min_per_second, seen: Window::new(WINDOW), total: (0, Duration::ZERO) }
    }

    /// Other limits from now on; what was counted stays.
    pub fn set_limits(&mut self, percent: u8, min_per_second: u32) {
        self.percent = percent;
        self.min_per_second = min_per_second;
    }

    /// Counts a request of a client: its first try, never a retry.
    pub fn on_request(&mut self, now: Duration) {
        self.seen.add(now, 1, 0);
    }

    /// Instead of [`Self::on_request`], for a caller that counts requests by itself and asks only when
    /// something failed: `requests` is their number so far, since the same start as `now`.
    ///
    /// They are taken as spread evenly over the time since the last call, of which only the last 10 s count:
    /// a quiet day saves nothing up for a storm. A smaller number than before counts as a new beginning.
    pub fn observe_total(&mut self, requests: u64, now: Duration) {
        let (before, at) = self.total;
        self.total = (requests, now.max(at));
        let (new, elapsed) = (u128::from(requests.saturating_sub(before)), now.saturating_sub(at));
        let counted = new * WINDOW.as_nanos() / elapsed.max(WINDOW).as_nanos();
        self.seen.add(now, u64::try_from(counted).unwrap_or(u64::MAX), 0);
    }

    /// Whether one retry may be made now; when it may, it is counted.
    pub fn try_retry(&mut self, now: Duration) -> bool {
        let (requests, retries) = self.seen.sums(now);
        let share = u128::from(requests) * u128::from(self.percent);
        let in_share = (u128::from(retries) + 1) * 100 <= share;
        let granted = in_share || self.seen.current(now).1 < u64::from(self.min_per_second);
        if granted {
            self.seen.add(now, 0, 1);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn granted(budget: &mut RetryBudget, now: Duration, tries: u32) -> usize {
        (0..tries).filter(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn a_share_of_the_last_ten_seconds_is_granted() {
        let mut budget = RetryBudget::new(20, 0);
        let second = Duration::from_secs;
        assert_eq!(granted(&mut budget, second(0), 10), 0);
        (0..104).for_each(|_| budget.on_request(second(0)));
        assert_eq!(granted(&mut budget, second(1), 100), 20);
        assert_eq!(granted(&mut budget, second(9), 100), 0);
        (0..5).for_each(|_| budget.on_request(second(9)));
        assert_eq!(granted(&mut budget, second(9), 100), 1);
        // The first requests have left the window; the retries of second 1 have not.
        assert_eq!(granted(&mut budget, second(10), 100), 0);
    }

    #[test]
    fn the_minimum_is_per_second_and_does_not_pile_up() {
        let mut budget = RetryBudget::new(0, 3);
        assert_eq!(granted(&mut budget, Duration::from_secs(5), 100), 3);
        assert_eq!(granted(&mut budget, Duration::from_millis(5_999), 100), 0);
        assert_eq!(granted(&mut budget, Duration::from_secs(60), 100), 3);
    }

    #[test]
    fn nothing_is_granted_when_both_are_zero() {
        let mut budget = RetryBudget::new(0, 0);
        budget.on_request(Duration::ZERO);
        assert!(!budget.try_retry(Duration::ZERO));
    }

    #[test]
    fn totals_count_like_single_requests() {
        let second = Duration::from_secs;
        let mut budget = RetryBudget::new(20, 0);
        budget.observe_total(100, second(2));
        assert_eq!(granted(&mut budget, second(2), 100), 20);
        budget.observe_total(100, second(3));
        assert_eq!(granted(&mut budget, second(3), 100), 0);
        budget.observe_total(150, second(4));
        assert_eq!(granted(&mut budget, second(4), 100), 10);
    }

    #[test]
    fn a_quiet_day_saves_nothing_up_for_a_storm() {
        let mut budget = RetryBudget::new(20, 0);
        let day = Duration::from_secs(86_400);
        budget.observe_total(8_640_000, day);
        assert_eq!(granted(&mut budget, day, 10_000), 200, "a fifth of the 1000 requests of ten seconds");
    }

    #[test]
    fn odd_totals_do_not_panic_and_grant_nothing_extra() {
        let mut budget = RetryBudget::new(255, 0);
        budget.observe_total(u64::MAX, Duration::MAX);
        budget.observe_total(0, Duration::ZERO);
        assert_eq!(granted(&mut RetryBudget::new(255, 0), Duration::MAX, 5), 0);
        budget.set_limits(0, 0);
        assert!(!budget.try_retry(Duration::MAX));
    }

    /// F19: every request fails and would be retried for ever, at every layer.
    #[test]
    fn a_storm_is_held_to_a_fifth() {
        let mut budget = RetryBudget::new(20, 0);
        let mut sent = 0;
        for request in 0..50_000u64 {
            let now = Duration::from_millis(request);
            budget.on_request(now);
            sent += 1 + granted(&mut budget, now, 5);
        }
        assert!((59_000..=60_000).contains(&sent), "{sent}");
    }

    proptest! {
        #[test]
        fn amplification_is_bounded_from_the_start_to_any_moment(
            percent in 0u8..=120,
            minimum in 0u32..5,
            by_total: bool,
            steps in prop::collection::vec((0u64..2_500, 0u32..40, 0u32..40), 1..80),
        ) {
            let mut budget = RetryBudget::new(percent, minimum);
            let (mut now_ms, mut requests, mut retries) = (0, 0u64, 0u64);
            for (pause_ms, arrivals, tries) in steps {
                now_ms += pause_ms;
                let now = Duration::from_millis(now_ms);
                requests += u64::from(arrivals);
                if by_total {
                    budget.observe_total(requests, now);
                } else {
                    (0..arrivals).for_each(|_| budget.on_request(now));
                }
                retries += granted(&mut budget, now, tries) as u64;
                let seconds = now_ms / 1000 + 1;
                prop_assert!(retries * 100 <= requests * u64::from(percent) + seconds * u64::from(minimum) * 100);
            }
        }
    }
}

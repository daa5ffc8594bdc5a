//! How often what health has changed is published.

use std::time::Duration;

/// Bounds the share of its time that the control side publishes verdicts in.
///
/// A snapshot of a pool of ten thousand targets takes some milliseconds to build, and when their network fails, ten
/// thousand of them change within seconds: published one by one, nothing else would be done for a minute. So
/// publishing runs up a debt that time pays off, and as long as it is high, changes are collected. Of small pools
/// nobody notices: a change is published at once.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    debt: Duration,
    as_of: Duration,
}

/// Time that may be spent in a row.
const CREDIT: Duration = Duration::from_millis(10);
/// Debt that is remembered: no verdict waits longer than a second.
const MOST: Duration = Duration::from_millis(210);
/// Time that has to pass, for time that was spent: a fifth of it may be.
const PER_SPENT: u32 = 5;

impl Throttle {
    /// When something may be published next; a time that is past is at once.
    pub(crate) fn next(&self) -> Duration {
        self.as_of.saturating_add(self.debt.saturating_sub(CREDIT).saturating_mul(PER_SPENT))
    }

    /// Publishing has taken so long, up to `now`.
    pub(crate) fn spent(&mut self, took: Duration, now: Duration) {
        let paid = now.saturating_sub(self.as_of) / PER_SPENT;
        self.debt = self.debt.saturating_sub(paid).saturating_add(took).min(MOST);
        self.as_of = self.as_of.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Publishes as often as it may for so long; how often, if each time takes so long.
    fn times(each: Duration, length: Duration) -> u32 {
        let (mut throttle, mut now, mut times) = (Throttle::default(), ms(1000), 0);
        throttle.spent(Duration::ZERO, now);
        while now < ms(1000) + length {
            now = now.max(throttle.next()) + each;
            throttle.spent(each, now);
            times += 1;
        }
        times
    }

    #[test]
    fn what_is_cheap_is_done_at_once_and_what_is_dear_a_fifth_of_the_time() {
        let mut throttle = Throttle::default();
        for n in 0..100 {
            assert!(throttle.next() <= ms(1000 + n), "{n}");
            throttle.spent(Duration::from_micros(50), ms(1000 + n));
        }
        for each in [1, 7, 20, 150] {
            let share = u64::from(times(ms(each), ms(10_000))) * each;
            assert!((1_900..=2_400).contains(&share), "{each} ms each: {share} of 10,000");
        }
    }

    #[test]
    fn one_that_took_ages_delays_the_next_by_a_second_at_most() {
        let mut throttle = Throttle::default();
        throttle.spent(ms(90_000), ms(95_000));
        assert_eq!(throttle.next(), ms(96_000));
        throttle.spent(Duration::MAX, ms(94_000));
        assert_eq!(throttle.next(), ms(96_000), "time does not go back");
    }
}

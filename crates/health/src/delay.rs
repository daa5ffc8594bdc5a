//! When the next probe is due.

use std::time::Duration;

/// A target's first probe comes within this time, so that verdicts at start-up are quick, and yet not all
/// first probes leave in the same instant.
pub const FIRST_PROBE_WITHIN: Duration = Duration::from_millis(100);

/// The pause before the next probe: `interval` ± 10 %, evenly spread by `random`, so that probes of many
/// targets, and of many balancers, do not keep step.
pub fn probe_delay(interval: Duration, random: u64) -> Duration {
    let tenth = interval / 10;
    (interval - tenth).saturating_add(share(tenth.saturating_mul(2), random))
}

/// The pause before a target's first probe: below `interval` and [`FIRST_PROBE_WITHIN`], evenly spread by
/// `random`.
pub fn first_probe_delay(interval: Duration, random: u64) -> Duration {
    share(interval.min(FIRST_PROBE_WITHIN), random)
}

/// `random` / 2^64 of `whole`, rounded down.
fn share(whole: Duration, random: u64) -> Duration {
    // A Duration has less than 2^94 nanoseconds, so the top 32 random bits leave room in 128.
    let nanos = (whole.as_nanos() * u128::from(random >> 32)) >> 32;
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % 1_000_000_000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_range() {
        let second = Duration::from_secs(1);
        assert_eq!(probe_delay(second, 0), Duration::from_millis(900));
        assert!(probe_delay(second, u64::MAX) > Duration::from_micros(1_099_999));
        assert_eq!(probe_delay(Duration::ZERO, 7), Duration::ZERO);
        assert_eq!(first_probe_delay(second, 0), Duration::ZERO);
        assert!(first_probe_delay(second, u64::MAX) > Duration::from_micros(99_999));
        assert!(first_probe_delay(Duration::from_millis(5), u64::MAX) < Duration::from_millis(5));
        assert_eq!(first_probe_delay(second, u64::MAX / 2), Duration::from_nanos(49_999_999));
    }

    proptest! {
        #[test]
        fn delays_stay_within_their_range(seconds: u64, nanos in 0u32..1_000_000_000, random: u64) {
            let interval = Duration::new(seconds, nanos);
            let delay = probe_delay(interval, random);
            prop_assert!(delay >= interval - interval / 10);
            prop_assert!(delay <= interval.saturating_add(interval / 10));
            prop_assert!(first_probe_delay(interval, random) <= interval.min(FIRST_PROBE_WITHIN));
        }
    }
}

//! When each request is due: fixed before the first is sent, so that a slow answer delays none of them on paper.

use std::time::Duration;

/// A constant rate, dealt out to connections in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) per_second: u64,
    pub(super) connections: u32,
    pub(super) length: Duration,
}

impl Schedule {
    /// When the `turn`-th request of one connection is due, from the start; `None` when that is past the end.
    pub(super) fn due(&self, connection: u32, turn: u64) -> Option<Duration> {
        let number = u128::from(turn) * u128::from(self.connections) + u128::from(connection);
        let ns = number.checked_mul(1_000_000_000)? / u128::from(self.per_second.max(1));
        let due = Duration::from_nanos(u64::try_from(ns).ok()?);
        (due < self.length).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_even_in_time_and_over_connections() {
        let schedule = Schedule { per_second: 1000, connections: 3, length: Duration::from_millis(10) };
        let mut all: Vec<Duration> = (0..3)
            .flat_map(|connection| (0..).map_while(move |turn| schedule.due(connection, turn)))
            .collect();
        all.sort();
        assert_eq!(all, (0..10).map(Duration::from_millis).collect::<Vec<_>>());
        assert_eq!(schedule.due(1, 2), Some(Duration::from_millis(7)));
    }

    #[test]
    fn a_rate_that_divides_nothing_does_not_drift() {
        let schedule = Schedule { per_second: 7, connections: 2, length: Duration::from_secs(1_000_000) };
        let due = schedule.due(1, 3_499_999).unwrap();
        assert!(Duration::from_secs(1_000_000) - due < Duration::from_millis(143), "{due:?}");
        assert_eq!(schedule.due(0, 3_500_000), None);
        assert_eq!(schedule.due(0, u64::MAX), None);
    }
}

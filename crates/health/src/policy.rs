//! What a pool asks of its targets.

use std::time::Duration;

/// How a pool's targets are judged. Without either part every target is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Verdicts by probes; `None` when the pool is not probed.
    pub probe: Option<ProbePolicy>,
    /// Ejection by what real traffic sees; `None` is off.
    pub passive: Option<PassivePolicy>,
}

/// How many probe results in a row make a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbePolicy {
    /// Successes in a row that bring a target up again; 0 counts as 1.
    pub rise: u16,
    /// Failures in a row that take a target down; 0 counts as 1.
    pub fall: u16,
}

/// When a target is ejected for what real traffic sees of it, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassivePolicy {
    /// Connect errors in a row that eject; 0 is off.
    pub connect_errors: u16,
    /// Percent of 5xx answers within `window` that eject, from this share on; 0 is off.
    pub http_5xx_percent: u8,
    /// Answers within `window` before a share means anything; 0 counts as 1.
    pub min_requests: u32,
    /// The sliding time over which the share is taken. It moves in tenths, so that it covers between nine
    /// tenths and the whole of this.
    pub window: Duration,
    /// Length of a first ejection; each repetition doubles it.
    pub eject_for: Duration,
    /// Longest ejection. A target that stays for so long without one has one repetition forgotten.
    pub max_eject_for: Duration,
    /// At most this share of a pool's targets is ejected at once, in percent, rounded down; but one target
    /// may always be when the pool has two or more. 0 never ejects; over 100 counts as 100.
    pub max_ejected_percent: u8,
}

impl PassivePolicy {
    /// How many of `targets` may be ejected at once.
    pub(crate) fn max_ejected(&self, targets: usize) -> usize {
        if self.max_ejected_percent == 0 || targets < 2 {
            return 0;
        }
        let percent = usize::from(self.max_ejected_percent.min(100));
        (targets.saturating_mul(percent) / 100).max(1)
    }

    /// How long the `repetition`th ejection lasts, counted from 1.
    pub(crate) fn ejection_length(&self, repetition: u32) -> Duration {
        let doublings = repetition.saturating_sub(1).min(31);
        self.eject_for.saturating_mul(1 << doublings).min(self.max_eject_for)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The policy that tests start from.
    pub(crate) const PASSIVE: PassivePolicy = PassivePolicy {
        connect_errors: 3,
        http_5xx_percent: 50,
        min_requests: 10,
        window: Duration::from_secs(10),
        eject_for: Duration::from_secs(30),
        max_eject_for: Duration::from_secs(300),
        max_ejected_percent: 50,
    };

    #[test]
    fn the_share_is_rounded_down_but_leaves_one() {
        let of =
            |percent, targets| PassivePolicy { max_ejected_percent: percent, ..PASSIVE }.max_ejected(targets);
        assert_eq!(of(50, 0), 0);
        assert_eq!(of(100, 1), 0);
        assert_eq!(of(1, 2), 1);
        assert_eq!(of(50, 5), 2);
        assert_eq!(of(100, 5), 5);
        assert_eq!(of(255, 5), 5);
        assert_eq!(of(0, 50), 0);
        assert_eq!(of(100, usize::MAX), usize::MAX / 100);
    }

    #[test]
    fn ejections_double_up_to_the_cap() {
        let lengths: Vec<u64> = (1..=7).map(|n| PASSIVE.ejection_length(n).as_secs()).collect();
        assert_eq!(lengths, [30, 60, 120, 240, 300, 300, 300]);
        assert_eq!(PASSIVE.ejection_length(u32::MAX), PASSIVE.max_eject_for);
        let endless = PassivePolicy { eject_for: Duration::MAX, max_eject_for: Duration::MAX, ..PASSIVE };
        assert_eq!(endless.ejection_length(9), Duration::MAX);
    }
}

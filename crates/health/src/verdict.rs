//! What probes say of one target.

use std::time::Duration;

use evenkeel_base::Reason;

use crate::policy::ProbePolicy;

/// Within this time flips of the verdict are counted, and after so long without one damping halves.
const FLAP_WINDOW: Duration = Duration::from_secs(60);
/// More flips than this within [`FLAP_WINDOW`] are flapping.
const FLIPS_TOLERATED: usize = 4;
/// A recovered target is never kept waiting for more than so many times `rise`.
const MAX_DAMPING: u32 = 8;

/// The probe's verdict on one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is known yet.
    Open,
    Up,
    Down(Reason),
}

/// The verdict and the results in a row that lead to the next one.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    standing: Standing,
    successes: u32,
    failures: u32,
    flaps: Flaps,
}

impl Verdict {
    pub(crate) fn new() -> Self {
        Self { standing: Standing::Open, successes: 0, failures: 0, flaps: Flaps::new() }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// A probe succeeded. Whether the verdict changed.
    pub(crate) fn succeed(&mut self, policy: ProbePolicy, now: Duration) -> bool {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        match self.standing {
            Standing::Up => return false,
            // At start-up one success is enough: nothing contradicts it.
            Standing::Open => {}
            Standing::Down(_) => {
                let rise = u32::from(policy.rise.max(1));
                if self.successes < rise.saturating_mul(self.flaps.damping(now)) {
                    return false;
                }
                self.flaps.record_rise(now);
            }
        }
        self.standing = Standing::Up;
        true
    }

    /// A probe failed. Whether the verdict changed; further failures of a target that is down do not change
    /// its reason.
    pub(crate) fn fail(&mut self, reason: Reason, policy: ProbePolicy, now: Duration) -> bool {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if matches!(self.standing, Standing::Down(_)) || self.failures < u32::from(policy.fall.max(1)) {
            return false;
        }
        if self.standing == Standing::Up {
            self.flaps.record_fall(now);
        }
        self.standing = Standing::Down(reason);
        true
    }
}

/// How often the verdict flipped between up and down lately (F18). A flapping target is made to prove itself
/// for longer before it gets work again; it is still taken down as fast as any other.
///
/// A fall that is at least the fifth flip within 60 s doubles the successes needed to rise: 2, 4, at most 8
/// times `rise`. Each 60 s without a flip halve them. A first verdict is no flip.
#[derive(Debug, Clone)]
struct Flaps {
    /// Oldest first.
    times: [Option<Duration>; FLIPS_TOLERATED + 1],
    /// As of the last flip.
    damping: u32,
}

impl Flaps {
    fn new() -> Self {
        Self { times: [None; FLIPS_TOLERATED + 1], damping: 1 }
    }

    fn damping(&self, now: Duration) -> u32 {
        let Some(last) = self.times[FLIPS_TOLERATED] else { return 1 };
        let calm = now.saturating_sub(last).as_secs() / FLAP_WINDOW.as_secs();
        (self.damping >> calm.min(31)).max(1)
    }

    fn record_rise(&mut self, now: Duration) {
        self.damping = self.damping(now);
        self.push(now);
    }

    fn record_fall(&mut self, now: Duration) {
        self.record_rise(now);
        if self.times[0].is_some_and(|oldest| now.saturating_sub(oldest) <= FLAP_WINDOW) {
            self.damping = (self.damping * 2).min(MAX_DAMPING);
        }
    }

    fn push(&mut self, now: Duration) {
        self.times.rotate_left(1);
        self.times[FLIPS_TOLERATED] = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_THREE: ProbePolicy = ProbePolicy { rise: 2, fall: 3 };
    const ONE_ONE: ProbePolicy = ProbePolicy { rise: 1, fall: 1 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn refused(verdict: &mut Verdict, policy: ProbePolicy, now: Duration) -> bool {
        verdict.fail(Reason::ProbeRefused, policy, now)
    }

    #[test]
    fn the_first_success_decides_even_after_failures() {
        let mut verdict = Verdict::new();
        assert!(!refused(&mut verdict, TWO_THREE, at(0)));
        assert!(verdict.succeed(TWO_THREE, at(1)));
        assert_eq!(verdict.standing(), Standing::Up);
    }

    #[test]
    fn a_target_that_never_answered_falls_like_others() {
        let mut verdict = Verdict::new();
        assert!(!refused(&mut verdict, TWO_THREE, at(0)));
        assert!(!refused(&mut verdict, TWO_THREE, at(1)));
        assert_eq!(verdict.standing(), Standing::Open);
        assert!(refused(&mut verdict, TWO_THREE, at(2)));
        assert_eq!(verdict.standing(), Standing::Down(Reason::ProbeRefused));
    }

    #[test]
    fn contrary_results_reset_the_streaks() {
        let mut verdict = Verdict::new();
        verdict.succeed(TWO_THREE, at(0));
        for t in 0..10 {
            assert!(!refused(&mut verdict, TWO_THREE, at(t)));
            assert!(!refused(&mut verdict, TWO_THREE, at(t)));
            assert!(!verdict.succeed(TWO_THREE, at(t)));
        }
        assert_eq!((0..3).filter(|_| refused(&mut verdict, TWO_THREE, at(10))).count(), 1);
        for t in 11..20 {
            assert!(!verdict.succeed(TWO_THREE, at(t)));
            assert!(!refused(&mut verdict, TWO_THREE, at(t)));
        }
        assert!(!verdict.succeed(TWO_THREE, at(20)));
        assert!(verdict.succeed(TWO_THREE, at(21)));
    }

    #[test]
    fn the_tipping_reason_stays() {
        let mut verdict = Verdict::new();
        verdict.fail(Reason::ProbeRefused, ProbePolicy { rise: 1, fall: 2 }, at(0));
        assert!(verdict.fail(Reason::ProbeStatus, ProbePolicy { rise: 1, fall: 2 }, at(1)));
        assert!(!verdict.fail(Reason::ProbeTimeout, ProbePolicy { rise: 1, fall: 2 }, at(2)));
        assert_eq!(verdict.standing(), Standing::Down(Reason::ProbeStatus));
    }

    #[test]
    fn zero_counts_as_one() {
        let zero = ProbePolicy { rise: 0, fall: 0 };
        let mut verdict = Verdict::new();
        assert!(refused(&mut verdict, zero, at(0)));
        assert!(verdict.succeed(zero, at(1)));
    }

    /// Successes that it takes to rise, one second apart, from `now` on.
    fn successes_to_rise(verdict: &mut Verdict, policy: ProbePolicy, now: &mut u64) -> u32 {
        for count in 1..1000 {
            *now += 1;
            if verdict.succeed(policy, at(*now)) {
                return count;
            }
        }
        panic!("it never rises");
    }

    #[test]
    fn flapping_doubles_the_rise_up_to_eight_times() {
        let mut verdict = Verdict::new();
        verdict.succeed(ONE_ONE, at(0));
        let mut now = 0;
        let needed: Vec<u32> = (0..7)
            .map(|_| {
                now += 1;
                assert!(refused(&mut verdict, ONE_ONE, at(now)), "falling is never damped");
                successes_to_rise(&mut verdict, ONE_ONE, &mut now)
            })
            .collect();
        assert_eq!(needed, [1, 1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn damping_multiplies_rise() {
        let two_one = ProbePolicy { rise: 2, fall: 1 };
        let mut verdict = Verdict::new();
        verdict.succeed(two_one, at(0));
        let mut now = 0;
        let mut needed = Vec::new();
        for _ in 0..4 {
            now += 1;
            refused(&mut verdict, two_one, at(now));
            needed.push(successes_to_rise(&mut verdict, two_one, &mut now));
        }
        assert_eq!(needed, [2, 2, 4, 8]);
    }

    #[test]
    fn calm_halves_the_damping_each_minute() {
        let mut flaps = Flaps::new();
        (0..20).for_each(|t| flaps.record_fall(at(t)));
        assert_eq!(flaps.damping(at(19)), 8);
        assert_eq!(flaps.damping(at(78)), 8);
        assert_eq!(flaps.damping(at(79)), 4);
        assert_eq!(flaps.damping(at(139)), 2);
        assert_eq!(flaps.damping(at(199)), 1);
        assert_eq!(flaps.damping(Duration::MAX), 1);
    }

    #[test]
    fn four_flips_a_minute_are_tolerated() {
        let mut flaps = Flaps::new();
        // One flip each 15.1 s: the fifth is 60.4 s after the first.
        for n in 0..40 {
            flaps.record_fall(Duration::from_millis(15_100) * n);
            assert_eq!(flaps.damping(Duration::from_millis(15_100) * n), 1);
        }
        let mut flaps = Flaps::new();
        (0..5).for_each(|n| flaps.record_fall(at(15 * n)));
        assert_eq!(flaps.damping(at(60)), 2, "five flips in exactly 60 s are flapping");
    }
}

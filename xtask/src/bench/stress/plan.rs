//! What happens when: known before anything runs.

use std::time::Duration;

/// How long each part lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// One rate of a climb; there are some sixteen.
    pub(super) step: Duration,
    /// Half load with faults.
    pub(super) steady: Duration,
    /// One kind of overload; there are four.
    pub(super) overload: Duration,
}

/// Something that is done to the house while it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A changed configuration, and SIGHUP.
    Reload,
    /// A target's process is killed with all its connections.
    Kill(usize),
    /// It is started again.
    Restart(usize),
    /// A target's weight is changed through the API.
    Weight(usize, u32),
    /// A further target is added through the API.
    Add,
    /// It is removed again.
    Remove,
}

/// Nothing is done in the last seconds, so that what was done shows.
const REST_MS: u64 = 2000;
/// From one kill to the next; each target's turn comes.
const KILL_EVERY_S: u64 = 6;
/// How long a killed target stays away.
const AWAY_S: u64 = 2;

impl Times {
    pub(super) fn of(minutes: f64) -> Self {
        let share = |part: f64, least: f64| Duration::from_secs((minutes * 60.0 * part).max(least) as u64);
        Self { step: share(0.02, 1.0), steady: share(0.4, 10.0), overload: share(0.05, 2.0) }
    }
}

/// Reloads each second, and in between everything else in turn; in order of time.
pub(super) fn faults(length: Duration, targets: usize) -> Vec<(Duration, Fault)> {
    let last_ms = (length.as_millis() as u64).saturating_sub(REST_MS);
    let mut faults = Vec::new();
    for second in 1..=last_ms / 1000 {
        let turn = second as usize;
        let at = |ms: u64| second * 1000 + ms;
        faults.push((at(0), Fault::Reload));
        faults.push((at(300), Fault::Weight(turn % targets, 1 + (second % 5) as u32)));
        faults.push((at(500), if second % 2 == 1 { Fault::Add } else { Fault::Remove }));
        if second % KILL_EVERY_S == 1 {
            let target = (second / KILL_EVERY_S) as usize % targets;
            let back = (at(700) + AWAY_S * 1000).min(last_ms + REST_MS / 2);
            faults.extend([(at(700), Fault::Kill(target)), (back, Fault::Restart(target))]);
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults.into_iter().map(|(at, fault)| (Duration::from_millis(at), fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_time() {
        let times = Times::of(5.0);
        let seconds = |time: Duration| time.as_secs();
        assert_eq!((seconds(times.step), seconds(times.steady), seconds(times.overload)), (6, 120, 15));
        let whole = 16 * seconds(times.step) + seconds(times.steady) + 4 * seconds(times.overload);
        assert!((240..=300).contains(&whole), "{whole}");
        assert_eq!(seconds(Times::of(0.5).step), 1);
    }

    #[test]
    fn every_kind_of_fault_is_in_even_a_short_run_and_every_kill_is_undone() {
        for length in [10, 11, 12, 17, 120] {
            let all = faults(Duration::from_secs(length), 3);
            assert!(all.is_sorted_by_key(|(at, _)| *at));
            let count = |wanted: fn(&Fault) -> bool| all.iter().filter(|(_, fault)| wanted(fault)).count();
            assert_eq!(count(|f| *f == Fault::Reload), length as usize - 2);
            assert!(count(|f| matches!(f, Fault::Weight(..))) > 0 && count(|f| *f == Fault::Add) > 0);
            assert!(count(|f| matches!(f, Fault::Kill(_))) > 0);
            let mut dead = [false; 3];
            for (at, fault) in &all {
                match fault {
                    Fault::Kill(target) => assert!(!std::mem::replace(&mut dead[*target], true)),
                    Fault::Restart(target) => assert!(std::mem::replace(&mut dead[*target], false)),
                    Fault::Weight(target, weight) => assert!(*target < 3 && *weight > 0),
                    _ => {}
                }
                assert!(dead.iter().filter(|dead| **dead).count() <= 1, "one at a time");
                assert!(*at <= Duration::from_secs(length - 1));
            }
            assert_eq!(dead, [false; 3]);
        }
    }
}

//! Which name is asked for when. No sockets, no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::SplitMix64;
use tokio::time::Instant;

/// From a first failure to the next try. Each further failure doubles it.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest time from a failure to the next try: names come back while somebody waits for them.
pub const LAST_RETRY: Duration = Duration::from_secs(30);

/// Which name is asked for when.
#[derive(Debug)]
pub(crate) struct Roster {
    names: HashMap<Arc<str>, Entry>,
    due: BTreeSet<(Instant, Arc<str>)>,
    random: SplitMix64,
}

#[derive(Debug)]
struct Entry {
    turn: Turn,
    /// In a row.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Due(Instant),
    Asked,
}

impl Roster {
    pub(crate) fn new(random: SplitMix64) -> Self {
        Self { names: HashMap::new(), due: BTreeSet::new(), random }
    }

    /// Brings the roster in line with the names of a snapshot. New ones are due when `first_due` says; returns
    /// those that are gone.
    pub(crate) fn update(
        &mut self,
        names: &BTreeSet<Arc<str>>,
        first_due: impl Fn(&str) -> Instant,
    ) -> Vec<Arc<str>> {
        let gone: Vec<Arc<str>> = self.names.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in &gone {
            self.unschedule(name);
            self.names.remove(name);
        }
        for name in names {
            if !self.names.contains_key(name) {
                self.names.insert(Arc::clone(name), Entry { turn: Turn::Asked, failures: 0 });
                self.schedule(name, first_due(name));
            }
        }
        gone
    }

    /// Every name is due now, also those that are being asked for.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            self.schedule(&name, now);
        }
    }

    /// When the next name is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next name, if one is due; it counts as being asked for until it succeeds or fails.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        self.names.get_mut(&name)?.turn = Turn::Asked;
        Some(name)
    }

    /// An answer came, and is to be asked for again after so long.
    pub(crate) fn succeeded(&mut self, name: &Arc<str>, now: Instant, again: Duration) {
        let Some(entry) = self.names.get_mut(name) else { return };
        entry.failures = 0;
        self.schedule(name, now + again);
    }

    /// No answer came that could be used.
    pub(crate) fn failed(&mut self, name: &Arc<str>, now: Instant) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let pause = retry_pause(entry.failures, self.random.next_u64());
        entry.failures = entry.failures.saturating_add(1);
        self.schedule(name, now + pause);
    }

    fn schedule(&mut self, name: &Arc<str>, at: Instant) {
        self.unschedule(name);
        let Some(entry) = self.names.get_mut(name) else { return };
        entry.turn = Turn::Due(at);
        self.due.insert((at, Arc::clone(name)));
    }

    fn unschedule(&mut self, name: &Arc<str>) {
        if let Some(Entry { turn: Turn::Due(at), .. }) = self.names.get(name) {
            self.due.remove(&(*at, Arc::clone(name)));
        }
    }
}

/// After so many failures before: doubled each time, and up to a quarter longer, so that many names that failed
/// together are not asked for together.
fn retry_pause(failures_before: u32, random: u64) -> Duration {
    let longest = LAST_RETRY * 4 / 5;
    let pause = FIRST_RETRY.saturating_mul(1 << failures_before.min(10)).min(longest);
    let share = u32::try_from(random >> 48).unwrap_or(0);
    pause + (pause / 4 / (1 << 16)) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn retries_slow_down_to_a_limit() {
        let pauses: Vec<u64> = (0..8).map(|n| retry_pause(n, 0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 24, 24, 24]);
        assert!(retry_pause(9, u64::MAX) > Duration::from_millis(29_900));
    }

    proptest! {
        #[test]
        fn retries_stay_within_their_bounds(failures: u32, random: u64) {
            let pause = retry_pause(failures, random);
            prop_assert!((FIRST_RETRY..=LAST_RETRY).contains(&pause));
        }
    }

    #[test]
    fn names_take_turns_and_come_and_go() {
        let now = Instant::now();
        let mut roster = Roster::new(SplitMix64::new(1));
        let later = |name: &str| if name == "b" { now + FIRST_RETRY } else { now };
        assert!(roster.update(&set(&["a", "b"]), later).is_empty());
        let a = roster.start(now).unwrap();
        assert_eq!(&*a, "a");
        assert!(roster.start(now).is_none(), "b is not due, and a is being asked for");
        roster.succeeded(&a, now, Duration::from_secs(300));
        assert_eq!(roster.next_due(), Some(now + FIRST_RETRY));
        assert_eq!(roster.update(&set(&["a", "c"]), later), [Arc::from("b")]);
        assert_eq!(&*roster.start(now).unwrap(), "c");
        assert_eq!(roster.next_due(), Some(now + Duration::from_secs(300)));
        roster.hurry(now);
        assert_eq!([roster.start(now), roster.start(now)].map(Option::unwrap), [a, Arc::from("c")]);
        assert!(roster.start(now).is_none());
    }

    #[test]
    fn a_success_forgets_failures() {
        let now = Instant::now();
        let mut roster = Roster::new(SplitMix64::new(1));
        roster.update(&set(&["a"]), |_| now);
        let a = roster.start(now).unwrap();
        (0..5).for_each(|_| roster.failed(&a, now));
        assert!(roster.next_due() >= Some(now + Duration::from_secs(16)));
        roster.succeeded(&a, now, Duration::ZERO);
        roster.failed(&a, now);
        assert!(roster.next_due() < Some(now + Duration::from_secs(2)));
        assert_eq!(roster.due.len(), 1);
    }
}

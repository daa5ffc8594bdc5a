//! What real traffic says of one target, and for how long it is sent away.

use std::time::Duration;

use evenkeel_base::Reason;

use crate::policy::{PassivePolicy, ProbePolicy};
use crate::window::Window;

/// No ejection doubles more often than this; 2^31 times anything is beyond every sensible cap.
const MAX_REPETITIONS: u32 = 32;

/// An ejection that lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ejection {
    pub(crate) reason: Reason,
    pub(crate) until: Duration,
    /// In a row, since it began.
    probe_successes: u32,
}

/// The grounds for an ejection, the current one, and the memory of earlier ones.
#[derive(Debug, Clone)]
pub(crate) struct Ejector {
    ejection: Option<Ejection>,
    /// Remembered; grows until the longest ejection is reached and not beyond, so that even a bad target is
    /// forgiven in bounded time.
    repetitions: u32,
    /// Since when no ejection lasts, less the time for which repetitions were forgotten already.
    calm_since: Duration,
    /// As the data path last told it.
    streak: u32,
    /// How much of that streak an earlier ejection has paid for.
    paid_streak: u32,
    /// Answers and failed answers.
    answers: Window,
}

impl Ejector {
    pub(crate) fn new(passive: Option<PassivePolicy>, now: Duration) -> Self {
        let window = passive.map_or(Duration::ZERO, |p| p.window);
        Self {
            ejection: None,
            repetitions: 0,
            calm_since: now,
            streak: 0,
            paid_streak: 0,
            answers: Window::new(window),
        }
    }

    pub(crate) fn ejection(&self) -> Option<Ejection> {
        self.ejection
    }

    pub(crate) fn repetitions(&self) -> u32 {
        self.repetitions
    }

    /// When [`Self::settle`] has something to do.
    pub(crate) fn deadline(&self, passive: Option<PassivePolicy>) -> Option<Duration> {
        match self.ejection {
            Some(ejection) => Some(ejection.until),
            None if self.repetitions > 0 => self.calm_since.checked_add(passive?.max_eject_for),
            None => None,
        }
    }

    /// Takes the streak of connect errors. One that has not grown since it was last told began anew: there
    /// was a success in between, or the data path set it back.
    pub(crate) fn note_streak(&mut self, streak: u32) {
        if streak <= self.streak {
            self.paid_streak = 0;
        }
        self.streak = streak;
    }

    pub(crate) fn note_answers(&mut self, requests: u64, failures: u64, now: Duration) {
        // Answers of an ejected target are leftovers of before.
        if self.ejection.is_none() {
            self.answers.add(now, requests, failures.min(requests));
        }
    }

    /// Why the target deserves to be ejected, if it does.
    pub(crate) fn grounds(&mut self, policy: &PassivePolicy, now: Duration) -> Option<Reason> {
        let errors = self.streak.saturating_sub(self.paid_streak);
        if policy.connect_errors > 0 && errors >= u32::from(policy.connect_errors) {
            return Some(Reason::ConnectErrors);
        }
        let (requests, failures) = self.answers.sums(now);
        let enough = requests >= u64::from(policy.min_requests.max(1));
        let share = u128::from(requests) * u128::from(policy.http_5xx_percent);
        let failing = policy.http_5xx_percent > 0 && u128::from(failures) * 100 >= share;
        (enough && failing).then_some(Reason::ErrorShare)
    }

    pub(crate) fn eject(&mut self, reason: Reason, policy: &PassivePolicy, now: Duration) {
        let capped = self.repetitions > 0 && policy.ejection_length(self.repetitions) >= policy.max_eject_for;
        if !capped {
            self.repetitions = (self.repetitions + 1).min(MAX_REPETITIONS);
        }
        let until = now.saturating_add(policy.ejection_length(self.repetitions));
        self.ejection = Some(Ejection { reason, until, probe_successes: 0 });
    }

    /// A probe succeeded. Whether that ends the ejection: the port answers again, which is what an ejection
    /// for connect errors doubted; a share of errors it says nothing about.
    pub(crate) fn probe_succeeded(&mut self, policy: ProbePolicy, now: Duration) -> bool {
        let Some(ejection) = &mut self.ejection else { return false };
        ejection.probe_successes = ejection.probe_successes.saturating_add(1);
        let enough = ejection.probe_successes >= u32::from(policy.rise.max(1));
        if ejection.reason != Reason::ConnectErrors || !enough {
            return false;
        }
        self.end(now);
        true
    }

    pub(crate) fn probe_failed(&mut self) {
        if let Some(ejection) = &mut self.ejection {
            ejection.probe_successes = 0;
        }
    }

    /// Ends an ejection whose time is over, and forgets repetitions. Whether one ended.
    pub(crate) fn settle(&mut self, passive: Option<PassivePolicy>, now: Duration) -> bool {
        let over = self.ejection.map(|e| e.until).filter(|until| *until <= now);
        if let Some(until) = over {
            self.end(until);
        }
        self.forget(passive.map_or(Duration::ZERO, |p| p.max_eject_for), now);
        over.is_some()
    }

    /// Ends the ejection, if there is one, as of `at`. What led to it is paid for.
    pub(crate) fn end(&mut self, at: Duration) -> bool {
        let ended = self.ejection.take().is_some();
        if ended {
            self.calm_since = at;
            self.start_afresh();
        }
        ended
    }

    /// Old answers and connect errors count no longer.
    pub(crate) fn start_afresh(&mut self) {
        self.paid_streak = self.streak;
        self.answers.clear();
    }

    /// Gives the answers a window of another length.
    pub(crate) fn set_window(&mut self, length: Duration) {
        self.answers = Window::new(length);
    }

    /// Forgets one repetition for each `period` spent without an ejection.
    fn forget(&mut self, period: Duration, now: Duration) {
        if self.ejection.is_some() || self.repetitions == 0 {
            return;
        }
        let calm = now.saturating_sub(self.calm_since);
        let periods = calm.as_nanos().checked_div(period.as_nanos()).unwrap_or(u128::MAX);
        let forgotten = u32::try_from(periods).unwrap_or(u32::MAX).min(self.repetitions);
        self.repetitions -= forgotten;
        self.calm_since = self.calm_since.saturating_add(period.saturating_mul(forgotten));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::PASSIVE;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ejector() -> Ejector {
        Ejector::new(Some(PASSIVE), Duration::ZERO)
    }

    #[test]
    fn a_streak_ejects_from_the_limit_on() {
        let mut ejector = ejector();
        ejector.note_streak(2);
        assert_eq!(ejector.grounds(&PASSIVE, at(0)), None);
        ejector.note_streak(3);
        assert_eq!(ejector.grounds(&PASSIVE, at(0)), Some(Reason::ConnectErrors));
        let off = PassivePolicy { connect_errors: 0, ..PASSIVE };
        assert_eq!(ejector.grounds(&off, at(0)), None);
    }

    #[test]
    fn a_share_ejects_from_the_limit_on_when_there_is_enough() {
        let mut ejector = ejector();
        ejector.note_answers(9, 9, at(0));
        assert_eq!(ejector.grounds(&PASSIVE, at(0)), None, "9 answers are too few");
        ejector.note_answers(10, 0, at(1));
        assert_eq!(ejector.grounds(&PASSIVE, at(1)), None, "9 of 19 is less than half");
        ejector.note_answers(1, u64::MAX, at(2));
        assert_eq!(ejector.grounds(&PASSIVE, at(2)), Some(Reason::ErrorShare), "10 of 20 is half");
        assert_eq!(ejector.grounds(&PassivePolicy { http_5xx_percent: 0, ..PASSIVE }, at(2)), None);
        assert_eq!(ejector.grounds(&PASSIVE, at(10)), None, "the first answers have left the window");
    }

    #[test]
    fn no_answers_are_no_grounds() {
        let always = PassivePolicy { min_requests: 0, http_5xx_percent: 1, ..PASSIVE };
        assert_eq!(ejector().grounds(&always, at(5)), None);
    }

    #[test]
    fn huge_counts_keep_their_share() {
        let mut ejector = ejector();
        ejector.note_answers(u64::MAX, u64::MAX / 2 + 1, at(0));
        assert_eq!(ejector.grounds(&PASSIVE, at(0)), Some(Reason::ErrorShare));
    }

    #[test]
    fn after_an_ejection_all_must_be_earned_anew() {
        let mut ejector = ejector();
        ejector.note_streak(5);
        ejector.note_answers(100, 100, at(0));
        ejector.eject(Reason::ConnectErrors, &PASSIVE, at(0));
        ejector.note_streak(6);
        ejector.note_answers(100, 100, at(1));
        assert!(!ejector.settle(Some(PASSIVE), Duration::from_millis(29_999)));
        assert!(ejector.settle(Some(PASSIVE), at(30)));
        assert_eq!(ejector.grounds(&PASSIVE, at(30)), None);
        ejector.note_streak(8);
        assert_eq!(ejector.grounds(&PASSIVE, at(30)), None);
        ejector.note_streak(9);
        assert_eq!(ejector.grounds(&PASSIVE, at(30)), Some(Reason::ConnectErrors));
    }

    #[test]
    fn a_success_in_between_starts_the_streak_from_nothing() {
        // The second streak is told from its third error on, and is as long as the first was.
        for (first, told) in [(9, 1), (9, 3), (3, 3)] {
            let mut ejector = ejector();
            ejector.note_streak(first);
            ejector.eject(Reason::ConnectErrors, &PASSIVE, at(0));
            ejector.settle(Some(PASSIVE), at(30));
            ejector.note_streak(told);
            let grounds = (told >= 3).then_some(Reason::ConnectErrors);
            assert_eq!(ejector.grounds(&PASSIVE, at(31)), grounds, "{first} then {told}");
        }
    }

    #[test]
    fn repetitions_lengthen_and_calm_shortens() {
        let mut ejector = ejector();
        let mut now = at(0);
        let mut lengths = Vec::new();
        for _ in 0..7 {
            ejector.eject(Reason::ErrorShare, &PASSIVE, now);
            let until = ejector.ejection().unwrap().until;
            lengths.push((until - now).as_secs());
            now = until;
            assert!(ejector.settle(Some(PASSIVE), now));
        }
        assert_eq!(lengths, [30, 60, 120, 240, 300, 300, 300]);
        assert_eq!(ejector.repetitions(), 5, "it stops where the cap is reached");
        assert_eq!(ejector.deadline(Some(PASSIVE)), Some(now + at(300)));
        ejector.settle(Some(PASSIVE), now + at(299));
        assert_eq!(ejector.repetitions(), 5);
        ejector.settle(Some(PASSIVE), now + at(650));
        assert_eq!(ejector.repetitions(), 3);
        assert_eq!(ejector.deadline(Some(PASSIVE)), Some(now + at(900)));
        ejector.settle(Some(PASSIVE), Duration::MAX);
        assert_eq!((ejector.repetitions(), ejector.deadline(Some(PASSIVE))), (0, None));
    }

    #[test]
    fn lateness_is_not_charged_to_the_target() {
        let mut ejector = ejector();
        ejector.eject(Reason::ErrorShare, &PASSIVE, at(0));
        // Polled 300 s after the end: all of that time was calm.
        assert!(ejector.settle(Some(PASSIVE), at(330)));
        assert_eq!(ejector.repetitions(), 0);
    }

    #[test]
    fn zero_lengths_are_over_at_once() {
        let zero = PassivePolicy { eject_for: Duration::ZERO, max_eject_for: Duration::ZERO, ..PASSIVE };
        let mut ejector = ejector();
        ejector.eject(Reason::ErrorShare, &zero, at(7));
        assert_eq!(ejector.deadline(Some(zero)), Some(at(7)));
        assert!(ejector.settle(Some(zero), at(7)));
        assert_eq!((ejector.repetitions(), ejector.deadline(Some(zero))), (0, None));
    }

    #[test]
    fn probes_end_only_an_ejection_for_connect_errors() {
        let policy = ProbePolicy { rise: 2, fall: 1 };
        let mut ejector = ejector();
        assert!(!ejector.probe_succeeded(policy, at(0)), "successes before it began do not count");
        ejector.eject(Reason::ConnectErrors, &PASSIVE, at(0));
        assert!(!ejector.probe_succeeded(policy, at(1)));
        ejector.probe_failed();
        assert!(!ejector.probe_succeeded(policy, at(2)));
        assert!(ejector.probe_succeeded(policy, at(3)));
        assert!(ejector.ejection().is_none());
        ejector.eject(Reason::ErrorShare, &PASSIVE, at(4));
        assert!((0..9).all(|t| !ejector.probe_succeeded(policy, at(5 + t))));
    }
}

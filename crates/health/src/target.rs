//! One target: its verdict and its ejection together.

use std::time::Duration;

use evenkeel_base::Reason;

use crate::ejector::Ejector;
use crate::policy::Policy;
use crate::state::{Outcome, State};
use crate::verdict::{Standing, Verdict};

/// What is known of one target.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    verdict: Verdict,
    ejector: Ejector,
}

impl Target {
    pub(crate) fn new(policy: &Policy, now: Duration) -> Self {
        Self { verdict: Verdict::new(), ejector: Ejector::new(policy.passive, now) }
    }

    pub(crate) fn state(&self, policy: &Policy) -> State {
        match (self.verdict.standing(), self.ejector.ejection()) {
            (Standing::Down(reason), _) => State::Down { reason },
            (_, Some(ejection)) => State::Ejected { reason: ejection.reason, until: ejection.until },
            (Standing::Open, None) if policy.probe.is_some() => State::Unknown,
            (Standing::Open | Standing::Up, None) => State::Up,
        }
    }

    /// Whether it is ejected, even where the state shows it as down.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejector.ejection().is_some()
    }

    pub(crate) fn repetitions(&self) -> u32 {
        self.ejector.repetitions()
    }

    pub(crate) fn deadline(&self, policy: &Policy) -> Option<Duration> {
        self.ejector.deadline(policy.passive)
    }

    /// Does what is due. The reason, if an ejection ended.
    pub(crate) fn settle(&mut self, policy: &Policy, now: Duration) -> Option<Reason> {
        self.ejector.settle(policy.passive, now).then_some(Reason::EjectionOver)
    }

    /// Takes an outcome. The reason, if it changed the verdict or ended an ejection; what begins one is for
    /// the pool to decide.
    pub(crate) fn take(&mut self, outcome: Outcome, policy: &Policy, now: Duration) -> Option<Reason> {
        match outcome {
            Outcome::ProbeOk => {
                // A result that comes after probes were switched off is a leftover.
                let probe = policy.probe?;
                let was_down = matches!(self.verdict.standing(), Standing::Down(_));
                let rose = self.verdict.succeed(probe, now);
                if rose && was_down {
                    self.ejector.start_afresh();
                }
                let freed = self.ejector.probe_succeeded(probe, now);
                (rose || freed).then_some(Reason::ProbeSucceeded)
            }
            Outcome::ProbeFailed(reason) => {
                let fell = self.verdict.fail(reason, policy.probe?, now);
                self.ejector.probe_failed();
                fell.then_some(reason)
            }
            Outcome::ConnectErrors(streak) => {
                self.ejector.note_streak(streak);
                None
            }
            Outcome::Answers { requests, failures_5xx } => {
                self.ejector.note_answers(requests, failures_5xx, now);
                None
            }
        }
    }

    /// Why traffic would have the target ejected, if it would.
    pub(crate) fn grounds(&mut self, policy: &Policy, now: Duration) -> Option<Reason> {
        self.ejector.grounds(policy.passive.as_ref()?, now)
    }

    pub(crate) fn eject(&mut self, reason: Reason, policy: &Policy, now: Duration) -> Option<Reason> {
        self.ejector.eject(reason, policy.passive.as_ref()?, now);
        Some(reason)
    }

    /// Ends an ejection before its time.
    pub(crate) fn release(&mut self, reason: Reason, now: Duration) -> Option<Reason> {
        self.ejector.end(now).then_some(reason)
    }

    /// Keeps what the new policy can still judge, and drops the rest: nothing would ever change it again.
    pub(crate) fn adopt(&mut self, old: &Policy, new: &Policy, now: Duration) {
        if new.probe.is_none() {
            self.verdict = Verdict::new();
        }
        match (old.passive, new.passive) {
            (_, None) => self.ejector = Ejector::new(None, now),
            (Some(was), Some(is)) if was.window == is.window => {}
            (_, Some(is)) => self.ejector.set_window(is.window),
        }
    }
}

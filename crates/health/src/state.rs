//! The words that go into and come out of the machine.

use std::time::Duration;

use evenkeel_base::Reason;

/// Where a target stands. Two independent parts make it: the verdict of its probes, and an ejection by real
/// traffic.
///
/// ```text
///  probe verdict                                     ejection
///
///             one success                                           A
///  Unknown ───────────────► Up ◄───────────┐         none ────────────────────────► ejected
///     │                     │              │           ▲                               │
///     │ `fall` failures     │ `fall`       │ B         └───────────────────────────────┘
///     │ in a row            │ failures     │                          C
///     │                     ▼ in a row     │
///     └───────────────────► Down ──────────┘
///
///  A  connect errors in a row ≥ connect_errors, or share of 5xx ≥ http_5xx_percent; while the target is
///     available, is not the last available one, and the ejected share stays within max_ejected_percent
///  B  `rise` successes in a row, times 2, 4 or 8 after much flapping
///  C  the time is over (ejection-over) · `rise` probes in a row succeeded since it began, if connect errors
///     were its cause (probe-succeeded) · no target of the pool is available any more (no-target) · ejection
///     was switched off (policy-changed)
///
///  What shows: Down, if the verdict is Down; else Ejected, if ejected; else Unknown or Up.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Probed, but without a verdict yet: counts as available.
    Unknown,
    /// Its probes succeed, or it is not probed.
    Up,
    /// Its probes failed.
    Down {
        /// Of the probe that tipped the verdict.
        reason: Reason,
    },
    /// Sent away for a while because of what real traffic saw.
    Ejected {
        /// `ConnectErrors` or `ErrorShare`.
        reason: Reason,
        /// When it ends at the latest, on the caller's time line.
        until: Duration,
    },
}

impl State {
    /// Whether new work may go there.
    pub fn is_available(self) -> bool {
        matches!(self, Self::Unknown | Self::Up)
    }

    /// Why it is not available; none when it is.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Unknown | Self::Up => None,
            Self::Down { reason } | Self::Ejected { reason, .. } => Some(reason),
        }
    }
}

/// What was seen of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A probe succeeded.
    ProbeOk,
    /// A probe failed, and why.
    ProbeFailed(Reason),
    /// The current number of connect errors in a row, as the data path counts them. Tell it when an error
    /// made it grow (small numbers may be left out), never twice for one error: a number that has not grown
    /// is taken for a new streak. 0, after a success, may be told or not.
    ConnectErrors(u32),
    /// Answers since the last such sample.
    Answers {
        /// How many came.
        requests: u64,
        /// How many of these had a status of 500 to 599; counts as `requests` when greater.
        failures_5xx: u64,
    },
}

/// A change of a target's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition<K> {
    /// The target.
    pub key: K,
    /// What it was; never equal to `to`.
    pub from: State,
    /// What it is now.
    pub to: State,
    /// What changed it.
    pub reason: Reason,
}

impl<K: Copy> Transition<K> {
    /// Two steps of one target seen as one, or nothing when they lead back to the start.
    pub fn join(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(a), Some(b)) => (a.from != b.to).then_some(Self { from: a.from, ..b }),
            (a, b) => b.or(a),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_and_up_are_available() {
        let (reason, until) = (Reason::ErrorShare, Duration::ZERO);
        assert!(State::Unknown.is_available() && State::Up.is_available());
        assert_eq!(State::Up.reason(), None);
        for state in [State::Down { reason }, State::Ejected { reason, until }] {
            assert!(!state.is_available());
            assert_eq!(state.reason(), Some(reason));
        }
    }

    #[test]
    fn joined_steps_keep_the_first_origin_and_the_last_cause() {
        let down = State::Down { reason: Reason::ProbeRefused };
        let step = |from, to, reason| Some(Transition { key: 1, from, to, reason });
        let fell = step(State::Unknown, down, Reason::ProbeRefused);
        let rose = step(down, State::Up, Reason::ProbeSucceeded);
        let back = step(down, State::Unknown, Reason::PolicyChanged);
        assert_eq!(Transition::join(fell, rose), step(State::Unknown, State::Up, Reason::ProbeSucceeded));
        assert_eq!(Transition::join(fell, None), fell);
        assert_eq!(Transition::join(None, rose), rose);
        assert_eq!(Transition::join(fell, back), None);
    }
}

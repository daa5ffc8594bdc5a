//! The targets of one pool, judged together: how many may be sent away depends on the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_base::Reason;

use crate::policy::Policy;
use crate::state::{Outcome, State, Transition};
use crate::target::Target;

/// The health of a pool's targets. The machine is drawn at [`State`].
///
/// `now` is monotonic; one that lies before an earlier one counts as that. After each call, and when
/// [`next_deadline`](Self::next_deadline) is reached, call [`poll`](Self::poll).
///
/// Invariants, each held by a property test:
/// * An ejection never takes the last available target. Where one would remain the last, because the others
///   fell or left, `poll` ends it: while a target stands that its probes do not call down, one is available.
/// * At the moment a target is ejected, the ejected share is within `max_ejected_percent`.
/// * `poll` at `next_deadline` always makes progress.
///
/// Memory is about 400 bytes for each target; every call but `set_policy` takes logarithmic time for each
/// target it changes.
#[derive(Debug, Clone)]
pub struct PoolHealth<K: Copy + Ord> {
    policy: Policy,
    targets: BTreeMap<K, Target>,
    /// Of each target that has one.
    deadlines: BTreeSet<(Duration, K)>,
    count: Count,
    latest: Duration,
}

impl<K: Copy + Ord> PoolHealth<K> {
    /// A pool without targets.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            targets: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            count: Count::default(),
            latest: Duration::ZERO,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges by another policy from now on. Verdicts, ejections and their ends stay as they are; but
    /// without probes no verdict remains, and without passive judgement no ejection, for nothing could
    /// change them any more. Where probes are new, targets become [`State::Unknown`]. The reason of all
    /// these is `PolicyChanged`. A window of another length starts empty.
    pub fn set_policy(&mut self, policy: Policy, now: Duration) -> Vec<Transition<K>> {
        let now = self.advance(now);
        let old = std::mem::replace(&mut self.policy, policy);
        let mut transitions = Vec::new();
        self.deadlines.clear();
        self.count = Count::default();
        for (&key, target) in &mut self.targets {
            let from = target.state(&old);
            // What was due under the old policy has its own reason.
            let over = target.settle(&old, now);
            let settled = target.state(&old);
            target.adopt(&old, &policy, now);
            let to = target.state(&policy);
            self.count.add(target, &policy);
            self.deadlines.extend(target.deadline(&policy).map(|at| (at, key)));
            if from != to {
                let reason = over.filter(|_| settled == to).unwrap_or(Reason::PolicyChanged);
                transitions.push(Transition { key, from, to, reason });
            }
        }
        transitions
    }

    /// Adds a target: [`State::Unknown`] when the pool is probed, [`State::Up`] when not. A target that is
    /// there already keeps all that is known of it.
    pub fn insert(&mut self, key: K, now: Duration) {
        let now = self.advance(now);
        if !self.targets.contains_key(&key) {
            let target = Target::new(&self.policy, now);
            self.count.add(&target, &self.policy);
            self.targets.insert(key, target);
        }
    }

    /// Forgets a target. Whether it was there.
    pub fn remove(&mut self, key: K) -> bool {
        let Some(target) = self.targets.remove(&key) else { return false };
        self.count.subtract(&target, &self.policy);
        if let Some(at) = target.deadline(&self.policy) {
            self.deadlines.remove(&(at, key));
        }
        true
    }

    /// Takes what was seen of a target, and tells how that changed it. Outcomes of unknown targets, and
    /// those that the policy does not ask for, change nothing.
    pub fn handle(&mut self, key: K, outcome: Outcome, now: Duration) -> Option<Transition<K>> {
        let now = self.advance(now);
        let settled = self.change(key, |target, policy| target.settle(policy, now));
        let taken = self.change(key, |target, policy| target.take(outcome, policy, now));
        let ejected = match outcome {
            Outcome::ConnectErrors(_) | Outcome::Answers { .. } => self.judge(key, now),
            Outcome::ProbeOk | Outcome::ProbeFailed(_) => None,
        };
        Transition::join(Transition::join(settled, taken), ejected)
    }

    /// Does what is due at `now`: ends ejections whose time is over (`EjectionOver`), forgets old ones, and
    /// brings ejected targets back when nothing else is left (`NoTarget`).
    pub fn poll(&mut self, now: Duration) -> Vec<Transition<K>> {
        let now = self.advance(now);
        let mut transitions = Vec::new();
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        for key in due.map(|&(_, key)| key).collect::<Vec<_>>() {
            transitions.extend(self.change(key, |target, policy| target.settle(policy, now)));
        }
        if self.count.is_stranded() {
            transitions.extend(self.release_all(now));
        }
        transitions
    }

    /// When [`poll`](Self::poll) has something to do next; it may lie in the past.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.count.is_stranded() {
            return Some(self.latest);
        }
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Where a target stands; none when it is not of this pool.
    pub fn state(&self, key: K) -> Option<State> {
        self.targets.get(&key).map(|target| target.state(&self.policy))
    }

    /// All targets in the order of their keys.
    pub fn states(&self) -> impl Iterator<Item = (K, State)> + '_ {
        self.targets.iter().map(|(&key, target)| (key, target.state(&self.policy)))
    }

    /// How many targets are available.
    pub fn available(&self) -> usize {
        self.count.available
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no targets.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// How many ejections of the target are remembered, the current one included: the number that decides
    /// how long the next one lasts. It stops growing once an ejection lasts `max_eject_for`, and one is
    /// forgotten for each `max_eject_for` without an ejection. 0 for an unknown target.
    pub fn ejections(&self, key: K) -> u32 {
        self.targets.get(&key).map_or(0, Target::repetitions)
    }

    fn advance(&mut self, now: Duration) -> Duration {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Ejects the target if traffic gives grounds to and the pool can spare it.
    fn judge(&mut self, key: K, now: Duration) -> Option<Transition<K>> {
        let passive = self.policy.passive?;
        let spare = self.count.available >= 2 && self.count.ejected < passive.max_ejected(self.targets.len());
        let target = self.targets.get_mut(&key)?;
        if !spare || !target.state(&self.policy).is_available() {
            return None;
        }
        let reason = target.grounds(&self.policy, now)?;
        self.change(key, |target, policy| target.eject(reason, policy, now))
    }

    /// Nobody is left but ejected targets: a doubtful one serves better than none, and all of them share the
    /// load better than one.
    fn release_all(&mut self, now: Duration) -> Vec<Transition<K>> {
        let shown = self.states().filter(|(_, state)| matches!(state, State::Ejected { .. }));
        let keys: Vec<K> = shown.map(|(key, _)| key).collect();
        keys.into_iter()
            .filter_map(|key| self.change(key, |target, _| target.release(Reason::NoTarget, now)))
            .collect()
    }

    /// The one place where a target changes, so that counts and deadlines follow.
    fn change(
        &mut self,
        key: K,
        change: impl FnOnce(&mut Target, &Policy) -> Option<Reason>,
    ) -> Option<Transition<K>> {
        let target = self.targets.get_mut(&key)?;
        let (from, old_deadline) = (target.state(&self.policy), target.deadline(&self.policy));
        self.count.subtract(target, &self.policy);
        let reason = change(target, &self.policy);
        self.count.add(target, &self.policy);
        let (to, deadline) = (target.state(&self.policy), target.deadline(&self.policy));
        if old_deadline != deadline {
            if let Some(at) = old_deadline {
                self.deadlines.remove(&(at, key));
            }
            self.deadlines.extend(deadline.map(|at| (at, key)));
        }
        // A change below a verdict of Down does not show.
        reason.filter(|_| from != to).map(|reason| Transition { key, from, to, reason })
    }
}

/// What a pool must know of all its targets before it ejects one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    available: usize,
    /// Also those that show as down.
    ejected: usize,
    shown_ejected: usize,
}

impl Count {
    fn of(target: &Target, policy: &Policy) -> Self {
        let state = target.state(policy);
        Self {
            available: usize::from(state.is_available()),
            ejected: usize::from(target.is_ejected()),
            shown_ejected: usize::from(matches!(state, State::Ejected { .. })),
        }
    }

    fn add(&mut self, target: &Target, policy: &Policy) {
        let one = Self::of(target, policy);
        self.available += one.available;
        self.ejected += one.ejected;
        self.shown_ejected += one.shown_ejected;
    }

    fn subtract(&mut self, target: &Target, policy: &Policy) {
        let one = Self::of(target, policy);
        self.available -= one.available;
        self.ejected -= one.ejected;
        self.shown_ejected -= one.shown_ejected;
    }

    /// Whether ejections, and not probes, are what keeps the pool from having an available target.
    fn is_stranded(&self) -> bool {
        self.available == 0 && self.shown_ejected > 0
    }
}

#[cfg(test)]
mod tests;

//! What health has changed, on its way to the planes, and what is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use evenkeel_base::{IdMap, PoolName, Reason, TargetId};
use evenkeel_health::{State, Transition};

use crate::events::EventKind;
use crate::pool::Pool;
use crate::registry::{Inner, PoolState, Registry, uptime};
use crate::snapshot::Snapshot;
use crate::target::{Standing, Target};

/// By target: two that follow each other before they are published are seen as one.
pub(crate) type Pending = BTreeMap<TargetId, Transition<TargetId>>;

impl PoolState {
    fn is_pending(&self) -> bool {
        self.moved || !self.pending.is_empty()
    }

    /// Notes what the brain has decided; it is published with the next snapshot.
    pub(crate) fn note(&mut self, transition: Transition<TargetId>) {
        // After an ejection the streak starts anew: the failures that led to it are paid for.
        if transition.to.is_available()
            && let Some(live) = self.lives.get(&transition.key)
        {
            live.failures_in_a_row.store(0, Relaxed);
        }
        self.built = None;
        let first = self.pending.remove(&transition.key);
        self.pending.extend(Transition::join(first, Some(transition)).map(|joined| (joined.key, joined)));
    }
}

impl Registry {
    /// Publishes what is pending, if it is time to; else says when it will be.
    pub(crate) fn flush_when_due(&self, inner: &mut Inner, now: Duration) -> Option<Duration> {
        if !inner.pools.values().any(PoolState::is_pending) {
            return None;
        }
        let due = inner.throttle.next();
        if due > now {
            return Some(due);
        }
        self.flush(inner);
        None
    }

    /// Publishes what is pending, and tells it.
    pub(crate) fn flush(&self, inner: &mut Inner) {
        let pending = inner.pools.iter_mut().filter(|(_, state)| state.is_pending());
        let pending: Vec<_> = pending
            .map(|(name, state)| {
                state.moved = false;
                (name.clone(), std::mem::take(&mut state.pending))
            })
            .collect();
        if pending.is_empty() {
            return;
        }
        let begun = Instant::now();
        let before = self.snapshot();
        self.publish(inner);
        let after = self.snapshot();
        for (pool, transitions) in pending {
            let old = before.pools.get(&pool).map(|pool| standings(pool.targets.iter())).unwrap_or_default();
            for target in after.pools.get(&pool).iter().flat_map(|pool| &pool.targets) {
                let seen = target.standing();
                let known = old.get(&target.id);
                if let Some(transition) = transitions.get(&target.id) {
                    // The first verdict changes no standing, yet it is one: tell it.
                    let first = matches!(transition.from, State::Unknown);
                    let from = if first { Some("unknown") } else { known.map(|known| known.as_str()) };
                    self.tell(&pool, target, from, Some(seen.as_str()), transition.reason);
                } else if let Some(known) = known.filter(|known| **known != seen && !target.emergency) {
                    let reason = reason_of(*known, seen, Reason::Resolved);
                    self.tell(&pool, target, Some(known.as_str()), Some(seen.as_str()), reason);
                }
            }
        }
        inner.throttle.spent(begun.elapsed(), uptime());
    }

    /// Tells which regular members came, went, and stand otherwise since then.
    pub(crate) fn tell_changes(&self, before: &Snapshot) {
        let snapshot = self.snapshot();
        let (gone, new) = (changed_pools(before, &snapshot), changed_pools(&snapshot, before));
        let old = standings(gone.iter().flat_map(|pool| members(pool)));
        let now = standings(new.iter().flat_map(|pool| members(pool)));
        for pool in gone {
            for target in members(pool).filter(|target| !now.contains_key(&target.id)) {
                self.tell(pool.name(), target, Some(target.standing().as_str()), None, Reason::Removed);
            }
        }
        for pool in new {
            for target in members(pool) {
                let seen = target.standing();
                match old.get(&target.id) {
                    Some(known) if *known == seen => {}
                    Some(known) => {
                        let reason = reason_of(*known, seen, Reason::WeightChanged);
                        self.tell(pool.name(), target, Some(known.as_str()), Some(seen.as_str()), reason);
                    }
                    None => self.tell(pool.name(), target, None, Some(seen.as_str()), Reason::Added),
                }
            }
        }
    }

    fn tell(
        &self,
        pool: &PoolName,
        target: &Target,
        from: Option<&'static str>,
        to: Option<&'static str>,
        reason: Reason,
    ) {
        let kind = EventKind::Target { pool: pool.clone(), target: target.address.clone(), from, to };
        self.events().emit(kind, reason);
    }
}

fn reason_of(before: Standing, now: Standing, otherwise: Reason) -> Reason {
    now.reason().unwrap_or(match before {
        Standing::Disabled | Standing::Draining => Reason::Enabled,
        Standing::Unresolved => Reason::Resolved,
        _ => otherwise,
    })
}

/// Those that are not the same in the other snapshot, by name.
fn changed_pools<'s>(snapshot: &'s Snapshot, other: &Snapshot) -> Vec<&'s Arc<Pool>> {
    let is_changed =
        |pool: &&Arc<Pool>| other.pools.get(pool.name()).is_none_or(|same| !Arc::ptr_eq(pool, same));
    let mut pools: Vec<_> = snapshot.pools.values().filter(is_changed).collect();
    pools.sort_by_key(|pool| pool.name().as_str());
    pools
}

fn members(pool: &Pool) -> impl Iterator<Item = &Arc<Target>> {
    pool.targets.iter().filter(|target| !target.emergency)
}

fn standings<'t>(targets: impl Iterator<Item = &'t Arc<Target>>) -> IdMap<TargetId, Standing> {
    targets.map(|target| (target.id, target.standing())).collect()
}

//! Who is probed, and when: brought in line with each snapshot. No sockets, no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::{PoolName, SplitMix64, TargetId};
use evenkeel_health::{State, first_probe_delay, probe_delay};
use evenkeel_state::{Pool, Snapshot};
use tokio::time::Instant;

use crate::plan::Plan;

/// From one probe to the next of a target that is down while its pool has nobody to serve, if the pool's own
/// interval is longer. Each client is refused meanwhile, so finding the first target that is back is worth
/// four probes a second (F16).
pub const RECOVERY_INTERVAL: Duration = Duration::from_millis(250);

/// Who is probed, and when.
#[derive(Debug)]
pub(crate) struct Roster {
    pools: HashMap<PoolName, Seen>,
    targets: HashMap<TargetId, Entry>,
    due: BTreeSet<(Instant, TargetId)>,
    random: SplitMix64,
}

/// A pool as it was when last looked at: the same `Arc` means that nothing changed.
#[derive(Debug)]
struct Seen {
    pool: Arc<Pool>,
    probed: Vec<TargetId>,
}

#[derive(Debug)]
struct Entry {
    plan: Arc<Plan>,
    turn: Turn,
    /// It is down, and its pool has nobody to serve.
    urgent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Due(Instant),
    Asked(Instant),
}

impl Entry {
    fn interval(&self) -> Duration {
        let interval = self.plan.health.interval;
        if self.urgent { interval.min(RECOVERY_INTERVAL) } else { interval }
    }
}

impl Roster {
    pub(crate) fn new(random: SplitMix64) -> Self {
        Self { pools: HashMap::new(), targets: HashMap::new(), due: BTreeSet::new(), random }
    }

    /// Brings the roster in line with a snapshot. Whoever is not concerned by what changed keeps its turn. Returns
    /// those whose probe under way is of no interest any more.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<TargetId> {
        let mut stopped = Vec::new();
        let is_gone = |name: &PoolName| !snapshot.pools.contains_key(name);
        let gone: Vec<PoolName> = self.pools.keys().filter(|name| is_gone(name)).cloned().collect();
        for seen in gone.iter().filter_map(|name| self.pools.remove(name)).collect::<Vec<_>>() {
            seen.probed.iter().for_each(|id| self.remove(*id));
            stopped.extend(seen.probed);
        }
        for (name, pool) in &snapshot.pools {
            if !self.pools.get(name).is_some_and(|seen| Arc::ptr_eq(&seen.pool, pool)) {
                self.update_pool(pool, now, &mut stopped);
            }
        }
        stopped
    }

    /// When the next probe is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next probe, if one is due; it counts as under way until [`Roster::finish`].
    pub(crate) fn start(&mut self, now: Instant) -> Option<Arc<Plan>> {
        let (at, id) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        let entry = self.targets.get_mut(&id)?;
        entry.turn = Turn::Asked(now);
        Some(Arc::clone(&entry.plan))
    }

    /// A probe has ended: the next one is due an interval after this one began.
    pub(crate) fn finish(&mut self, id: TargetId, now: Instant) {
        let Some(entry) = self.targets.get(&id) else { return };
        let Turn::Asked(began) = entry.turn else { return };
        let delay = probe_delay(entry.interval(), self.random.next_u64());
        self.schedule(id, now.max(began + delay));
    }

    fn update_pool(&mut self, pool: &Arc<Pool>, now: Instant, stopped: &mut Vec<TargetId>) {
        let is_empty = pool.available() == 0;
        let mut probed = Vec::new();
        for target in &pool.targets {
            let Some(plan) = Plan::of(pool, target) else { continue };
            probed.push(target.id);
            let urgent = is_empty && matches!(target.health, State::Down { .. });
            if self.update_target(plan, urgent, now) {
                stopped.push(target.id);
            }
        }
        let staying: BTreeSet<TargetId> = probed.iter().copied().collect();
        let seen = self.pools.insert(pool.name().clone(), Seen { pool: Arc::clone(pool), probed });
        for id in seen.into_iter().flat_map(|seen| seen.probed) {
            if !staying.contains(&id) {
                self.remove(id);
                stopped.push(id);
            }
        }
    }

    /// Whether a probe under way is of no interest any more.
    fn update_target(&mut self, plan: Plan, urgent: bool, now: Instant) -> bool {
        let id = plan.target;
        let interval = plan.health.interval;
        let Some(entry) = self.targets.get_mut(&id) else {
            self.targets.insert(id, Entry { plan: Arc::new(plan), turn: Turn::Asked(now), urgent });
            self.hurry(id, interval, now);
            return false;
        };
        let same_question = entry.plan.asks_the_same(&plan);
        let same_place = entry.plan.place == plan.place;
        let more_urgent = urgent && !entry.urgent;
        entry.urgent = urgent;
        if !same_question || !same_place {
            entry.plan = Arc::new(plan);
        }
        if !same_question {
            self.hurry(id, interval, now);
            return true;
        }
        // A probe under way to the old addresses ends by itself: were it cut short, a name whose addresses
        // change faster than its target times out would never be found down.
        if let (Turn::Due(at), true) = (entry.turn, more_urgent || !same_place) {
            let soon = now + first_probe_delay(interval, self.random.next_u64());
            self.schedule(id, at.min(soon));
        }
        false
    }

    /// Asked soon, whatever the turn was.
    fn hurry(&mut self, id: TargetId, interval: Duration, now: Instant) {
        let delay = first_probe_delay(interval, self.random.next_u64());
        self.schedule(id, now + delay);
    }

    fn schedule(&mut self, id: TargetId, at: Instant) {
        let Some(entry) = self.targets.get_mut(&id) else { return };
        if let Turn::Due(old) = entry.turn {
            self.due.remove(&(old, id));
        }
        entry.turn = Turn::Due(at);
        self.due.insert((at, id));
    }

    fn remove(&mut self, id: TargetId) {
        if let Some(Entry { turn: Turn::Due(at), .. }) = self.targets.remove(&id) {
            self.due.remove(&(at, id));
        }
    }
}

#[cfg(test)]
mod tests;

//! The probes under way.

use std::collections::HashMap;

use evenkeel_base::{SplitMix64, TargetId};
use evenkeel_health::Outcome;
use evenkeel_state::Registry;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::ask::ask;
use crate::roster::Roster;

/// Probes under way at once, each with a descriptor and some 20 KiB while it lasts: enough to ask 10,000 targets
/// in a second where a probe takes 25 ms, and few beside the descriptors of the planes.
pub const MAX_PROBES: usize = 256;

/// Probes until dropped.
pub(crate) async fn probe(registry: &Registry, random: SplitMix64) {
    let mut prober =
        Prober { registry, roster: Roster::new(random), probes: JoinSet::new(), under_way: HashMap::new() };
    let mut changes = registry.subscribe();
    loop {
        // Marked as seen before it is read: what is published in between is seen twice rather than never.
        drop(changes.borrow_and_update());
        prober.adopt();
        while !prober.step(&mut changes).await {}
    }
}

struct Prober<'r> {
    registry: &'r Registry,
    roster: Roster,
    probes: JoinSet<Option<Outcome>>,
    under_way: HashMap<TargetId, Probe>,
}

/// A probe under way.
struct Probe {
    task: AbortHandle,
    pool: evenkeel_base::PoolName,
}

impl Prober<'_> {
    fn adopt(&mut self) {
        for id in self.roster.update(&self.registry.snapshot(), Instant::now()) {
            if let Some(probe) = self.under_way.remove(&id) {
                probe.task.abort();
            }
        }
    }

    /// Starts what is due and waits for one thing to happen. Whether that is a new snapshot.
    async fn step(&mut self, changes: &mut tokio::sync::watch::Receiver<u64>) -> bool {
        self.start_due();
        let due = self.roster.next_due().filter(|_| self.probes.len() < MAX_PROBES);
        tokio::select! {
            _ = changes.changed() => return true,
            Some(ended) = self.probes.join_next_with_id() => self.finish(ended),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        false
    }

    fn start_due(&mut self) {
        while self.probes.len() < MAX_PROBES {
            let Some(plan) = self.roster.start(Instant::now()) else { return };
            let (target, pool) = (plan.target, plan.pool.clone());
            let task = self.probes.spawn(async move { ask(&plan).await });
            self.under_way.insert(target, Probe { task, pool });
        }
    }

    /// A probe ended: with an outcome, without one, cut short, or (a defect) in a panic, which is kept to itself.
    fn finish(&mut self, ended: Result<(Id, Option<Outcome>), JoinError>) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), None),
        };
        // By target and by task: what was cut short is nobody's, or has a successor already.
        let Some(target) = self.target_of(task) else { return };
        let Some(probe) = self.under_way.remove(&target) else { return };
        self.roster.finish(target, Instant::now());
        if let Some(outcome) = outcome {
            self.registry.handle(probe.pool.as_str(), target, outcome);
        }
    }

    fn target_of(&self, task: Id) -> Option<TargetId> {
        // At most `MAX_PROBES` entries.
        self.under_way.iter().find(|(_, probe)| probe.task.id() == task).map(|(target, _)| *target)
    }
}

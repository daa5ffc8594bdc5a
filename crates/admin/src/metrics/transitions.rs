//! How often targets changed their state, and why: counted from the one stream of events, so that metrics, log
//! and API say the same reason.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError, Weak};

use evenkeel_base::{PoolName, Reason, TargetAddr};
use evenkeel_state::{Event, EventKind, Events, Snapshot};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::text::{Kind, Labels, Text};

/// Series kept at most. Targets that come and go with new ports would grow them without end; beyond this number,
/// those of targets that are gone are dropped, and if that does not help, new ones are only counted.
const MAX_SERIES: usize = 50_000;

/// The word for a target that was removed.
const REMOVED: &str = "removed";

type Series = (PoolName, TargetAddr, &'static str, Reason);

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    inner: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    last_sequence: u64,
    series: BTreeMap<Series, u64>,
    /// Transitions that are in no series: events lost by a lagging reader, or too many series.
    untold: u64,
}

impl Transitions {
    /// Counts events as they come, until the counts or the stream are dropped.
    pub(crate) async fn follow(this: Weak<Self>, events: Weak<Events>, mut stream: Receiver<Event>) {
        loop {
            let received = stream.recv().await;
            let (Some(this), Some(events)) = (this.upgrade(), events.upgrade()) else { return };
            match received {
                Ok(event) => {
                    if !this.counts_next(&event) {
                        this.catch_up(&events);
                    }
                }
                Err(RecvError::Lagged(_)) => this.catch_up(&events),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Counts what the stream has not brought yet.
    pub(crate) fn catch_up(&self, events: &Events) {
        if self.lock().last_sequence == events.count() {
            return;
        }
        let recent = events.recent();
        let mut counts = self.lock();
        recent.iter().for_each(|event| counts.count(event));
    }

    /// Counts an event that follows the last one; false when there is a gap before it.
    fn counts_next(&self, event: &Event) -> bool {
        let mut counts = self.lock();
        let is_next = event.sequence <= counts.last_sequence.saturating_add(1);
        if is_next {
            counts.count(event);
        }
        is_next
    }

    pub(super) fn write(&self, text: &mut Text, snapshot: &Snapshot) {
        let mut counts = self.lock();
        if counts.series.len() >= MAX_SERIES {
            counts.forget_gone(snapshot);
        }
        let help = "Changes of a target's state, by the new state and the reason.";
        text.family("evenkeel_target_transitions_total", Kind::Counter, help);
        for ((pool, target, to, reason), count) in &counts.series {
            let labels = Labels::new().with("pool", pool.as_str()).with("target", &target.to_string());
            text.sample(&labels.with("to", to).with("reason", reason.as_str()), *count);
        }
        let help =
            "Events that are in no series, because too many came at once or there are too many series.";
        text.family("evenkeel_target_transitions_untold_total", Kind::Counter, help);
        text.sample(&Labels::new(), counts.untold);
    }

    /// Counting leaves the counts whole before it can panic.
    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count(&mut self, event: &Event) {
        if event.sequence <= self.last_sequence {
            return;
        }
        self.untold += event.sequence - self.last_sequence - 1;
        self.last_sequence = event.sequence;
        let EventKind::Target { pool, target, to, .. } = &event.kind else { return };
        let series = (pool.clone(), target.clone(), to.unwrap_or(REMOVED), event.reason);
        let is_full = self.series.len() >= MAX_SERIES;
        match self.series.get_mut(&series) {
            Some(count) => *count += 1,
            None if is_full => self.untold += 1,
            None => {
                self.series.insert(series, 1);
            }
        }
    }

    fn forget_gone(&mut self, snapshot: &Snapshot) {
        let there: HashSet<(&PoolName, &TargetAddr)> = snapshot
            .pools
            .values()
            .flat_map(|pool| pool.targets.iter().map(|target| (pool.name(), &target.address)))
            .collect();
        self.series.retain(|(pool, target, ..), _| there.contains(&(pool, target)));
    }
}

//! What changed, why, and when: one stream for log, API and metrics.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use evenkeel_base::{ListenerName, PoolName, Reason, TargetAddr};
use tokio::sync::broadcast;

/// Events kept for late readers: a day of a calm installation, an hour of a restless one.
const KEPT: usize = 1024;

/// One change.
#[derive(Debug, Clone)]
pub struct Event {
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// Wall-clock time.
    pub at: SystemTime,
    /// What changed.
    pub kind: EventKind,
    /// Why.
    pub reason: Reason,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A target's standing changed; the words are those of [`crate::Standing::as_str`].
    Target {
        /// Its pool.
        pool: PoolName,
        /// Its address.
        target: TargetAddr,
        /// Before; `None` for a new target.
        from: Option<&'static str>,
        /// After; `None` for a removed target.
        to: Option<&'static str>,
    },
    /// A listener came, went, or moved.
    Listener {
        /// Which.
        listener: ListenerName,
        /// What happened, as one line.
        change: String,
    },
    /// A configuration was adopted or refused.
    Config {
        /// One line per change or problem.
        lines: Vec<String>,
        /// Whether it was adopted.
        adopted: bool,
    },
}

/// The stream: the last ones are kept, and live readers get each as it comes.
#[derive(Debug)]
pub struct Events {
    recent: Mutex<Recent>,
    live: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct Recent {
    last_sequence: u64,
    kept: VecDeque<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let (live, _) = broadcast::channel(KEPT);
        Self { recent: Mutex::default(), live }
    }

    /// Records one event and hands it to every live reader. A reader that lags loses the oldest, and is told.
    pub fn emit(&self, kind: EventKind, reason: Reason) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.last_sequence += 1;
        let event = Event { sequence: recent.last_sequence, at: SystemTime::now(), kind, reason };
        if recent.kept.len() == KEPT {
            recent.kept.pop_front();
        }
        recent.kept.push_back(event.clone());
        // Sent under the lock, so that live readers see them in order. No reader is not an error.
        let _ = self.live.send(event);
    }

    /// The last events, oldest first.
    pub fn recent(&self) -> Vec<Event> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).kept.iter().cloned().collect()
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }

    /// How many there have been.
    pub fn count(&self) -> u64 {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).last_sequence
    }
}

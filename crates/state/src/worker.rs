//! What one data worker holds: its identity, its view of the current snapshot, and its random numbers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use evenkeel_base::{ClientAddr, ListenerName, PoolName, SplitMix64, WorkerId};

use crate::access_log::LogBatch;
use crate::choose::Caller;
use crate::connections::Connections;
use crate::pool::Pool;
use crate::registry::{Registry, uptime_at};
use crate::snapshot::{ListenerView, Published};

/// Counted once among the workers, and then per worker without an atomic.
#[derive(Debug)]
struct Local(Arc<ListenerView>);

/// From this share of the memory that the process may use, new work is refused with `overloaded`: the kernel's answer
/// to more would be to end the process, and with it everybody who is served.
pub const MEMORY_FULL_PERCENT: u8 = 90;
/// From this share on, workers keep no buffers in store.
const MEMORY_SCARCE_PERCENT: u8 = 75;

/// A listener as of some generation, held by a connection without touching a shared reference count.
#[derive(Debug, Clone)]
pub struct View {
    generation: u64,
    listener: Rc<Local>,
}

impl std::ops::Deref for View {
    type Target = ListenerView;
    fn deref(&self) -> &ListenerView {
        &self.listener.0
    }
}

/// One data worker's share of the state. Lives and dies on its thread.
#[derive(Debug)]
pub struct Worker {
    /// Which.
    pub id: WorkerId,
    /// The open connections of all workers.
    pub connections: Arc<Connections>,
    /// This worker's access log lines.
    pub log: LogBatch,
    published: Arc<Published>,
    random: RefCell<SplitMix64>,
    generation: Cell<u64>,
    listeners: RefCell<HashMap<ListenerName, Rc<Local>>>,
}

impl Worker {
    /// A worker that reads what this registry publishes.
    pub fn new(id: WorkerId, registry: &Registry, seed: u64, log: LogBatch) -> Self {
        Self {
            id,
            connections: Arc::clone(registry.connections()),
            log,
            published: Arc::clone(registry.published()),
            random: RefCell::new(SplitMix64::new(seed ^ (u64::from(id.0) << 48))),
            generation: Cell::new(0),
            listeners: RefCell::default(),
        }
    }

    /// The listener as it is now, or as it was last; `None` when the configuration never had it.
    pub fn view(&self, name: &ListenerName) -> Option<View> {
        let newest = self.published.generation();
        if self.generation.get() != newest {
            let snapshot = self.published.load();
            let views = snapshot
                .listeners
                .iter()
                .map(|(name, view)| (name.clone(), Rc::new(Local(Arc::clone(view)))));
            // A listener that is gone stays until its last client here has been let in; see `forget`.
            self.listeners.borrow_mut().extend(views);
            self.generation.set(snapshot.generation);
        }
        let listener = self.listeners.borrow().get(name).cloned()?;
        Some(View { generation: self.generation.get(), listener })
    }

    /// The pool as it is now; `None` when the configuration has it no more.
    pub fn pool(&self, name: &PoolName) -> Option<Arc<Pool>> {
        self.published.load().pools.get(name).cloned()
    }

    /// Drops what is kept of a listener that has been removed, once its sockets are closed on this worker.
    pub fn forget(&self, name: &ListenerName) {
        if !self.published.load().listeners.contains_key(name) {
            self.listeners.borrow_mut().remove(name);
        }
    }

    /// Replaces a view that has become old; a listener that is gone keeps serving by its last one.
    #[inline]
    pub fn renew(&self, view: &mut View) {
        if view.generation != self.published.generation() {
            let name = view.config.name.clone();
            match self.view(&name) {
                Some(newer) => *view = newer,
                None => view.generation = self.generation.get(),
            }
        }
    }

    /// Whether memory is about to run out, so that new work is refused.
    #[inline]
    pub fn is_short_of_memory(&self) -> bool {
        self.published.memory_percent() >= MEMORY_FULL_PERCENT
    }

    /// Whether it gets scarce, so that nothing is kept in store.
    pub fn is_thrifty(&self) -> bool {
        self.published.memory_percent() >= MEMORY_SCARCE_PERCENT
    }

    /// Who asks, with fresh random bits, at this moment.
    #[inline]
    pub fn caller(&self, client: ClientAddr, now: Instant) -> Caller {
        Caller { worker: self.id, client, random: self.random.borrow_mut().next_u64(), now: uptime_at(now) }
    }
}

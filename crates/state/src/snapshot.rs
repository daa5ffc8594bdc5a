//! The one thing the planes read: built whole, swapped in one step, never changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use arc_swap::ArcSwap;
use evenkeel_base::{ListenerName, PoolName, WorkerId};
use evenkeel_config::Config;
use evenkeel_route::RouteTable;

use crate::cells::{ListenerCell, Padded};
use crate::pool::Pool;

/// Everything a plane needs to know, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with each swap.
    pub generation: u64,
    /// What it was built from, runtime changes included.
    pub config: Arc<Config>,
    /// By name.
    pub listeners: HashMap<ListenerName, Arc<ListenerView>>,
    /// By name.
    pub pools: HashMap<PoolName, Arc<Pool>>,
}

impl Snapshot {
    fn tell_who_waits(&self) {
        self.pools.values().for_each(|pool| pool.live.published(pool.version));
    }
}

/// A listener with its routes compiled and its pools at hand.
#[derive(Debug)]
pub struct ListenerView {
    /// As checked.
    pub config: Arc<evenkeel_config::Listener>,
    /// Counts that outlive the snapshot.
    pub live: Arc<ListenerLive>,
    /// Which action, by request.
    pub table: Arc<RouteTable>,
    /// In the order of the file.
    pub actions: Vec<RouteAction>,
    /// Where unrouted work goes.
    pub default: Option<Arc<Pool>>,
}

/// What a route leads to.
#[derive(Debug, Clone)]
pub enum RouteAction {
    /// Forward.
    Pool(Arc<Pool>),
    /// Answer at once.
    Respond {
        /// Status code.
        status: u16,
        /// Plain text.
        body: Arc<str>,
    },
    /// Answer with a Location.
    Redirect {
        /// Where to.
        to: Arc<str>,
        /// 3xx.
        status: u16,
    },
}

/// What outlives snapshots of a listener.
#[derive(Debug)]
pub struct ListenerLive {
    open: Padded<AtomicU32>,
    cells: Box<[Padded<ListenerCell>]>,
    log_dropped: AtomicU64,
}

impl ListenerLive {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            open: Padded::default(),
            cells: (0..workers).map(|_| Padded::default()).collect(),
            log_dropped: AtomicU64::new(0),
        }
    }

    /// The cell that this worker writes.
    #[inline]
    pub fn cell(&self, worker: WorkerId) -> &ListenerCell {
        &self.cells[usize::from(worker.0)]
    }

    /// Every worker's cell, to be added up.
    pub fn cells(&self) -> impl Iterator<Item = &ListenerCell> {
        self.cells.iter().map(|cell| &cell.0)
    }

    /// Takes one of `max` places; given back by [`ListenerLive::leave`].
    pub fn enter(&self, max: u32) -> bool {
        if self.open.fetch_add(1, Relaxed) < max {
            return true;
        }
        self.leave();
        false
    }

    /// Gives a place back.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Connections open now.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Access log lines that were dropped because the writer lagged or failed.
    pub fn log_dropped(&self) -> u64 {
        self.log_dropped.load(Relaxed)
    }

    /// Counts such lines; a worker drops them, or the writer.
    pub(crate) fn drop_log_lines(&self, lines: u64) {
        self.log_dropped.fetch_add(lines, Relaxed);
    }
}

/// Where the current snapshot stands; the only thing shared between the control side and the workers.
#[derive(Debug)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    signs: Padded<Signs>,
}

/// What every request looks at: hardly ever written, so that each worker keeps its copy of the line.
#[derive(Debug, Default)]
struct Signs {
    generation: AtomicU64,
    memory_percent: AtomicU8,
}

impl Published {
    pub(crate) fn new(first: Snapshot) -> Self {
        first.tell_who_waits();
        let signs = Signs { generation: AtomicU64::new(first.generation), ..Signs::default() };
        Self { current: ArcSwap::from_pointee(first), signs: Padded(signs) }
    }

    pub(crate) fn swap(&self, next: Snapshot) {
        let generation = next.generation;
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        self.signs.generation.store(generation, Release);
        // Only now: whoever is rung looks the pool up, and must find the new one.
        next.tell_who_waits();
    }

    /// The newest generation: one load of a line that is hardly ever written, so that a worker can keep what it
    /// has until this number differs.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.signs.generation.load(Acquire)
    }

    /// How much of the memory that this process may use is in use; 0 where nothing limits it.
    #[inline]
    pub fn memory_percent(&self) -> u8 {
        self.signs.memory_percent.load(Relaxed)
    }

    /// Says how much is in use.
    pub fn set_memory_percent(&self, percent: u8) {
        // Written only when it differs: every worker reads here.
        if self.memory_percent() != percent {
            self.signs.memory_percent.store(percent, Relaxed);
        }
    }

    /// The current snapshot.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

//! The client connections that are open now: to be listed, and to be closed by an operator.
//!
//! One lock per worker, taken when a connection comes and goes, not per request.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use evenkeel_base::{ClientAddr, IdMap, ListenerName, TargetId, WorkerId};

use crate::cells::{Counter, Padded};

/// Identity of a client connection, never used twice: worker, then count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    worker: u16,
    count: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.count)
    }
}

impl FromStr for ConnectionId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (worker, count) = text.split_once('-').ok_or(())?;
        Ok(Self { worker: worker.parse().map_err(drop)?, count: count.parse().map_err(drop)? })
    }
}

/// What a connection's task keeps up to date while it lives.
pub struct ConnectionCell {
    /// Which.
    pub id: ConnectionId,
    /// Who called.
    pub client: ClientAddr,
    /// Where.
    pub listener: ListenerName,
    /// When.
    pub since: Instant,
    /// Requests read (HTTP); written by the connection's worker.
    pub requests: Counter,
    /// Bytes from the client.
    pub bytes_in: Counter,
    /// Bytes to the client.
    pub bytes_out: Counter,
    target: AtomicU32,
    close: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for ConnectionCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionCell").field("id", &self.id).field("client", &self.client).finish()
    }
}

impl ConnectionCell {
    /// Says which target serves it now; `None` between requests.
    #[inline]
    pub fn set_target(&self, target: Option<TargetId>) {
        self.target.store(target.map_or(0, |id| id.0), Relaxed);
    }

    /// How to end it from another thread; said once, by whoever runs it.
    pub fn on_close(&self, close: impl Fn() + Send + Sync + 'static) {
        let _ = self.close.set(Box::new(close));
    }
}

/// A connection as the status view shows it.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// Which.
    pub id: ConnectionId,
    /// Who.
    pub client: ClientAddr,
    /// Where.
    pub listener: ListenerName,
    /// When.
    pub since: Instant,
    /// Requests read.
    pub requests: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// Which target serves it now.
    pub target: Option<TargetId>,
}

type Table = Mutex<IdMap<u64, Arc<ConnectionCell>>>;

/// All connections, by worker.
#[derive(Debug)]
pub struct Connections {
    workers: Box<[Padded<Table>]>,
    count: AtomicU64,
}

impl Connections {
    pub(crate) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Padded::default()).collect(), count: AtomicU64::new(0) }
    }

    /// Enters a connection; it leaves when the returned guard is dropped.
    pub fn enter(
        self: &Arc<Self>,
        worker: WorkerId,
        client: ClientAddr,
        listener: &ListenerName,
    ) -> LiveConnection {
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let cell = Arc::new(ConnectionCell {
            id: ConnectionId { worker: worker.0, count },
            client,
            listener: listener.clone(),
            since: Instant::now(),
            requests: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            target: AtomicU32::new(0),
            close: OnceLock::new(),
        });
        lock(&self.workers[usize::from(worker.0)]).insert(count, Arc::clone(&cell));
        LiveConnection { all: Arc::clone(self), cell }
    }

    /// Every open connection, oldest first within each worker.
    pub fn list(&self) -> Vec<ConnectionView> {
        let mut list = Vec::new();
        for table in &self.workers {
            list.extend(lock(table).values().map(|cell| view(cell)));
        }
        list.sort_by_key(|view| view.id);
        list
    }

    /// Ends one; false when it is not there (any more).
    pub fn close(&self, id: ConnectionId) -> bool {
        let Some(table) = self.workers.get(usize::from(id.worker)) else { return false };
        let cell = lock(table).get(&id.count).cloned();
        match cell.as_ref().and_then(|cell| cell.close.get()) {
            Some(close) => {
                close();
                true
            }
            None => false,
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.workers.iter().map(|table| lock(table).len()).sum()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A connection's entry, for as long as it is held.
#[derive(Debug)]
pub struct LiveConnection {
    all: Arc<Connections>,
    cell: Arc<ConnectionCell>,
}

impl LiveConnection {
    /// The cell, to be kept beside the guard.
    pub fn cell(&self) -> Arc<ConnectionCell> {
        Arc::clone(&self.cell)
    }
}

impl std::ops::Deref for LiveConnection {
    type Target = ConnectionCell;
    fn deref(&self) -> &ConnectionCell {
        &self.cell
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        let id = self.cell.id;
        lock(&self.all.workers[usize::from(id.worker)]).remove(&id.count);
    }
}

fn view(cell: &ConnectionCell) -> ConnectionView {
    let target = cell.target.load(Relaxed);
    ConnectionView {
        id: cell.id,
        client: cell.client,
        listener: cell.listener.clone(),
        since: cell.since,
        requests: cell.requests.read(),
        bytes_in: cell.bytes_in.read(),
        bytes_out: cell.bytes_out.read(),
        target: (target != 0).then_some(TargetId(target)),
    }
}

/// An insert or a removal completes or has not begun, so a poisoned table is still right.
fn lock(table: &Table) -> std::sync::MutexGuard<'_, IdMap<u64, Arc<ConnectionCell>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_connection_is_listed_until_its_guard_drops_and_can_be_closed() {
        let all = Arc::new(Connections::new(2));
        let name = ListenerName::new("web").unwrap();
        let guard = all.enter(WorkerId(1), ClientAddr::Unix, &name);
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        guard.on_close(move || flag.store(true, Relaxed));
        let id = all.list()[0].id;
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(all.close(id));
        assert!(closed.load(Relaxed));
        drop(guard);
        assert!(!all.close(id));
        assert_eq!(all.len(), 0);
    }
}

//! How a listener tells its connections, on one worker, that it is leaving.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// Held by whoever drains.
#[derive(Debug, Default)]
pub struct Drain(Rc<Shared>);

/// Held by every connection.
#[derive(Debug, Clone)]
pub struct DrainSignal(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    draining: Cell<bool>,
    started: Notify,
}

impl Drain {
    /// A signal for one connection or one accept loop.
    pub fn signal(&self) -> DrainSignal {
        DrainSignal(Rc::clone(&self.0))
    }

    /// Says it, once and for all.
    pub fn start(&self) {
        self.0.draining.set(true);
        self.0.started.notify_waiters();
    }
}

impl DrainSignal {
    /// Whether it has been said.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// Waits until it is said.
    pub async fn started(&self) {
        let started = self.0.started.notified();
        if !self.is_draining() {
            started.await;
        }
    }
}

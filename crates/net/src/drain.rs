//! How a listener tells its connections, on one worker, that it is leaving.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use evenkeel_base::IdMap;
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
    /// Tasks to be woken when it starts, by key; a connection enters once, not per request.
    watchers: RefCell<IdMap<u64, Waker>>,
    last_key: Cell<u64>,
}

/// A task that is woken when draining starts; dropping it takes the task off the list.
#[derive(Debug)]
pub struct Watch {
    shared: Rc<Shared>,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.watchers.borrow_mut().remove(&self.key);
    }
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
        let watchers = std::mem::take(&mut *self.0.watchers.borrow_mut());
        watchers.into_values().for_each(Waker::wake);
    }
}

impl DrainSignal {
    /// Whether it has been said.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// Has this task woken when it is said, whatever the task waits for then.
    pub async fn watch(&self) -> Watch {
        let key = self.0.last_key.get() + 1;
        self.0.last_key.set(key);
        std::future::poll_fn(|cx| {
            self.0.watchers.borrow_mut().insert(key, cx.waker().clone());
            Poll::Ready(())
        })
        .await;
        Watch { shared: Rc::clone(&self.0), key }
    }

    /// Waits until it is said.
    pub async fn started(&self) {
        let started = self.0.started.notified();
        if !self.is_draining() {
            started.await;
        }
    }
}

//! How a listener tells its connections, on one worker, that it is leaving.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Waker};

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
    watchers: RefCell<Seats>,
}

/// Tasks to be woken when draining starts. A connection sits down once, not per request.
#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Option<Waker>>,
    free: Vec<u32>,
}

impl Seats {
    fn take(&mut self, waker: Waker) -> u32 {
        if let Some(seat) = self.free.pop() {
            self.taken[seat as usize] = Some(waker);
            return seat;
        }
        self.taken.push(Some(waker));
        (self.taken.len() - 1) as u32
    }

    fn leave(&mut self, seat: u32) {
        self.taken[seat as usize] = None;
        self.free.push(seat);
        // The memory of a crowd that has gone home goes, too.
        if self.free.len() == self.taken.len() && self.taken.len() > FEW_SEATS {
            *self = Self::default();
        }
    }
}

/// So many are kept for the next ones to come.
const FEW_SEATS: usize = 1024;

/// A signal that wakes its holder's task, once it has said which that is.
#[derive(Debug)]
pub struct Watch {
    signal: DrainSignal,
    seat: Option<u32>,
}

impl Deref for Watch {
    type Target = DrainSignal;
    fn deref(&self) -> &DrainSignal {
        &self.signal
    }
}

impl Watch {
    /// Has this task woken when draining starts, whatever it waits for then. To be called by one task only, as often as
    /// one likes.
    #[inline]
    pub fn wake_me(&mut self, cx: &Context<'_>) {
        if self.seat.is_none() {
            self.seat = Some(self.signal.0.watchers.borrow_mut().take(cx.waker().clone()));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.signal.0.watchers.borrow_mut().leave(seat);
        }
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
        // A wake only queues the task: nobody leaves a seat meanwhile.
        self.0.watchers.borrow().taken.iter().flatten().for_each(Waker::wake_by_ref);
    }
}

impl DrainSignal {
    /// Whether it has been said.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// The same for a task that waits for other things, too; see [`Watch::wake_me`].
    pub fn watch(self) -> Watch {
        Watch { signal: self, seat: None }
    }

    /// Waits until it is said.
    pub async fn started(&self) {
        let started = self.0.started.notified();
        if !self.is_draining() {
            started.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn who_watches_is_woken_once_and_who_has_left_is_not() {
        let drain = Drain::default();
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let mut watches: Vec<_> = (0..2 * FEW_SEATS).map(|_| drain.signal().watch()).collect();
        for watch in &mut watches {
            watch.wake_me(&cx);
            watch.wake_me(&cx);
        }
        let silent = drain.signal().watch();
        watches.truncate(FEW_SEATS);
        let mut late = drain.signal().watch();
        late.wake_me(&cx);
        drain.start();
        assert_eq!(woken.0.load(Relaxed), FEW_SEATS + 1);
        assert!(watches[0].is_draining() && silent.is_draining());
        drop((watches, late));
        assert_eq!(drain.0.watchers.borrow().taken.capacity(), 0, "everybody has gone");
    }
}

//! Where a request is worked on: lent when its first byte has come, taken back when its answer is out.
//!
//! The state of a request is many times that of a connection, and most connections are idle. So it is no part of the
//! connection's task: it lies in a slot, and a worker has as many slots as it ever had requests at once (up to a limit),
//! which are used over and over.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use evenkeel_base::Reason;
use evenkeel_net::Dial;

use crate::connection::{Connection, Work};

/// Slots kept for reuse per worker, at some two KiB each; more are freed when they come back.
const KEPT: usize = 1024;

/// A worker's slots.
pub(crate) struct Slots<D>(RefCell<Vec<Box<dyn Slot<D>>>>);

/// A place for one request at a time.
pub(crate) trait Slot<D> {
    /// Puts a connection in, and what it is to do.
    fn begin(&mut self, connection: Box<Connection<D>>, work: Work);
    /// Works on it, until another request may come or it is known why the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>>;
    /// Takes the connection out; whatever is left of the work is dropped.
    fn end(&mut self) -> Option<Box<Connection<D>>>;
}

impl<D: Dial + 'static> Slots<D> {
    pub(crate) fn lend(&self) -> Box<dyn Slot<D>> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(Place::new(work)))
    }

    pub(crate) fn give_back(&self, slot: Box<dyn Slot<D>>) {
        let mut free = self.0.borrow_mut();
        if free.len() < KEPT {
            free.push(slot);
        }
    }
}

impl<D> Slots<D> {
    /// Gives those that lie ready back to the system.
    pub(crate) fn release(&self) {
        *self.0.borrow_mut() = Vec::new();
    }
}

impl<D> Default for Slots<D> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<D> fmt::Debug for Slots<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({})", self.0.borrow().len())
    }
}

/// Where a connection is put when its request is over, in whichever way.
type Home<D> = Rc<Cell<Option<Box<Connection<D>>>>>;

/// A connection whose request is under way. Dropping it, be it because a defect panicked, puts it home.
struct Lent<D> {
    connection: Option<Box<Connection<D>>>,
    home: Home<D>,
}

impl<D> Drop for Lent<D> {
    fn drop(&mut self) {
        self.home.set(self.connection.take());
    }
}

async fn work<D: Dial + 'static>(mut lent: Lent<D>, work: Work) -> Result<(), Reason> {
    match &mut lent.connection {
        Some(connection) => connection.work(work).await,
        None => Err(Reason::Internal),
    }
}

/// The slot of a kind of future, which only the compiler can name.
struct Place<D, F, M> {
    make: M,
    home: Home<D>,
    /// In a box, so that the next one can be put where this one was.
    future: Pin<Box<Option<F>>>,
}

impl<D, F, M> Place<D, F, M> {
    fn new(make: M) -> Self {
        Self { make, home: Home::default(), future: Box::pin(None) }
    }
}

impl<D, F, M> Slot<D> for Place<D, F, M>
where
    F: Future<Output = Result<(), Reason>>,
    M: Fn(Lent<D>, Work) -> F,
{
    fn begin(&mut self, connection: Box<Connection<D>>, work: Work) {
        let lent = Lent { connection: Some(connection), home: Rc::clone(&self.home) };
        self.future.set(Some((self.make)(lent, work)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        match self.future.as_mut().as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Ready(Err(Reason::Internal)),
        }
    }

    fn end(&mut self) -> Option<Box<Connection<D>>> {
        self.future.set(None);
        self.home.take()
    }
}

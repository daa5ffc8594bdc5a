//! Letting a client in, and accounting for its end.

use std::rc::Rc;
use std::sync::Arc;

use evenkeel_base::{ClientAddr, ListenerName, Reason};

use crate::cells::ListenerCell;
use crate::connections::LiveConnection;
use crate::snapshot::ListenerLive;
use crate::worker::{View, Worker};

/// A connection that was let in. Whatever ends its task – its own end, an operator, a panic – dropping this gives
/// its place back and counts the reason once.
#[derive(Debug)]
pub struct Admitted {
    /// On which worker.
    pub worker: Rc<Worker>,
    /// The listener as the connection last saw it.
    pub view: View,
    /// Its entry in the list of connections.
    pub live: LiveConnection,
    /// Where its place was taken. The view may move on to a successor of the same name, which never saw it come.
    entered: Arc<ListenerLive>,
    /// Why it ended; an operator's doing until its task says otherwise.
    pub reason: Reason,
}

impl Admitted {
    /// This worker's counters for the listener.
    #[inline]
    pub fn cell(&self) -> &ListenerCell {
        self.view.live.cell(self.worker.id)
    }

    /// Looks at the listener as it is now.
    #[inline]
    pub fn renew(&mut self) {
        self.worker.renew(&mut self.view);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Its end is counted where its beginning was.
        let cell = self.entered.cell(self.worker.id);
        if std::thread::panicking() {
            self.reason = Reason::Internal;
            cell.panics.add(1);
        }
        cell.count(self.reason);
        cell.closed.add(1);
        self.entered.leave();
    }
}

impl Worker {
    /// Lets a client in, or says why not; both are counted.
    pub fn admit(self: &Rc<Self>, name: &ListenerName, client: ClientAddr) -> Result<Admitted, Reason> {
        let view = self.view(name).ok_or(Reason::Draining)?;
        let cell = view.live.cell(self.id);
        cell.accepted.add(1);
        let refused = if !view.config.access.admits(client.ip()) {
            Some(Reason::AddressDenied)
        } else if self.is_short_of_memory() {
            Some(Reason::Overloaded)
        } else if !view.live.enter(view.config.max_connections) {
            Some(Reason::ListenerFull)
        } else {
            None
        };
        if let Some(reason) = refused {
            cell.count(reason);
            cell.closed.add(1);
            return Err(reason);
        }
        let live = self.connections.enter(self.id, client, name);
        let entered = Arc::clone(&view.live);
        Ok(Admitted { worker: Rc::clone(self), view, live, entered, reason: Reason::ClosedByAdmin })
    }

    /// Counts something that no connection stands for, such as an accept that failed.
    pub fn count(&self, name: &ListenerName, reason: Reason) {
        if let Some(view) = self.view(name) {
            view.live.cell(self.id).count(reason);
        }
    }
}

//! The TCP plane: choose, dial, relay, report.
//!
//! Owns: what happens to one TCP connection from its admission to its last byte, with fail-over to the next
//! target while the client waits, and the named reason for its end.
//!
//! Does not know: HTTP, probes, discovery, the admin API, or how a target is reached (that is a `Dial`).

mod connection;
mod log;

use std::rc::Rc;

use evenkeel_net::{Buffers, Dial, Stream};
use evenkeel_state::Admitted;

/// The TCP plane of one worker.
#[derive(Debug)]
pub struct Plane<D> {
    buffers: Buffers,
    dial: D,
}

impl<D: Dial + 'static> Plane<D> {
    /// A plane that reaches targets with `dial`.
    pub fn new(buffers: Buffers, dial: D) -> Rc<Self> {
        Rc::new(Self { buffers, dial })
    }

    /// Serves one client from its first byte to its last.
    pub async fn serve(self: Rc<Self>, admitted: Admitted, client: Stream) {
        connection::serve(&self, admitted, client).await;
    }
}

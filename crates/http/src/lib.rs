//! The HTTP/1 plane: read a request, route it, forward it, answer.
//!
//! Owns: what happens on one client connection from its first request to its last – keep-alive on both sides,
//! pipelined requests answered in order, bodies streamed with back-pressure, upgrades, deadlines per phase, tries
//! on other targets, and the answers we give ourselves – and this worker's idle connections to targets.
//!
//! Does not know: how framing is decided (`evenkeel-wire`), which target is best (`evenkeel-balance`), probes,
//! discovery, the admin API, or how a target is reached (that is a `Dial`).

mod answer;
mod attempt;
mod client;
mod connection;
mod exchange;
mod failpoint;
mod head;
mod idle;
mod log;
mod pump;
mod serving;
mod slot;
mod upstream;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use evenkeel_base::Reason;
use evenkeel_net::{Buffers, Dial, DrainSignal, Stream, rt};
use evenkeel_state::Admitted;
use evenkeel_wire::Scratch;

use crate::connection::Connection;
use crate::idle::IdlePool;
use crate::serving::Serving;
use crate::slot::Slots;

/// The HTTP plane of one worker.
#[derive(Debug)]
pub struct Plane<D> {
    buffers: Buffers,
    dial: D,
    idle: IdlePool,
    scratch: RefCell<Scratch>,
    heads: Heads,
    slots: Slots<D>,
}

impl<D: Dial + 'static> Plane<D> {
    /// A plane that reaches targets with `dial`.
    pub fn new(buffers: Buffers, dial: D) -> Rc<Self> {
        Rc::new(Self {
            buffers,
            dial,
            idle: IdlePool::default(),
            scratch: RefCell::new(Scratch::new()),
            heads: Heads::default(),
            slots: Slots::default(),
        })
    }

    /// Serves one client from its first request to its last.
    pub fn serve(
        self: Rc<Self>,
        admitted: Admitted,
        client: Stream,
        drain: DrainSignal,
    ) -> impl Future<Output = ()> + 'static {
        Serving::Idle(Some(Box::new(Connection::new(self, admitted, client, drain))))
    }

    /// Tells a client that was not let in why, without waiting for it.
    pub async fn refuse(self: Rc<Self>, client: Stream, reason: Reason) {
        client::refuse(client, reason).await;
    }

    /// Closes idle connections to targets that ended or were idle for too long; called about once a second.
    pub fn tick(&self) {
        self.idle.reap(rt::Instant::now());
    }

    /// Gives memory that lies ready back to the system.
    pub fn release(&self) {
        self.slots.release();
        *self.heads.0.borrow_mut() = Vec::new();
    }

    /// Idle connections to targets held by this worker.
    pub fn idle_connections(&self) -> usize {
        self.idle.len()
    }
}

/// Memory for heads under construction, used over and over: an idle connection holds none.
#[derive(Debug, Default)]
struct Heads(RefCell<Vec<Vec<u8>>>);

/// Heads kept for reuse per worker, and the size above which one is not kept.
const HEADS_KEPT: usize = 256;
const HEAD_KEPT_BYTES: usize = 64 * 1024;

impl Heads {
    fn lend(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    fn give_back(&self, mut head: Vec<u8>) {
        let mut free = self.0.borrow_mut();
        if free.len() < HEADS_KEPT && (1..=HEAD_KEPT_BYTES).contains(&head.capacity()) {
            head.clear();
            free.push(head);
        }
    }
}

//! The future of a connection's task: idle, busy, idle, until one side has had enough.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use evenkeel_base::Reason;
use evenkeel_net::{Dial, Direct};

use crate::connection::{Connection, Work};
use crate::slot::Slot;

/// Serves a client from its first request to its last.
///
/// ```text
/// Idle ──bytes──▶ Busy: head ──whole──▶ exchange ──▶ Idle
///   │ end/timeout           │ malformed/late   │ close
///   ▼                       ▼                  ▼
///  gone                  refused ─────────▶ lingering ──▶ gone
/// ```
///
/// There is one for every connection, so it is as small as can be.
pub(crate) enum Serving<D> {
    /// Nothing, when it is over.
    Idle(Option<Box<Connection<D>>>),
    /// The connection is in the slot.
    Busy(Box<dyn Slot<D>>),
}

// With what the engine and the worker add, the task takes two cache lines; with a word more it would take four.
const _: () = assert!(size_of::<Serving<Direct>>() == 16);

impl<D: Dial + 'static> Future for Serving<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let serving = self.get_mut();
        loop {
            match serving {
                Self::Idle(None) => return Poll::Ready(()),
                Self::Idle(Some(connection)) => match ready!(connection.poll_wait(cx)) {
                    Ok(()) => serving.begin(Work::Request),
                    Err(reason) => serving.end(reason),
                },
                Self::Busy(slot) => {
                    // A defect of ours that panics costs this request, and nothing else.
                    let polled = catch_unwind(AssertUnwindSafe(|| slot.poll(cx)));
                    let next = match polled {
                        Ok(polled) => Some(ready!(polled)),
                        Err(_) => None,
                    };
                    *serving = Self::Idle(serving.take());
                    match next {
                        Some(Ok(())) => {}
                        Some(Err(reason)) => serving.end(reason),
                        None => serving.recover(),
                    }
                }
            }
        }
    }
}

impl<D: Dial + 'static> Serving<D> {
    /// Takes the connection from where it is.
    fn take(&mut self) -> Option<Box<Connection<D>>> {
        match std::mem::replace(self, Self::Idle(None)) {
            Self::Idle(connection) => connection,
            Self::Busy(mut slot) => {
                let connection = slot.end()?;
                connection.plane().slots.give_back(slot);
                Some(connection)
            }
        }
    }

    fn end(&mut self, reason: Reason) {
        if let Some(connection) = self.take() {
            connection.end(reason);
        }
    }

    fn recover(&mut self) {
        if let Self::Idle(Some(connection)) = self {
            match connection.recover() {
                Some(work) => self.begin(work),
                None => self.end(Reason::Internal),
            }
        }
    }

    fn begin(&mut self, work: Work) {
        if let Some(connection) = self.take() {
            let mut slot = connection.plane().slots.lend();
            slot.begin(connection, work);
            *self = Self::Busy(slot);
        }
    }
}

//! The client's end of a connection.

use std::io::IoSlice;
use std::task::{Poll, ready};
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_net::rt::Deadline;
use evenkeel_net::{Buffer, Buffers, Stream};

use crate::answer::{self, Manner};

/// The client's end of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Stream,
    /// What it sent and we have not used.
    pub(crate) buffer: Buffer,
    pub(crate) deadline: Deadline,
    /// It has finished sending.
    pub(crate) ended: bool,
    /// A part of the current answer may have reached it.
    pub(crate) answering: bool,
}

/// How long, and how much, of what a refused client still sends is read and dropped, so that our answer reaches it
/// before a reset does (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

impl Client {
    pub(crate) fn new(stream: Stream, buffer: Buffer, first: Duration) -> Self {
        let deadline = Deadline::after(first);
        Self { stream, buffer, deadline, ended: false, answering: false }
    }

    /// Whether it has sent something that we have not used.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether nothing is known to have come that we have not used: a close loses nothing, and resets nobody.
    pub(crate) fn is_silent(&self) -> bool {
        !self.has_bytes() && !self.stream.is_stale(false)
    }

    /// Writes all of it, with `timeout` from each byte taken to the next.
    pub(crate) async fn write_all(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), Reason> {
        let mut at = 0;
        self.answering = true;
        while at < bytes.len() {
            self.deadline.set(timeout);
            let stream = &mut self.stream;
            let written =
                self.deadline.guard(|cx| stream.poll_write(cx, &[IoSlice::new(&bytes[at..])])).await;
            match written {
                Some(Ok(n)) if n > 0 => at += n,
                Some(_) => return Err(Reason::ClientReset),
                None => return Err(Reason::WriteTimeout),
            }
        }
        Ok(())
    }

    /// Ends our direction, and reads what still comes for a while.
    pub(crate) async fn linger(&mut self) {
        self.deadline.set(LINGER);
        let Self { stream, buffer, .. } = self;
        let mut dropped = 0;
        let mut finished = false;
        let _ = self
            .deadline
            .guard(|cx| {
                if !finished {
                    finished = true;
                    if stream.finish().is_err() {
                        return Poll::Ready(());
                    }
                }
                loop {
                    buffer.consume(buffer.len());
                    match ready!(stream.poll_read(cx, buffer)) {
                        Ok(n) if n > 0 && dropped < LINGER_BYTES => dropped += n,
                        _ => return Poll::Ready(()),
                    }
                }
            })
            .await;
    }
}

/// Tells a client that was not let in why, and closes.
pub(crate) async fn refuse(stream: Stream, reason: Reason) {
    let mut out = Vec::with_capacity(256);
    answer::refusal(&mut out, reason, Manner { html: false, head_only: false, close: true, old: false });
    let mut client = Client::new(stream, Buffers::default().buffer(), LINGER);
    if client.write_all(&out, LINGER).await.is_ok() {
        client.linger().await;
    }
}

//! Moving bytes between two streams: byte-exact, with back-pressure, half-close, and `splice(2)` once a flow is
//! sustained.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_base::Reason;

use crate::buffer::{Buffer, Buffers, LentPipe};
use crate::rt::Deadline;
use crate::stream::Stream;

/// Reads that fill the buffer, in a row, before a direction is spliced: two calls move its bytes, as with copying, but
/// each call costs more, which a short answer never earns back.
const FULL_READS_BEFORE_SPLICE: u8 = 4;
/// Asked of one splice; the pipe's own size bounds what comes.
const SPLICE_BYTES: usize = 1 << 20;

/// One direction of a relay.
///
/// ```text
/// Copying ──4 full reads──▶ Splicing
///    │ end of input / limit     │
///    └────────▶ Finishing ◀─────┘ ──▶ Done
/// ```
#[derive(Debug)]
pub struct Direction {
    buffers: Buffers,
    buffer: Buffer,
    pipe: Option<LentPipe>,
    full_reads: u8,
    /// How many bytes may still be read; `None` is up to the end.
    left: Option<u64>,
    /// Pass the end of the input on as the end of the output.
    finish: bool,
    input_ended: bool,
    done: bool,
    moved: u64,
}

/// What stopped a direction.
#[derive(Debug)]
pub enum Broken {
    /// Reading failed: the sender is at fault.
    Read(io::Error),
    /// Writing failed: the receiver is at fault.
    Write(io::Error),
}

impl Direction {
    /// A direction that starts with `first`, what was read already, and then moves `left` more bytes (all, if
    /// `None`). With `finish`, the end of the input is passed on.
    pub fn new(buffers: &Buffers, first: Buffer, left: Option<u64>, finish: bool) -> Self {
        Self {
            buffers: buffers.clone(),
            buffer: first,
            pipe: None,
            full_reads: 0,
            left,
            finish,
            input_ended: false,
            done: false,
            moved: 0,
        }
    }

    /// A direction of a flow that is known to be long: spliced from its first byte on.
    pub fn splicing(buffers: &Buffers, left: u64) -> Self {
        // Without a pipe (descriptors may have run out) it copies.
        Self { pipe: buffers.lend_pipe(), ..Self::new(buffers, buffers.buffer(), Some(left), false) }
    }

    /// Whether bytes that were read wait for the receiver.
    pub fn holds_bytes(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.held > 0) || !self.buffer.is_empty()
    }

    /// Bytes delivered so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether everything that will ever come has been delivered.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// How many bytes of the limit never came.
    pub fn missing(&self) -> u64 {
        self.left.unwrap_or(0)
    }

    /// Moves what can be moved now. Ready when this direction is done.
    pub fn poll(&mut self, cx: &mut Context<'_>, from: &Stream, to: &Stream) -> Poll<Result<(), Broken>> {
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush(cx, to)).map_err(Broken::Write)?;
            if self.input_ended || self.left == Some(0) {
                if self.finish {
                    to.finish().map_err(Broken::Write)?;
                }
                self.pipe = None;
                self.done = true;
            } else if self.pipe.is_some() {
                ready!(self.poll_splice_in(cx, from)).map_err(Broken::Read)?;
            } else {
                ready!(self.poll_fill(cx, from)).map_err(Broken::Read)?;
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &Stream) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let written = ready!(to.poll_write(cx, &[io::IoSlice::new(self.buffer.filled())]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.consume(written);
            self.moved += written as u64;
        }
        while let Some(lent) = self.pipe.as_mut().filter(|lent| lent.held > 0) {
            let written = ready!(to.poll_splice_out(cx, &lent.pipe, lent.held))?;
            lent.held -= written.min(lent.held);
            self.moved += written as u64;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &Stream) -> Poll<io::Result<()>> {
        // Beyond the limit lies something else – the next request, an answer that is too long: it stays there.
        let most = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let room = self.buffer.capacity();
        let read = ready!(from.poll_read_at_most(cx, &mut self.buffer, most))?;
        if read == 0 {
            self.input_ended = true;
            return Poll::Ready(Ok(()));
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(read as u64);
        }
        self.full_reads = if read == room { self.full_reads + 1 } else { 0 };
        if self.full_reads >= FULL_READS_BEFORE_SPLICE && self.left.is_none_or(|left| left > room as u64) {
            // Without a pipe (descriptors may have run out) copying goes on.
            self.pipe = self.buffers.lend_pipe();
            self.full_reads = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_splice_in(&mut self, cx: &mut Context<'_>, from: &Stream) -> Poll<io::Result<()>> {
        let Some(lent) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        let most = self.left.map_or(SPLICE_BYTES, |left| left.min(SPLICE_BYTES as u64) as usize);
        match ready!(from.poll_splice_in(cx, &lent.pipe, most)) {
            Ok(0) => self.input_ended = true,
            Ok(read) => {
                lent.held += read;
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(read as u64);
                }
            }
            // This kind of socket cannot be spliced: copy.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => self.pipe = None,
            Err(e) => return Poll::Ready(Err(e)),
        }
        Poll::Ready(Ok(()))
    }
}

/// How a relay ended.
#[derive(Debug)]
pub struct RelayEnd {
    /// Why.
    pub reason: Reason,
    /// Bytes from the client to the target.
    pub to_target: u64,
    /// Bytes from the target to the client.
    pub to_client: u64,
}

/// Relays both ways until both are done, one side breaks, or nothing moved for `idle`. `progress` hears the bytes
/// moved since it was last called (to the target, to the client).
///
/// Each side's end is passed on by itself, so a client that has finished sending still gets the whole answer.
/// When a side breaks, the other one is reset rather than closed, so that it cannot take a part for the whole.
pub async fn relay(
    client: &Stream,
    target: &Stream,
    mut up: Direction,
    mut down: Direction,
    idle: Option<Duration>,
    mut progress: impl FnMut(u64, u64),
) -> RelayEnd {
    // Whatever drops this future half-way – an operator, the end of the grace time – breaks off what is under way;
    // neither side may take its part for the whole.
    let guards = (client.reset_guard(), target.reset_guard());
    let mut silence = idle.map(Silence::new);
    let (mut told_up, mut told_down) = (0, 0);
    let mut first_ended = None;
    let mut ended_side: Option<Pin<Box<dyn Future<Output = ()> + '_>>> = None;
    let outcome = std::future::poll_fn(|cx| {
        let polled = poll_both(cx, client, target, &mut up, &mut down);
        if up.moved() + down.moved() > told_up + told_down {
            progress(up.moved() - told_up, down.moved() - told_down);
            (told_up, told_down) = (up.moved(), down.moved());
            if let Some(silence) = &mut silence {
                silence.broken();
            }
        }
        if first_ended.is_none() && (up.is_done() || down.is_done()) {
            first_ended = Some(if up.is_done() && !down.is_done() {
                Reason::ClientClosed
            } else {
                Reason::TargetClosed
            });
        }
        if polled.is_ready() {
            return polled;
        }
        // A side that has ended is read no more, and while the other one is silent, it is not written to either: only
        // so does anybody notice that it is gone.
        if let Some(reason) = first_ended {
            let (side, reset) = match reason {
                Reason::ClientClosed => (client, Reason::ClientReset),
                _ => (target, Reason::TargetReset),
            };
            let broken = ended_side.get_or_insert_with(|| Box::pin(side.broken()));
            if broken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(reset));
            }
        }
        match &mut silence {
            Some(silence) => silence.poll_long(cx).map(|()| Err(Reason::IdleTimeout)),
            None => Poll::Pending,
        }
    })
    .await;
    let reason = match outcome {
        Ok(()) => {
            guards.0.disarm();
            guards.1.disarm();
            first_ended.unwrap_or(Reason::Finished)
        }
        Err(reason) => reason,
    };
    RelayEnd { reason, to_target: up.moved(), to_client: down.moved() }
}

/// Parts into which the time of silence is divided.
const PARTS: u8 = 8;

/// Notices when nothing has moved for a time, or up to an eighth longer, without a look at the clock for every byte
/// that does.
struct Silence {
    part: Duration,
    parts: u8,
    is_broken: bool,
    deadline: Deadline,
}

impl Silence {
    fn new(length: Duration) -> Self {
        let part = length / u32::from(PARTS);
        Self { part, parts: 0, is_broken: false, deadline: Deadline::after(part) }
    }

    /// Something has moved.
    fn broken(&mut self) {
        self.is_broken = true;
    }

    /// Ready when it has lasted.
    fn poll_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.parts < PARTS {
            ready!(self.deadline.poll_passed(cx));
            self.parts = if std::mem::take(&mut self.is_broken) { 0 } else { self.parts + 1 };
            self.deadline.set(self.part);
        }
        Poll::Ready(())
    }
}

fn poll_both(
    cx: &mut Context<'_>,
    client: &Stream,
    target: &Stream,
    up: &mut Direction,
    down: &mut Direction,
) -> Poll<Result<(), Reason>> {
    match up.poll(cx, client, target) {
        Poll::Ready(Err(Broken::Read(_))) => return Poll::Ready(Err(Reason::ClientReset)),
        Poll::Ready(Err(Broken::Write(error))) => {
            // The target does not want more. What it said before it went may still be on its way to the client; but
            // when it was reset, the write has used the error up, and the end that a read shows next is none.
            up.give_up();
            down.finish &= error.kind() != io::ErrorKind::ConnectionReset;
        }
        _ => {}
    }
    let down_polled = down.poll(cx, target, client).map_err(|broken| match broken {
        Broken::Read(_) => Reason::TargetReset,
        Broken::Write(_) => Reason::ClientReset,
    });
    match down_polled {
        Poll::Ready(Err(reason)) => Poll::Ready(Err(reason)),
        Poll::Ready(Ok(())) if !down.finish => Poll::Ready(Err(Reason::TargetReset)),
        Poll::Ready(Ok(())) if up.is_done() => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}

impl Direction {
    /// Drops what could not be delivered; the direction counts as done.
    fn give_up(&mut self) {
        self.buffer.consume(usize::MAX);
        self.pipe = None;
        self.done = true;
    }
}

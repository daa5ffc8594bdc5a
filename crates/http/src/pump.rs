//! One message on its way through us: a head of our making, then the body as it comes.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use evenkeel_base::Reason;
use evenkeel_net::{Broken, Buffer, Buffers, Direction, Stream};
use evenkeel_wire::{ChunkDecoder, ChunkLimits, Framing, LAST_CHUNK, write_chunk_size};

/// What a chunked body may spend on things that are not payload: extensions that nobody uses, and a handful of
/// trailers.
const CHUNK_LIMITS: ChunkLimits = ChunkLimits { ext_bytes: 256, trailer_bytes: 8 * 1024, trailers: 64 };
/// From so much of a known length on, `splice` takes over after a few full reads.
const SPLICE_FROM: u64 = 128 * 1024;
const FULL_READS_BEFORE_SPLICE: u8 = 4;
/// A rest of the body of at most this size is copied behind the head: `send` of one piece costs the kernel less than
/// `writev` of two, and more than the copy.
const COPIED_BEHIND_HEAD: usize = 2048;

/// Where the rest of the body comes from.
#[derive(Debug)]
enum Source {
    /// Nothing is left.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(ChunkDecoder),
    /// Whatever comes before the end.
    UntilClose,
}

/// What happens to the payload on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// It goes on as it came.
    Raw,
    /// Its length was unknown: it is put into chunks.
    Encode,
    /// It came in chunks, for a receiver that does not know them.
    Decode,
}

/// What a pump that cannot go on waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The sender.
    Read,
    /// The receiver.
    Write,
}

/// Why a pump stopped before the end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The sender broke off.
    Read(io::Error),
    /// The sender ended in the middle of the body.
    Truncated,
    /// The body is malformed or too large.
    Refused(Reason),
    /// The receiver broke off.
    Write,
}

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Pump {
    /// Written first: the head, or the size of a chunk.
    prefix: Vec<u8>,
    prefix_at: usize,
    /// Bytes at the front of the sender's buffer that go next.
    ready: usize,
    /// Written behind them.
    tail: &'static [u8],
    source: Source,
    coding: Coding,
    /// Seldom there, and large.
    direct: Option<Box<Direction>>,
    buffers: Buffers,
    full_reads: u8,
    /// Payload bytes that may still come.
    allowed: u64,
    moved: u64,
    body_taken: bool,
    blocked: Blocked,
    broken: Option<io::ErrorKind>,
    /// The sender was reset: an end that a read shows is none.
    distrusted: bool,
}

impl Pump {
    /// A message with this head, and a body framed like this of at most `allowed` bytes.
    pub(crate) fn new(
        head: Vec<u8>,
        framing: Framing,
        coding: Coding,
        allowed: u64,
        buffers: &Buffers,
    ) -> Self {
        let source = match framing {
            Framing::None | Framing::Length(0) => Source::Done,
            Framing::Length(length) => Source::Length(length),
            Framing::Chunked => Source::Chunked(ChunkDecoder::new(CHUNK_LIMITS)),
            Framing::UntilClose => Source::UntilClose,
        };
        Self {
            prefix: head,
            prefix_at: 0,
            ready: 0,
            tail: b"",
            source,
            coding,
            direct: None,
            buffers: buffers.clone(),
            full_reads: 0,
            allowed,
            moved: 0,
            body_taken: false,
            blocked: Blocked::Write,
            broken: None,
            distrusted: false,
        }
    }

    /// Bytes written so far, framing included.
    pub(crate) fn moved(&self) -> u64 {
        self.moved + self.direct.as_ref().map_or(0, |direct| direct.moved())
    }

    /// Whether the whole message has been written.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.source, Source::Done) && !self.has_output()
    }

    /// Whether body bytes have been used up: from then on the message cannot be sent a second time.
    pub(crate) fn body_is_taken(&self) -> bool {
        self.body_taken
    }

    /// What it waits for, after a poll that was pending.
    pub(crate) fn blocked(&self) -> Blocked {
        self.blocked
    }

    /// How the receiver broke off, if it has: it takes no more.
    pub(crate) fn broken(&self) -> Option<io::ErrorKind> {
        self.broken
    }

    /// Says that the sender was reset, though a write has used the error up.
    pub(crate) fn distrust_end(&mut self) {
        self.distrusted = true;
    }

    /// Takes the head back, to be sent again or reused.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.prefix)
    }

    fn has_output(&self) -> bool {
        self.prefix_at < self.prefix.len() || self.ready > 0 || !self.tail.is_empty()
    }

    /// Moves what can be moved now; ready when the whole message has been written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        buffer: &mut Buffer,
        to: &mut Stream,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            if self.ready == 0 && self.tail.is_empty() && !buffer.is_empty() && self.direct.is_none() {
                self.take(buffer).map_err(Stopped::Refused)?;
            }
            if self.has_output() {
                self.blocked = Blocked::Write;
                if let Err(error) = ready!(self.poll_flush(cx, buffer, to)) {
                    self.broken = Some(error.kind());
                    return Poll::Ready(Err(Stopped::Write));
                }
            } else if matches!(self.source, Source::Done) {
                return Poll::Ready(Ok(()));
            } else if self.direct.is_some() {
                ready!(self.poll_direct(cx, from, to))?;
            } else if buffer.is_empty() {
                self.blocked = Blocked::Read;
                ready!(self.poll_fill(cx, from, buffer))?;
            }
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        self.join_small_body(buffer);
        while self.has_output() {
            let head = &self.prefix[self.prefix_at..];
            let body = &buffer.filled()[..self.ready];
            let slices = [IoSlice::new(head), IoSlice::new(body), IoSlice::new(self.tail)];
            // Most messages have a head and perhaps a body, and no tail: the kernel need not look at three.
            let used = if !self.tail.is_empty() {
                &slices[..]
            } else if body.is_empty() {
                &slices[..1]
            } else if head.is_empty() {
                &slices[1..2]
            } else {
                &slices[..2]
            };
            let written = ready!(to.poll_write(cx, used))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written, buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// Head and whole body become one piece when the body is small.
    fn join_small_body(&mut self, buffer: &mut Buffer) {
        let fits = self.ready > 0 && self.ready <= COPIED_BEHIND_HEAD && self.tail.is_empty();
        if fits && matches!(self.source, Source::Done) && self.prefix_at < self.prefix.len() {
            self.prefix.extend_from_slice(&buffer.filled()[..self.ready]);
            buffer.consume(self.ready);
            self.ready = 0;
            self.body_taken = true;
        }
    }

    fn advance(&mut self, written: usize, buffer: &mut Buffer) {
        self.moved += written as u64;
        let of_head = written.min(self.prefix.len() - self.prefix_at);
        self.prefix_at += of_head;
        let of_body = (written - of_head).min(self.ready);
        if of_body > 0 {
            self.ready -= of_body;
            self.body_taken = true;
            buffer.consume(of_body);
        }
        self.tail = &self.tail[(written - of_head - of_body).min(self.tail.len())..];
    }

    /// Decides what of the buffer goes next.
    fn take(&mut self, buffer: &mut Buffer) -> Result<(), Reason> {
        let before = buffer.len();
        self.take_some(buffer)?;
        // Each step of a decoder uses bytes up; one that did not would be asked for ever.
        let stuck = self.ready == 0 && buffer.len() == before && !matches!(self.source, Source::Done);
        if stuck { Err(Reason::BadChunk) } else { Ok(()) }
    }

    fn take_some(&mut self, buffer: &mut Buffer) -> Result<(), Reason> {
        match &mut self.source {
            Source::Done => {}
            Source::Length(left) => {
                self.ready = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= self.ready as u64;
                self.spend(self.ready as u64)?;
                if matches!(self.source, Source::Length(0)) {
                    self.source = Source::Done;
                }
            }
            Source::Chunked(decoder) if self.coding == Coding::Decode => {
                let step = decoder.advance(buffer.filled())?;
                let data = step.data.unwrap_or(step.consumed..step.consumed);
                buffer.consume(data.start);
                self.body_taken = true;
                self.ready = data.len();
                if step.done {
                    self.source = Source::Done;
                }
                self.spend(self.ready as u64)?;
            }
            Source::Chunked(decoder) => {
                let scanned = decoder.scan(buffer.filled())?;
                self.ready = scanned.consumed;
                if scanned.done {
                    self.source = Source::Done;
                }
                self.spend(scanned.payload_bytes)?;
            }
            Source::UntilClose => {
                self.ready = buffer.len();
                self.spend(self.ready as u64)?;
                if self.coding == Coding::Encode {
                    self.compact_prefix();
                    write_chunk_size(&mut self.prefix, self.ready as u64);
                    self.tail = b"\r\n";
                }
            }
        }
        Ok(())
    }

    fn spend(&mut self, payload: u64) -> Result<(), Reason> {
        self.allowed = self.allowed.checked_sub(payload).ok_or(Reason::BodyTooLarge)?;
        Ok(())
    }

    fn compact_prefix(&mut self) {
        if self.prefix_at == self.prefix.len() {
            self.prefix.clear();
            self.prefix_at = 0;
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), Stopped>> {
        let room = buffer.capacity();
        let read = ready!(from.poll_read(cx, buffer)).map_err(Stopped::Read)?;
        if read == 0 {
            return Poll::Ready(self.ended());
        }
        self.full_reads = if read == room { self.full_reads.saturating_add(1) } else { 0 };
        if let Source::Length(left) = self.source {
            let beyond = left.saturating_sub(buffer.len() as u64);
            if self.full_reads >= FULL_READS_BEFORE_SPLICE && beyond >= SPLICE_FROM {
                self.take(buffer).map_err(Stopped::Refused)?;
                // What is in the buffer goes first; the rest never passes through it.
                self.spend(beyond).map_err(Stopped::Refused)?;
                self.direct = Some(Box::new(Direction::splicing(&self.buffers, beyond)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn ended(&mut self) -> Result<(), Stopped> {
        if !matches!(self.source, Source::UntilClose) || self.distrusted {
            return Err(Stopped::Truncated);
        }
        self.source = Source::Done;
        if self.coding == Coding::Encode {
            self.tail = LAST_CHUNK;
        }
        Ok(())
    }

    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
    ) -> Poll<Result<(), Stopped>> {
        let Some(direct) = &mut self.direct else { return Poll::Ready(Ok(())) };
        let polled = direct.poll(cx, from, to);
        if polled.is_pending() {
            self.blocked = if direct.holds_bytes() { Blocked::Write } else { Blocked::Read };
        }
        match ready!(polled) {
            Ok(()) if direct.missing() > 0 => Poll::Ready(Err(Stopped::Truncated)),
            Ok(()) => {
                self.moved += direct.moved();
                self.direct = None;
                self.source = Source::Done;
                Poll::Ready(Ok(()))
            }
            Err(Broken::Read(error)) => Poll::Ready(Err(Stopped::Read(error))),
            Err(Broken::Write(error)) => {
                self.broken = Some(error.kind());
                Poll::Ready(Err(Stopped::Write))
            }
        }
    }
}

//! Buffers and pipes that a worker lends out and takes back: an idle connection holds none.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::sys::Pipe;

/// Size of a pooled buffer: a page of 16 KiB and its head go through in one read and one write (measured: a fifth less
/// CPU than with 16 KiB buffers), and beyond that `splice` is cheaper.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers kept for reuse per worker (16 MiB); more are freed when they come back.
const KEPT: usize = 512;

/// Pipes kept for reuse per worker, for as long as they are in use every now and then: see [`Buffers::tick`].
const PIPES_KEPT: usize = 64;

/// Where they lie ready.
#[derive(Debug, Default)]
struct Home {
    buffers: RefCell<Vec<Box<[u8]>>>,
    pipes: RefCell<Vec<Rc<Pipe>>>,
    /// The least that lay ready since the last tick: so many pipes were not needed.
    spare_pipes: Cell<usize>,
}

impl Home {
    fn lend(&self) -> Box<[u8]> {
        let ready = self.buffers.borrow_mut().pop();
        ready.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    fn take_back(&self, bytes: Box<[u8]>) {
        let mut free = self.buffers.borrow_mut();
        if bytes.len() == BUFFER_BYTES && free.len() < KEPT {
            free.push(bytes);
        }
    }
}

/// Bytes that came and have not been used yet, with room behind them. It holds memory only while there are some, or
/// somebody is about to fill it: a connection that waits, for its client or for a slow target, costs none.
#[derive(Debug)]
pub struct Buffer {
    /// Lent when room is asked for; nothing while it is empty.
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    home: Rc<Home>,
}

impl Buffer {
    /// What is there.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How much is there.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is there.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Uses up the first `n` bytes; more than there are is all of them. The memory of an empty buffer goes home, and so
    /// the next one to read gets memory that the caches still know.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        self.rest();
    }

    /// Gives the memory back if nothing is there.
    #[inline]
    pub fn rest(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            (self.start, self.end) = (0, 0);
            self.home.take_back(std::mem::take(&mut self.bytes));
        }
    }

    /// Room behind what is there; moves it to the front first when the room has run out. Who does not fill it after all
    /// calls [`Buffer::rest`].
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = self.home.lend();
        }
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Whether there is no room left behind what is there.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.start == 0 && self.end > 0 && self.end == self.bytes.len()
    }

    /// Says that the first `n` bytes of [`Buffer::space`] have been filled.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Makes room for at least `capacity` bytes in all. What has grown is not pooled.
    pub fn grow(&mut self, capacity: usize) {
        if capacity <= self.bytes.len() {
            return;
        }
        let mut bytes = vec![0; capacity].into_boxed_slice();
        let len = self.len();
        bytes[..len].copy_from_slice(self.filled());
        self.home.take_back(std::mem::replace(&mut self.bytes, bytes));
        (self.start, self.end) = (0, len);
    }

    /// How much it can hold before it has to grow.
    pub fn capacity(&self) -> usize {
        self.bytes.len().max(BUFFER_BYTES)
    }

    /// Takes what is there away; this one is empty then.
    pub fn take(&mut self) -> Self {
        let empty = Self { bytes: Box::default(), start: 0, end: 0, home: Rc::clone(&self.home) };
        std::mem::replace(self, empty)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.take_back(std::mem::take(&mut self.bytes));
    }
}

/// A worker's buffers and pipes.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Rc<Home>);

impl Buffers {
    /// An empty buffer, which lends memory when it is filled.
    pub fn buffer(&self) -> Buffer {
        Buffer { bytes: Box::default(), start: 0, end: 0, home: Rc::clone(&self.0) }
    }

    /// Lends a pipe; none when descriptors have run out.
    pub(crate) fn lend_pipe(&self) -> Option<LentPipe> {
        let mut free = self.0.pipes.borrow_mut();
        let ready = free.pop();
        self.0.spare_pipes.set(self.0.spare_pipes.get().min(free.len()));
        drop(free);
        let pipe = ready.or_else(|| Pipe::new().ok().map(Rc::new))?;
        Some(LentPipe { pipe, held: 0, home: Rc::clone(&self.0) })
    }

    /// Closes the pipes that were not needed since the last time; called a few times a second.
    pub fn tick(&self) {
        let mut free = self.0.pipes.borrow_mut();
        let spare = self.0.spare_pipes.get().min(free.len());
        free.drain(..spare);
        self.0.spare_pipes.set(free.len());
    }

    /// Gives those that lie ready back to the system.
    pub fn release(&self) {
        *self.0.buffers.borrow_mut() = Vec::new();
        *self.0.pipes.borrow_mut() = Vec::new();
    }

    /// How many buffers lie ready.
    pub fn free(&self) -> usize {
        self.0.buffers.borrow().len()
    }
}

/// A pipe on loan. One that is dropped with bytes of its flow in it is closed; an empty one is used again.
#[derive(Debug)]
pub(crate) struct LentPipe {
    pub(crate) pipe: Rc<Pipe>,
    /// Bytes in it.
    pub(crate) held: usize,
    home: Rc<Home>,
}

impl Drop for LentPipe {
    fn drop(&mut self) {
        let mut free = self.home.pipes.borrow_mut();
        if self.held == 0 && free.len() < PIPES_KEPT {
            free.push(Rc::clone(&self.pipe));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_in_order_over_consume_move_and_growth() {
        let buffers = Buffers::default();
        let mut buffer = buffers.buffer();
        assert!(!buffer.is_full());
        let room = buffer.space().len();
        for (index, byte) in buffer.space().iter_mut().enumerate() {
            *byte = index as u8;
        }
        buffer.advance(room);
        assert!(buffer.is_full());
        buffer.consume(room - 3);
        assert!(!buffer.is_full());
        assert_eq!(buffer.space().len(), room - 3);
        buffer.grow(room * 2);
        let expected: Vec<u8> = (room - 3..room).map(|index| index as u8).collect();
        assert_eq!(buffer.filled(), expected);
        assert_eq!(buffers.free(), 1, "the pooled part came home when the buffer grew");
        buffer.consume(100);
        assert!(buffer.is_empty());
        assert_eq!(buffers.free(), 1, "what has grown is not pooled");
    }

    #[test]
    fn memory_is_lent_only_while_there_is_something() {
        let buffers = Buffers::default();
        let mut buffer = buffers.buffer();
        buffer.space()[..2].copy_from_slice(b"ab");
        buffer.advance(2);
        buffer.rest();
        buffer.consume(1);
        assert_eq!((buffer.filled(), buffers.free()), (&b"b"[..], 0));
        buffer.consume(1);
        assert_eq!(buffers.free(), 1);
        assert!(!buffer.space().is_empty());
        buffer.rest();
        assert_eq!(buffers.free(), 1, "room was asked for in vain");
        buffer.space()[0] = b'c';
        buffer.advance(1);
        let taken = buffer.take();
        assert_eq!((buffer.len(), taken.filled()), (0, &b"c"[..]));
        drop((buffer, taken));
        assert_eq!(buffers.free(), 1);
        buffers.release();
        assert_eq!(buffers.free(), 0);
    }

    #[test]
    fn a_pipe_is_used_again_while_it_is_needed_and_closed_when_it_is_not() {
        let buffers = Buffers::default();
        let first = buffers.lend_pipe().unwrap();
        let pipe = Rc::downgrade(&first.pipe);
        drop(first);
        for _ in 0..3 {
            buffers.tick();
            let again = buffers.lend_pipe().unwrap();
            assert!(std::ptr::eq(pipe.as_ptr(), &raw const *again.pipe), "the same one");
        }
        buffers.tick();
        assert!(pipe.upgrade().is_some(), "it was needed since the last tick");
        buffers.tick();
        assert!(pipe.upgrade().is_none(), "nobody needed it");
        let mut broken = buffers.lend_pipe().unwrap();
        broken.held = 1;
        let pipe = Rc::downgrade(&broken.pipe);
        drop(broken);
        assert!(pipe.upgrade().is_none(), "bytes of a flow that broke off are nobody else's");
    }
}

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
    fn take_back(&self, bytes: Box<[u8]>) {
        let mut free = self.buffers.borrow_mut();
        if free.len() < KEPT {
            free.push(bytes);
        }
    }
}

/// Bytes that came and have not been used yet, with room behind them.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    home: Option<Rc<Home>>,
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

    /// Uses up the first `n` bytes; more than there are is all of them.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room behind what is there; moves it to the front first when the room has run out.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Says that the first `n` bytes of [`Buffer::space`] have been filled.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Takes what is there away, with the memory it stands in; what stays holds nothing, and has no room.
    pub fn take(&mut self) -> Self {
        let nothing = Self { bytes: Box::default(), start: 0, end: 0, home: None };
        std::mem::replace(self, nothing)
    }

    /// Makes the buffer hold at least `capacity` bytes. A grown buffer is not pooled.
    pub fn grow(&mut self, capacity: usize) {
        if capacity <= self.bytes.len() {
            return;
        }
        let mut bytes = vec![0; capacity].into_boxed_slice();
        let len = self.len();
        bytes[..len].copy_from_slice(self.filled());
        let old = std::mem::replace(&mut self.bytes, bytes);
        (self.start, self.end) = (0, len);
        if let Some(home) = self.home.take() {
            home.take_back(old);
        }
    }

    /// How much it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.take_back(std::mem::take(&mut self.bytes));
        }
    }
}

/// A worker's buffers and pipes.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Rc<Home>);

impl Buffers {
    /// Lends an empty buffer.
    pub fn lend(&self) -> Buffer {
        let bytes = self.0.buffers.borrow_mut().pop();
        let bytes = bytes.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Buffer { bytes, start: 0, end: 0, home: Some(Rc::clone(&self.0)) }
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
        let mut buffer = buffers.lend();
        let room = buffer.space().len();
        for (index, byte) in buffer.space().iter_mut().enumerate() {
            *byte = index as u8;
        }
        buffer.advance(room);
        buffer.consume(room - 3);
        assert_eq!(buffer.space().len(), room - 3);
        buffer.grow(room * 2);
        let expected: Vec<u8> = (room - 3..room).map(|index| index as u8).collect();
        assert_eq!(buffer.filled(), expected);
        buffer.consume(100);
        assert!(buffer.is_empty());
        assert_eq!(buffers.free(), 1, "the pooled part came home when the buffer grew");
        drop(buffer);
        assert_eq!(buffers.free(), 1, "a grown buffer is not pooled");
        drop(buffers.lend());
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

//! A connected byte stream, TCP or unix.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::buffer::Buffer;
use crate::sys;

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Reads what there is into the buffer's space: `Ok(0)` is the end, or a full buffer.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        self.poll_read_at_most(cx, buffer, usize::MAX)
    }

    /// Like [`Stream::poll_read`], but takes no more than `most` bytes off the stream.
    #[inline]
    pub fn poll_read_at_most(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let space = buffer.space();
        let most = most.min(space.len());
        let mut space = ReadBuf::new(&mut space[..most]);
        // tokio clears the readiness after a short read, which saves the extra read that ends in EAGAIN.
        let polled = match self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, &mut space),
            Self::Unix(s) => Pin::new(s).poll_read(cx, &mut space),
        };
        let read = space.filled().len();
        polled.map_ok(|()| {
            buffer.advance(read);
            read
        })
    }

    /// Writes from the slices, in order; how much was taken.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // `send` is a little cheaper in the kernel than `writev` of one slice, and one slice is the rule.
        match (self, bytes) {
            (Self::Tcp(s), [one]) => Pin::new(s).poll_write(cx, one),
            (Self::Unix(s), [one]) => Pin::new(s).poll_write(cx, one),
            (Self::Tcp(s), _) => Pin::new(s).poll_write_vectored(cx, bytes),
            (Self::Unix(s), _) => Pin::new(s).poll_write_vectored(cx, bytes),
        }
    }

    /// Ends our direction; the other one stays open.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }

    /// Ready when a read would not wait. Takes nothing from the stream.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => s.poll_read_ready(cx),
            Self::Unix(s) => s.poll_read_ready(cx),
        }
    }

    /// Ready when a write would not wait.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => s.poll_write_ready(cx),
            Self::Unix(s) => s.poll_write_ready(cx),
        }
    }

    /// Whether an idle connection has ended, or said something unasked. Costs no system call unless the engine
    /// has already seen the socket become readable; with `ask` it always asks the kernel.
    pub fn is_stale(&self, ask: bool) -> bool {
        let mut byte = [0; 1];
        let peeked = match self {
            // A peek leaves the readiness as it is; a read that would block clears it, for the next time.
            Self::Tcp(s) => s.try_io(Interest::READABLE, || peek(s.as_fd(), &mut byte)),
            Self::Unix(s) => s.try_io(Interest::READABLE, || peek(s.as_fd(), &mut byte)),
        };
        let asked = match peeked {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && ask => peek(self.as_fd(), &mut byte),
            other => other,
        };
        !matches!(asked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Makes the close that follows a reset (RST) instead of an orderly end.
    pub fn reset_on_close(&self) {
        if let Self::Tcp(s) = self {
            // The socket is going away either way; an error leaves an orderly close.
            let _ = socket2::SockRef::from(s).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Our end's address, for TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(s) => s.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The other end's address, for TCP.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(s) => s.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Until it is disarmed, dropping the guard – with the task that holds it, say – makes this stream's close a
    /// reset. The stream must outlive the guard.
    pub fn reset_guard(&self) -> ResetGuard {
        ResetGuard(Some(self.as_fd().as_raw_fd()))
    }

    /// How many of our bytes the peer's kernel has taken, where the kernel tells (TCP).
    pub fn bytes_acked(&self) -> Option<u64> {
        match self {
            Self::Tcp(s) => sys::tcp_bytes_acked(s.as_fd()).ok(),
            Self::Unix(_) => None,
        }
    }

    /// Splices towards a pipe: waits until readable, then moves up to `len` bytes.
    pub(crate) fn poll_splice_in(
        &self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.poll_readable(cx))?;
            match self.try_io(Interest::READABLE, || sys::splice(self.as_fd(), pipe, len)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Splices out of a pipe: waits until writable, then moves up to `len` bytes.
    pub(crate) fn poll_splice_out(
        &self,
        cx: &mut Context<'_>,
        pipe: BorrowedFd<'_>,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.poll_writable(cx))?;
            match self.try_io(Interest::WRITABLE, || sys::splice(pipe, self.as_fd(), len)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn try_io<T>(&self, interest: Interest, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(s) => s.try_io(interest, call),
            Self::Unix(s) => s.try_io(interest, call),
        }
    }
}

/// See [`Stream::reset_guard`].
#[derive(Debug)]
pub struct ResetGuard(Option<RawFd>);

impl ResetGuard {
    /// The stream may close in order.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for ResetGuard {
    fn drop(&mut self) {
        if let Some(fd) = self.0 {
            sys::reset_on_close(fd);
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(s) => s.as_fd(),
            Self::Unix(s) => s.as_fd(),
        }
    }
}

// For libraries that ask for the engine's own traits; the planes use the methods above, and our buffers.
impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, space),
            Self::Unix(s) => Pin::new(s).poll_read(cx, space),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Unix(s) => Pin::new(s).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is the kernel's already.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_finish(cx)
    }
}

fn peek(socket: BorrowedFd<'_>, byte: &mut [u8; 1]) -> io::Result<usize> {
    let socket = socket2::SockRef::from(&socket);
    let mut space = [std::mem::MaybeUninit::new(byte[0])];
    socket.recv_with_flags(&mut space, libc::MSG_PEEK | libc::MSG_DONTWAIT)
}

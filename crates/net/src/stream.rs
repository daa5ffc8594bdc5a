//! A connected byte stream, TCP or unix.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::buffer::Buffer;
use crate::sys::{self, Pipe};

/// A connected byte stream. The kernel is called without the C library in between, whose calls are points where a
/// thread may be cancelled; ours never are.
#[derive(Debug)]
pub struct Stream {
    socket: AsyncFd<OwnedFd>,
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Stream {
    /// A socket that is connected, or about to be, and does not block.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: sys::watched(socket, BOTH)? })
    }

    /// Reads what there is into the buffer: `Ok(0)` is the end, or a full buffer.
    #[inline]
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        self.poll_read_at_most(cx, buffer, usize::MAX)
    }

    /// Like [`Stream::poll_read`], but takes no more than `most` bytes off the stream. The buffer lends memory only when
    /// something has come.
    #[inline]
    pub fn poll_read_at_most(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(cx))?;
            let space = buffer.space();
            let most = most.min(space.len());
            let received = receive(&mut readiness, &mut space[..most]);
            buffer.advance(*received.as_ref().and_then(|read| read.as_ref().ok()).unwrap_or(&0));
            buffer.rest();
            if let Some(read) = received {
                return Poll::Ready(read);
            }
        }
    }

    #[inline]
    fn poll_receive(&self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(cx))?;
            if let Some(read) = receive(&mut readiness, space) {
                return Poll::Ready(read);
            }
        }
    }

    /// Writes from the slices, in order; how much was taken.
    #[inline]
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let mut readiness = ready!(self.socket.poll_write_ready(cx))?;
            // `send` is a little cheaper in the kernel than `sendmsg` of one slice, and one slice is the rule.
            let (wanted, sent) = match bytes {
                [one] => (one.len(), rustix::net::send(readiness.get_inner(), one, SendFlags::NOSIGNAL)),
                _ => {
                    let mut nothing = SendAncillaryBuffer::default();
                    let wanted = bytes.iter().map(|slice| slice.len()).sum();
                    let socket = readiness.get_inner();
                    (wanted, rustix::net::sendmsg(socket, bytes, &mut nothing, SendFlags::NOSIGNAL))
                }
            };
            match sent {
                Ok(sent) => {
                    // What was not taken shows that the kernel's buffer is full.
                    if 0 < sent && sent < wanted {
                        readiness.clear_ready();
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(Errno::AGAIN) => readiness.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Ends our direction; the other one stays open.
    pub fn finish(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.socket, Shutdown::Write) {
            // It has ended already, on both sides.
            Err(Errno::NOTCONN) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the connection has broken: the peer reset it, or the network did. What has merely ended is not broken.
    pub async fn broken(&self) {
        // An error of waiting is the engine's end, and with it that of the connection.
        let _ = self.socket.ready(Interest::ERROR).await;
    }

    /// Waits until the connection that was begun stands, or has failed.
    pub(crate) async fn connected(self) -> io::Result<Self> {
        drop(self.socket.writable().await?);
        rustix::net::sockopt::socket_error(&self.socket)??;
        Ok(self)
    }

    /// Whether an idle connection has ended, or said something unasked. Costs no system call unless the engine
    /// has already seen the socket become readable; with `ask` it always asks the kernel.
    pub fn is_stale(&self, ask: bool) -> bool {
        // A peek leaves the readiness as it is; a read that would block clears it, for the next time.
        let peeked = self.socket.try_io(Interest::READABLE, |socket| peek(socket.as_fd()));
        let asked = match peeked {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && ask => peek(self.as_fd()),
            other => other,
        };
        !matches!(asked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Makes the close that follows a reset (RST) instead of an orderly end, for TCP.
    pub fn reset_on_close(&self) {
        // The socket is going away either way; an error leaves an orderly close.
        let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    /// Our end's address, for TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(&self.socket).ok()?.try_into().ok()
    }

    /// The other end's address, for TCP.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        rustix::net::getpeername(&self.socket).ok()??.try_into().ok()
    }

    /// Until it is disarmed, dropping the guard – with the task that holds it, say – makes this stream's close a
    /// reset. The stream must outlive the guard.
    pub fn reset_guard(&self) -> ResetGuard {
        ResetGuard(Some(self.as_fd().as_raw_fd()))
    }

    /// How many of our bytes the peer's kernel has taken, where the kernel tells (TCP).
    pub fn bytes_acked(&self) -> Option<u64> {
        sys::tcp_bytes_acked(self.as_fd()).ok()
    }

    /// Splices towards a pipe: waits until readable, then moves up to `len` bytes.
    pub(crate) fn poll_splice_in(
        &self,
        cx: &mut Context<'_>,
        pipe: &Pipe,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(cx))?;
            match pipe.fill_from(readiness.get_inner().as_fd(), len) {
                Err(Errno::AGAIN) => readiness.clear_ready(),
                Err(Errno::INTR) => {}
                done => return Poll::Ready(done.map_err(io::Error::from)),
            }
        }
    }

    /// Splices out of a pipe: waits until writable, then moves up to `len` bytes.
    pub(crate) fn poll_splice_out(
        &self,
        cx: &mut Context<'_>,
        pipe: &Pipe,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readiness = ready!(self.socket.poll_write_ready(cx))?;
            match pipe.empty_into(readiness.get_inner().as_fd(), len) {
                Err(Errno::AGAIN) => readiness.clear_ready(),
                Err(Errno::INTR) => {}
                done => return Poll::Ready(done.map_err(io::Error::from)),
            }
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
        self.socket.get_ref().as_fd()
    }
}

// For libraries that ask for the engine's own traits; the planes use the methods above, and our buffers.
impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.get_mut().poll_receive(cx, space.initialize_unfilled()))?;
        space.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self.get_mut(), cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is the kernel's already.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

/// What a socket that was said to be readable gives; `None` when there was nothing, after all.
#[inline]
fn receive(readiness: &mut AsyncFdReadyGuard<'_, OwnedFd>, space: &mut [u8]) -> Option<io::Result<usize>> {
    loop {
        match rustix::net::recv(readiness.get_inner(), &mut *space, RecvFlags::empty()) {
            Ok((read, _)) => {
                // A short read has emptied the socket: the next read need not end in EAGAIN to tell. But an end is read
                // again, as often as one likes.
                if 0 < read && read < space.len() {
                    readiness.clear_ready();
                }
                return Some(Ok(read));
            }
            Err(Errno::AGAIN) => {
                readiness.clear_ready();
                return None;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Some(Err(error.into())),
        }
    }
}

fn peek(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut byte = [0u8; 1];
    Ok(rustix::net::recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
}

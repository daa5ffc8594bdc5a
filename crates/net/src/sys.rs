//! The kernel calls that no library wraps. Every `unsafe` block of the product stands in this file.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::pipe::{PipeFlags, SpliceFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// CPUs that this process may use: the affinity mask and the cgroup's quota, at least 1.
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// From here on, this thread gets a tenth of a core that others want as well. For work that nobody waits for, beside
/// workers that somebody does; there is no way back without privileges.
pub fn give_way() {
    // What Linux calls a process here is a thread; where it is not allowed, nothing is lost but the courtesy.
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Has the kernel give this process memory in pages of the usual size only, whatever the system's setting. Huge pages
/// make programs with gigabytes faster; ours, with megabytes, they made twice as large and no faster.
pub fn use_small_pages() {
    // A kernel without huge pages does not know the question.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Raises the soft limit of open descriptors to the hard one; returns the limit in force (`u64::MAX` is none). A balancer
/// needs two descriptors per connection, and the usual soft limit of 1024 dates from `select`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(raised.current.unwrap_or(u64::MAX))
}

/// A socket whose readiness the engine of this thread watches.
pub(crate) fn watched(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, names the same file for as long as it lives, and is the AsyncFd's alone.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// A pipe for `splice`, both ends non-blocking.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// What a pipe holds, asked for: the fewer bytes per call, the more calls per byte. A process without privileges gets
/// 64 such pipes on usual limits (pipe(7), `pipe-user-pages-soft`), and the usual 64 KiB for the others.
const PIPE_BYTES: usize = 1 << 20;

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Self { read, write })
    }

    /// Moves up to `len` bytes from a socket into the pipe, without copying them through user space.
    pub(crate) fn fill_from(&self, socket: BorrowedFd<'_>, len: usize) -> rustix::io::Result<usize> {
        rustix::pipe::splice(socket, None, &self.write, None, len, SPLICE)
    }

    /// Moves up to `len` bytes from the pipe into a socket.
    pub(crate) fn empty_into(&self, socket: BorrowedFd<'_>, len: usize) -> rustix::io::Result<usize> {
        rustix::pipe::splice(&self.read, None, socket, None, len, SPLICE)
    }
}

const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Lets a source address be bound without a port: the kernel picks one at connect, unique per destination, so
/// that 28,000 ephemeral ports suffice for 28,000 connections per target rather than in all.
pub(crate) fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` outlives the call and its size is passed along.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the close of this socket a reset. A descriptor that is no socket, or not open, is left alone.
pub(crate) fn reset_on_close(socket: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` outlives the call and its size is passed along; the kernel checks the descriptor.
    unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
}

/// Bytes of ours that the peer's kernel has acknowledged on this TCP connection (RFC 4898
/// `tcpEStatsAppHCThruOctetsAcked`; Linux counts the SYN as one).
pub(crate) fn tcp_bytes_acked(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // Zeroed, so that a kernel that knows fewer fields leaves the rest at 0.
    let mut info = [0u64; 64];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info`, which is plain old data.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // struct tcp_info (uapi/linux/tcp.h): 8 one-byte fields, 24 u32, then u64 pacing_rate, max_pacing_rate, bytes_acked.
    const BYTES_ACKED: usize = 120;
    if (len as usize) < BYTES_ACKED + 8 {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(info[BYTES_ACKED / 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn acknowledged_bytes_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = tcp_bytes_acked(client.as_fd()).unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        server.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        assert_eq!(tcp_bytes_acked(client.as_fd()).unwrap() - before, 1000);
    }

    #[test]
    fn splice_moves_bytes_through_a_pipe() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        let pipe = Pipe::new().unwrap();
        server.peek(&mut [0; 1]).unwrap();
        assert_eq!(pipe.fill_from(server.as_fd(), 100).unwrap(), 5);
        assert_eq!(pipe.empty_into(server.as_fd(), 5).unwrap(), 5);
        let mut back = [0; 5];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello");
    }

    #[test]
    fn there_is_a_cpu_and_a_descriptor_limit() {
        assert!(cpu_count() >= 1);
        assert!(raise_descriptor_limit().unwrap() >= 64);
    }
}

//! Listening: bound on the control side, all or nothing; accepted on the workers.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_base::{BindAddr, ClientAddr};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::stream::Stream;
use crate::sys;

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// What was asked for.
    pub address: BindAddr,
    /// What the kernel said.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there; stop it (`ss -ltnp` shows it) or choose another address"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; a unix socket needs a writable folder"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; `ip addr` lists those it has"
            }
            io::ErrorKind::NotFound => "the folder of the unix socket does not exist",
            _ => "check the address",
        };
        let cause = self.source.to_string();
        // The kernel's words without its number, which tells users nothing.
        let cause = cause.split(" (os error").next().unwrap_or_default();
        write!(f, "cannot listen on {}: {cause}; {remedy}", self.address)
    }
}

impl std::error::Error for BindError {}

/// A listening socket that no worker serves yet.
#[derive(Debug)]
pub enum BoundSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix, with its path.
    Unix(StdUnixListener),
}

/// Binds one socket per worker: for TCP each with `SO_REUSEPORT`, so that the kernel spreads connections; for unix
/// sockets the same one. Returns them with the address they got (a port 0 is filled in).
///
/// `ours` says that this process listens on an overlapping address already; otherwise a socket of another process
/// that happens to allow `SO_REUSEPORT` is refused as "in use", rather than silently sharing its work.
pub fn bind(
    address: &BindAddr,
    backlog: u32,
    workers: usize,
    ours: bool,
) -> Result<(Vec<BoundSocket>, BindAddr), BindError> {
    let fail = |source| BindError { address: address.clone(), source };
    match address {
        BindAddr::Unix(path) => bind_unix(path, backlog, workers).map_err(fail),
        BindAddr::Ip(addr) => bind_tcp(*addr, false, backlog, workers, ours).map_err(fail),
        BindAddr::Any(port) => {
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let bound = match bind_tcp(both, true, backlog, workers, ours) {
                // A machine without IPv6.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
                    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
                    bind_tcp(v4, false, backlog, workers, ours)
                }
                bound => bound,
            };
            bound.map_err(fail)
        }
    }
}

fn bind_tcp(
    addr: SocketAddr,
    both_families: bool,
    backlog: u32,
    workers: usize,
    ours: bool,
) -> io::Result<(Vec<BoundSocket>, BindAddr)> {
    if !ours && addr.port() != 0 {
        // Bound without SO_REUSEPORT and dropped: fails when anybody else listens there.
        tcp_socket(addr, both_families, false)?;
    }
    let mut sockets: Vec<BoundSocket> = Vec::with_capacity(workers);
    let mut bound = addr;
    for _ in 0..workers.max(1) {
        let socket = tcp_socket(bound, both_families, true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let listener = std::net::TcpListener::from(socket);
        bound = listener.local_addr()?;
        sockets.push(BoundSocket::Tcp(listener));
    }
    let address = if both_families { BindAddr::Any(bound.port()) } else { BindAddr::Ip(bound) };
    Ok((sockets, address))
}

fn tcp_socket(addr: SocketAddr, both_families: bool, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!both_families)?;
    }
    if share_port {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit both, which saves two calls per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.bind(&SockAddr::from(addr))?;
    Ok(socket)
}

fn bind_unix(path: &Path, backlog: u32, workers: usize) -> io::Result<(Vec<BoundSocket>, BindAddr)> {
    remove_dead_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    let first = StdUnixListener::from(std::os::fd::OwnedFd::from(socket));
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(BoundSocket::Unix(first.try_clone()?));
    }
    sockets.push(BoundSocket::Unix(first));
    Ok((sockets, BindAddr::Unix(PathBuf::from(path))))
}

/// A crashed process leaves its socket behind. One that still answers is in use; anything but a socket is not ours
/// to remove.
fn remove_dead_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket stands there"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        Err(_) => std::fs::remove_file(path),
    }
}

/// A listening socket on its worker.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
    is_unix: bool,
}

/// When descriptors or memory have run out, accepting again at once would only spin: existing connections have
/// to end first.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

impl Listener {
    /// Takes the socket over on this worker.
    pub fn serve(socket: BoundSocket) -> io::Result<Self> {
        let (socket, is_unix) = match socket {
            BoundSocket::Tcp(listener) => (OwnedFd::from(listener), false),
            BoundSocket::Unix(listener) => (OwnedFd::from(listener), true),
        };
        Ok(Self { socket: sys::watched(socket, Interest::READABLE)?, is_unix })
    }

    /// Changes the length of the accept queue; who waits there, waits on.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        SockRef::from(self.socket.get_ref()).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
    }

    /// The next connection. Survives every error: what is the client's is skipped, and when a resource has run
    /// out it waits, after telling `exhausted`.
    pub async fn accept(&self, mut exhausted: impl FnMut(&io::Error)) -> (Stream, ClientAddr) {
        loop {
            match std::future::poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(connection) => return connection,
                Err(error) if is_exhausted(&error) => {
                    exhausted(&error);
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                // The client was gone before we came (ECONNABORTED, EPROTO …): the next one, please.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, ClientAddr)>> {
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(cx))?;
            let accepted = match self.accept_now() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    readiness.clear_ready();
                    continue;
                }
                accepted => accepted,
            };
            // An accept that finds nobody makes a socket and a file before it looks: asking first is cheaper.
            if accepted.is_ok() && !self.has_waiting() {
                readiness.clear_ready();
            }
            return Poll::Ready(accepted);
        }
    }

    /// Whether somebody waits in the accept queue.
    fn has_waiting(&self) -> bool {
        let mut asked = [PollFd::new(&self.socket, PollFlags::IN)];
        // Who cannot be asked is taken to say yes: accepting will tell.
        rustix::event::poll(&mut asked, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }

    /// What waits in the accept queue right now, one connection at a time; `None` once it is empty. Used before
    /// the socket closes, so that nobody who has been let in by the kernel is turned away. It asks the kernel
    /// itself: the engine may not know yet what has come, and rations what one task may take at a time.
    pub async fn accept_waiting(&self) -> Option<(Stream, ClientAddr)> {
        loop {
            match self.accept_now() {
                Ok(connection) => return Some(connection),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if is_exhausted(&error) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
                Err(_) => {}
            }
        }
    }

    fn accept_now(&self) -> io::Result<(Stream, ClientAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, address) = rustix::net::acceptfrom_with(&self.socket, flags)?;
        if self.is_unix {
            return Ok((Stream::new(socket)?, ClientAddr::Unix));
        }
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        Ok((Stream::new(socket)?, address.map_or(ClientAddr::Unix, ClientAddr::from_socket)))
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

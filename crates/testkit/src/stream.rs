//! One name for TCP and unix-socket addresses and streams, and deadlines on them.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Addr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<&Self> for Addr {
    fn from(addr: &Self) -> Self {
        addr.clone()
    }
}

impl From<&Path> for Addr {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl From<PathBuf> for Addr {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl fmt::Display for Addr {
    /// The form a configuration takes: `127.0.0.1:80` or `unix:/path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connected blocking stream.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects within `timeout` (unix sockets connect at once or fail).
    pub fn connect(addr: &Addr, timeout: Duration) -> io::Result<Self> {
        match addr {
            Addr::Tcp(addr) => TcpStream::connect_timeout(addr, timeout).map(Self::from),
            Addr::Unix(path) => UnixStream::connect(path).map(Self::from),
        }
    }

    /// A second handle of the same connection.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(tcp) => Socket::Tcp(tcp.try_clone()?),
            Socket::Unix(unix) => Socket::Unix(unix.try_clone()?),
        };
        Ok(Self { socket, deadline: self.deadline })
    }

    /// From now on no read or write lasts beyond `deadline`; it fails with `TimedOut` then.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// The longest one read may wait; `None` is for ever. A deadline takes precedence.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        let _ = self.sock().set_read_timeout(timeout.map(at_least_a_tick));
    }

    /// The longest one write may wait; `None` is for ever. A deadline takes precedence.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        let _ = self.sock().set_write_timeout(timeout.map(at_least_a_tick));
    }

    /// Shuts one or both directions; a connection that is already gone is no error here.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = self.sock().shutdown(how);
    }

    /// The last close of this connection sends RST instead of FIN (`SO_LINGER` 0); TCP only.
    pub fn reset_on_close(&self) {
        let _ = self.sock().set_linger(Some(Duration::ZERO));
    }

    /// Whether a read would return at once: bytes, the end or an error wait there.
    pub fn readable(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match self.sock().recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn sock(&self) -> SockRef<'_> {
        match &self.socket {
            Socket::Tcp(tcp) => SockRef::from(tcp),
            Socket::Unix(unix) => SockRef::from(unix),
        }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

/// The socket option reads zero as "for ever", and so does anything below a microsecond.
fn at_least_a_tick(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        let _ = tcp.set_nodelay(true);
        Self { socket: Socket::Tcp(tcp), deadline: None }
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Self { socket: Socket::Unix(unix), deadline: None }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.set_read_timeout(Some(left));
        }
        match &mut self.socket {
            Socket::Tcp(tcp) => tcp.read(buf),
            Socket::Unix(unix) => unix.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.set_write_timeout(Some(left));
        }
        match &mut self.socket {
            Socket::Tcp(tcp) => tcp.write(buf),
            Socket::Unix(unix) => unix.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

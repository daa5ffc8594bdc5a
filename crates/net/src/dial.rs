//! Reaching a target.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use evenkeel_base::{Reason, TargetAddr};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::time::Instant;

use crate::stream::Stream;
use crate::sys;

/// Where to.
#[derive(Debug, Clone, Copy)]
pub enum DialTo<'a> {
    /// These addresses of one target, in order.
    Ip(&'a [SocketAddr]),
    /// This unix socket.
    Unix(&'a Path),
}

impl<'a> DialTo<'a> {
    /// The way to a target with this address, which is known to be at `resolved` unless it is a unix path.
    pub fn target(address: &'a TargetAddr, resolved: &'a [SocketAddr]) -> Self {
        match address {
            TargetAddr::Unix(path) => Self::Unix(path),
            TargetAddr::Ip(_) | TargetAddr::Name { .. } => Self::Ip(resolved),
        }
    }
}

/// Why a target was not reached.
#[derive(Debug)]
pub struct DialError {
    /// The named cause.
    pub reason: Reason,
    /// What the kernel said, when it was asked.
    pub source: Option<io::Error>,
}

impl DialError {
    fn new(reason: Reason) -> Self {
        Self { reason, source: None }
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let reason = match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ENOENT) => Reason::ConnectRefused,
            Some(libc::ETIMEDOUT) => Reason::ConnectTimeout,
            Some(libc::EADDRNOTAVAIL) => Reason::LocalPortsExhausted,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Reason::Overloaded,
            _ => Reason::ConnectFailed,
        };
        Self { reason, source: Some(error) }
    }
}

/// Something that reaches targets. A plain address, a tunnelled agent and a peer node are one thing to a plane.
pub trait Dial {
    /// Connects within `timeout`, from `source` if given.
    fn dial(
        &self,
        to: DialTo<'_>,
        source: Option<IpAddr>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Stream, DialError>>;
}

/// Dials from this machine's own network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl Dial for Direct {
    async fn dial(
        &self,
        to: DialTo<'_>,
        source: Option<IpAddr>,
        timeout: Duration,
    ) -> Result<Stream, DialError> {
        match to {
            DialTo::Unix(path) => match tokio::time::timeout(timeout, dial_unix(path)).await {
                Ok(connected) => Ok(connected?),
                Err(_) => Err(DialError::new(Reason::ConnectTimeout)),
            },
            DialTo::Ip(addresses) => dial_any(addresses, source, timeout).await,
        }
    }
}

/// Tries the addresses in order; those that are left share the time that is left.
async fn dial_any(
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
    timeout: Duration,
) -> Result<Stream, DialError> {
    let end = Instant::now() + timeout;
    let mut last = DialError::new(Reason::NotResolved);
    for (index, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX).max(1);
        match tokio::time::timeout(share, dial_one(*address, source)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = DialError::new(Reason::ConnectTimeout),
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        sys::bind_address_no_port(socket.as_fd())?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    begin(&socket, &address.into())?;
    Stream::new(socket.into())?.connected().await
}

async fn dial_unix(path: &Path) -> io::Result<Stream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    begin(&socket, &SockAddr::unix(path)?)?;
    Stream::new(socket.into())?.connected().await
}

/// Begins to connect; whether it worked shows when the socket becomes writable.
fn begin(socket: &Socket, to: &SockAddr) -> io::Result<()> {
    match socket.connect(to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        done => done,
    }
}

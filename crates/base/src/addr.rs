//! Addresses: what we listen on, what we dial, and who called.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Why an address was refused; its text tells the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddrError {
    /// Nothing was written.
    Empty,
    /// No `:port` at the end.
    PortMissing,
    /// The port is not a number from 1 to 65535 (0 is allowed to listen on: the kernel chooses).
    Port(String),
    /// The host is neither an address nor a name that DNS allows.
    Host(String),
    /// `unix:` with no path, a relative one, or one longer than the kernel takes (107 bytes).
    UnixPath(String),
    /// A scoped IPv6 literal such as `fe80::1%eth0`, which is not supported.
    Scope,
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the address is empty; write HOST:PORT or unix:/path"),
            Self::PortMissing => f.write_str("the port is missing; write HOST:PORT, or [IPV6]:PORT"),
            Self::Port(p) => write!(f, "{p:?} is not a port; ports are 1 to 65535"),
            Self::Host(h) => write!(f, "{h:?} is neither an IP address nor a host name"),
            Self::UnixPath(p) => {
                write!(f, "{p:?} is not a socket path; write unix:/absolute/path of at most 107 bytes")
            }
            Self::Scope => {
                f.write_str("IPv6 zone identifiers (%eth0) are not supported; use a routable address")
            }
        }
    }
}

impl std::error::Error for AddrError {}

/// The kernel's `sun_path` holds 108 bytes with its final NUL.
const MAX_UNIX_PATH_BYTES: usize = 107;
const MAX_HOST_BYTES: usize = 253;

fn unix_path(path: &str) -> Result<PathBuf, AddrError> {
    if !path.starts_with('/') || path.len() > MAX_UNIX_PATH_BYTES || path.contains('\0') {
        return Err(AddrError::UnixPath(path.to_owned()));
    }
    Ok(PathBuf::from(path))
}

fn split_port(text: &str) -> Result<(&str, u16), AddrError> {
    let (host, port) = text.rsplit_once(':').ok_or(AddrError::PortMissing)?;
    if port.is_empty() {
        return Err(AddrError::PortMissing);
    }
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        // `::1` without brackets ends in something that looks like a port only by accident.
        return Err(AddrError::Port(port.to_owned()));
    }
    let number = port.parse().map_err(|_| AddrError::Port(port.to_owned()))?;
    Ok((host, number))
}

fn literal(host: &str) -> Result<Option<IpAddr>, AddrError> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        if inner.contains('%') {
            return Err(AddrError::Scope);
        }
        return inner
            .parse::<Ipv6Addr>()
            .map(|a| Some(IpAddr::V6(a)))
            .map_err(|_| AddrError::Host(host.to_owned()));
    }
    if host.contains(':') {
        return Err(AddrError::Host(format!("{host} (write IPv6 addresses in brackets: [{host}]:PORT)")));
    }
    Ok(host.parse::<IpAddr>().ok())
}

fn host_name(host: &str) -> Result<Arc<str>, AddrError> {
    let label_is_fine = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let all_digits = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if name.len() > MAX_HOST_BYTES || all_digits || !name.split('.').all(label_is_fine) {
        return Err(AddrError::Host(host.to_owned()));
    }
    Ok(Arc::from(name.to_ascii_lowercase()))
}

/// Where a target is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetAddr {
    /// An IPv4 or IPv6 address with a port.
    Ip(SocketAddr),
    /// A name that DNS resolves, with a port.
    Name {
        /// Lower-case, without a final dot.
        host: Arc<str>,
        /// 1 to 65535.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

impl FromStr for TargetAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if text.is_empty() {
            return Err(AddrError::Empty);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        let (host, port) = split_port(text)?;
        if port == 0 {
            return Err(AddrError::Port("0".to_owned()));
        }
        match literal(host)? {
            Some(ip) => Ok(Self::Ip(SocketAddr::new(ip, port))),
            None => Ok(Self::Name { host: host_name(host)?, port }),
        }
    }
}

impl fmt::Display for TargetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(a) => a.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(p) => write!(f, "unix:{}", p.display()),
        }
    }
}

/// What a listener, or the admin API, accepts on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindAddr {
    /// An address of this machine. Port 0 lets the kernel choose.
    Ip(SocketAddr),
    /// Every address of both families, written `:PORT`.
    Any(u16),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl FromStr for BindAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if text.is_empty() {
            return Err(AddrError::Empty);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        let (host, port) = split_port(text)?;
        if host.is_empty() || host == "*" {
            return Ok(Self::Any(port));
        }
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        match literal(host)? {
            Some(ip) => Ok(Self::Ip(SocketAddr::new(ip, port))),
            None => Err(AddrError::Host(host.to_owned())),
        }
    }
}

impl fmt::Display for BindAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(a) => a.fmt(f),
            Self::Any(port) => write!(f, ":{port}"),
            Self::Unix(p) => write!(f, "unix:{}", p.display()),
        }
    }
}

/// Who is at the other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddr {
    /// The peer's address; an IPv4 client of a dual-stack socket is IPv4 here.
    Ip(SocketAddr),
    /// A process of this machine, over a unix socket.
    Unix,
}

impl ClientAddr {
    /// From the kernel's peer address: `::ffff:a.b.c.d` becomes IPv4, so that one client is one client.
    pub fn from_socket(addr: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }

    /// The address without its port; none for unix sockets.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(a) => Some(a.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(a) => a.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_read_as_written() {
        for text in ["10.0.0.1:80", "[2001:db8::1]:8080", "db-1.internal:5432", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<TargetAddr>().unwrap().to_string(), text);
        }
        assert_eq!("DB.Local.:1".parse::<TargetAddr>().unwrap().to_string(), "db.local:1");
    }

    #[test]
    fn bad_targets_are_refused_with_the_cause() {
        let error = |text: &str| text.parse::<TargetAddr>().unwrap_err();
        assert_eq!(error(""), AddrError::Empty);
        assert_eq!(error("web"), AddrError::PortMissing);
        assert_eq!(error("web:"), AddrError::PortMissing);
        assert_eq!(error("web:0"), AddrError::Port("0".into()));
        assert_eq!(error("web:65536"), AddrError::Port("65536".into()));
        assert_eq!(error("10.0.0.256:1"), AddrError::Host("10.0.0.256".into()));
        assert_eq!(error("[fe80::1%eth0]:1"), AddrError::Scope);
        assert_eq!(error("unix:run/x"), AddrError::UnixPath("run/x".into()));
        assert!(matches!(error("::1:80"), AddrError::Host(_)));
        assert!(matches!(error("a b:1"), AddrError::Host(_)));
    }

    #[test]
    fn binds_know_the_short_form() {
        assert_eq!(":80".parse(), Ok(BindAddr::Any(80)));
        assert_eq!("*:80".parse(), Ok(BindAddr::Any(80)));
        assert_eq!("localhost:0".parse::<BindAddr>().unwrap().to_string(), "127.0.0.1:0");
        assert!(matches!("example.com:80".parse::<BindAddr>(), Err(AddrError::Host(_))));
    }

    #[test]
    fn mapped_clients_are_ipv4() {
        let addr = ClientAddr::from_socket("[::ffff:10.1.2.3]:9".parse().unwrap());
        assert_eq!(addr.to_string(), "10.1.2.3:9");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text in ".{0,60}") {
            if let Ok(addr) = text.parse::<TargetAddr>() {
                prop_assert_eq!(addr.to_string().parse::<TargetAddr>(), Ok(addr));
            }
            let _ = text.parse::<BindAddr>();
        }
    }
}

//! Servers on threads of their own, so that they go on when the prober's thread stands still.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

type Serve = Arc<dyn Fn(TcpStream) + Send + Sync>;

/// A server that accepts until it is dropped; then its port is closed.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    /// Connections open at one time: now, and at most.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) most_open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Serves each connection by `serve`, on a thread of its own.
    pub(crate) fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), serve)
    }

    pub(crate) fn at(addr: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let counts = || Arc::new(AtomicUsize::new(0));
        let mut origin = Self {
            addr: listener.local_addr().unwrap(),
            accepted: counts(),
            open: counts(),
            most_open: counts(),
            stop: Arc::default(),
            thread: None,
        };
        let serve: Serve = Arc::new(serve);
        let (stop, accepted) = (Arc::clone(&origin.stop), Arc::clone(&origin.accepted));
        let (open, most) = (Arc::clone(&origin.open), Arc::clone(&origin.most_open));
        origin.thread = Some(thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(SeqCst) {
                    return;
                }
                accepted.fetch_add(1, SeqCst);
                let (serve, open, most) = (Arc::clone(&serve), Arc::clone(&open), Arc::clone(&most));
                thread::spawn(move || {
                    most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                    serve(stream);
                    open.fetch_sub(1, SeqCst);
                });
            }
        }));
        origin
    }

    /// Accepts, and lets the other side close.
    pub(crate) fn tcp() -> Self {
        Self::new(hold)
    }

    /// Answers each request with these bytes, and closes.
    pub(crate) fn http(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(&answer);
        })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let ip = if self.addr.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.addr.ip() };
        let _ = TcpStream::connect((ip, self.addr.port()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Says nothing, until the other side closes.
pub(crate) fn hold(mut stream: TcpStream) {
    let mut space = [0; 1024];
    while matches!(stream.read(&mut space), Ok(n) if n > 0) {}
}

/// The request up to its empty line.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A port of this machine where nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// An address that takes no connection and refuses none: with its accept queue full, the kernel drops every
/// further SYN. It stays so for as long as the second part lives.
pub(crate) fn full_queue() -> (SocketAddr, (Socket, TcpStream)) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let filler = TcpStream::connect(addr).unwrap();
    (addr, (socket, filler))
}

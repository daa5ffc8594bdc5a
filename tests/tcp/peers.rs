//! What stands at both ends: servers that do what a story says, clients, and bytes that cannot be mixed up.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_base::SplitMix64;
use evenkeel_testkit::{Addr, Evenkeel, Stream};
use serde_json::Value;
use tokio::net::TcpSocket;

/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection as a server sees it.
#[derive(Debug)]
pub(crate) struct Call {
    /// The bytes; every wait ends after [`PATIENCE`].
    pub(crate) stream: Stream,
    /// Who called, over TCP.
    pub(crate) from: Option<SocketAddr>,
    /// Counted from 0.
    pub(crate) number: u64,
}

/// A server of the test: a thread per connection does what the story says.
#[derive(Debug)]
pub(crate) struct Server {
    addr: Addr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicU64,
    open: AtomicU64,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Server {
    /// On a port of 127.0.0.1 that the kernel chooses.
    pub(crate) fn start(serve: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self::start_on(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(), serve)
    }

    /// On this address.
    pub(crate) fn start_on(addr: &Addr, serve: impl Fn(Call) + Send + Sync + 'static) -> Self {
        let (listening, addr) = match addr {
            Addr::Tcp(addr) => {
                let listener = listen(*addr, 4096).unwrap_or_else(|error| panic!("{addr}: {error}"));
                let addr = listener.local_addr().unwrap();
                (Listening::Tcp(listener), Addr::Tcp(addr))
            }
            Addr::Unix(path) => (Listening::Unix(UnixListener::bind(path).unwrap()), addr.clone()),
        };
        let shared = Arc::new(Shared::default());
        let (its, serve) = (Arc::clone(&shared), Arc::new(serve));
        let thread = thread::spawn(move || {
            for number in 0.. {
                let Ok((mut stream, from)) = listening.accept() else { return };
                if its.stop.load(Ordering::SeqCst) {
                    return;
                }
                stream.set_deadline(Some(Instant::now() + PATIENCE));
                its.accepted.fetch_add(1, Ordering::SeqCst);
                its.open.fetch_add(1, Ordering::SeqCst);
                let (serve, its) = (Arc::clone(&serve), Arc::clone(&its));
                thread::spawn(move || {
                    let _open = Open(its);
                    serve(Call { stream, from, number });
                });
            }
        });
        Self { addr, shared, thread: Some(thread) }
    }

    /// Sends back what it is told until it is told no more, after a line with its name.
    pub(crate) fn echo(name: &'static str) -> Self {
        Self::start(move |call| echo(name, call))
    }

    /// [`Server::echo`] on this address.
    pub(crate) fn echo_on(addr: &Addr, name: &'static str) -> Self {
        Self::start_on(addr, move |call| echo(name, call))
    }

    /// Where; prints as a target of a configuration.
    pub(crate) fn addr(&self) -> &Addr {
        &self.addr
    }

    /// Connections ever.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections now.
    pub(crate) fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Whoever is next in line, the thread wakes and sees that it is over.
        drop(Stream::connect(&self.addr, PATIENCE));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Listening {
    fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, from)| (stream.into(), Some(from))),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| (stream.into(), None)),
        }
    }
}

/// One connection of a server.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn echo(name: &str, mut call: Call) {
    if writeln!(call.stream, "{name}").is_err() {
        return;
    }
    let mut piece = [0; 16 * 1024];
    while let Ok(n @ 1..) = call.stream.read(&mut piece) {
        if call.stream.write_all(&piece[..n]).is_err() {
            return;
        }
    }
}

/// Connects; every wait ends after [`PATIENCE`].
#[track_caller]
pub(crate) fn connect(addr: impl Into<Addr>) -> Stream {
    let addr = addr.into();
    let stream = Stream::connect(&addr, PATIENCE);
    let mut stream = stream.unwrap_or_else(|error| panic!("{addr}: {error}"));
    stream.set_deadline(Some(Instant::now() + PATIENCE));
    stream
}

/// Connects and says nothing: what comes, and how it ends. A reset may come as early as that.
#[track_caller]
pub(crate) fn fate_of_a_client(addr: impl Into<Addr>) -> (Vec<u8>, End) {
    let addr = addr.into();
    match Stream::connect(&addr, PATIENCE) {
        Ok(mut stream) => {
            stream.set_deadline(Some(Instant::now() + PATIENCE));
            read_to_end(&mut stream)
        }
        Err(error) if end_of(&error) == End::Reset => (Vec::new(), End::Reset),
        Err(error) => panic!("{addr}: {error}"),
    }
}

/// Connects from this address of the machine; a client that is refused may hear of it as early as that.
pub(crate) fn try_connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<Stream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        socket.connect(to).await?.into_std()
    });
    let stream: TcpStream = connected?;
    stream.set_nonblocking(false)?;
    let mut stream = Stream::from(stream);
    stream.set_deadline(Some(Instant::now() + PATIENCE));
    Ok(stream)
}

/// Connects from this address of the machine.
#[track_caller]
pub(crate) fn connect_from(source: Ipv4Addr, to: SocketAddr) -> Stream {
    try_connect_from(source, to).unwrap_or_else(|error| panic!("{source} to {to}: {error}"))
}

/// Listens with this accept queue; what the library's own call gives would be short of a rush.
fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(async {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(backlog)?.into_std()
    })?;
    listener.set_nonblocking(false)?;
    Ok(listener)
}

/// An address that takes no connection and refuses none: its accept queue is full.
#[derive(Debug)]
pub(crate) struct Blackhole {
    addr: SocketAddr,
    _held: (TcpListener, Vec<TcpStream>),
}

impl Blackhole {
    /// On a port of 127.0.0.1 that the kernel chooses.
    pub(crate) fn start() -> Self {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(50)) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the accept queue of {addr} does not fill");
        }
        Self { addr, _held: (listener, waiting) }
    }

    /// Where.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The next line, without its end; `""` at the end of the stream.
#[track_caller]
pub(crate) fn line(stream: &mut Stream) -> String {
    try_line(stream).unwrap_or_else(|error| panic!("no line came: {error}"))
}

/// [`line`], or why none came.
pub(crate) fn try_line(stream: &mut Stream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0; 1];
    loop {
        match stream.read(&mut byte) {
            Ok(1) if byte[0] != b'\n' => line.push(byte[0]),
            Ok(_) => return Ok(String::from_utf8_lossy(&line).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a line and reads the next one.
#[track_caller]
pub(crate) fn ask(stream: &mut Stream, words: &str) -> String {
    writeln!(stream, "{words}").unwrap();
    line(stream)
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
    /// Nothing came in time.
    Late,
}

/// Reads to the end: what came, and how it ended.
pub(crate) fn read_to_end(stream: &mut Stream) -> (Vec<u8>, End) {
    let (mut came, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (came, End::Fin),
            Ok(n) => came.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (came, end_of(&error)),
        }
    }
}

/// What an error says of the end.
pub(crate) fn end_of(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
        _ => End::Late,
    }
}

const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes that follow from a seed: noise within each block, and every block begins with its number, so that no
/// byte can be lost, repeated or moved unseen.
#[derive(Debug)]
pub(crate) struct Noise {
    block: Vec<u8>,
    left: u64,
    number: u64,
}

impl Noise {
    /// So many bytes.
    pub(crate) fn new(seed: u64, bytes: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let block = (0..BLOCK_BYTES / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        Self { block, left: bytes, number: 0 }
    }

    /// The next block; `None` at the end.
    fn next(&mut self) -> Option<&[u8]> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        self.block[..8].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        self.left -= n as u64;
        (n > 0).then(|| &self.block[..n])
    }

    /// All of them.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(block) = self.next() {
            all.extend_from_slice(block);
        }
        all
    }
}

/// Sends the noise of this seed.
pub(crate) fn send(stream: &mut Stream, seed: u64, bytes: u64) -> io::Result<()> {
    let mut noise = Noise::new(seed, bytes);
    while let Some(block) = noise.next() {
        stream.write_all(block)?;
    }
    Ok(())
}

/// Receives exactly the noise of this seed, or tells what came instead.
pub(crate) fn receive(stream: &mut Stream, seed: u64, bytes: u64) -> Result<(), String> {
    let (mut noise, mut at) = (Noise::new(seed, bytes), 0);
    let mut came = vec![0; BLOCK_BYTES];
    while let Some(block) = noise.next() {
        let piece = &mut came[..block.len()];
        stream.read_exact(piece).map_err(|error| format!("{error} between byte {at} and {bytes}"))?;
        if piece != block {
            let wrong = piece.iter().zip(block).position(|(a, b)| a != b).unwrap_or(0);
            return Err(format!("byte {} differs", at + wrong));
        }
        at += block.len();
    }
    Ok(())
}

/// Receives exactly the noise of this seed and then the end of the stream.
pub(crate) fn receive_all(stream: &mut Stream, seed: u64, bytes: u64) -> Result<(), String> {
    receive(stream, seed, bytes)?;
    match stream.read(&mut [0; 1]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(format!("more than {bytes} bytes")),
        Err(error) => Err(format!("{error} instead of the end after {bytes} bytes")),
    }
}

/// The listener `web` as the API shows it.
#[track_caller]
pub(crate) fn listener(proxy: &Evenkeel) -> Value {
    let all = proxy.admin_json("/api/v1/listeners");
    let web = all.as_array().and_then(|all| all.iter().find(|one| one["name"] == "web").cloned());
    web.unwrap_or_else(|| panic!("no listener web in {all}"))
}

/// How often connections of the listener `web` ended for this reason.
#[track_caller]
pub(crate) fn ended(proxy: &Evenkeel, reason: &str) -> u64 {
    listener(proxy)["reasons"][reason].as_u64().unwrap_or(0)
}

/// A number of a target of the pool `app`, such as `in_flight`.
#[track_caller]
pub(crate) fn of_target(proxy: &Evenkeel, address: &Addr, field: &str) -> u64 {
    let all = proxy.admin_json("/api/v1/pools/app/targets");
    let address = address.to_string();
    let found = all.as_array().and_then(|all| all.iter().find(|one| one["address"] == *address));
    let number = found.and_then(|target| target[field].as_u64());
    number.unwrap_or_else(|| panic!("no {field} of {address} in {all}"))
}

/// Connections in flight at all targets of the pool `app`.
#[track_caller]
pub(crate) fn in_flight(proxy: &Evenkeel) -> u64 {
    let pool = proxy.admin_json("/api/v1/pools/app");
    pool["in_flight"].as_u64().unwrap_or_else(|| panic!("no in_flight in {pool}"))
}

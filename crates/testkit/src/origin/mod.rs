//! An HTTP/1.1 origin that writes down every request it executes and misbehaves on demand.

mod behaviour;
mod journal;
mod serve;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::stream::{Addr, Stream};

pub use behaviour::{AfterScript, AnswerStyle, Behaviour, Cut, Early, Hang, OnExpect};
pub use journal::{Entry, OriginJournal};

/// A running origin; a thread per connection. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Origin {
    addr: Addr,
    backlog: i32,
    shared: Arc<Shared>,
    listening: Option<Listening>,
    /// Bound but never listening: keeps the port ours while the origin is stopped.
    _port: Option<Socket>,
}

impl Origin {
    /// Starts on a port of 127.0.0.1 that the kernel chooses; `name` shows in every answer.
    pub fn start(name: &str) -> Self {
        Self::start_on(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1024)
    }

    /// Starts on this address with this accept backlog.
    pub fn start_on(name: &str, addr: SocketAddr, backlog: i32) -> Self {
        let port = bound(addr).unwrap_or_else(|e| panic!("origin {name} on {addr}: {e}"));
        let addr = port.local_addr().unwrap().as_socket().unwrap();
        Self::assemble(name, Addr::Tcp(addr), backlog, Some(port))
    }

    /// Starts on a unix socket, which it removes when it stops.
    pub fn start_unix(name: &str, path: impl Into<PathBuf>) -> Self {
        Self::assemble(name, Addr::Unix(path.into()), 1024, None)
    }

    fn assemble(name: &str, addr: Addr, backlog: i32, port: Option<Socket>) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            journal: OriginJournal::default(),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let mut origin = Self { addr, backlog, shared, listening: None, _port: port };
        origin.restart();
        origin
    }

    /// Where it listens, the same over restarts. Prints as a target in a configuration.
    pub fn addr(&self) -> &Addr {
        &self.addr
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it executed so far.
    pub fn journal(&self) -> &OriginJournal {
        &self.shared.journal
    }

    /// Changes the behaviour from the next request on (of a hang: at once).
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.lock().behaviour);
        self.shared.changed.notify_all();
    }

    /// Changes the behaviour for one request only; several calls queue up. Health checks take none.
    pub fn once(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut state = self.shared.lock();
        let mut behaviour = state.behaviour.clone();
        change(&mut behaviour);
        state.once.push_back(behaviour);
    }

    /// Back to faultless.
    pub fn behave(&self) {
        let mut state = self.shared.lock();
        state.behaviour = Behaviour::default();
        state.once.clear();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Closes the listener: new connections are refused, those that stand go on.
    pub fn refuse(&mut self) {
        self.listening = None;
        if let Addr::Unix(path) = &self.addr {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Closes the listener and all connections (FIN), and waits until they are closed.
    pub fn stop(&mut self) {
        self.refuse();
        self.shared.end_all(End::Fin);
    }

    /// Closes the listener and resets all connections, and waits until that is done.
    pub fn kill(&mut self) {
        self.refuse();
        self.shared.end_all(End::Reset);
    }

    /// Resets all connections; the listener stays.
    pub fn reset_connections(&self) {
        self.shared.end_all(End::Reset);
    }

    /// Closes all connections (FIN); the listener stays.
    pub fn close_connections(&self) {
        self.shared.end_all(End::Fin);
    }

    /// Listens again on the same address.
    pub fn restart(&mut self) {
        self.refuse();
        let listening = Listening::start(&self.addr, self.backlog, Arc::clone(&self.shared));
        self.listening = Some(listening.unwrap_or_else(|e| panic!("origin on {}: {e}", self.addr)));
    }

    /// Number of connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// Waits until the journal holds `n` requests; panics after ten seconds.
    pub fn wait_requests(&self, n: usize) {
        let what = format!("{n} requests at origin {}", self.name());
        crate::tools::wait_until(&what, Duration::from_secs(10), || self.journal().len() >= n);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum End {
    Open,
    Fin,
    Reset,
}

/// One accepted connection, as seen from outside its thread.
#[derive(Debug)]
struct Connection {
    number: u64,
    stream: Stream,
    end: AtomicU8,
    /// Number of the newest journal entry on it; `usize::MAX` when there is none.
    last_entry: AtomicUsize,
}

impl Connection {
    fn ended(&self) -> bool {
        self.end.load(Ordering::SeqCst) != End::Open as u8
    }
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    once: VecDeque<Behaviour>,
    connections: HashMap<u64, Arc<Connection>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    journal: OriginJournal,
    state: Mutex<State>,
    /// A behaviour changed, or a connection is to end or has ended.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits out `time`; false if the connection is to end.
    fn sleep(&self, time: Duration, connection: &Connection) -> bool {
        if !time.is_zero() {
            let state = self.lock();
            let _ = self.changed.wait_timeout_while(state, time, |_| !connection.ended()).unwrap();
        }
        !connection.ended()
    }

    /// Waits while the server hangs there; false if the connection is to end.
    fn pass(&self, hang: Hang, ended: impl Fn() -> bool) -> bool {
        let hangs = |state: &mut State| state.behaviour.hang == Some(hang) && !ended();
        drop(self.changed.wait_while(self.lock(), hangs).unwrap());
        !ended()
    }

    fn end_all(&self, end: End) {
        // The ends are set under the lock, so that a thread about to wait cannot miss them.
        let state = self.lock();
        let connections: Vec<_> = state.connections.values().cloned().collect();
        connections.iter().for_each(|connection| connection.end.store(end as u8, Ordering::SeqCst));
        drop(state);
        for connection in &connections {
            if end == End::Reset {
                // What the client has not confirmed by another request may be lost with the buffers.
                let last = connection.last_entry.load(Ordering::SeqCst);
                self.journal.change(last, |entry| entry.spoilt = true);
                connection.stream.reset_on_close();
            }
            // Wakes a blocked reader and sends nothing; the thread then closes as told.
            connection.stream.shutdown(Shutdown::Read);
        }
        let mine: Vec<u64> = connections.iter().map(|connection| connection.number).collect();
        drop(connections);
        self.changed.notify_all();
        let some_left = |state: &mut State| mine.iter().any(|number| state.connections.contains_key(number));
        let wait = self.changed.wait_timeout_while(self.lock(), Duration::from_secs(10), some_left).unwrap();
        assert!(!wait.1.timed_out(), "connections of origin {} do not end", self.name);
    }

    fn take(self: &Arc<Self>, stream: Stream) -> io::Result<()> {
        let number = self.journal.connection();
        let connection = Arc::new(Connection {
            number,
            stream: stream.try_clone()?,
            end: AtomicU8::new(End::Open as u8),
            last_entry: AtomicUsize::new(usize::MAX),
        });
        self.lock().connections.insert(number, Arc::clone(&connection));
        let shared = Arc::clone(self);
        thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            serve::connection(&shared, &connection, stream);
            drop(connection);
            // Dropped inside the lock, so that the last handle is closed once the number is gone.
            shared.lock().connections.remove(&number);
            shared.changed.notify_all();
        })?;
        Ok(())
    }
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(tcp) => tcp.accept().map(|(stream, _)| stream.into()),
            Self::Unix(unix) => unix.accept().map(|(stream, _)| stream.into()),
        }
    }

    /// Ends a blocked accept; nothing is accepted any more.
    fn close(&self) {
        let _ = match self {
            Self::Tcp(tcp) => SockRef::from(tcp).shutdown(Shutdown::Both),
            Self::Unix(unix) => SockRef::from(unix).shutdown(Shutdown::Both),
        };
    }
}

#[derive(Debug)]
struct Listening {
    listener: Arc<Listener>,
    closing: Arc<AtomicU8>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    fn start(addr: &Addr, backlog: i32, shared: Arc<Shared>) -> io::Result<Self> {
        let listener = Arc::new(match addr {
            Addr::Tcp(addr) => {
                let socket = bound(*addr)?;
                socket.listen(backlog)?;
                Listener::Tcp(socket.into())
            }
            Addr::Unix(path) => Listener::Unix(UnixListener::bind(path)?),
        });
        let closing = Arc::new(AtomicU8::new(0));
        let mine = (Arc::clone(&listener), Arc::clone(&closing), Arc::clone(&shared));
        let thread = thread::Builder::new().spawn(move || accept_loop(&mine.0, &mine.1, &mine.2))?;
        Ok(Self { listener, closing, shared, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Under the lock, so that a thread about to wait cannot miss it.
        let state = self.shared.lock();
        self.closing.store(1, Ordering::SeqCst);
        drop(state);
        self.shared.changed.notify_all();
        self.listener.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept_loop(listener: &Listener, closing: &AtomicU8, shared: &Arc<Shared>) {
    let closed = || closing.load(Ordering::SeqCst) != 0;
    loop {
        let stream = listener.accept();
        if !shared.pass(Hang::Accept, closed) {
            return;
        }
        match stream {
            Ok(stream) => drop(shared.take(stream)),
            // Out of descriptors: the next ones may find some.
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A TCP socket bound to `addr` that others of ours may bind, too, as long as it does not listen.
pub(crate) fn bound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// The entry of a request whose head has just been read.
fn entry(head: crate::http::Head, connection: u64, keep_head: bool) -> Entry {
    Entry {
        id: head.header("x-request-id").unwrap_or_default().to_owned(),
        method: head.word(0).to_owned(),
        path: head.word(1).to_owned(),
        head: keep_head.then(|| Arc::new(head)),
        at: Instant::now(),
        connection,
        body_bytes: 0,
        body_hash: 0,
        complete: false,
        answered: None,
        spoilt: false,
    }
}

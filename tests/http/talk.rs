//! A client and an origin that say exactly what a story tells them to, byte by byte; and what the API tells.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_testkit::{Addr, Cause, Evenkeel, Response, Stream, Wire, wait_until};
use serde_json::Value;

/// The longest wait for anything that must happen. It costs time only where a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The least a request needs.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n")
}

/// A client that neither repairs nor repeats anything.
pub(crate) struct Client {
    pub(crate) wire: Wire<Stream>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(addr: impl Into<Addr>) -> Self {
        let mut stream = Stream::connect(&addr.into(), PATIENCE).expect("a connection");
        stream.set_deadline(Some(Instant::now() + PATIENCE));
        Self { wire: Wire::new(stream) }
    }

    /// Waits for `time` from now on instead of what is left of the patience.
    pub(crate) fn patient_for(mut self, time: Duration) -> Self {
        self.wire.stream().set_deadline(Some(Instant::now() + time));
        self
    }

    /// Writes all of it. A peer that refuses half-way may still have something to say: that is no failure here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.stream().write_all(bytes.as_ref()).is_ok()
    }

    /// Writes byte by byte, each in a segment of its own.
    pub(crate) fn drip(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        bytes.as_ref().iter().all(|byte| self.send([*byte]))
    }

    /// The next response, whole.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str) -> Response {
        match self.wire.response(method) {
            Ok(response) => response,
            Err(error) => panic!(
                "no answer: {:?}, status {:?} after {:?}",
                error.cause,
                error.status,
                String::from_utf8_lossy(&error.raw)
            ),
        }
    }

    /// Asks for a path and reads the answer.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(get(path));
        self.answer("GET")
    }

    /// Nothing more comes but the end: in order, or by reset.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        match self.wire.some() {
            Err(Cause::Closed | Cause::Reset) => {}
            Err(cause) => panic!("the connection is open still: {cause:?}"),
            Ok(bytes) => panic!("instead of the end came {:?}", String::from_utf8_lossy(&bytes)),
        }
    }

    /// The end comes in order, after nothing.
    #[track_caller]
    pub(crate) fn assert_finished(&mut self) {
        assert_eq!(self.wire.some(), Err(Cause::Closed));
    }

    /// The connection serves another request.
    #[track_caller]
    pub(crate) fn assert_usable(&mut self) {
        assert_eq!(self.get("/again").status, 200);
    }

    /// All that comes before the end, and the end.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Cause) {
        let mut bytes = Vec::new();
        loop {
            match self.wire.some() {
                Ok(more) => bytes.extend(more),
                Err(cause) => return (bytes, cause),
            }
        }
    }

    /// Ends our direction.
    pub(crate) fn finish(&mut self) {
        self.wire.stream().shutdown(std::net::Shutdown::Write);
    }

    /// Vanishes with a reset.
    pub(crate) fn reset(mut self) {
        self.wire.stream().reset_on_close();
    }
}

/// The status, and the reason that we gave.
pub(crate) fn verdict(response: &Response) -> (u16, &str) {
    (response.status, response.header("x-evenkeel-reason").unwrap_or("-"))
}

/// Whether the answer says that the connection ends with it.
pub(crate) fn says_close(response: &Response) -> bool {
    response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// An origin without manners of its own: every connection is handed to the story.
pub(crate) struct RawOrigin {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl RawOrigin {
    /// `serve` gets the number of the connection, counted from 0, and the connection.
    pub(crate) fn start(serve: impl Fn(usize, &mut Wire<Stream>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (connections, closing) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let (counted, ends, serve) = (Arc::clone(&connections), Arc::clone(&closing), Arc::new(serve));
        let failures = Arc::clone(&failed);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let (serve, failures) = (Arc::clone(&serve), Arc::clone(&failures));
                thread::spawn(move || {
                    let mut stream = Stream::from(stream);
                    stream.set_deadline(Some(Instant::now() + PATIENCE));
                    let run = std::panic::AssertUnwindSafe(|| serve(number, &mut Wire::new(stream)));
                    if let Err(panic) = std::panic::catch_unwind(run) {
                        let text = panic.downcast_ref::<String>().cloned();
                        failures.lock().unwrap().push(text.unwrap_or_else(|| "panicked".to_owned()));
                    }
                });
            }
        });
        Self { addr, connections, closing, failed, thread: Some(thread) }
    }

    /// Answers every request on every connection with these bytes, whatever it asks.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, wire| {
            while wire.head().is_ok() {
                let _ = wire.stream().write_all(&bytes);
            }
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = Stream::connect(&self.addr.into(), Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !thread::panicking() {
            let failed = self.failed.lock().unwrap();
            assert!(failed.is_empty(), "the origin failed: {failed:?}");
        }
    }
}

/// Nothing comes for `time`, not even the end.
#[track_caller]
pub(crate) fn assert_silent(wire: &mut Wire<Stream>, time: Duration) {
    assert_eq!(wire.buffered(), b"", "something had come already");
    wire.stream().set_deadline(Some(Instant::now() + time));
    let mut byte = [0];
    match wire.stream().read(&mut byte) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        other => panic!("came {other:?} ({byte:?})"),
    }
    wire.stream().set_deadline(Some(Instant::now() + PATIENCE));
}

/// Requests in flight to the pool `app`, as the API tells.
pub(crate) fn in_flight(proxy: &Evenkeel) -> u64 {
    proxy.admin_json("/api/v1/pools/app")["in_flight"].as_u64().expect("a number")
}

/// Client connections open on `web`, as the API tells.
pub(crate) fn open(proxy: &Evenkeel) -> u64 {
    listener(proxy)["open"].as_u64().expect("a number")
}

/// How often the listener `web` gave this reason, as the API tells.
pub(crate) fn counted(proxy: &Evenkeel, reason: &str) -> u64 {
    listener(proxy)["reasons"][reason].as_u64().unwrap_or(0)
}

fn listener(proxy: &Evenkeel) -> Value {
    let listeners = proxy.admin_json("/api/v1/listeners");
    listeners.as_array().and_then(|all| all.iter().find(|one| one["name"] == "web")).cloned().expect("web")
}

/// Waits until nothing is left of what clients did: no lease, no connection.
#[track_caller]
pub(crate) fn assert_quiet(proxy: &Evenkeel) {
    wait_until("no request in flight", Duration::from_secs(5), || in_flight(proxy) == 0);
    wait_until("no client connection", Duration::from_secs(5), || open(proxy) == 0);
}

/// What the access log `{dir}/access.log` holds so far; a line that is still being written does not count.
#[track_caller]
pub(crate) fn access_log(proxy: &Evenkeel) -> Vec<Value> {
    let text = std::fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

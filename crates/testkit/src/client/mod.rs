//! A client that writes down what became of every request it sent.

mod connection;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::body::BodyCheck;
use crate::stream::Addr;

/// What a load sends. The default is one connection of GETs with keep-alive, as fast as they are answered.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Connections at a time, each with its thread.
    pub connections: usize,
    /// Methods, taken in turn by every connection.
    pub methods: Vec<&'static str>,
    /// Bytes of the body of POST, PUT and PATCH requests; the others have none.
    pub body_bytes: usize,
    /// Send bodies chunked.
    pub chunked: bool,
    /// Bytes of the answer's body, as asked of the origin.
    pub answer_bytes: u64,
    /// Path and query.
    pub path: String,
    /// `Host`.
    pub host: String,
    /// More fields.
    pub headers: Vec<(String, String)>,
    /// Wait between two requests of a connection.
    pub pause: Duration,
    /// Requests per second over all connections. Latency then counts from when a request was due, so that a
    /// stall shows in every request it delayed. 0 is as fast as possible.
    pub rate: u32,
    /// Requests written before the first answer is read. More than 1 is meant for requests without bodies, and
    /// not for faults that break off answers: what is pipelined behind a broken answer counts as lost.
    pub pipelining: usize,
    /// Whether connections are reused; otherwise each request says `Connection: close`.
    pub keep_alive: bool,
    /// Open a new connection after this many requests.
    pub requests_per_connection: Option<u64>,
    /// Stop by itself after this many requests over all connections.
    pub requests: Option<u64>,
    /// The longest wait for a connection, and for a whole answer.
    pub timeout: Duration,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self {
            connections: 1,
            methods: vec!["GET"],
            body_bytes: 0,
            chunked: false,
            answer_bytes: 0,
            path: "/".to_owned(),
            host: "test.example".to_owned(),
            headers: Vec::new(),
            pause: Duration::ZERO,
            rate: 0,
            pipelining: 1,
            keep_alive: true,
            requests_per_connection: None,
            requests: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What became of a request. Nothing is ever retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole response came.
    Answered {
        /// Its status.
        status: u16,
        /// `x-origin`; `None` when somebody on the way answered.
        origin: Option<String>,
        /// Whether the body is the one for this request (`Right` when there can be none, or no origin).
        body: BodyCheck,
        /// The response said `Connection: close`.
        close_seen: bool,
    },
    /// Part of a response came, then a visible end: FIN too early, or RST.
    Truncated {
        /// The status, if the head was whole.
        status: Option<u16>,
    },
    /// The connection was closed (FIN) without a byte of a response.
    Closed,
    /// The connection was reset without a byte of a response.
    Reset,
    /// No whole response came in time.
    TimedOut,
    /// What came is not HTTP; says what.
    Malformed(String),
    /// Pipelined behind a response that said `Connection: close`: known not to have been processed.
    Unprocessed,
    /// No connection: refused, or reset while connecting.
    ConnectRefused,
    /// No connection in time.
    ConnectTimedOut,
}

/// One request in the client's journal.
#[derive(Debug, Clone)]
pub struct Record {
    /// `x-request-id`.
    pub id: String,
    /// The method.
    pub method: &'static str,
    /// Hash of the request's body.
    pub body_hash: u64,
    /// When it was sent, or was due if the plan has a rate.
    pub at: Instant,
    /// Until the outcome was known.
    pub latency: Duration,
    /// Number of the connection within the load, counted from 1; 0 when there was none.
    pub connection: u64,
    /// Not the first request on its connection.
    pub reused: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// All a load sent, ordered by time.
#[derive(Debug, Clone, Default)]
pub struct ClientJournal {
    /// One record per request.
    pub records: Vec<Record>,
}

impl ClientJournal {
    /// Both journals in one, for several loads on the same origins.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.records.extend(other.records);
        self.records.sort_by_key(|record| record.at);
        self
    }

    /// Number of records whose outcome satisfies `test`.
    pub fn count(&self, test: impl Fn(&Outcome) -> bool) -> usize {
        self.records.iter().filter(|record| test(&record.outcome)).count()
    }

    /// Number of connections used.
    pub fn connections(&self) -> usize {
        let mut numbers: Vec<u64> = self.records.iter().map(|record| record.connection).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().filter(|&&number| number != 0).count()
    }

    /// How many answers came from this origin.
    pub fn answers_of(&self, name: &str) -> usize {
        self.count(
            |outcome| matches!(outcome, Outcome::Answered { origin: Some(origin), .. } if origin == name),
        )
    }
}

/// A running load. Dropped without `stop`, it ends all the same.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Record>>>,
}

impl Load {
    /// Starts to send.
    pub fn start(addr: impl Into<Addr>, plan: LoadPlan) -> Self {
        static LOADS: AtomicU64 = AtomicU64::new(0);
        let load = LOADS.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            addr: addr.into(),
            prefix: format!("{:x}-{load:x}", std::process::id()),
            requests_left: AtomicU64::new(plan.requests.unwrap_or(u64::MAX)),
            plan,
            started: Instant::now(),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let threads = (0..shared.plan.connections)
            .map(|number| {
                let shared = Arc::clone(&shared);
                let client = thread::Builder::new().stack_size(256 * 1024).name(format!("load-{number}"));
                client.spawn(move || connection::run(&shared, number)).unwrap()
            })
            .collect();
        Self { shared, threads }
    }

    /// Sends what the plan's `requests` says, and waits for the last outcome.
    pub fn run(addr: impl Into<Addr>, plan: LoadPlan) -> ClientJournal {
        assert!(plan.requests.is_some(), "a plan without a number of requests never ends by itself");
        Self::start(addr, plan).finish()
    }

    /// Number of whole responses so far, of any status.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Number of requests so far that got no whole response.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Waits for `more` further answers; panics after 30 s without.
    pub fn wait_answers(&self, more: u64) {
        let target = self.answered() + more;
        crate::tools::wait_until(
            &format!("{more} more answers ({} failed)", self.failed()),
            Duration::from_secs(30),
            || self.answered() >= target || self.threads.iter().all(JoinHandle::is_finished),
        );
        assert!(self.answered() >= target, "the load ended before {more} more answers");
    }

    /// Sends no more, waits for the outcome of what is under way, and returns the journal.
    pub fn stop(self) -> ClientJournal {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.finish()
    }

    /// Waits until the plan's number of requests is through.
    pub fn finish(mut self) -> ClientJournal {
        let threads = std::mem::take(&mut self.threads);
        let mut records: Vec<Record> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        records.sort_by_key(|record| record.at);
        ClientJournal { records }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    addr: Addr,
    prefix: String,
    plan: LoadPlan,
    started: Instant,
    requests_left: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    connections: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    /// The number of the next request, unless the load is over.
    fn next(&self) -> Option<u64> {
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        let one_less = |left: u64| left.checked_sub(1);
        self.requests_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok()?;
        Some(self.sent.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits unless the load is stopped meanwhile.
    fn wait_until(&self, due: Instant) {
        while !self.stop.load(Ordering::SeqCst) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

/// Whether repeating a request does what one does (RFC 9110 section 9.2.2), so that it may be tried elsewhere.
pub fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

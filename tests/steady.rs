//! A data worker on a thread of its own, every allocation of which is counted: what its runtime, its timers and its
//! access log allocate is counted with what its plane allocates.
//!
//! The counter counts the thread that asks, so what client and target allocate is left out, and tests may run beside
//! each other. It cannot be read in the middle of a run: what a request costs is what a long run allocates beyond a
//! short one, with the same beginning and the same end. A task is an allocation, too; that none comes and goes is
//! looked at besides.

use std::cell::Cell;
use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use evenkeel_base::{BindAddr, ListenerName, WorkerId};
use evenkeel_config::{NoSource, load};
use evenkeel_net::rt;
use evenkeel_net::{BoundSocket, Buffers, Drain, DrainSignal, Listener, Stream, bind};
use evenkeel_state::{Admitted, LogBatch, Registry, Worker};
use tokio::runtime::{Handle, RuntimeMetrics};

/// What a worker does about every tick of its own (`crates/evenkeel/src/worker.rs`).
const TICK: Duration = Duration::from_millis(250);
/// A peer that hears nothing for so long has found a defect, and fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is served.
pub(crate) trait Plane: 'static {
    /// `http` or `tcp`.
    const PROTOCOL: &'static str;

    /// As the worker makes it.
    fn new(buffers: Buffers) -> Self;

    /// One connection from its first byte to its last.
    fn serve(&self, open: Admitted, client: Stream, drain: DrainSignal)
    -> impl Future<Output = ()> + 'static;

    /// What is to be done now and then.
    fn tick(&self) {}
}

/// The world outside of the worker: one client and the one target.
pub(crate) struct Outside {
    /// The client's end.
    pub(crate) client: TcpStream,
    target: TcpListener,
    metrics: RuntimeMetrics,
    alive: Vec<usize>,
}

impl Outside {
    /// The target's end of the worker's next connection.
    pub(crate) fn accept(&self) -> TcpStream {
        quick(self.target.accept().unwrap().0)
    }

    /// Looks how many tasks the worker has; to be called in the middle of an exchange.
    pub(crate) fn look(&mut self) {
        self.alive.push(self.metrics.num_alive_tasks());
    }
}

/// What a run took.
#[derive(Debug)]
pub(crate) struct Spent {
    /// Allocations and reallocations of the worker's thread.
    pub(crate) allocations: u64,
    /// How often the worker ticked meanwhile.
    pub(crate) ticks: u64,
    /// The tasks that were alive at each look.
    alive: Vec<usize>,
}

impl Spent {
    /// Allocations of this run beyond those of a shorter one.
    #[track_caller]
    pub(crate) fn beyond(&self, short: &Self) -> u64 {
        assert!(short.allocations > 0, "a worker that starts allocates: nothing was counted");
        self.allocations.saturating_sub(short.allocations)
    }

    /// Fails when there was another task at any look than the connection's and the one that ticks.
    #[track_caller]
    pub(crate) fn assert_no_further_task(&self) {
        assert!(!self.alive.is_empty(), "nobody looked");
        let most = self.alive.iter().max().unwrap();
        assert!(self.alive.iter().all(|alive| *alive == 2), "up to {most} tasks for one connection");
    }
}

/// Starts a worker with one listener and one pool of one target, has `play` use it over one connection, and lets
/// it end.
pub(crate) fn run<P: Plane>(log: LogBatch, play: impl FnOnce(&mut Outside)) -> Spent {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[listener.front]\nbind = \"127.0.0.1:0\"\nprotocol = \"{}\"\npool = \"app\"\n[pool.app]\ntargets = [\"{}\"]\n",
        P::PROTOCOL,
        target.local_addr().unwrap()
    );
    let config =
        load(&config, "test", &NoSource).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let registry = Registry::new(1, config, 1);
    let nowhere_yet = BindAddr::Ip(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (mut sockets, address) = bind(&nowhere_yet, 16, 1, false).unwrap();
    let BindAddr::Ip(address) = address else { panic!("bound to {address}") };
    let socket = sockets.pop().unwrap();
    let (started, handle) = sync_channel(1);
    let worker = std::thread::spawn(move || count::<P>(&registry, socket, log, &started));
    let metrics = handle.recv().unwrap().metrics();
    let client = quick(TcpStream::connect(address).unwrap());
    let mut outside = Outside { client, target, metrics, alive: Vec::new() };
    play(&mut outside);
    let alive = std::mem::take(&mut outside.alive);
    // The connection's end is the worker's end.
    drop(outside);
    let (allocations, ticks) = worker.join().unwrap();
    Spent { allocations, ticks, alive }
}

/// Neither waits for acknowledgements nor for ever.
fn quick(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The worker's thread: its allocations and its ticks.
fn count<P: Plane>(
    registry: &Registry,
    socket: BoundSocket,
    log: LogBatch,
    started: &SyncSender<Handle>,
) -> (u64, u64) {
    let ticks = Rc::new(Cell::new(0));
    let counted = Rc::clone(&ticks);
    let spent = allocation_counter::measure(|| {
        rt::run_worker(work::<P>(registry, socket, log, started, counted)).unwrap();
    });
    (spent.count_total, ticks.get())
}

/// What a worker does for one connection, wired as in `crates/evenkeel/src/worker.rs`.
async fn work<P: Plane>(
    registry: &Registry,
    socket: BoundSocket,
    log: LogBatch,
    started: &SyncSender<Handle>,
    ticks: Rc<Cell<u64>>,
) {
    let worker = Rc::new(Worker::new(WorkerId(0), registry, 7, log));
    let plane = Rc::new(P::new(Buffers::default()));
    let listener = Listener::serve(socket).unwrap();
    let drain = Drain::default();
    started.send(Handle::current()).unwrap();
    let (stream, client) = listener.accept(|_| ()).await;
    let open = worker.admit(&ListenerName::new("front").unwrap(), client).unwrap();
    let (ticking, waiting) = (Rc::clone(&plane), Rc::clone(&worker));
    let ticker = rt::spawn_local(async move {
        loop {
            rt::sleep(TICK).await;
            ticks.set(ticks.get() + 1);
            waiting.log.flush();
            ticking.tick();
        }
    });
    let served = rt::spawn_local(plane.serve(open, stream, drain.signal()));
    served.await.unwrap();
    ticker.abort();
    worker.log.flush();
}

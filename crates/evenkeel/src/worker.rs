//! A data worker: one thread, one runtime, its own sockets, planes and counters.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::{BindAddr, ListenerName, Reason, WorkerId};
use evenkeel_config::Protocol;
use evenkeel_net::rt::{self, mpsc};
use evenkeel_net::{BoundSocket, Buffers, Direct, Drain, DrainSignal, Listener, Stream};
use evenkeel_state::{LogBatch, Registry, Worker};

/// What the control side asks of a worker. The sender's end is the worker's end: what is left then is cut.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on this socket.
    Serve {
        /// For which listener.
        name: ListenerName,
        /// What is spoken.
        protocol: Protocol,
        /// As configured; the socket's key together with the listener's name.
        address: BindAddr,
        /// Bound and listening.
        socket: BoundSocket,
    },
    /// Accept no more there; what waits in the queue is still let in.
    Close {
        /// Of which listener.
        name: ListenerName,
        /// As configured.
        address: BindAddr,
        /// The listener is gone: its connections drain.
        last: bool,
    },
    /// Accept no more at all, let the connections finish, and end.
    Drain,
}

/// Commands that may wait; a reload sends at most two per address.
pub(crate) const COMMANDS: usize = 4096;
/// How often lines are handed to the log, and idle connections looked at.
const TICK: Duration = Duration::from_millis(250);
/// Refusals under way at once per worker; beyond it a client is turned away with a bare reset, so that refusing
/// costs an attacker more than us.
const MAX_REFUSALS: usize = 256;

/// Starts a worker; its thread ends when its connections have, after [`Command::Drain`].
pub(crate) fn start(
    id: WorkerId,
    registry: &Arc<Registry>,
    seed: u64,
    log: impl FnOnce() -> LogBatch + Send + 'static,
) -> std::io::Result<(mpsc::Sender<Command>, std::thread::JoinHandle<()>)> {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let registry = Arc::clone(registry);
    let thread = std::thread::Builder::new().name(format!("worker-{}", id.0)).spawn(move || {
        let result = rt::run_worker(async {
            let worker = Rc::new(Worker::new(id, &registry, seed, log()));
            Data::new(worker).run(commands).await;
        });
        if let Err(error) = result {
            eprintln!("evenkeel: worker {} cannot start its runtime: {error}", id.0);
        }
    })?;
    Ok((sender, thread))
}

/// What a worker's tasks share.
struct Data {
    worker: Rc<Worker>,
    tcp: Rc<evenkeel_tcp::Plane<Direct>>,
    http: Rc<evenkeel_http::Plane<Direct>>,
    open: Cell<usize>,
    refusals: Cell<usize>,
    closed: rt::Notify,
}

/// A listener on this worker.
#[derive(Default)]
struct Serving {
    /// Tells its connections to finish.
    connections: Drain,
    /// Tells its accept loops to stop.
    sockets: HashMap<BindAddr, Drain>,
}

impl Data {
    fn new(worker: Rc<Worker>) -> Rc<Self> {
        let buffers = Buffers::default();
        Rc::new(Self {
            worker,
            tcp: evenkeel_tcp::Plane::new(buffers.clone(), Direct),
            http: evenkeel_http::Plane::new(buffers, Direct),
            open: Cell::new(0),
            refusals: Cell::new(0),
            closed: rt::Notify::new(),
        })
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        let ticker = rt::spawn_local(Rc::clone(&self).tick());
        let mut listeners: HashMap<ListenerName, Serving> = HashMap::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve { name, protocol, address, socket } => {
                    let serving = listeners.entry(name.clone()).or_default();
                    self.serve(serving, name, protocol, address, socket);
                }
                Command::Close { name, address, last } => {
                    let Some(serving) = listeners.get_mut(&name) else { continue };
                    if let Some(socket) = serving.sockets.remove(&address) {
                        socket.start();
                    }
                    if last && let Some(gone) = listeners.remove(&name) {
                        gone.stop();
                    }
                }
                Command::Drain => {
                    listeners.values().for_each(Serving::stop);
                    // Either the connections end, or the control side loses patience and drops its end.
                    let dropped = async { while commands.recv().await.is_some() {} };
                    rt::either(self.all_closed(), dropped).await;
                    break;
                }
            }
        }
        ticker.abort();
        self.worker.log.flush();
    }

    fn serve(
        self: &Rc<Self>,
        serving: &mut Serving,
        name: ListenerName,
        protocol: Protocol,
        address: BindAddr,
        socket: BoundSocket,
    ) {
        let listener = match Listener::serve(socket) {
            Ok(listener) => listener,
            Err(error) => {
                eprintln!("evenkeel: listener {name}: worker cannot serve {address}: {error}");
                return;
            }
        };
        // Seen once, the listener is known here even when it is removed before its first client has come.
        let _ = self.worker.view(&name);
        let stop = Drain::default();
        let signals = (stop.signal(), serving.connections.signal());
        // A socket of the same address that is being replaced stops accepting.
        if let Some(replaced) = serving.sockets.insert(address, stop) {
            replaced.start();
        }
        self.track(Rc::clone(self).accept(name, protocol, listener, signals));
    }

    async fn accept(
        self: Rc<Self>,
        name: ListenerName,
        protocol: Protocol,
        socket: Listener,
        (stop, drain): (DrainSignal, DrainSignal),
    ) {
        let mut stopped = std::pin::pin!(stop.started());
        loop {
            let exhausted = |_: &std::io::Error| self.worker.count(&name, Reason::Overloaded);
            match rt::either(socket.accept(exhausted), stopped.as_mut()).await {
                rt::Either::Left((stream, client)) => self.let_in(&name, protocol, stream, client, &drain),
                rt::Either::Right(()) => break,
            }
        }
        while let Some((stream, client)) = socket.accept_waiting().await {
            self.let_in(&name, protocol, stream, client, &drain);
        }
        self.worker.forget(&name);
    }

    fn let_in(
        self: &Rc<Self>,
        name: &ListenerName,
        protocol: Protocol,
        stream: Stream,
        client: evenkeel_base::ClientAddr,
        drain: &DrainSignal,
    ) {
        let admitted = match self.worker.admit(name, client) {
            Ok(admitted) => admitted,
            Err(reason) => return self.refuse(protocol, stream, reason),
        };
        let cell = admitted.live.cell();
        let abort = match protocol {
            Protocol::Tcp => self.track(Rc::clone(&self.tcp).serve(admitted, stream)),
            Protocol::Http => self.track(Rc::clone(&self.http).serve(admitted, stream, drain.clone())),
        };
        cell.on_close(move || abort.abort());
    }

    fn refuse(self: &Rc<Self>, protocol: Protocol, stream: Stream, reason: Reason) {
        if protocol == Protocol::Tcp || self.refusals.get() >= MAX_REFUSALS {
            stream.reset_on_close();
            return;
        }
        let (data, plane) = (Rc::clone(self), Rc::clone(&self.http));
        self.refusals.set(self.refusals.get() + 1);
        self.track(async move {
            plane.refuse(stream, reason).await;
            data.refusals.set(data.refusals.get() - 1);
        });
    }

    /// Runs a task that the worker waits for when it drains.
    fn track(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) -> rt::Abort {
        let held = Held(Rc::clone(self));
        self.open.set(self.open.get() + 1);
        let task = rt::spawn_local(async move {
            let _held = held;
            task.await;
        });
        task.abort_handle()
    }

    async fn all_closed(&self) {
        while self.open.get() > 0 {
            self.closed.notified().await;
        }
    }

    async fn tick(self: Rc<Self>) {
        loop {
            rt::sleep(TICK).await;
            self.worker.log.flush();
            self.http.tick();
        }
    }
}

impl Serving {
    /// Lets nobody in any more, and tells those who are in to finish.
    fn stop(&self) {
        self.sockets.values().for_each(Drain::start);
        self.connections.start();
    }
}

/// One task that the worker waits for.
struct Held(Rc<Data>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
    }
}

//! A data worker: one thread, one runtime, its own sockets, planes and counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::{BindAddr, ClientAddr, ListenerName, Reason, WorkerId};
use evenkeel_config::Protocol;
use evenkeel_net::rt::{self, mpsc};
use evenkeel_net::{BoundSocket, Buffers, Direct, Drain, Listener, Stream};
use evenkeel_state::{LogBatch, Registry, Worker};

use crate::logs::tell;

/// What the control side asks of a worker. The sender's end is the worker's end: what is left then is cut.
#[derive(Debug)]
pub(crate) enum Command {
    /// What comes in there is this listener's from now on.
    Serve {
        /// Which listener.
        name: ListenerName,
        /// Length of the accept queue.
        backlog: u32,
        /// Where it really listens; the socket's key.
        at: BindAddr,
        /// The socket, unless the worker has it already.
        socket: Option<Opened>,
    },
    /// Accept no more there; what waits in the queue is still let in.
    Close {
        /// Where.
        at: BindAddr,
    },
    /// The listener is gone: its connections drain.
    Remove {
        /// Which listener.
        name: ListenerName,
    },
    /// Accept no more at all, let the connections finish, and end.
    Drain,
}

/// A socket for one worker.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Bound and listening.
    pub(crate) socket: BoundSocket,
    /// Dropped when the worker has closed it.
    pub(crate) open: mpsc::Sender<()>,
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
            tell(&format!("evenkeel: worker {} cannot start its runtime: {error}", id.0));
        }
    })?;
    Ok((sender, thread))
}

/// What a worker's tasks share.
struct Data {
    worker: Rc<Worker>,
    buffers: Buffers,
    tcp: Rc<evenkeel_tcp::Plane<Direct>>,
    http: Rc<evenkeel_http::Plane<Direct>>,
    open: Cell<usize>,
    refusals: Cell<usize>,
    closed: rt::Notify,
}

/// A listener on this worker; forgotten when it is gone and nobody is let in for it any more.
struct Known {
    worker: Rc<Worker>,
    name: ListenerName,
    /// Tells its connections to finish.
    connections: Drain,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.worker.forget(&self.name);
    }
}

/// A socket on this worker.
struct Accepting {
    socket: Listener,
    /// Tells the accept loop to stop.
    stop: Drain,
    /// For whom; a change may give the socket to another listener.
    listener: RefCell<Rc<Known>>,
}

/// What a worker serves now.
#[derive(Default)]
struct Serving {
    listeners: HashMap<ListenerName, Rc<Known>>,
    sockets: HashMap<BindAddr, Rc<Accepting>>,
}

impl Data {
    fn new(worker: Rc<Worker>) -> Rc<Self> {
        let buffers = Buffers::default();
        Rc::new(Self {
            worker,
            tcp: evenkeel_tcp::Plane::new(buffers.clone(), Direct),
            http: evenkeel_http::Plane::new(buffers.clone(), Direct),
            buffers,
            open: Cell::new(0),
            refusals: Cell::new(0),
            closed: rt::Notify::new(),
        })
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        let ticker = rt::spawn_local(Rc::clone(&self).tick());
        let mut serving = Serving::default();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve { name, backlog, at, socket } => {
                    let listener = self.known(&mut serving, name);
                    match socket {
                        Some(opened) => self.open(&mut serving, at, opened, listener),
                        None => serving.give(&at, listener, backlog),
                    }
                }
                Command::Close { at } => serving.close(&at),
                Command::Remove { name } => serving.remove(&name),
                Command::Drain => {
                    serving.stop();
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

    fn known(&self, serving: &mut Serving, name: ListenerName) -> Rc<Known> {
        // Seen once, the listener is known here even when it is removed before its first client has come.
        let _ = self.worker.view(&name);
        let new =
            |name| Rc::new(Known { worker: Rc::clone(&self.worker), name, connections: Drain::default() });
        Rc::clone(serving.listeners.entry(name.clone()).or_insert_with(|| new(name)))
    }

    fn open(self: &Rc<Self>, serving: &mut Serving, at: BindAddr, opened: Opened, listener: Rc<Known>) {
        let socket = match Listener::serve(opened.socket) {
            Ok(socket) => socket,
            Err(error) => {
                let name = &listener.name;
                return tell(&format!("evenkeel: listener {name}: worker cannot serve {at}: {error}"));
            }
        };
        let accepting =
            Rc::new(Accepting { socket, stop: Drain::default(), listener: RefCell::new(listener) });
        serving.sockets.insert(at, Rc::clone(&accepting));
        self.track(Rc::clone(self).accept(accepting, opened.open));
    }

    async fn accept(self: Rc<Self>, accepting: Rc<Accepting>, open: mpsc::Sender<()>) {
        let stop = accepting.stop.signal();
        let mut stopped = std::pin::pin!(stop.started());
        loop {
            let exhausted = |_: &std::io::Error| {
                self.worker.count(&accepting.listener.borrow().name, Reason::Overloaded);
            };
            match rt::either(accepting.socket.accept(exhausted), stopped.as_mut()).await {
                rt::Either::Left((stream, client)) => {
                    self.let_in(&accepting.listener.borrow(), stream, client);
                }
                rt::Either::Right(()) => break,
            }
        }
        while let Some((stream, client)) = accepting.socket.accept_waiting().await {
            self.let_in(&accepting.listener.borrow(), stream, client);
        }
        // The socket is closed before the control side hears of it.
        drop(accepting);
        drop(open);
    }

    fn let_in(self: &Rc<Self>, listener: &Known, stream: Stream, client: ClientAddr) {
        let admitted = match self.worker.admit(&listener.name, client) {
            Ok(admitted) => admitted,
            Err(reason) => return self.refuse(listener, stream, reason),
        };
        let cell = admitted.live.cell();
        let abort = match admitted.view.config.protocol {
            Protocol::Tcp => self.track(Rc::clone(&self.tcp).serve(admitted, stream)),
            Protocol::Http => {
                let drain = listener.connections.signal();
                self.track(Rc::clone(&self.http).serve(admitted, stream, drain))
            }
        };
        cell.on_close(move || abort.abort());
    }

    fn refuse(self: &Rc<Self>, listener: &Known, stream: Stream, reason: Reason) {
        let view = self.worker.view(&listener.name);
        let is_http = view.is_some_and(|view| view.config.protocol == Protocol::Http);
        if !is_http || self.refusals.get() >= MAX_REFUSALS {
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
        let task = rt::spawn_holding(task, held);
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
            self.buffers.tick();
            if self.worker.is_thrifty() {
                self.buffers.release();
                self.http.release();
            }
        }
    }
}

impl Serving {
    fn give(&self, at: &BindAddr, listener: Rc<Known>, backlog: u32) {
        if let Some(accepting) = self.sockets.get(at) {
            accepting.listener.replace(listener);
            // A queue that the kernel does not want to change goes on as it is.
            let _ = accepting.socket.set_backlog(backlog);
        }
    }

    fn close(&mut self, at: &BindAddr) {
        if let Some(accepting) = self.sockets.remove(at) {
            accepting.stop.start();
        }
    }

    fn remove(&mut self, name: &ListenerName) {
        if let Some(gone) = self.listeners.remove(name) {
            gone.connections.start();
        }
    }

    /// Lets nobody in any more, and tells those who are in to finish.
    fn stop(&mut self) {
        self.sockets.drain().for_each(|(_, accepting)| accepting.stop.start());
        self.listeners.values().for_each(|listener| listener.connections.start());
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

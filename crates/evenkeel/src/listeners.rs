//! Which addresses this process listens on, and how that changes: bound all or nothing, before anything else
//! changes; handed to the workers after.
//!
//! A socket belongs to its address. A listener that changes its name or its backlog keeps the socket, and two that
//! swap their addresses swap sockets: whoever knocks meanwhile is let in by one or the other. To close one socket and
//! open another would turn away those in between.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use evenkeel_base::{BindAddr, ListenerName};
use evenkeel_config::{Config, Listener};
use evenkeel_net::rt::mpsc;
use evenkeel_net::{BindError, BoundSocket, bind};

use crate::worker::{Command, Opened};

/// Longest wait for the workers to close a socket: they let in who waits there, no more.
const CLOSING: Duration = Duration::from_secs(1);

/// The addresses in use.
#[derive(Debug)]
pub(crate) struct Listeners {
    workers: Vec<mpsc::Sender<Command>>,
    held: HashMap<ListenerName, Held>,
}

#[derive(Debug)]
struct Held {
    backlog: u32,
    /// By configured address.
    sockets: BTreeMap<BindAddr, Served>,
}

/// An address that the workers accept on.
#[derive(Debug)]
struct Served {
    /// The one it got; the sockets' key on the workers.
    at: BindAddr,
    /// Ends when no worker has it open any more.
    open: mpsc::Receiver<()>,
}

/// What a change takes, at hand; given back if the change is given up.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    wanted: Vec<Wanted>,
}

/// An address that a listener is to have.
#[derive(Debug)]
struct Wanted {
    name: ListenerName,
    backlog: u32,
    configured: BindAddr,
    from: Source,
}

/// Where its sockets come from.
#[derive(Debug)]
enum Source {
    /// They are new.
    Bound(Bound),
    /// From this listener, or it is this listener.
    Held(ListenerName),
}

/// Bound and listening, and nobody serves it yet.
#[derive(Debug)]
struct Bound {
    at: BindAddr,
    sockets: Vec<BoundSocket>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if !self.sockets.is_empty() {
            unlink(&self.at);
        }
    }
}

impl Listeners {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Command>>) -> Self {
        Self { workers, held: HashMap::new() }
    }

    /// Binds every address of `config` that is not held already. Fails without having changed anything.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Prepared, BindError> {
        let mut prepared = Prepared::default();
        for listener in &config.listeners {
            for address in listener.bind.iter().filter(|address| !self.is_as_wanted(listener, address)) {
                prepared.wanted.push(Wanted {
                    name: listener.name.clone(),
                    backlog: listener.backlog,
                    configured: address.clone(),
                    from: self.source(listener, address)?,
                });
            }
        }
        Ok(prepared)
    }

    /// Hands the sockets to the workers and closes what `config` has no more. Returns the listeners that are gone;
    /// their connections drain.
    pub(crate) async fn commit(&mut self, config: &Config, prepared: Prepared) -> Vec<ListenerName> {
        // Taken from all before it is given to any: two may swap.
        let taken: Vec<_> = prepared.wanted.into_iter().filter_map(|wanted| self.take(wanted)).collect();
        for (wanted, served, sockets) in taken {
            self.hand_over(wanted, served, sockets).await;
        }
        let mut closed = Vec::new();
        for (name, address) in self.no_more(config) {
            let sockets = self.held.get_mut(&name).map(|held| &mut held.sockets);
            let Some(served) = sockets.and_then(|sockets| sockets.remove(&address)) else { continue };
            self.tell_all(|| Command::Close { at: served.at.clone() }).await;
            unlink(&served.at);
            closed.push(served);
        }
        let is_gone = |name: &&ListenerName| config.listener(name.as_str()).is_none();
        let gone: Vec<ListenerName> = self.held.keys().filter(is_gone).cloned().collect();
        for name in &gone {
            self.held.remove(name);
            self.tell_all(|| Command::Remove { name: name.clone() }).await;
        }
        wait_until_closed(closed).await;
        gone
    }

    /// Where each listener really listens, in the order of their names.
    pub(crate) fn bound(&self) -> Vec<(String, Vec<String>)> {
        let addresses = |held: &Held| held.sockets.values().map(|served| served.at.to_string()).collect();
        let mut bound: Vec<_> =
            self.held.iter().map(|(name, held)| (name.to_string(), addresses(held))).collect();
        bound.sort();
        bound
    }

    /// Tells every worker to accept no more and to end with its connections.
    pub(crate) async fn drain(&mut self) {
        self.tell_all(|| Command::Drain).await;
        let sockets = self.held.drain().flat_map(|(_, held)| held.sockets.into_values());
        sockets.for_each(|served| unlink(&served.at));
    }

    /// Lets go of the workers: those that drain still cut what is left, and end.
    pub(crate) fn cut(&mut self) {
        self.workers.clear();
    }

    fn is_as_wanted(&self, listener: &Listener, address: &BindAddr) -> bool {
        let is_so = |held: &Held| held.backlog == listener.backlog && held.sockets.contains_key(address);
        self.held.get(&listener.name).is_some_and(is_so)
    }

    fn source(&self, listener: &Listener, address: &BindAddr) -> Result<Source, BindError> {
        let holds =
            |name: &ListenerName| self.held.get(name).is_some_and(|h| h.sockets.contains_key(address));
        if holds(&listener.name) {
            return Ok(Source::Held(listener.name.clone()));
        }
        // "Any port" is another one for each listener.
        if port_of(address) != Some(0)
            && let Some(holder) = self.held.keys().find(|name| holds(name))
        {
            return Ok(Source::Held(holder.clone()));
        }
        let (sockets, at) = bind(address, listener.backlog, self.workers.len(), self.overlaps(address))?;
        Ok(Source::Bound(Bound { at, sockets }))
    }

    /// Whether this process listens on something that the kernel may take for the same.
    fn overlaps(&self, address: &BindAddr) -> bool {
        let Some(port) = port_of(address) else { return false };
        let mut served = self.held.values().flat_map(|held| held.sockets.values());
        served.any(|other| port_of(&other.at) == Some(port))
    }

    fn take(&mut self, mut wanted: Wanted) -> Option<(Wanted, Served, Vec<Opened>)> {
        match &mut wanted.from {
            Source::Held(holder) => {
                let served = self.held.get_mut(holder)?.sockets.remove(&wanted.configured)?;
                Some((wanted, served, Vec::new()))
            }
            Source::Bound(bound) => {
                let (sender, open) = mpsc::channel(1);
                let served = Served { at: bound.at.clone(), open };
                let sockets = std::mem::take(&mut bound.sockets).into_iter();
                let opened = sockets.map(|socket| Opened { socket, open: sender.clone() }).collect();
                Some((wanted, served, opened))
            }
        }
    }

    async fn hand_over(&mut self, wanted: Wanted, served: Served, sockets: Vec<Opened>) {
        let Wanted { name, backlog, configured, .. } = wanted;
        let mut sockets = sockets.into_iter();
        for worker in &self.workers {
            let (name, at, socket) = (name.clone(), served.at.clone(), sockets.next());
            // A worker that is gone has been reported by its own thread.
            let _ = worker.send(Command::Serve { name, backlog, at, socket }).await;
        }
        let new = || Held { backlog, sockets: BTreeMap::new() };
        let held = self.held.entry(name).or_insert_with(new);
        held.backlog = backlog;
        held.sockets.insert(configured, served);
    }

    fn no_more(&self, config: &Config) -> Vec<(ListenerName, BindAddr)> {
        let mut closing = Vec::new();
        for (name, held) in &self.held {
            let stays = |address: &BindAddr| {
                config.listener(name.as_str()).is_some_and(|listener| listener.bind.contains(address))
            };
            let leaving = held.sockets.keys().filter(|address| !stays(address));
            closing.extend(leaving.map(|address| (name.clone(), address.clone())));
        }
        closing.sort();
        closing
    }

    async fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.send(command()).await;
        }
    }
}

/// The next change may want such an address back, and must not find it in use.
async fn wait_until_closed(sockets: Vec<Served>) {
    let all = async {
        for mut served in sockets {
            let _ = served.open.recv().await;
        }
    };
    let _ = tokio::time::timeout(CLOSING, all).await;
}

/// A unix socket leaves a file behind.
fn unlink(address: &BindAddr) {
    if let BindAddr::Unix(path) = address {
        let _ = std::fs::remove_file(path);
    }
}

fn port_of(address: &BindAddr) -> Option<u16> {
    match address {
        BindAddr::Ip(addr) => Some(addr.port()),
        BindAddr::Any(port) => Some(*port),
        BindAddr::Unix(_) => None,
    }
}

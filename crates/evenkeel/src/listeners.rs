//! Which addresses this process listens on, and how that changes: bound all or nothing, before anything else
//! changes; handed to the workers after.

use std::collections::{BTreeMap, HashMap};

use evenkeel_base::{BindAddr, ListenerName};
use evenkeel_config::{Config, Listener, Protocol};
use evenkeel_net::rt::mpsc;
use evenkeel_net::{BindError, BoundSocket, bind};

use crate::worker::Command;

/// The addresses in use.
#[derive(Debug)]
pub(crate) struct Listeners {
    workers: Vec<mpsc::Sender<Command>>,
    held: HashMap<ListenerName, Held>,
}

#[derive(Debug)]
struct Held {
    protocol: Protocol,
    backlog: u32,
    /// Configured address → the one it got.
    addresses: BTreeMap<BindAddr, BindAddr>,
}

/// New sockets, bound and listening, that nobody serves yet; dropped if the change is given up.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    bound: Vec<New>,
}

#[derive(Debug)]
struct New {
    name: ListenerName,
    protocol: Protocol,
    backlog: u32,
    configured: BindAddr,
    got: BindAddr,
    sockets: Vec<BoundSocket>,
    /// A unix socket that replaces one of ours is bound beside it and renamed over it when the change is made, so
    /// that a change that is given up leaves the old one reachable.
    moving: Option<(BindAddr, BindAddr)>,
}

impl Drop for New {
    fn drop(&mut self) {
        if let Some((BindAddr::Unix(path), _)) = self.moving.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A path beside a unix socket's own.
fn beside(address: &BindAddr) -> Option<BindAddr> {
    let BindAddr::Unix(path) = address else { return None };
    let mut path = path.clone().into_os_string();
    path.push(".new");
    Some(BindAddr::Unix(path.into()))
}

impl Listeners {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Command>>) -> Self {
        Self { workers, held: HashMap::new() }
    }

    /// Binds every address of `config` that is not held already. Fails without having changed anything.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Prepared, BindError> {
        let mut prepared = Prepared::default();
        for listener in &config.listeners {
            for address in listener.bind.iter().filter(|address| !self.holds(listener, address)) {
                let ours = self.overlaps(address);
                let at = beside(address).filter(|_| ours);
                let (sockets, got) =
                    bind(at.as_ref().unwrap_or(address), listener.backlog, self.workers.len(), ours)?;
                prepared.bound.push(New {
                    name: listener.name.clone(),
                    protocol: listener.protocol,
                    backlog: listener.backlog,
                    configured: address.clone(),
                    got: if at.is_some() { address.clone() } else { got },
                    sockets,
                    moving: at.zip(Some(address.clone())),
                });
            }
        }
        Ok(prepared)
    }

    /// Hands the new sockets to the workers and closes what `config` has no more. Returns the listeners that are
    /// gone; their connections drain.
    pub(crate) async fn commit(&mut self, config: &Config, prepared: Prepared) -> Vec<ListenerName> {
        let closing = self.no_more(config);
        for new in prepared.bound {
            self.hand_over(new).await;
        }
        let mut gone = Vec::new();
        for (name, address) in closing {
            let last = config.listener(name.as_str()).is_none();
            self.tell_all(|| Command::Close { name: name.clone(), address: address.clone(), last }).await;
            if let Some(held) = self.held.get_mut(&name) {
                held.addresses.remove(&address);
            }
            self.unlink(&address);
            if last && !gone.contains(&name) {
                gone.push(name);
            }
        }
        self.held.retain(|name, _| !gone.contains(name));
        gone
    }

    /// Where each listener really listens, in the order of their names.
    pub(crate) fn bound(&self) -> Vec<(String, Vec<String>)> {
        let mut bound: Vec<_> = self
            .held
            .iter()
            .map(|(name, held)| {
                (name.to_string(), held.addresses.values().map(ToString::to_string).collect::<Vec<_>>())
            })
            .collect();
        bound.sort();
        bound
    }

    /// Tells every worker to accept no more and to end with its connections.
    pub(crate) async fn drain(&mut self) {
        self.tell_all(|| Command::Drain).await;
        let addresses: Vec<BindAddr> =
            self.held.drain().flat_map(|(_, held)| held.addresses.into_keys()).collect();
        for address in addresses {
            self.unlink(&address);
        }
    }

    /// Lets go of the workers: those that drain still cut what is left, and end.
    pub(crate) fn cut(&mut self) {
        self.workers.clear();
    }

    fn holds(&self, listener: &Listener, address: &BindAddr) -> bool {
        self.held.get(&listener.name).is_some_and(|held| {
            held.protocol == listener.protocol
                && held.backlog == listener.backlog
                && held.addresses.contains_key(address)
        })
    }

    /// Whether this process listens on something that the kernel may take for the same.
    fn overlaps(&self, address: &BindAddr) -> bool {
        let port = port_of(address);
        let held = self.held.values().flat_map(|held| held.addresses.values());
        held.into_iter().any(|other| match port {
            Some(port) => port_of(other) == Some(port),
            None => other == address,
        })
    }

    fn no_more(&self, config: &Config) -> Vec<(ListenerName, BindAddr)> {
        let mut closing = Vec::new();
        for (name, held) in &self.held {
            let stays = |address: &BindAddr| {
                config.listener(name.as_str()).is_some_and(|listener| listener.bind.contains(address))
            };
            let leaving = held.addresses.keys().filter(|address| !stays(address));
            closing.extend(leaving.map(|address| (name.clone(), address.clone())));
        }
        closing.sort();
        closing
    }

    async fn hand_over(&mut self, mut new: New) {
        if let Some((BindAddr::Unix(from), BindAddr::Unix(to))) = new.moving.take()
            && let Err(error) = std::fs::rename(&from, &to)
        {
            eprintln!("evenkeel: cannot rename {} to {}: {error}", from.display(), to.display());
        }
        let sockets = std::mem::take(&mut new.sockets);
        for (worker, socket) in self.workers.iter().zip(sockets) {
            let command = Command::Serve {
                name: new.name.clone(),
                protocol: new.protocol,
                address: new.configured.clone(),
                socket,
            };
            // A worker that is gone has been reported by its own thread.
            let _ = worker.send(command).await;
        }
        let held = self.held.entry(new.name.clone()).or_insert_with(|| Held {
            protocol: new.protocol,
            backlog: new.backlog,
            addresses: BTreeMap::new(),
        });
        (held.protocol, held.backlog) = (new.protocol, new.backlog);
        held.addresses.insert(new.configured.clone(), new.got.clone());
    }

    async fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.send(command()).await;
        }
    }

    /// A unix socket leaves a file behind, unless another listener has taken its place.
    fn unlink(&self, address: &BindAddr) {
        if let BindAddr::Unix(path) = address
            && !self.held.values().any(|held| held.addresses.contains_key(address))
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn port_of(address: &BindAddr) -> Option<u16> {
    match address {
        BindAddr::Ip(addr) => Some(addr.port()),
        BindAddr::Any(port) => Some(*port),
        BindAddr::Unix(_) => None,
    }
}

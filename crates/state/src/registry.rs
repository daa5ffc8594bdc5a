//! The only writer of routing state.
//!
//! Whatever changes the standing of a target – a configuration, an operator, a probe, a lease's outcome, a
//! resolved name – comes in here, is judged by the brains, and leaves as one new snapshot and one event per
//! transition. Only the control side calls it; the planes never wait for its lock.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use evenkeel_base::{IdMap, ListenerName, PoolName, Reason, SplitMix64, TargetAddr, TargetId, Weight};
use evenkeel_config::{Change, Config};
use evenkeel_health::{Outcome, PoolHealth};
use evenkeel_route::RouteTable;
use tokio::sync::{Notify, mpsc, watch};

use crate::clients::ClientTables;
use crate::connections::Connections;
use crate::events::{EventKind, Events};
use crate::pool::{Pool, PoolLive};
use crate::registry_build::{build_snapshot, health_policy};
use crate::snapshot::{ListenerLive, Published, Snapshot};
use crate::target::{Duty, TargetLive};
use crate::throttle::Throttle;
use crate::transitions::Pending;

/// Time since the process started; the clock of every brain.
pub fn uptime() -> Duration {
    uptime_at(Instant::now())
}

/// The same clock, for a moment that has been read already.
pub fn uptime_at(now: Instant) -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(|| now))
}

/// Outcomes from the planes wait here; when full, later failures say the same again.
const SIGNALS: usize = 1024;

/// A target failed so many times in a row, says a plane.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Its pool.
    pub pool: PoolName,
    /// Which target.
    pub target: TargetId,
    /// Failures in a row.
    pub streak: u32,
}

/// Why a runtime change was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryError {
    /// No pool of that name.
    NoPool(String),
    /// The pool has no such target.
    NoTarget(TargetAddr),
    /// The pool has that target already.
    TargetExists(TargetAddr),
    /// The pool is at its limit of targets.
    TooManyTargets,
}

impl RegistryError {
    /// The named reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoPool(_) | Self::NoTarget(_) => Reason::NotFound,
            Self::TargetExists(_) => Reason::AlreadyExists,
            Self::TooManyTargets => Reason::BadInput,
        }
    }
}

impl std::fmt::Display for RegistryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPool(name) => write!(f, "there is no pool {name:?}"),
            Self::NoTarget(address) => write!(f, "the pool has no target {address}"),
            Self::TargetExists(address) => write!(f, "the pool has the target {address} already"),
            Self::TooManyTargets => f.write_str("the pool has as many targets as a pool may have"),
        }
    }
}

impl std::error::Error for RegistryError {}

/// What to change about a target; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetEdit {
    /// New share.
    pub weight: Option<Weight>,
    /// New priority.
    pub priority: Option<u16>,
    /// New limit; `Some(None)` lifts it.
    pub max_connections: Option<Option<u32>>,
    /// Serve, drain, or pause.
    pub duty: Option<Duty>,
}

/// The only writer of routing state.
#[derive(Debug)]
pub struct Registry {
    published: Arc<Published>,
    events: Arc<Events>,
    connections: Arc<Connections>,
    changes: watch::Sender<u64>,
    signals: Mutex<Option<mpsc::Receiver<Signal>>>,
    deferred: Notify,
    inner: Mutex<Inner>,
}

/// What the registry knows beyond the configuration.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) workers: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) generation: u64,
    pub(crate) pools: HashMap<PoolName, PoolState>,
    pub(crate) listeners: HashMap<ListenerName, Arc<ListenerLive>>,
    pub(crate) addresses: HashMap<Arc<str>, Arc<[IpAddr]>>,
    pub(crate) last_target: u32,
    pub(crate) random: SplitMix64,
    pub(crate) signals: mpsc::Sender<Signal>,
    pub(crate) throttle: Throttle,
    /// By listener: what was compiled last.
    pub(crate) tables: HashMap<ListenerName, (Arc<evenkeel_config::Listener>, Arc<RouteTable>)>,
}

#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) config: Arc<evenkeel_config::Pool>,
    pub(crate) live: Arc<PoolLive>,
    pub(crate) clients: Option<Arc<ClientTables>>,
    pub(crate) members: BTreeMap<TargetAddr, Member>,
    pub(crate) emergency: Option<(TargetAddr, Member)>,
    pub(crate) health: PoolHealth<TargetId>,
    /// What outlives snapshots of the regular members.
    pub(crate) lives: IdMap<TargetId, Arc<TargetLive>>,
    /// What its health has changed since the last snapshot.
    pub(crate) pending: Pending,
    /// Whether a member has other addresses since then.
    pub(crate) moved: bool,
    /// What was published last; reused as long as nothing of the pool changed.
    pub(crate) built: Option<Arc<Pool>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: TargetId,
    pub(crate) duty: Duty,
    pub(crate) live: Arc<TargetLive>,
}

impl Registry {
    /// A registry that has adopted this configuration, for so many data workers.
    pub fn new(workers: usize, config: Config, seed: u64) -> Self {
        let (signals, received) = mpsc::channel(SIGNALS);
        let config = Arc::new(config);
        let mut inner = Inner {
            workers,
            config: Arc::clone(&config),
            generation: 0,
            pools: HashMap::new(),
            listeners: HashMap::new(),
            addresses: HashMap::new(),
            last_target: 0,
            random: SplitMix64::new(seed),
            signals,
            throttle: Throttle::default(),
            tables: HashMap::new(),
        };
        inner.adopt(config, uptime());
        let published = Published::new(build_snapshot(&mut inner));
        Self {
            published: Arc::new(published),
            events: Arc::new(Events::new()),
            connections: Arc::new(Connections::new(workers)),
            changes: watch::channel(0).0,
            signals: Mutex::new(Some(received)),
            deferred: Notify::new(),
            inner: Mutex::new(inner),
        }
    }

    /// Where the planes read.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load()
    }

    /// The stream of events.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// The open client connections.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Tells the newest generation each time one is published.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The planes' outcomes; taken once, by whoever feeds them back through [`Registry::handle`].
    pub fn take_signals(&self) -> Option<mpsc::Receiver<Signal>> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Adopts a whole configuration in one swap and tells what changed. Targets that stay keep their counters,
    /// their verdicts, and what an operator wanted of them.
    pub fn apply(&self, config: Config) -> Vec<Change> {
        let mut inner = self.lock_settled();
        let changes = evenkeel_config::diff(&inner.config, &config);
        let before = self.snapshot();
        inner.adopt(Arc::new(config), uptime());
        self.publish(&mut inner);
        self.tell_changes(&before);
        let lines = changes.iter().map(ToString::to_string).collect();
        self.events.emit(EventKind::Config { lines, adopted: true }, Reason::Finished);
        changes
    }

    /// Records that a configuration was refused.
    pub fn refused(&self, lines: Vec<String>, reason: Reason) {
        self.events.emit(EventKind::Config { lines, adopted: false }, reason);
    }

    /// Adds a target to a pool.
    pub fn add_target(&self, pool: &str, target: evenkeel_config::Target) -> Result<TargetId, RegistryError> {
        let mut inner = self.lock_settled();
        let address = target.address.clone();
        let next = edit_pool(&inner.config, pool, |p| {
            if p.targets.iter().any(|t| t.address == target.address) {
                return Err(RegistryError::TargetExists(target.address.clone()));
            }
            if p.targets.len() >= evenkeel_config::limits::MAX_TARGETS {
                return Err(RegistryError::TooManyTargets);
            }
            p.targets.push(target);
            Ok(())
        })?;
        self.adopt_runtime(&mut inner, next);
        let member = inner.pools.get(pool).and_then(|p| p.members.get(&address));
        member.map(|m| m.id).ok_or(RegistryError::NoTarget(address))
    }

    /// Removes a target. Leases that are held go on; nothing new goes there.
    pub fn remove_target(&self, pool: &str, address: &TargetAddr) -> Result<(), RegistryError> {
        let mut inner = self.lock_settled();
        let next = edit_pool(&inner.config, pool, |p| {
            let index = position(p, address)?;
            p.targets.remove(index);
            Ok(())
        })?;
        self.adopt_runtime(&mut inner, next);
        Ok(())
    }

    /// Changes a target's share, limit or duty.
    pub fn edit_target(
        &self,
        pool: &str,
        address: &TargetAddr,
        edit: TargetEdit,
    ) -> Result<(), RegistryError> {
        let mut inner = self.lock_settled();
        let next = edit_pool(&inner.config, pool, |p| {
            let index = position(p, address)?;
            let target = &mut p.targets[index];
            target.weight = edit.weight.unwrap_or(target.weight);
            target.priority = edit.priority.unwrap_or(target.priority);
            target.max_connections = edit.max_connections.unwrap_or(target.max_connections);
            Ok(())
        })?;
        if let (Some(duty), Some(state)) = (edit.duty, inner.pools.get_mut(pool))
            && let Some(member) = state.members.get_mut(address)
        {
            member.duty = duty;
            state.built = None;
        }
        self.adopt_runtime(&mut inner, next);
        Ok(())
    }

    /// Takes a probe's verdict, or what the planes saw.
    pub fn handle(&self, pool: &str, target: TargetId, outcome: Outcome) {
        self.handle_all(pool, [(target, outcome)]);
    }

    /// The same for several targets of a pool.
    pub fn handle_all(&self, pool: &str, outcomes: impl IntoIterator<Item = (TargetId, Outcome)>) {
        let mut inner = self.lock();
        let Some(state) = inner.pools.get_mut(pool) else { return };
        let now = uptime();
        for (target, outcome) in outcomes {
            if let Some(transition) = state.health.handle(target, outcome, now) {
                state.note(transition);
            }
        }
        self.flush_soon(&mut inner);
    }

    /// Lets time pass: ejections end, and what had to wait is published. Returns when to call again, at the latest,
    /// unless [`Registry::deferred`] says so earlier.
    pub fn poll(&self) -> Option<Duration> {
        let mut inner = self.lock();
        let now = uptime();
        for state in inner.pools.values_mut() {
            let transitions = state.health.poll(now);
            transitions.into_iter().for_each(|transition| state.note(transition));
        }
        let publication = self.flush_when_due(&mut inner, now);
        inner.pools.values().filter_map(|state| state.health.next_deadline()).chain(publication).min()
    }

    /// Waits until something has changed that [`Registry::poll`] is to publish a little later.
    pub async fn deferred(&self) {
        self.deferred.notified().await;
    }

    /// Takes the answer for a name that targets are known by. An empty answer marks them unresolved.
    pub fn resolved(&self, host: &str, addresses: Vec<IpAddr>) {
        let mut inner = self.lock();
        if inner.addresses.get(host).is_some_and(|known| **known == *addresses) {
            return;
        }
        inner.addresses.insert(Arc::from(host), Arc::from(addresses));
        let concerns =
            |address: &TargetAddr| matches!(address, TargetAddr::Name { host: h, .. } if **h == *host);
        for state in inner.pools.values_mut() {
            let emergency = state.emergency.as_ref().is_some_and(|(address, _)| concerns(address));
            if emergency || state.members.keys().any(concerns) {
                state.built = None;
                state.moved = true;
            }
        }
        self.flush_soon(&mut inner);
    }

    /// Publishes what waits for its turn.
    pub fn settle(&self) {
        drop(self.lock_settled());
    }

    /// What the name resolved to last.
    pub fn addresses(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        self.lock().addresses.get(host).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every method leaves `Inner` whole before it can panic; going on beats losing the control side.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if publishing had taken so long.
    #[cfg(test)]
    pub(crate) fn spend(&self, time: Duration) {
        self.lock().throttle.spent(time, uptime());
    }

    fn adopt_runtime(&self, inner: &mut Inner, config: Config) {
        let before = self.snapshot();
        inner.adopt(Arc::new(config), uptime());
        self.publish(inner);
        self.tell_changes(&before);
    }

    /// Publishes what is pending at once, or has [`Registry::poll`] do it when it is time.
    fn flush_soon(&self, inner: &mut Inner) {
        if self.flush_when_due(inner, uptime()).is_some() {
            self.deferred.notify_one();
        }
    }

    /// Locks for a change that is told by what is published before and after it: so what is pending goes first.
    fn lock_settled(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        self.flush(&mut inner);
        inner
    }

    pub(crate) fn publish(&self, inner: &mut Inner) {
        let snapshot = build_snapshot(inner);
        let generation = snapshot.generation;
        self.published.swap(snapshot);
        self.changes.send_replace(generation);
    }
}

fn position(pool: &evenkeel_config::Pool, address: &TargetAddr) -> Result<usize, RegistryError> {
    let found = pool.targets.iter().position(|target| target.address == *address);
    found.ok_or_else(|| RegistryError::NoTarget(address.clone()))
}

fn edit_pool(
    config: &Config,
    pool: &str,
    edit: impl FnOnce(&mut evenkeel_config::Pool) -> Result<(), RegistryError>,
) -> Result<Config, RegistryError> {
    let mut next = config.clone();
    let found = next.pools.iter_mut().find(|p| p.name.as_str() == pool);
    edit(Arc::make_mut(found.ok_or_else(|| RegistryError::NoPool(pool.to_owned()))?))?;
    Ok(next)
}

impl Inner {
    /// Brings pools, members and listeners in line with the configuration; keeps what stays.
    fn adopt(&mut self, config: Arc<Config>, now: Duration) {
        let mut old_pools = std::mem::take(&mut self.pools);
        for pool in &config.pools {
            let old = old_pools.remove(&pool.name);
            let state = self.adopt_pool(old, pool, now);
            self.pools.insert(pool.name.clone(), state);
        }
        let mut old_listeners = std::mem::take(&mut self.listeners);
        for listener in &config.listeners {
            let live = old_listeners.remove(&listener.name);
            let live = live.unwrap_or_else(|| Arc::new(ListenerLive::new(self.workers)));
            self.listeners.insert(listener.name.clone(), live);
        }
        self.config = config;
    }

    fn adopt_pool(
        &mut self,
        old: Option<PoolState>,
        config: &Arc<evenkeel_config::Pool>,
        now: Duration,
    ) -> PoolState {
        let mut state = old.unwrap_or_else(|| self.new_pool(config));
        if state.config != *config {
            state.built = None;
            state.live.set_budget(config.retry.budget_percent);
            state.health.set_policy(health_policy(config), now);
        }
        self.adopt_members(&mut state, config, now);
        state.clients = self.adopt_clients(state.clients.take(), config);
        state.config = Arc::clone(config);
        state
    }

    fn new_pool(&self, config: &evenkeel_config::Pool) -> PoolState {
        PoolState {
            config: Arc::new(config.clone()),
            live: Arc::new(PoolLive::new(self.workers, self.signals.clone(), config.retry.budget_percent)),
            clients: None,
            members: BTreeMap::new(),
            emergency: None,
            health: PoolHealth::new(health_policy(config)),
            lives: IdMap::default(),
            pending: Pending::new(),
            moved: false,
            built: None,
        }
    }

    fn adopt_members(&mut self, state: &mut PoolState, config: &evenkeel_config::Pool, now: Duration) {
        let mut old = std::mem::take(&mut state.members);
        for target in &config.targets {
            let member = old.remove(&target.address).unwrap_or_else(|| {
                let member = self.new_member();
                state.health.insert(member.id, now);
                state.lives.insert(member.id, Arc::clone(&member.live));
                member
            });
            state.members.insert(target.address.clone(), member);
        }
        for gone in old.values() {
            state.health.remove(gone.id);
            state.lives.remove(&gone.id);
            if let Some(clients) = &state.clients {
                clients.remove_target(gone.id);
            }
        }
        let kept = state.emergency.take().filter(|(address, _)| Some(address) == config.emergency.as_ref());
        state.emergency =
            kept.or_else(|| config.emergency.clone().map(|address| (address, self.new_member())));
    }

    fn new_member(&mut self) -> Member {
        self.last_target += 1;
        let live = Arc::new(TargetLive::new(self.workers));
        Member { id: TargetId(self.last_target), duty: Duty::Enabled, live }
    }

    fn adopt_clients(
        &mut self,
        old: Option<Arc<ClientTables>>,
        config: &evenkeel_config::Pool,
    ) -> Option<Arc<ClientTables>> {
        let affinity = config.affinity.as_ref()?;
        if let Some(tables) = old {
            tables.set_limits(affinity.table_size, affinity.ttl);
            return Some(tables);
        }
        let seed = self.random.next_u64();
        Some(Arc::new(ClientTables::new(affinity.table_size, affinity.ttl, seed)))
    }
}

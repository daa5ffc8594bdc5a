//! From what the registry knows to the snapshot that the planes read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use evenkeel_balance::{Algorithm, Candidate, Slot, Table, build, hash_target};
use evenkeel_base::{IdMap, PoolName, TargetAddr, Weight};
use evenkeel_config::Action;
use evenkeel_health::{PassivePolicy, Policy, ProbePolicy, State};
use evenkeel_route::RouteTable;

use crate::pool::{Pool, Seat, TIERS};
use crate::registry::{Inner, Member, PoolState};
use crate::snapshot::{ListenerView, RouteAction, Snapshot};
use crate::target::Target;

/// Builds the next snapshot; pools of which nothing changed are shared with the last one.
pub(crate) fn build_snapshot(inner: &mut Inner) -> Snapshot {
    inner.generation += 1;
    let addresses = &inner.addresses;
    let resolve = |address: &TargetAddr| match address {
        TargetAddr::Ip(addr) => vec![*addr],
        TargetAddr::Unix(_) => Vec::new(),
        TargetAddr::Name { host, port } => {
            let known = addresses.get(host).map(|known| known.iter()).unwrap_or_default();
            known.map(|ip| SocketAddr::new(*ip, *port)).collect()
        }
    };
    let mut pools = HashMap::with_capacity(inner.pools.len());
    for (name, state) in &mut inner.pools {
        let built =
            state.built.take().unwrap_or_else(|| Arc::new(build_pool(state, resolve, inner.generation)));
        state.built = Some(Arc::clone(&built));
        pools.insert(name.clone(), built);
    }
    let mut old_tables = std::mem::take(&mut inner.tables);
    let mut listeners = HashMap::with_capacity(inner.config.listeners.len());
    for config in &inner.config.listeners {
        let Some(live) = inner.listeners.get(&config.name) else { continue };
        // A table of thousands of routes is not compiled anew because a target changed.
        let old = old_tables.remove(&config.name).filter(|(of, _)| Arc::ptr_eq(of, config) || of == config);
        let table = old.map_or_else(|| Arc::new(build_table(config)), |(_, table)| table);
        inner.tables.insert(config.name.clone(), (Arc::clone(config), Arc::clone(&table)));
        listeners.insert(config.name.clone(), Arc::new(build_listener(config, live, table, &pools)));
    }
    Snapshot { generation: inner.generation, config: Arc::clone(&inner.config), listeners, pools }
}

fn build_table(config: &evenkeel_config::Listener) -> RouteTable {
    let whens: Vec<_> = config.routes.iter().map(|route| route.when.clone()).collect();
    RouteTable::build(&whens)
}

fn build_listener(
    config: &Arc<evenkeel_config::Listener>,
    live: &Arc<crate::snapshot::ListenerLive>,
    table: Arc<RouteTable>,
    pools: &HashMap<PoolName, Arc<Pool>>,
) -> ListenerView {
    let actions = config.routes.iter().map(|route| match &route.action {
        // The check has seen that the pool exists; were it gone, the route answers that nothing is there.
        Action::Pool(name) => match pools.get(name) {
            Some(pool) => RouteAction::Pool(Arc::clone(pool)),
            None => RouteAction::Respond { status: 503, body: Arc::from("") },
        },
        Action::Respond { status, body } => RouteAction::Respond { status: *status, body: Arc::clone(body) },
        Action::Redirect { to, status } => RouteAction::Redirect { to: Arc::clone(to), status: *status },
    });
    ListenerView {
        config: Arc::clone(config),
        live: Arc::clone(live),
        table,
        actions: actions.collect(),
        default: config.pool.as_ref().and_then(|name| pools.get(name)).cloned(),
    }
}

fn build_pool(state: &PoolState, resolve: impl Fn(&TargetAddr) -> Vec<SocketAddr>, version: u64) -> Pool {
    let mut targets: Vec<Arc<Target>> = Vec::with_capacity(state.config.targets.len() + 1);
    for config in &state.config.targets {
        let Some(member) = state.members.get(&config.address) else { continue };
        let health = state.health.state(member.id).unwrap_or(State::Unknown);
        targets.push(Arc::new(build_target(config, member, health, resolve(&config.address), false)));
    }
    if let Some((address, member)) = &state.emergency {
        let config = evenkeel_config::Target {
            address: address.clone(),
            weight: Weight::ONE,
            priority: 0,
            max_connections: None,
        };
        targets.push(Arc::new(build_target(&config, member, State::Up, resolve(address), true)));
    }
    let tiers = build_tiers(state.config.algorithm, state.config.fail_open, &targets);
    let slots = (0..).map(Slot).zip(&targets).map(|(slot, target)| (target.id, slot));
    Pool {
        config: Arc::clone(&state.config),
        slots: if state.clients.is_some() { slots.collect() } else { IdMap::default() },
        seats: targets.iter().map(|target| Seat::of(target)).collect(),
        targets,
        live: Arc::clone(&state.live),
        clients: state.clients.clone(),
        version,
        tiers,
    }
}

fn build_target(
    config: &evenkeel_config::Target,
    member: &Member,
    health: State,
    resolved: Vec<SocketAddr>,
    emergency: bool,
) -> Target {
    Target {
        id: member.id,
        address: config.address.clone(),
        resolved: resolved.into(),
        weight: config.weight,
        priority: config.priority,
        max_connections: config.max_connections,
        duty: member.duty,
        health,
        emergency,
        live: Arc::clone(&member.live),
    }
}

fn build_tiers(algorithm: Algorithm, fail_open: bool, targets: &[Arc<Target>]) -> [Table; TIERS] {
    let keys: Vec<u64> = targets.iter().map(|target| hash_target(&target.address.to_string())).collect();
    std::array::from_fn(|tier| {
        let candidate = |(target, key): (&Arc<Target>, &u64)| Candidate {
            key: *key,
            weight: target.weight.as_u16(),
            priority: target.priority,
            available: target.tier(fail_open) == Some(tier),
        };
        let candidates: Vec<Candidate> = targets.iter().zip(&keys).map(candidate).collect();
        build(algorithm, &candidates)
    })
}

pub(crate) fn health_policy(config: &evenkeel_config::Pool) -> Policy {
    let probe = config.health.as_ref().map(|h| ProbePolicy { rise: h.rise, fall: h.fall });
    let passive = config.passive.as_ref().map(|p| PassivePolicy {
        connect_errors: p.connect_errors,
        http_5xx_percent: p.http_5xx_percent,
        min_requests: p.min_requests,
        window: p.window,
        eject_for: p.eject_for,
        max_eject_for: p.max_eject_for,
        max_ejected_percent: p.max_ejected_percent,
    });
    Policy { probe, passive }
}

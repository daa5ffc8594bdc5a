//! What is asked of one target, and where.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_base::{PoolName, TargetAddr, TargetId};
use evenkeel_config::HealthCheck;
use evenkeel_state::{Duty, Pool, Target};

/// Where a probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of these, in order; at least one.
    Ip(Vec<SocketAddr>),
    Unix(PathBuf),
}

/// Everything that a probe needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) pool: PoolName,
    pub(crate) target: TargetId,
    pub(crate) place: Place,
    pub(crate) source: Option<IpAddr>,
    pub(crate) health: HealthCheck,
    /// What an HTTP probe writes into its Host field.
    pub(crate) host: Arc<str>,
}

impl Plan {
    /// How to probe this target; none when it is not to be probed.
    pub(crate) fn of(pool: &Pool, target: &Target) -> Option<Self> {
        let health = pool.config.health.as_ref()?;
        if target.emergency || target.duty == Duty::Disabled {
            return None;
        }
        Some(Self {
            pool: pool.name().clone(),
            target: target.id,
            place: place(target, health)?,
            source: pool.config.source,
            health: health.clone(),
            host: host(&target.address, health),
        })
    }

    /// Whether the other plan asks the same in the same way, be it elsewhere.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        self.health == other.health && self.source == other.source && self.host == other.host
    }
}

fn place(target: &Target, health: &HealthCheck) -> Option<Place> {
    if let TargetAddr::Unix(path) = &target.address {
        return Some(Place::Unix(path.clone()));
    }
    let port = |address: &SocketAddr| health.port.map_or(address.port(), std::num::NonZeroU16::get);
    let addresses: Vec<_> = target.resolved.iter().map(|a| SocketAddr::new(a.ip(), port(a))).collect();
    (!addresses.is_empty()).then_some(Place::Ip(addresses))
}

fn host(address: &TargetAddr, health: &HealthCheck) -> Arc<str> {
    match (&health.check, address) {
        (evenkeel_config::Check::Http { host: Some(host), .. }, _) => Arc::clone(host),
        // A path is no authority (RFC 9112 §3.2).
        (_, TargetAddr::Unix(_)) => Arc::from("localhost"),
        _ => Arc::from(address.to_string()),
    }
}

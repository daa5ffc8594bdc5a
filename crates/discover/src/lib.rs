//! Who finds out which addresses a target's name has, and keeps on finding out.
//!
//! Owns: when each name is asked for, whom (hosts file, then name servers), what an answer means, and that a bad
//! answer never replaces a good one.
//!
//! Does not know: which target gets work, probes, the planes, or the admin API. Results go to the registry, and
//! nowhere else.

mod answer;
mod ask;
mod roster;
mod system;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::TargetAddr;
use evenkeel_state::{Registry, Snapshot};
use tokio::time::timeout;

pub use roster::{FIRST_RETRY, LAST_RETRY};
pub use system::HOSTS_TTL;
pub use watch::MAX_LOOKUPS;

/// The names that targets are known by, emergency targets included.
pub fn names(snapshot: &Snapshot) -> BTreeSet<Arc<str>> {
    let targets = snapshot.pools.values().flat_map(|pool| &pool.targets);
    let host = |address: &TargetAddr| match address {
        TargetAddr::Name { host, .. } => Some(Arc::clone(host)),
        TargetAddr::Ip(_) | TargetAddr::Unix(_) => None,
    };
    targets.filter_map(|target| host(&target.address)).collect()
}

/// Asks for every name once, and returns when all have answered or failed, or when `within` has passed: a start
/// that waits for names, but not for ever. A name without an address is marked unresolved, and stops nobody.
///
/// To be awaited on the control runtime, before [`run`], which goes on from what was found.
pub async fn resolve_once(registry: Arc<Registry>, within: Duration) {
    let mut watch = watch::Watch::new(&registry);
    // What has not come in time comes to nobody: `run` asks again.
    let _ = timeout(within, watch.ask_all_once()).await;
    registry.settle();
}

/// Keeps the registry's addresses true, until it is dropped; look-ups under way end with it.
///
/// * A name is asked for again when its answer's TTL is over, but no sooner than `min_ttl` and no later than
///   `max_ttl` (for the hosts file: [`HOSTS_TTL`]). A and AAAA are asked together.
/// * An answer replaces the last one. `NXDOMAIN`, an empty answer, a failing or silent name server replace nothing:
///   the last good addresses stay, and the name is asked for again after [`FIRST_RETRY`], then twice that, up to
///   [`LAST_RETRY`]. When only one family fails, the other's answer counts, and the addresses of the failed one
///   stay.
/// * Addresses are sorted, so that a name server's rotation changes nothing, and at most `max_addresses` are
///   taken. 0.0.0.0, `::`, multicast and broadcast are none: dialling them would reach this machine, or nobody.
/// * Other names and other resolver settings are followed as they are published; so are changes of `/etc/hosts`
///   and `/etc/resolv.conf`.
pub async fn run(registry: Arc<Registry>) {
    watch::Watch::new(&registry).keep().await;
}

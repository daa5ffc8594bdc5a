//! Who asks the targets how they are, and who tells the registry what was seen of them.
//!
//! Owns: active probes (when, how many at once, over TCP or HTTP), what a probe's answer means, the way from
//! the planes' signals and counters to outcomes, and the upkeep that time asks for: ejections that end, client
//! tables that forget.
//!
//! Does not know: how many failures make a verdict (that is `evenkeel-health`), which target gets work, how names
//! are resolved, the planes, or the admin API.

mod active;
mod ask;
mod finder;
mod http;
mod passive;
mod patience;
mod plan;
mod roster;
mod upkeep;

use std::sync::Arc;

use evenkeel_base::SplitMix64;
use evenkeel_state::Registry;

pub use active::MAX_PROBES;
pub use passive::SAMPLE_EVERY;
pub use roster::RECOVERY_INTERVAL;

/// Probes, watches and keeps up, until it is dropped; then everything it began ends, too.
///
/// * Every target of a pool with `health` is probed, but for emergency targets, disabled ones, and names without an
///   address. A new target is asked within 100 ms ([`evenkeel_health::FIRST_PROBE_WITHIN`]), and then each
///   `interval` ± 10 %. At most [`MAX_PROBES`] are under way; the others wait their turn.
/// * While a pool has no available target, those that are down are asked each [`RECOVERY_INTERVAL`], if their own
///   interval is longer: with `rise` up to 3 the first one that is back serves in less than a second (F16).
/// * What is our own trouble says nothing of a target: when we are out of descriptors or local ports, or when
///   this thread stood still for a quarter of a probe's timeout, a failure is not counted (F35, F37, F38). Time is
///   monotonic, so a clock that jumps means nothing (F41).
///
/// `seed` spreads the probes in time. To be awaited on the control runtime, once per registry: the planes'
/// signals are taken by whoever comes first.
pub async fn run(registry: Arc<Registry>, seed: u64) {
    tokio::join!(
        active::probe(&registry, SplitMix64::new(seed)),
        passive::take_signals(&registry),
        passive::sample(&registry),
        upkeep::poll(&registry),
        upkeep::forget_clients(&registry),
    );
}

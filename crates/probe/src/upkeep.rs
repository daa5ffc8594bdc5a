//! What time alone asks for.

use std::time::Duration;

use evenkeel_state::{Registry, uptime};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often client tables are looked through.
const FORGET_EVERY: Duration = Duration::from_secs(1);
/// Entries forgotten per shard each time; a shard's lock is held for some microseconds. What is left over does no
/// harm: a look-up knows an entry that outlived its time, and a full table lets its oldest go.
const FORGET_AT_ONCE: usize = 256;
/// Shortest pause between two polls of the registry, should a deadline lie in the past.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Polls the registry when it asked for it, and when something changed.
pub(crate) async fn poll(registry: &Registry) {
    let mut changes = registry.subscribe();
    loop {
        drop(changes.borrow_and_update());
        let pause = registry.poll().map(|at| at.saturating_sub(uptime()).max(SHORTEST_PAUSE));
        tokio::select! {
            _ = changes.changed() => {}
            () = registry.deferred() => {}
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}

/// Lets the clients go that were not seen for too long.
pub(crate) async fn forget_clients(registry: &Registry) {
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let snapshot = registry.snapshot();
        for clients in snapshot.pools.values().filter_map(|pool| pool.clients.as_ref()) {
            clients.expire(uptime(), FORGET_AT_ONCE);
        }
    }
}

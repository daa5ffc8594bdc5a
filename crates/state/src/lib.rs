//! The ground the planes stand on: who may be chosen now, what is in flight, and what has been counted.
//!
//! Owns: the [`Registry`] (the only writer of routing state), the [`Snapshot`] it publishes in one swap, the
//! per-worker counters, the [`Lease`] that counts a use of a target and reports its outcome, the pending queue,
//! the client tables, the list of live connections, and the stream of events.
//!
//! Does not know: sockets, HTTP, probes, the admin API's wire form, or how a configuration was written.

mod access_log;
mod admit;
mod cells;
mod choose;
mod clients;
mod connections;
mod events;
mod lease;
mod pool;
mod registry;
mod registry_build;
mod snapshot;
mod target;
#[cfg(test)]
mod tests;
mod throttle;
mod transitions;
mod worker;

pub use access_log::{LineWriter, LogBatch, LogLines};
pub use admit::Admitted;
pub use cells::{BUCKET_LIMITS_US, Counter, Histogram, ListenerCell, Padded, TargetCell, Totals};
pub use choose::{Caller, MAX_TRIES, Tried};
pub use clients::{ClientTables, RememberedClient};
pub use connections::{ConnectionCell, ConnectionId, ConnectionView, Connections, LiveConnection};
pub use events::{Event, EventKind, Events};
pub use lease::{Lease, Turn, Waiting};
pub use pool::{Pool, PoolLive};
pub use registry::{Registry, RegistryError, Signal, TargetEdit, uptime, uptime_at};
pub use snapshot::{ListenerLive, ListenerView, Published, RouteAction, Snapshot};
pub use target::{Duty, Standing, Target, TargetLive};
pub use worker::{MEMORY_FULL_PERCENT, View, Worker};

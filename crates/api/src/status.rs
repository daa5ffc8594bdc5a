//! The process, its listeners and its pools.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `/health` and `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `alive` or `ready`.
    pub status: String,
}

/// The process at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The running version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When the process started (RFC 3339, UTC).
    pub started: String,
    /// For how long it has been running, in seconds.
    pub uptime_s: u64,
    /// Number of the routing state in force; counts up with every change.
    pub generation: u64,
    /// Data workers.
    pub workers: usize,
    /// Open client connections.
    pub connections: usize,
    /// Listeners configured.
    pub listeners_count: usize,
    /// Pools configured.
    pub pools_count: usize,
    /// Targets that get work.
    pub targets_up: usize,
    /// Targets configured, emergency targets left out.
    pub targets_total: usize,
    /// The file that `reload` reads; null when there is none.
    pub config_file: Option<String>,
    /// Whether the process accepts work: it serves, and is not on its way out.
    pub ready: bool,
    /// Whether the process is on its way out.
    pub draining: bool,
    /// Sequence number of the last event; 0 is none.
    pub events: u64,
    /// Tasks of the data path that panicked and were contained. Anything but 0 is a defect to report.
    pub panics: u64,
    /// Access log lines that were dropped because the writer lagged.
    pub access_log_dropped: u64,
    /// Resident memory of the process in bytes; null when the system does not tell.
    pub resident_bytes: Option<u64>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// `tcp` or `http`.
    pub protocol: String,
    /// The addresses that are listened on, with the ports that the kernel chose.
    pub bound: Vec<String>,
    /// Where work goes that no route claims.
    pub pool: Option<String>,
    /// How many routes it has.
    pub routes: usize,
    /// Connections open now.
    pub open: u64,
    /// Connections it takes at once.
    pub max_connections: u32,
    /// Connections accepted.
    pub accepted: u64,
    /// Requests read (HTTP).
    pub requests: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Why requests and connections ended, and how often; causes that never occurred are left out.
    pub reasons: BTreeMap<String, u64>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How a target is chosen.
    pub algorithm: String,
    /// Targets configured, the emergency target left out.
    pub targets: usize,
    /// Those that get work now.
    pub available: usize,
    /// Used when nothing else is available.
    pub emergency: Option<String>,
    /// Requests or connections in flight.
    pub in_flight: u64,
    /// Requests or connections that wait for a target with room.
    pub waiting: u64,
    /// Clients that are remembered; null when the pool has no affinity.
    pub clients: Option<usize>,
    /// The kind of probe, `tcp` or `http`; null when targets are not probed.
    pub check: Option<String>,
}

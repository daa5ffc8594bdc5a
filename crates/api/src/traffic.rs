//! Who is there now: remembered clients and open connections.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A client that a pool with affinity remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// Its IP address.
    pub address: String,
    /// Where it is sent.
    pub target: String,
    /// The pool that remembers it.
    pub pool: String,
    /// Seconds since it was last seen.
    pub last_seen_s: u64,
    /// How often it came.
    pub uses: u32,
}

/// An open client connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// What `DELETE connections/{id}` takes; never used twice in one process.
    pub id: String,
    /// The client's address and port, or `unix`.
    pub client: String,
    /// The listener it came in by.
    pub listener: String,
    /// The target that serves it now; null between requests.
    pub target: Option<String>,
    /// Seconds since it was accepted.
    pub age_s: u64,
    /// Requests read (HTTP).
    pub requests: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

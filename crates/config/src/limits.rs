//! Every limit of a configuration, with its reason. Defaults stand in `keys`, their reasons in `docs/defaults.md`.

use std::time::Duration;

/// Longest file in bytes: 50,000 targets with room for comments; beyond it, it is not a configuration.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// Most files that `include` brings in: each is opened and parsed on every reload.
pub const MAX_INCLUDED_FILES: usize = 1_000;

/// Most listeners: each takes a socket and an accept queue per worker.
pub const MAX_LISTENERS: usize = 1_000;

/// Most pools: each has a table, counters and perhaps a prober; metrics are labelled by pool.
pub const MAX_POOLS: usize = 10_000;

/// Most targets of one pool: a pick looks at no more than a cache of them, a change rebuilds them all.
pub const MAX_TARGETS: usize = 50_000;

/// Most routes over all listeners: the table is rebuilt whole on every reload.
pub const MAX_ROUTES: usize = 20_000;

/// Most addresses of one listener.
pub const MAX_BINDS: usize = 64;

/// Most networks in one `allow`, `deny` or `from`: they are compared one after the other.
pub const MAX_NETWORKS: usize = 1_000;

/// Most entries of any other list: methods, fields, statuses, name servers.
pub const MAX_ENTRIES: usize = 64;

/// Most problems that are reported with their place; the others are counted.
pub const MAX_PROBLEMS: usize = 100;

/// Most data workers: beyond the CPUs of the largest machines.
pub const MAX_WORKERS: u64 = 1_024;

/// Shortest timeout or interval: timers tick in milliseconds, and shorter probes would flood their targets.
pub const MIN_WAIT: Duration = Duration::from_millis(10);

/// Longest timeout or interval: more is a slip of the unit.
pub const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest time that something idle is kept.
pub const MAX_KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most connections of a listener, target or pool: beyond the descriptors of one process.
pub const MAX_CONNECTIONS: u64 = 10_000_000;

/// Longest accept queue; the kernel's `somaxconn` cuts it further.
pub const MAX_BACKLOG: u64 = 65_535;

/// Smallest request head: a browser's with a few cookies.
pub const MIN_HEAD_BYTES: u64 = 1 << 10;

/// Largest request head: memory per connection that a client can make us hold.
pub const MAX_HEAD_BYTES: u64 = 1 << 20;

/// Most fields of a head: they are indexed on the stack.
pub const MAX_HEADER_FIELDS: u64 = 256;

/// Shortest limit of a request target that still carries a path and a query.
pub const MIN_TARGET_BYTES: u64 = 64;

/// Longest request target: RFC 9112 §3 recommends at least 8,000.
pub const MAX_TARGET_BYTES: u64 = 64 << 10;

/// Largest limit of a body that can be written: 2^53, where JSON numbers stay exact.
pub const MAX_BODY_BYTES: u64 = 1 << 53;

/// Longest body of `respond`, and text that a health check looks for.
pub const MAX_TEXT_BYTES: u64 = 16 << 10;

/// Longest path or URL that is written out.
pub const MAX_URL_BYTES: u64 = 8 << 10;

/// Longest file name: the kernel's `PATH_MAX`.
pub const MAX_PATH_BYTES: u64 = 4_096;

/// Idle connections kept per target and worker.
pub const MAX_IDLE: u64 = 10_000;

/// Highest priority number: a ladder of more steps is a slip.
pub const MAX_PRIORITY: u64 = 1_000;

/// Most clients that an affinity table remembers: memory that clients can make us hold.
pub const MAX_AFFINITY_CLIENTS: u64 = 10_000_000;

/// Most probes in a row before a verdict.
pub const MAX_STREAK: u64 = 1_000;

/// Most requests before a share of errors means anything.
pub const MAX_MIN_REQUESTS: u64 = 1_000_000;

/// Most tries beyond the first: each may take a connect timeout.
pub const MAX_ATTEMPTS: u64 = 10;

/// Most that wait for a lease: each holds its connection.
pub const MAX_PENDING: u64 = 1_000_000;

/// Most addresses taken from one DNS answer.
pub const MAX_ADDRESSES: u64 = 4_096;

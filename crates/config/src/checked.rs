//! The checked configuration: nothing half-decided, no serde, every default filled in.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_balance::Algorithm;
use evenkeel_base::{BindAddr, ListenerName, PoolName, TargetAddr, Weight};
use ipnet::IpNet;

/// A whole configuration that can be adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The admin API; `None` when `bind = "off"`.
    pub admin: Option<Admin>,
    /// How many data workers; changing it needs a new process.
    pub workers: WorkerCount,
    /// Longest time a graceful stop, or a removed listener, waits for its connections.
    pub grace: Duration,
    /// Where the process writes its id.
    pub pid_file: Option<PathBuf>,
    /// Reload when the file, or one that it includes, changes.
    pub watch: bool,
    /// Name servers and cache bounds for target names.
    pub resolver: Resolver,
    /// One line per request or connection; `None` is off.
    pub access_log: Option<AccessLog>,
    /// In the order of the file; names are unique.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of the file; names are unique.
    pub pools: Vec<Arc<Pool>>,
}

impl Config {
    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|p| p.name.as_str() == name)
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|l| l.name.as_str() == name)
    }
}

/// `[workers] count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// One per CPU that the cgroup and the affinity mask allow.
    Auto,
    /// Just so many.
    Fixed(NonZeroU16),
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where the API listens.
    pub bind: BindAddr,
    /// When set, every call but `/health` and `/ready` (and `/metrics` with `open_metrics`) carries it.
    pub token: Option<Secret>,
    /// Where the token was read from: what is printed in its place. `Some` whenever a token is set.
    pub token_from: Option<SecretFrom>,
    /// Leave `/metrics` open although a token is set.
    pub open_metrics: bool,
    /// Where changes are recorded, one JSON line each; `None` means standard error.
    pub audit_log: Option<PathBuf>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFrom {
    /// In this environment variable.
    Env(String),
    /// In this file; white space around it is left out.
    File(PathBuf),
}

/// `[resolver]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Empty: those of `/etc/resolv.conf`.
    pub nameservers: Vec<std::net::SocketAddr>,
    /// Longest time one look-up may take.
    pub timeout: Duration,
    /// Answers are asked for again no sooner than this, whatever their TTL says.
    pub min_ttl: Duration,
    /// Answers are asked for again no later than this.
    pub max_ttl: Duration,
    /// Addresses beyond this many in one answer are left out.
    pub max_addresses: u16,
}

/// `[access_log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `None` means standard output.
    pub path: Option<PathBuf>,
    /// JSON or text lines.
    pub format: LogFormat,
}

/// How an access log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes, relayed as they are.
    Tcp,
    /// HTTP/1.0 and HTTP/1.1.
    Http,
}

/// `[listener.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The table's name.
    pub name: ListenerName,
    /// At least one.
    pub bind: Vec<BindAddr>,
    /// What is spoken here.
    pub protocol: Protocol,
    /// Where work goes that no route claims. A TCP listener always has one.
    pub pool: Option<PoolName>,
    /// Tried by specificity (see `evenkeel-route`); HTTP only.
    pub routes: Vec<Route>,
    /// Who may connect.
    pub access: AccessList,
    /// Connections at once over all workers; beyond it new ones are refused with `listener-full`.
    pub max_connections: u32,
    /// Length of each worker's accept queue.
    pub backlog: u32,
    /// A TCP connection with no byte either way for so long ends; `None` is never. For HTTP it bounds
    /// upgraded connections.
    pub idle_timeout: Option<Duration>,
    /// HTTP limits and deadlines (unused for TCP).
    pub http: HttpSettings,
}

/// Who may connect: `deny` first, then `allow`; a list of `allow` that matches nobody refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Refused, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// When present (even if empty), only these are admitted.
    pub allow: Option<Vec<IpNet>>,
}

impl AccessList {
    /// Whether this address may connect. A unix-socket peer is `None` and is governed by file permissions.
    pub fn admits(&self, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip else { return true };
        if self.deny.iter().any(|net| net.contains(&ip)) {
            return false;
        }
        self.allow.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&ip)))
    }
}

/// `[listener.NAME.http]`: limits in bytes or counts, deadlines by phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Request line and fields together. Default 16 KiB… see `docs/defaults.md`.
    pub max_head_bytes: u32,
    /// Number of fields.
    pub max_headers: u16,
    /// Length of the request target.
    pub max_target_bytes: u32,
    /// Length of a request body; `None` is unlimited (bodies are streamed).
    pub max_body_bytes: Option<u64>,
    /// From the first byte of a head to its last; and from accept to the first byte.
    pub header_timeout: Duration,
    /// Longest gap between two reads of a request body.
    pub body_timeout: Duration,
    /// From the request's last byte to the head of the answer, and between reads of the answer; a `504` after it.
    pub response_timeout: Duration,
    /// Longest time the receiver of bytes may take none.
    pub write_timeout: Duration,
    /// Idle time of a keep-alive connection between requests.
    pub keep_alive_timeout: Duration,
    /// Append to X-Forwarded-* and Forwarded that came in (true only behind a trusted proxy), or replace them.
    pub trust_forwarded: bool,
}

/// One rule of `[[listener.NAME.route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What a request must look like.
    pub when: evenkeel_route::When,
    /// What is done with it.
    pub action: Action,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Forward to a pool.
    Pool(PoolName),
    /// Answer at once.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Plain text.
        body: Arc<str>,
    },
    /// Send elsewhere.
    Redirect {
        /// Absolute or path-absolute.
        to: Arc<str>,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
}

/// `[pool.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The table's name.
    pub name: PoolName,
    /// How a target is chosen.
    pub algorithm: Algorithm,
    /// In the order of the file; addresses are unique. May be empty (filled by the API).
    pub targets: Vec<Target>,
    /// Used when nothing else is available.
    pub emergency: Option<TargetAddr>,
    /// Local address to dial from.
    pub source: Option<IpAddr>,
    /// Longest time for one dial.
    pub connect_timeout: Duration,
    /// HTTP only: an idle connection to a target is closed after this.
    pub keep_alive_timeout: Duration,
    /// HTTP only: idle connections kept per target and worker.
    pub max_idle: u16,
    /// Client affinity; `None` is off.
    pub affinity: Option<Affinity>,
    /// Active probes; `None` is off.
    pub health: Option<HealthCheck>,
    /// Signals from real traffic; `None` is off.
    pub passive: Option<Passive>,
    /// Trying again.
    pub retry: Retry,
    /// Concurrency.
    pub limits: PoolLimits,
    /// When every target is down by probes alone, use them all rather than none (F17).
    pub fail_open: bool,
}

/// One member of `targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: TargetAddr,
    /// Its share.
    pub weight: Weight,
    /// Lower is preferred: a higher number is used only when all lower ones are unavailable. Default 0.
    pub priority: u16,
    /// Leases at once over all workers; `None` is unlimited.
    pub max_connections: Option<u32>,
}

/// `[pool.NAME.affinity]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// Entries at most; the least recently used leaves.
    pub table_size: u32,
    /// An entry unused for so long is forgotten.
    pub ttl: Duration,
    /// Go back to the first target once it is available again.
    pub fail_back: bool,
}

/// `[pool.NAME.health]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub check: Check,
    /// Ask this port instead of the target's.
    pub port: Option<NonZeroU16>,
    /// From one probe to the next, jittered by up to a tenth.
    pub interval: Duration,
    /// Longest time for one probe.
    pub timeout: Duration,
    /// Successes in a row that make a target up.
    pub rise: u16,
    /// Failures in a row that make it down.
    pub fall: u16,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The port accepts.
    Tcp,
    /// `GET path` answers as expected.
    Http {
        /// Path and query.
        path: Arc<str>,
        /// The Host field; default the target's address.
        host: Option<Arc<str>>,
        /// Inclusive ranges of good statuses.
        status: Vec<(u16, u16)>,
        /// Text that the first 64 KiB of the body must hold.
        body: Option<Arc<str>>,
    },
}

/// `[pool.NAME.passive]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passive {
    /// Connect errors (refused, timed out, closed early) in a row that eject; 0 is off.
    pub connect_errors: u16,
    /// Share of 5xx answers within `window` that ejects, percent; 0 is off.
    pub http_5xx_percent: u8,
    /// Requests within `window` before a share means anything.
    pub min_requests: u32,
    /// Over which the share is taken.
    pub window: Duration,
    /// First ejection; doubles with repetition.
    pub eject_for: Duration,
    /// Longest ejection.
    pub max_eject_for: Duration,
    /// At most this share of a pool's targets is ejected at once (never the last one), percent.
    pub max_ejected_percent: u8,
}

/// `[pool.NAME.retry]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries beyond the first one.
    pub attempts: u8,
    /// Dial failures are tried elsewhere.
    pub on_connect: bool,
    /// A reused connection that turns out closed is tried again.
    pub on_stale: bool,
    /// An idempotent request whose target closed or timed out before its answer is tried elsewhere.
    pub on_failure: bool,
    /// An idempotent request answered with one of these statuses is tried elsewhere.
    pub on_status: Vec<u16>,
    /// Retries of the kinds `failure` and status may add so much to the pool's requests, percent.
    pub budget_percent: u8,
}

/// `[pool.NAME.limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Leases at once over all targets; `None` is unlimited.
    pub connections: Option<u32>,
    /// Requests or connections that may wait for a lease.
    pub pending: u32,
    /// How long each may wait.
    pub queue_timeout: Duration,
}

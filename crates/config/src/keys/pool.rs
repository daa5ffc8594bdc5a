//! `[pool.NAME]` and its tables.

use evenkeel_base::Weight;

use super::Preset::{Absent, Count, Flag, Required, Text, Texts};
use super::{Key, Kind, Section, seconds};
use crate::limits::{
    MAX_AFFINITY_CLIENTS, MAX_ATTEMPTS, MAX_CONNECTIONS, MAX_ENTRIES, MAX_IDLE, MAX_KEEP, MAX_MIN_REQUESTS,
    MAX_PENDING, MAX_PRIORITY, MAX_STREAK, MAX_TARGETS, MAX_TEXT_BYTES, MAX_URL_BYTES, MAX_WAIT, MIN_WAIT,
};

const ADDRESS: &str = "an address such as \"10.0.0.1:8080\", \"web1:8080\" or \"unix:/run/app.sock\"";
const WAIT: Kind = Kind::Duration { min: MIN_WAIT, max: MAX_WAIT, zero: None };
const PERCENT: Kind = Kind::Count { min: 0, max: 100 };

/// `[pool.NAME]`.
pub(crate) static POOL: Section = Section {
    path: "pool.NAME",
    doc: "A named set of targets, and how work is spread over them.",
    keys: &[
        Key::new(
            "algorithm",
            Kind::Word { words: &super::ALGORITHMS, later: &[] },
            Text("round-robin"),
            "How a target is chosen.",
        ),
        Key::new(
            "targets",
            Kind::List {
                of: &Kind::FormOr { what: ADDRESS, table: &TARGET },
                max: MAX_TARGETS,
                alone: false,
            },
            Required,
            "Where work goes: addresses, or tables. May be empty, to be filled through the API.",
        ),
        Key::new("emergency", Kind::Form { what: ADDRESS }, Absent, "Used when nothing else is available."),
        Key::new(
            "protocol",
            Kind::Word { words: &["http1"], later: &["http2", "auto"] },
            Text("http1"),
            "What is spoken to the targets of an HTTP listener.",
        ),
        Key::new(
            "source",
            Kind::Form { what: "an address of this machine such as \"192.168.0.5\"" },
            Absent,
            "Local address to dial from.",
        ),
        Key::new("connect_timeout", WAIT, Text("2s"), "Longest time for one dial."),
        Key::new(
            "keep_alive_timeout",
            Kind::Duration { min: MIN_WAIT, max: MAX_KEEP, zero: None },
            Text("30s"),
            "HTTP: an idle connection to a target is closed after this.",
        ),
        Key::new(
            "max_idle",
            Kind::Count { min: 0, max: MAX_IDLE },
            Count(1024),
            "HTTP: idle connections kept per target and worker.",
        ),
        Key::new(
            "fail_open",
            Kind::Flag,
            Flag(false),
            "When every target is down by probes alone, use them all rather than none.",
        ),
        Key::new("affinity", Kind::Table(&AFFINITY), Absent, ""),
        Key::new("health", Kind::Table(&HEALTH), Absent, ""),
        Key::new("passive", Kind::Switch(&PASSIVE), Absent, ""),
        Key::new("retry", Kind::Table(&RETRY), Absent, ""),
        Key::new("limits", Kind::Table(&LIMITS), Absent, ""),
        Key::later(
            "tls",
            "put a TLS-terminating hop in front of the targets, or pass TLS through with a TCP listener",
        ),
        Key::later("send_proxy_protocol", "HTTP targets get the client's address in X-Forwarded-For"),
        Key::later("breaker", "[pool.NAME.passive] takes failing targets out, and lets them back in"),
        Key::later(
            "discover",
            "name a host in targets: it follows DNS, and runtime changes go through the API",
        ),
    ],
};

/// A table in `targets`.
pub(crate) static TARGET: Section = Section {
    path: "pool.NAME.targets",
    doc: "A target with more than an address: `{ address = \"10.0.0.2:8080\", weight = 3 }`.",
    keys: &[
        Key::new(
            "address",
            Kind::Form { what: ADDRESS },
            Required,
            "Where it is. A name stays one target: it is asked for again as its TTL says, and its addresses are dialled in \
             order until one accepts.",
        ),
        Key::new(
            "weight",
            Kind::Count { min: 0, max: Weight::MAX as u64 },
            Count(1),
            "Its share of the work, relative to the others; 0 drains it.",
        ),
        Key::new(
            "priority",
            Kind::Count { min: 0, max: MAX_PRIORITY },
            Count(0),
            "Lower is preferred: a higher number is used only when all lower ones are unavailable.",
        ),
        Key::new(
            "max_connections",
            Kind::Count { min: 1, max: MAX_CONNECTIONS },
            Absent,
            "Connections (TCP) or requests (HTTP) at once over all workers. Without it there is no limit.",
        ),
    ],
};

/// `[pool.NAME.affinity]`.
pub(crate) static AFFINITY: Section = Section {
    path: "pool.NAME.affinity",
    doc: "A client goes to the target it had before. The table turns it on.",
    keys: &[
        Key::new(
            "by",
            Kind::Word { words: &["client-ip"], later: &["cookie", "header:NAME"] },
            Text("client-ip"),
            "What tells clients apart.",
        ),
        Key::new(
            "table_size",
            Kind::Count { min: 1, max: MAX_AFFINITY_CLIENTS },
            Count(100_000),
            "Clients remembered; the least recently seen leaves.",
        ),
        Key::new(
            "ttl",
            Kind::Duration { min: seconds(1), max: MAX_KEEP, zero: None },
            Text("1h"),
            "A client not seen for so long is forgotten.",
        ),
        Key::new(
            "fail_back",
            Kind::Flag,
            Flag(false),
            "Go back to the first target once it is available again, rather than stay with the second.",
        ),
    ],
};

/// `[pool.NAME.health]`.
pub(crate) static HEALTH: Section = Section {
    path: "pool.NAME.health",
    doc: "Active probes. The table turns them on.",
    keys: &[
        Key::new(
            "check",
            Kind::Word {
                words: &["tcp", "http"],
                later: &["tls", "grpc", "dns", "udp", "exec", "redis", "postgres", "mysql"],
            },
            Text("tcp"),
            "`tcp`: the port accepts. `http`: `GET path` answers as expected.",
        ),
        Key::new(
            "path",
            Kind::Text { what: "a path such as \"/healthz\"", max: MAX_URL_BYTES },
            Text("/"),
            "HTTP: path and query.",
        ),
        Key::new(
            "host",
            Kind::Text { what: "a host name", max: 255 },
            Absent,
            "HTTP: the Host field. Without it, the target's address.",
        ),
        Key::new(
            "port",
            Kind::Count { min: 1, max: 65_535 },
            Absent,
            "Ask this port instead of the target's.",
        ),
        Key::new("expect", Kind::Table(&EXPECT), Absent, ""),
        Key::new("interval", WAIT, Text("2s"), "From one probe to the next, jittered by up to a tenth."),
        Key::new("timeout", WAIT, Text("1s"), "Longest time for one probe; at most `interval`."),
        Key::new(
            "rise",
            Kind::Count { min: 1, max: MAX_STREAK },
            Count(2),
            "Successes in a row that make a target up.",
        ),
        Key::new(
            "fall",
            Kind::Count { min: 1, max: MAX_STREAK },
            Count(3),
            "Failures in a row that make a target down.",
        ),
    ],
};

/// `expect = { … }`.
pub(crate) static EXPECT: Section = Section {
    path: "pool.NAME.health.expect",
    doc: "What a good answer to an HTTP probe is.",
    keys: &[
        Key::new(
            "status",
            Kind::List {
                of: &Kind::Form { what: "a status such as \"200\", \"200-299\" or \"200-204,301\"" },
                max: MAX_ENTRIES,
                alone: true,
            },
            Text("200-399"),
            "Good status codes.",
        ),
        Key::new(
            "body",
            Kind::Text { what: "a text", max: MAX_TEXT_BYTES },
            Absent,
            "Text that the first 64 KiB of the body must hold.",
        ),
    ],
};

/// `[pool.NAME.passive]`.
pub(crate) static PASSIVE: Section = Section {
    path: "pool.NAME.passive",
    doc: "Signals from real traffic take a failing target out for a while. On unless `passive = false`.",
    keys: &[
        Key::new(
            "connect_errors",
            Kind::Count { min: 0, max: MAX_STREAK },
            Count(3),
            "Connect errors (refused, timed out, closed early) in a row that eject; 0 is off.",
        ),
        Key::new(
            "http_5xx_percent",
            PERCENT,
            Count(50),
            "Share of 5xx answers within `window` that ejects; 0 is off.",
        ),
        Key::new(
            "min_requests",
            Kind::Count { min: 1, max: MAX_MIN_REQUESTS },
            Count(20),
            "Requests within `window` before a share means anything.",
        ),
        Key::new("window", WAIT, Text("10s"), "Time over which the share is taken."),
        Key::new("eject_for", WAIT, Text("30s"), "First ejection; it doubles with repetition."),
        Key::new("max_eject_for", WAIT, Text("5m"), "Longest ejection; at least `eject_for`."),
        Key::new(
            "max_ejected_percent",
            PERCENT,
            Count(50),
            "At most this share of a pool's targets is ejected at once, and never the last one.",
        ),
    ],
};

/// `[pool.NAME.retry]`.
pub(crate) static RETRY: Section = Section {
    path: "pool.NAME.retry",
    doc: "Trying again, on another target where there is one.",
    keys: &[
        Key::new(
            "attempts",
            Kind::Count { min: 0, max: MAX_ATTEMPTS },
            Count(2),
            "Tries beyond the first one.",
        ),
        Key::new(
            "on",
            Kind::List {
                of: &Kind::Form { what: "\"connect\", \"stale\", \"failure\" or a status such as \"503\"" },
                max: MAX_ENTRIES,
                alone: true,
            },
            Texts(&["connect", "stale", "failure"]),
            "`connect`: a dial failed. `stale`: a reused connection turned out closed. `failure`: an idempotent \
             request whose target closed or timed out before its answer. A status from 400 to 599: an idempotent \
             request that was answered so.",
        ),
        Key::new(
            "budget_percent",
            PERCENT,
            Count(20),
            "Retries for `failure` and statuses may add so much to the pool's requests.",
        ),
    ],
};

/// `[pool.NAME.limits]`.
pub(crate) static LIMITS: Section = Section {
    path: "pool.NAME.limits",
    doc: "Concurrency, and waiting for it.",
    keys: &[
        Key::new(
            "connections",
            Kind::Count { min: 1, max: MAX_CONNECTIONS },
            Absent,
            "Connections (TCP) or requests (HTTP) at once over all targets. Without it there is no limit.",
        ),
        Key::new(
            "pending",
            Kind::Count { min: 0, max: MAX_PENDING },
            Count(1_000),
            "How many may wait while every target is at its limit; `queue-full` beyond.",
        ),
        Key::new("queue_timeout", WAIT, Text("1s"), "How long each may wait; `queue-timeout` after it."),
    ],
};

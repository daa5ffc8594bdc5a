//! `[listener.NAME]` and its tables.

use super::Preset::{Absent, Count, Flag, Required, Text};
use super::{Key, Kind, Section};
use crate::limits::{
    MAX_BACKLOG, MAX_BINDS, MAX_BODY_BYTES, MAX_CONNECTIONS, MAX_ENTRIES, MAX_HEAD_BYTES, MAX_HEADER_FIELDS,
    MAX_KEEP, MAX_NETWORKS, MAX_TARGET_BYTES, MAX_TEXT_BYTES, MAX_URL_BYTES, MAX_WAIT, MIN_HEAD_BYTES,
    MIN_TARGET_BYTES, MIN_WAIT,
};

const POOL_NAME: Kind = Kind::Text { what: "the name of a pool", max: 64 };
const NETWORKS: Kind = Kind::List {
    of: &Kind::Form { what: "a network such as \"10.0.0.0/8\", or an address" },
    max: MAX_NETWORKS,
    alone: true,
};
const TIMEOUT: Kind = Kind::Duration { min: MIN_WAIT, max: MAX_WAIT, zero: None };

/// `[listener.NAME]`.
pub(crate) static LISTENER: Section = Section {
    path: "listener.NAME",
    doc: "Addresses to accept on, what is spoken there, and where it goes.",
    keys: &[
        Key::new(
            "bind",
            Kind::List {
                of: &Kind::Form {
                    what: "an address such as \"0.0.0.0:80\", \":80\" or \"unix:/run/web.sock\"",
                },
                max: MAX_BINDS,
                alone: true,
            },
            Required,
            "Where to listen. `:PORT` is every address of both families; port 0 lets the kernel choose.",
        ),
        Key::new(
            "protocol",
            Kind::Word { words: &["tcp", "http"], later: &["udp"] },
            Required,
            "`tcp` relays bytes as they are; `http` is HTTP/1.0 and HTTP/1.1.",
        ),
        Key::new(
            "pool",
            POOL_NAME,
            Absent,
            "Where work goes that no route claims. A TCP listener needs one.",
        ),
        Key::new(
            "allow",
            NETWORKS,
            Absent,
            "When written, only clients of these networks may connect; an empty list admits nobody. Clients of unix \
             sockets are governed by file permissions.",
        ),
        Key::new("deny", NETWORKS, Absent, "Clients of these networks are refused, whatever `allow` says."),
        Key::new(
            "max_connections",
            Kind::Count { min: 1, max: MAX_CONNECTIONS },
            Count(50_000),
            "Connections at once over all workers; beyond it new ones are refused with `listener-full`.",
        ),
        Key::new(
            "backlog",
            Kind::Count { min: 1, max: MAX_BACKLOG },
            Count(4_096),
            "Length of each worker's accept queue; the kernel's `net.core.somaxconn` cuts it further.",
        ),
        Key::new(
            "idle_timeout",
            Kind::Duration { min: MIN_WAIT, max: MAX_KEEP, zero: Some("never") },
            Text("10m"),
            "A TCP connection, or an upgraded HTTP one, with no byte either way for so long, or up to an eighth longer, ends.",
        ),
        Key::new("http", Kind::Table(&HTTP), Absent, ""),
        Key::new("timeouts", Kind::Table(&TIMEOUTS), Absent, ""),
        Key::new("route", Kind::Tables(&ROUTE), Absent, ""),
        Key::later("tls", "terminate TLS in front of Evenkeel, or pass it through with protocol = \"tcp\""),
        Key::later(
            "proxy_protocol",
            "for HTTP, take the client's address from X-Forwarded-For with trust_forwarded",
        ),
        Key::later("trusted", "it belongs to proxy_protocol"),
    ],
};

/// `[listener.NAME.http]`.
pub(crate) static HTTP: Section = Section {
    path: "listener.NAME.http",
    doc: "Limits of HTTP requests. Only with `protocol = \"http\"`.",
    keys: &[
        Key::new(
            "max_head_bytes",
            Kind::Size { min: MIN_HEAD_BYTES, max: MAX_HEAD_BYTES },
            Text("16KiB"),
            "Request line and fields together; `head-too-large` (431) beyond.",
        ),
        Key::new(
            "max_headers",
            Kind::Count { min: 1, max: MAX_HEADER_FIELDS },
            Count(100),
            "Number of fields; `too-many-headers` (431) beyond.",
        ),
        Key::new(
            "max_target_bytes",
            Kind::Size { min: MIN_TARGET_BYTES, max: MAX_TARGET_BYTES },
            Text("8KiB"),
            "Length of the request target; `target-too-long` (414) beyond.",
        ),
        Key::new(
            "max_body_bytes",
            Kind::SizeOr { word: "unlimited", min: 0, max: MAX_BODY_BYTES },
            Text("unlimited"),
            "Length of a request body; `body-too-large` (413) beyond. Bodies are streamed, never held.",
        ),
        Key::new(
            "trust_forwarded",
            Kind::Flag,
            Flag(false),
            "Append to the X-Forwarded-* and Forwarded fields that come in, instead of replacing them. Only behind a \
             proxy that sets them.",
        ),
    ],
};

/// `[listener.NAME.timeouts]`.
pub(crate) static TIMEOUTS: Section = Section {
    path: "listener.NAME.timeouts",
    doc: "Deadlines by phase. Only with `protocol = \"http\"`.",
    keys: &[
        Key::new(
            "header",
            TIMEOUT,
            Text("10s"),
            "From accept to the first byte of a head, and from there to its last; `header-timeout` (408).",
        ),
        Key::new(
            "body",
            TIMEOUT,
            Text("30s"),
            "Longest gap between two reads of a request body; `body-timeout` (408).",
        ),
        Key::new(
            "response",
            TIMEOUT,
            Text("30s"),
            "From the request's last byte to the head of the answer, and between reads of the answer; \
             `request-timeout` (504).",
        ),
        Key::new("write", TIMEOUT, Text("30s"), "Longest time that the receiver of bytes may take none."),
        Key::new(
            "keep_alive",
            Kind::Duration { min: MIN_WAIT, max: MAX_KEEP, zero: None },
            Text("75s"),
            "Idle time of a connection between two requests.",
        ),
    ],
};

/// `[[listener.NAME.route]]`.
pub(crate) static ROUTE: Section = Section {
    path: "listener.NAME.route",
    doc: "A rule for requests: `when` they look so, one of `pool`, `respond` or `redirect`. The most specific route \
          wins, wherever it stands: an exact host before the longest wildcard before any host; then the longest \
          literal path prefix, an exact path before a prefix; then the number of further conditions; then order. \
          Only with `protocol = \"http\"`.",
    keys: &[
        Key::new("when", Kind::Table(&WHEN), Absent, ""),
        Key::new("pool", POOL_NAME, Absent, "Forward to this pool."),
        Key::new("respond", Kind::Table(&RESPOND), Absent, ""),
        Key::new("redirect", Kind::Table(&REDIRECT), Absent, ""),
        Key::later("split", "use one pool and give its targets weights"),
        Key::later("rewrite", "paths reach the target as they came, in canonical form"),
        Key::later("headers", "fields reach the target as they came, with X-Forwarded-* added"),
        Key::later("rate_limit", "bound the pool's concurrency with [pool.NAME.limits]"),
        Key::later("timeouts", "deadlines are set for the whole listener, in [listener.NAME.timeouts]"),
    ],
};

/// `when = { … }`.
pub(crate) static WHEN: Section = Section {
    path: "listener.NAME.route.when",
    doc: "What a request must look like. All conditions must hold; without any, every request does.",
    keys: &[
        Key::new(
            "host",
            Kind::Form { what: "a host such as \"api.example.com\" or \"*.example.com\"" },
            Absent,
            "The host, without regard to case or port. `*.example.com` is every name below `example.com`, at any \
             depth, but not itself.",
        ),
        Key::new(
            "path",
            Kind::Form { what: "a path such as \"/v1/**\" or \"/login\"" },
            Absent,
            "The path, in canonical form: `/a` exactly, `/a/**` for `/a` and everything below it, `*` for one segment.",
        ),
        Key::new(
            "method",
            Kind::List {
                of: &Kind::Form { what: "a method such as \"GET\"" },
                max: MAX_ENTRIES,
                alone: true,
            },
            Absent,
            "One of these methods. `GET` does not stand for `HEAD`.",
        ),
        Key::new(
            "header",
            Kind::Map,
            Absent,
            "Fields that have just these values: `{ x-canary = \"1\" }`; of a repeated field, any one.",
        ),
        Key::new("query", Kind::Map, Absent, "Query parameters that have just these values."),
        Key::new("from", NETWORKS, Absent, "Networks, one of which holds the client's address."),
    ],
};

/// `respond = { … }`.
pub(crate) static RESPOND: Section = Section {
    path: "listener.NAME.route.respond",
    doc: "Answer at once.",
    keys: &[
        Key::new("status", Kind::Count { min: 200, max: 599 }, Required, "The status code."),
        Key::new("body", Kind::Text { what: "a text", max: MAX_TEXT_BYTES }, Text(""), "Plain text."),
    ],
};

/// `redirect = { … }`.
pub(crate) static REDIRECT: Section = Section {
    path: "listener.NAME.route.redirect",
    doc: "Send elsewhere.",
    keys: &[
        Key::new(
            "to",
            Kind::Text { what: "a URL such as \"https://example.com/\", or a path", max: MAX_URL_BYTES },
            Required,
            "Where to, as it stands.",
        ),
        Key::new(
            "status",
            Kind::Count { min: 301, max: 308 },
            Count(307),
            "301, 302, 303, 307 or 308. Browsers remember 301 and 308.",
        ),
    ],
};

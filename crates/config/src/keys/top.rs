//! The top of the file and its small tables.

use super::Preset::{Absent, Count, Flag, Required, Text};
use super::{Key, Kind, LISTENER, POOL, Section, seconds};
use crate::limits::{MAX_ADDRESSES, MAX_ENTRIES, MAX_KEEP, MAX_PATH_BYTES, MAX_WAIT, MAX_WORKERS, MIN_WAIT};

const FILE_NAME: Kind = Kind::Text { what: "a file name", max: MAX_PATH_BYTES };

/// The top of the file.
pub(crate) static TOP: Section = Section {
    path: "",
    doc: "Keys at the top of the file, before the first `[table]`.",
    keys: &[
        Key::new(
            "include",
            Kind::List {
                of: &Kind::Text { what: "a file name pattern", max: MAX_PATH_BYTES },
                max: MAX_ENTRIES,
                alone: true,
            },
            Absent,
            "Files to read as part of this one, relative to it; `*` stands for any part of a name. Names of listeners \
             and pools are unique over all files. An included file includes no others, and an empty one is \
             refused: a half-written file never takes routes away.",
        ),
        Key::new("watch", Kind::Flag, Flag(false), "Reload when the file, or one that it includes, changes."),
        Key::new(
            "grace",
            Kind::Duration { min: MIN_WAIT, max: MAX_WAIT, zero: Some("do not wait") },
            Text("30s"),
            "Longest time that a graceful stop, or a removed listener, waits for its connections.",
        ),
        Key::new("pid_file", FILE_NAME, Absent, "File that holds the process id while the process runs."),
        Key::new("admin", Kind::Table(&ADMIN), Absent, ""),
        Key::new("workers", Kind::Table(&WORKERS), Absent, ""),
        Key::new("resolver", Kind::Table(&RESOLVER), Absent, ""),
        Key::new("access_log", Kind::Table(&ACCESS_LOG), Absent, ""),
        Key::new("listener", Kind::Named(&LISTENER), Required, ""),
        Key::new("pool", Kind::Named(&POOL), Absent, ""),
    ],
};

/// `[admin]`.
pub(crate) static ADMIN: Section = Section {
    path: "admin",
    doc: "The admin API, dashboard, `/metrics`, `/health` and `/ready`. Present unless `bind = \"off\"`.",
    keys: &[
        Key::new(
            "bind",
            Kind::Form {
                what: "an address such as \"127.0.0.1:9900\", \"unix:/run/evenkeel.sock\", or \"off\"",
            },
            Text("127.0.0.1:9900"),
            "Where the API listens. An address other than loopback or a unix socket needs a `token`.",
        ),
        Key::new(
            "token",
            Kind::Table(&SECRET),
            Absent,
            "When set, every call but `/health` and `/ready` carries it as `Authorization: Bearer …`. Never printed.",
        ),
        Key::new("open_metrics", Kind::Flag, Flag(false), "Leave `/metrics` open although a token is set."),
        Key::new(
            "audit_log",
            FILE_NAME,
            Absent,
            "File for one JSON line per change made through the API. Without it, lines go to standard error.",
        ),
    ],
};

/// A secret.
pub(crate) static SECRET: Section = Section {
    path: "admin.token",
    doc: "Where a secret is kept: just one of the two. It is never written in the configuration itself.",
    keys: &[
        Key::new(
            "env",
            Kind::Text { what: "the name of an environment variable", max: 256 },
            Absent,
            "The environment variable that holds it.",
        ),
        Key::new("file", FILE_NAME, Absent, "The file that holds it; white space around it is left out."),
    ],
};

/// `[workers]`.
pub(crate) static WORKERS: Section = Section {
    path: "workers",
    doc: "The threads that move bytes.",
    keys: &[Key::new(
        "count",
        Kind::CountOr { word: "auto", min: 1, max: MAX_WORKERS },
        Text("auto"),
        "How many; `auto` is one per CPU that the cgroup and the affinity mask allow. A change takes effect only in \
         a new process.",
    )],
};

/// `[resolver]`.
pub(crate) static RESOLVER: Section = Section {
    path: "resolver",
    doc: "How the names of targets become addresses.",
    keys: &[
        Key::new(
            "nameservers",
            Kind::List {
                of: &Kind::Form { what: "an address such as \"10.0.0.53\" or \"10.0.0.53:5353\"" },
                max: MAX_ENTRIES,
                alone: true,
            },
            Absent,
            "Name servers, on port 53 unless another is written. Without them, those of `/etc/resolv.conf`.",
        ),
        Key::new(
            "timeout",
            Kind::Duration { min: MIN_WAIT, max: seconds(60), zero: None },
            Text("2s"),
            "Longest time for one look-up.",
        ),
        Key::new(
            "min_ttl",
            Kind::Duration { min: MIN_WAIT, max: MAX_KEEP, zero: None },
            Text("1s"),
            "Answers are asked for again no sooner than this, whatever their TTL says.",
        ),
        Key::new(
            "max_ttl",
            Kind::Duration { min: MIN_WAIT, max: MAX_KEEP, zero: None },
            Text("5m"),
            "Answers are asked for again no later than this.",
        ),
        Key::new(
            "max_addresses",
            Kind::Count { min: 1, max: MAX_ADDRESSES },
            Count(256),
            "Addresses beyond this many in one answer are left out.",
        ),
    ],
};

/// `[access_log]`.
pub(crate) static ACCESS_LOG: Section = Section {
    path: "access_log",
    doc: "One line per request (HTTP) or connection (TCP). The table turns it on; without it there is none.",
    keys: &[
        Key::new("path", FILE_NAME, Absent, "The file. Without it, lines go to standard output."),
        Key::new(
            "format",
            Kind::Word { words: &["json", "text"], later: &[] },
            Text("json"),
            "How a line looks.",
        ),
    ],
};

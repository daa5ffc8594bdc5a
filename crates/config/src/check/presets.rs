//! What a configuration is where nothing is written.

use evenkeel_base::PoolName;

use super::{listener, pool, top};
use crate::checked::{Admin, Config, HttpSettings, Passive, Pool, PoolLimits, Resolver, Retry, WorkerCount};
use crate::keys::{ADMIN, HTTP, LIMITS, PASSIVE, POOL, RESOLVER, RETRY, Section, TIMEOUTS, TOP};
use crate::read::{Cx, Reader};
use crate::source::NoSource;

/// Reads a section of which nothing is written.
fn from_nothing<T>(section: &'static Section, read: impl FnOnce(&Reader<'_>) -> T) -> T {
    let cx = Cx::new(&NoSource);
    read(&Reader::absent(&cx, section))
}

impl Default for Admin {
    /// As without `[admin]`.
    fn default() -> Self {
        from_nothing(&ADMIN, |reader| Self {
            bind: top::loopback(),
            token: None,
            token_from: None,
            open_metrics: reader.flag("open_metrics"),
            audit_log: None,
        })
    }
}

impl Default for Resolver {
    /// As without `[resolver]`.
    fn default() -> Self {
        from_nothing(&RESOLVER, top::read_resolver)
    }
}

impl Default for HttpSettings {
    /// As without `[listener.NAME.http]` and `[listener.NAME.timeouts]`.
    fn default() -> Self {
        from_nothing(&HTTP, |limits| listener::read_http(limits, &Reader::absent(limits.cx, &TIMEOUTS)))
    }
}

impl Default for Passive {
    /// As without `[pool.NAME.passive]`.
    fn default() -> Self {
        from_nothing(&PASSIVE, pool::read_passive)
    }
}

impl Default for Retry {
    /// As without `[pool.NAME.retry]`.
    fn default() -> Self {
        from_nothing(&RETRY, pool::retry)
    }
}

impl Default for PoolLimits {
    /// As without `[pool.NAME.limits]`.
    fn default() -> Self {
        from_nothing(&LIMITS, pool::limits)
    }
}

impl Default for Config {
    /// As of an empty file, were it not refused: no listeners and no pools.
    fn default() -> Self {
        from_nothing(&TOP, |reader| Self {
            admin: Some(Admin::default()),
            workers: WorkerCount::Auto,
            grace: reader.duration("grace"),
            pid_file: None,
            watch: reader.flag("watch"),
            resolver: Resolver::default(),
            access_log: None,
            listeners: Vec::new(),
            pools: Vec::new(),
        })
    }
}

impl Pool {
    /// An empty pool with every default, passive signals on.
    pub fn new(name: PoolName) -> Self {
        from_nothing(&POOL, |reader| Self {
            name,
            algorithm: crate::keys::algorithm(reader.word("algorithm")),
            targets: Vec::new(),
            emergency: None,
            source: None,
            connect_timeout: reader.duration("connect_timeout"),
            keep_alive_timeout: reader.duration("keep_alive_timeout"),
            max_idle: reader.count("max_idle"),
            affinity: None,
            health: None,
            passive: Some(Passive::default()),
            retry: Retry::default(),
            limits: PoolLimits::default(),
            fail_open: reader.flag("fail_open"),
        })
    }
}

//! This worker's idle connections to targets.

use std::cell::RefCell;

use evenkeel_base::{IdMap, TargetId};
use evenkeel_net::rt::Instant;
use evenkeel_state::Lease;

use crate::upstream::Upstream;

/// Idle connections, by target; the one used last is used next, so that the surplus ages and is closed.
#[derive(Debug, Default)]
pub(crate) struct IdlePool {
    by_target: RefCell<IdMap<TargetId, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    upstream: Upstream,
    expires: Instant,
}

impl IdlePool {
    /// A connection that can be used. Ended ones are dropped on the way; `ask` asks the kernel rather than the
    /// engine, for requests that cannot be sent twice.
    pub(crate) fn take(&self, lease: &Lease<'_>, ask: bool) -> Option<Upstream> {
        let mut by_target = self.by_target.borrow_mut();
        let idle = by_target.get_mut(&lease.id())?;
        while let Some(candidate) = idle.pop() {
            if candidate.upstream.is_usable(lease, ask) {
                return Some(candidate.upstream);
            }
        }
        None
    }

    /// Keeps a connection until then, unless `most` are kept already.
    pub(crate) fn put(&self, target: TargetId, upstream: Upstream, most: u16, expires: Instant) {
        let mut by_target = self.by_target.borrow_mut();
        let idle = by_target.entry(target).or_default();
        if idle.len() < usize::from(most) {
            idle.push(Idle { upstream, expires });
        }
    }

    /// Drops what has ended or expired.
    pub(crate) fn reap(&self, now: Instant) {
        let mut by_target = self.by_target.borrow_mut();
        for idle in by_target.values_mut() {
            idle.retain(|idle| now < idle.expires && !idle.upstream.stream.is_stale(false));
        }
        by_target.retain(|_, idle| !idle.is_empty());
    }

    pub(crate) fn len(&self) -> usize {
        self.by_target.borrow().values().map(Vec::len).sum()
    }
}

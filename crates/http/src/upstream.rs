//! A connection to a target.

use std::net::SocketAddr;

use evenkeel_base::{Reason, TargetAddr};
use evenkeel_net::{Dial, DialTo, Stream};
use evenkeel_state::{Lease, Pool};

use crate::Plane;

/// A connection to a target, new or used before.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    /// Bytes sent on it by earlier requests.
    pub(crate) sent_before: u64,
    /// It served a request before this one.
    pub(crate) reused: bool,
    /// Its request is over, and it may carry another one.
    pub(crate) fit: bool,
    /// The other end, for a target known by name: the name may mean another address by now. In a box, so that idle
    /// connections to others fit fewer cache lines.
    pub(crate) peer: Option<Box<SocketAddr>>,
}

impl Upstream {
    fn leads_to(&self, lease: &Lease<'_>) -> bool {
        self.peer.as_ref().is_none_or(|peer| lease.target().resolved.contains(peer))
    }

    /// Whether it may carry another request to this target.
    pub(crate) fn is_usable(&self, lease: &Lease<'_>, ask: bool) -> bool {
        self.leads_to(lease) && !self.stream.is_stale(ask)
    }

    /// Whether the target cannot have read a byte of the current request, to be asked when it has ended the
    /// connection in order: the acknowledgement that came with its end covers nothing beyond the earlier requests
    /// (Linux counts the SYN as one byte more).
    pub(crate) fn is_provably_unread(&self) -> bool {
        self.stream.bytes_acked().is_some_and(|acked| acked <= self.sent_before + 1)
    }
}

impl<D: Dial> Plane<D> {
    /// An idle connection if there is one and `fresh` does not forbid it, else a new one.
    pub(crate) async fn reach(
        &self,
        pool: &Pool,
        lease: &Lease<'_>,
        fresh: bool,
        ask: bool,
    ) -> Result<Upstream, Reason> {
        if !fresh && let Some(mut upstream) = self.idle.take(lease, ask) {
            upstream.reused = true;
            upstream.fit = false;
            lease.cell().reused.add(1);
            return Ok(upstream);
        }
        let target = lease.target();
        let to = DialTo::target(&target.address, &target.resolved);
        match self.dial.dial(to, pool.config.source, pool.config.connect_timeout).await {
            Ok(stream) => {
                lease.cell().connects.add(1);
                let by_name = matches!(target.address, TargetAddr::Name { .. });
                let peer = by_name.then(|| stream.peer_addr()).flatten().map(Box::new);
                Ok(Upstream { stream, sent_before: 0, reused: false, fit: false, peer })
            }
            Err(error) => {
                lease.cell().connect_errors.add(1);
                Err(error.reason)
            }
        }
    }
}

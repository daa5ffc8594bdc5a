//! A connection to a target.

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
}

impl Upstream {
    /// Whether the target cannot have read a byte of the current request: its kernel has acknowledged nothing
    /// beyond the earlier ones (Linux counts the SYN as one byte more).
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
        if !fresh {
            if let Some(mut upstream) = self.idle.take(lease.target().id, ask) {
                upstream.reused = true;
                lease.cell().reused.add(1);
                return Ok(upstream);
            }
        }
        let target = lease.target();
        let to = match &target.address {
            TargetAddr::Unix(path) => DialTo::Unix(path),
            TargetAddr::Ip(_) | TargetAddr::Name { .. } => DialTo::Ip(&target.resolved),
        };
        match self.dial.dial(to, pool.config.source, pool.config.connect_timeout).await {
            Ok(stream) => {
                lease.cell().connects.add(1);
                Ok(Upstream { stream, sent_before: 0, reused: false })
            }
            Err(error) => {
                lease.cell().connect_errors.add(1);
                Err(error.reason)
            }
        }
    }
}

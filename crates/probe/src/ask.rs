//! One probe, from the first packet to what it says of the target.

use evenkeel_base::Reason;
use evenkeel_config::Check;
use evenkeel_health::Outcome;
use evenkeel_net::{Dial, DialError, DialTo, Direct, Stream};

use crate::http;
use crate::patience::patiently;
use crate::plan::{Place, Plan};

/// A probe that failed while this thread stood still is made again so many times, and then given up unheard.
const REPEATS: u32 = 3;

/// Why a probe did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The target's.
    Target(Reason),
    /// Ours: nothing is known of the target.
    Ours,
}

/// Asks once; again if we were not fit to ask. None when nothing can be said of the target.
pub(crate) async fn ask(plan: &Plan) -> Option<Outcome> {
    for _ in 0..=REPEATS {
        let waited = patiently(plan.health.timeout, ask_once(plan)).await;
        return match waited.output.unwrap_or(Err(Fault::Target(Reason::ProbeTimeout))) {
            // These are what a target looks like that nobody listened to.
            Err(Fault::Target(Reason::ProbeTimeout | Reason::ProbeFailed)) if waited.stalled => continue,
            Err(Fault::Target(reason)) => Some(Outcome::ProbeFailed(reason)),
            Err(Fault::Ours) => None,
            Ok(()) => Some(Outcome::ProbeOk),
        };
    }
    None
}

async fn ask_once(plan: &Plan) -> Result<(), Fault> {
    let stream = dial(plan).await?;
    match &plan.health.check {
        Check::Tcp => Ok(()),
        Check::Http { path, status, body, .. } => {
            let expected = http::Expected { status, body: body.as_deref() };
            http::get(stream, path, &plan.host, &expected).await.map_err(Fault::Target)
        }
    }
}

async fn dial(plan: &Plan) -> Result<Stream, Fault> {
    let to = match &plan.place {
        Place::Ip(addresses) => DialTo::Ip(addresses),
        Place::Unix(path) => DialTo::Unix(path),
    };
    let stream = Direct.dial(to, plan.source, plan.health.timeout).await.map_err(|error| fault(&error))?;
    if is_ourselves(plan, &stream) {
        return Err(Fault::Target(Reason::ProbeRefused));
    }
    Ok(stream)
}

/// A dial to a port of this machine where nobody listens can meet itself, when the kernel happens to choose that
/// very port for our end (TCP's simultaneous open). Seldom, but a probe tries for weeks.
fn is_ourselves(plan: &Plan, stream: &Stream) -> bool {
    match (&plan.place, stream.local_addr()) {
        (Place::Ip(addresses), Some(local)) => addresses.contains(&local),
        _ => false,
    }
}

fn fault(error: &DialError) -> Fault {
    Fault::Target(match error.reason {
        Reason::ConnectRefused => Reason::ProbeRefused,
        Reason::ConnectTimeout => Reason::ProbeTimeout,
        Reason::LocalPortsExhausted | Reason::Overloaded => return Fault::Ours,
        _ => Reason::ProbeFailed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn our_own_troubles_are_not_the_targets() {
        let fault = |errno: i32| fault(&DialError::from(io::Error::from_raw_os_error(errno)));
        // Linux: EMFILE, EADDRNOTAVAIL, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH.
        assert_eq!(fault(24), Fault::Ours);
        assert_eq!(fault(99), Fault::Ours);
        assert_eq!(fault(111), Fault::Target(Reason::ProbeRefused));
        assert_eq!(fault(110), Fault::Target(Reason::ProbeTimeout));
        assert_eq!(fault(113), Fault::Target(Reason::ProbeFailed));
    }
}

//! One TCP connection.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_net::{Dial, DialTo, Direction, RelayEnd, Stream, relay, rt};
use evenkeel_state::{Admitted, Lease, Pool, Target, Tried, Turn};

use crate::Plane;
use crate::log;

/// What is told of a connection when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) target: Option<Arc<Target>>,
    pub(crate) attempts: u32,
    pub(crate) queued: Duration,
    pub(crate) connected: Duration,
    pub(crate) to_target: u64,
    pub(crate) to_client: u64,
}

/// Serves one client from its first byte to its last.
pub(crate) async fn serve<D: Dial>(plane: &Plane<D>, mut open: Admitted, mut client: Stream) {
    let started = rt::Instant::now();
    let mut course = Course::default();
    let view = open.view.clone();
    // A TCP listener without a pool does not pass the check.
    let Some(mut pool) = view.default.clone() else { return };
    open.reason = loop {
        if let Some(reason) = serve_by(plane, &pool, &open, &mut client, &mut course).await {
            break reason;
        }
        // Built anew while the connection waited in its queue: who waits neither goes to a target that drains nor
        // past one that has come.
        match open.worker.pool(pool.name()) {
            Some(newer) => pool = newer,
            None => break refuse(&client, Reason::NoTarget),
        }
    };
    log::line(&open, &course, &pool, started.elapsed());
}

/// Connects and carries; `None`: the pool has been built anew.
async fn serve_by<D: Dial>(
    plane: &Plane<D>,
    pool: &Pool,
    open: &Admitted,
    client: &mut Stream,
    course: &mut Course,
) -> Option<Reason> {
    match connect(plane, pool, open, course).await {
        Ok(Some((lease, mut target))) => {
            let end = carry(plane, open, &lease, client, &mut target).await;
            (course.to_target, course.to_client) = (end.to_target, end.to_client);
            Some(end.reason)
        }
        Ok(None) => None,
        Err(reason) => Some(refuse(client, reason)),
    }
}

fn refuse(client: &Stream, reason: Reason) -> Reason {
    client.reset_on_close();
    reason
}

/// A lease and a connection. Fails over while there are targets left to try; the client never sees a failed try.
/// `None`: the pool has been built anew.
async fn connect<'p, D: Dial>(
    plane: &Plane<D>,
    pool: &'p Pool,
    open: &Admitted,
    course: &mut Course,
) -> Result<Option<(Lease<'p>, Stream)>, Reason> {
    let mut tried = Tried::default();
    let mut last = None;
    loop {
        let asked = rt::Instant::now();
        let caller = open.worker.caller(open.live.client, asked.into_std());
        let lease = match pool.lease(&caller, &tried) {
            Ok(Turn::Now(lease)) => lease,
            Ok(Turn::Wait(place)) => {
                let patience = pool.config.limits.queue_timeout.saturating_sub(course.queued);
                let waited = rt::timeout(patience, place.next(&caller, &tried)).await;
                course.queued += asked.elapsed();
                match waited.unwrap_or(Err(Reason::QueueTimeout)) {
                    Ok(Some(lease)) => lease,
                    Ok(None) => return Ok(None),
                    Err(reason) => return Err(last.unwrap_or(reason)),
                }
            }
            Err(reason) => return Err(last.unwrap_or(reason)),
        };
        course.attempts += 1;
        let dialled = rt::Instant::now();
        match dial(plane, pool, lease.target()).await {
            Ok(stream) => {
                course.connected = dialled.elapsed();
                course.target = Some(Arc::clone(lease.target()));
                lease.connected(course.connected.as_micros() as u64);
                return Ok(Some((lease, stream)));
            }
            Err(reason) => {
                lease.cell().connect_errors.add(1);
                lease.failed(reason);
                tried.add(lease.slot());
                let more =
                    pool.config.retry.on_connect && course.attempts <= u32::from(pool.config.retry.attempts);
                if !more {
                    return Err(reason);
                }
                lease.cell().retries.add(1);
                last = Some(reason);
            }
        }
    }
}

async fn dial<D: Dial>(plane: &Plane<D>, pool: &Pool, target: &Target) -> Result<Stream, Reason> {
    let to = DialTo::target(&target.address, &target.resolved);
    let dialled = plane.dial.dial(to, pool.config.source, pool.config.connect_timeout).await;
    dialled.map_err(|error| error.reason)
}

async fn carry<D: Dial>(
    plane: &Plane<D>,
    open: &Admitted,
    lease: &Lease<'_>,
    client: &mut Stream,
    target: &mut Stream,
) -> RelayEnd {
    open.live.set_target(Some(lease.id()));
    let up = Direction::new(&plane.buffers, plane.buffers.buffer(), None, true);
    let down = Direction::new(&plane.buffers, plane.buffers.buffer(), None, true);
    let listener = open.cell();
    let cell = lease.cell();
    relay(client, target, up, down, open.view.config.idle_timeout, |to_target, to_client| {
        listener.bytes_in.add(to_target);
        listener.bytes_out.add(to_client);
        cell.bytes_to.add(to_target);
        cell.bytes_from.add(to_client);
        open.live.bytes_in.add(to_target);
        open.live.bytes_out.add(to_client);
    })
    .await
}

//! From the state to the wire types.

use std::collections::{BTreeMap, HashMap};

use evenkeel_api as api;
use evenkeel_base::{Reason, TargetId};
use evenkeel_config::{Check, Protocol};
use evenkeel_state::{
    BUCKET_LIMITS_US, ConnectionView, Event, EventKind, ListenerView, Pool, Snapshot, Standing, Target,
    Totals,
};

use crate::clock::rfc3339;

pub(crate) fn state(standing: Standing) -> api::TargetState {
    match standing {
        Standing::Available => api::TargetState::Up,
        Standing::Draining => api::TargetState::Draining,
        Standing::Disabled => api::TargetState::Disabled,
        Standing::Unresolved => api::TargetState::Unresolved,
        Standing::Down(_) => api::TargetState::Down,
        Standing::Ejected(_) => api::TargetState::Ejected,
    }
}

pub(crate) fn target(pool: &Pool, target: &Target) -> api::Target {
    let totals = target.live.totals();
    let standing = target.standing();
    let [informational, successful, redirection, client_error, server_error] = totals.answers;
    api::Target {
        pool: pool.name().to_string(),
        address: target.address.to_string(),
        id: target.id.0,
        state: state(standing),
        reason: standing.reason().map(|reason| reason.as_str().to_owned()),
        weight: target.weight.as_u16(),
        priority: target.priority,
        max_connections: target.max_connections,
        emergency: target.emergency,
        resolved: target.resolved.iter().map(ToString::to_string).collect(),
        in_flight: totals.in_flight,
        requests: totals.started,
        connects: totals.connects,
        connect_errors: totals.connect_errors,
        reused: totals.reused,
        answers: api::Answers { informational, successful, redirection, client_error, server_error },
        failures: totals.failures,
        retries: totals.retries,
        failures_in_a_row: target.live.failures_in_a_row(),
        bytes_to: totals.bytes_to,
        bytes_from: totals.bytes_from,
        latency: latency(&totals),
    }
}

pub(crate) fn pool(pool: &Pool) -> api::Pool {
    let config = &pool.config;
    let check = config.health.as_ref().map(|health| match health.check {
        Check::Tcp => "tcp".to_owned(),
        Check::Http { .. } => "http".to_owned(),
    });
    api::Pool {
        name: pool.name().to_string(),
        algorithm: config.algorithm.to_string(),
        targets: pool.targets.iter().filter(|target| !target.emergency).count(),
        available: pool.available(),
        emergency: config.emergency.as_ref().map(ToString::to_string),
        in_flight: pool.targets.iter().map(|target| u64::from(target.live.in_flight())).sum(),
        waiting: u64::from(pool.live.waiting()),
        clients: pool.clients.as_ref().map(|clients| clients.len()),
        check,
    }
}

pub(crate) fn listener(view: &ListenerView, bound: Vec<String>) -> api::Listener {
    let counts = listener_counts(view);
    let reasons: BTreeMap<String, u64> =
        counts.reasons.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count)).collect();
    api::Listener {
        name: view.config.name.to_string(),
        protocol: protocol(view.config.protocol).to_owned(),
        bound,
        pool: view.config.pool.as_ref().map(ToString::to_string),
        routes: view.config.routes.len(),
        open: u64::from(view.live.open()),
        max_connections: view.config.max_connections,
        accepted: counts.accepted,
        requests: counts.requests,
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
        reasons,
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Http => "http",
    }
}

/// A listener's counters, summed over workers.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounts {
    pub(crate) accepted: u64,
    pub(crate) closed: u64,
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) log_dropped: u64,
    pub(crate) panics: u64,
    /// Those that occurred.
    pub(crate) reasons: Vec<(Reason, u64)>,
}

pub(crate) fn listener_counts(view: &ListenerView) -> ListenerCounts {
    let mut sum = ListenerCounts { log_dropped: view.live.log_dropped(), ..ListenerCounts::default() };
    for cell in view.live.cells() {
        sum.accepted += cell.accepted.read();
        sum.closed += cell.closed.read();
        sum.requests += cell.requests.read();
        sum.bytes_in += cell.bytes_in.read();
        sum.bytes_out += cell.bytes_out.read();
        sum.panics += cell.panics.read();
    }
    let counted = |reason: Reason| view.live.cells().map(|cell| cell.counted(reason)).sum();
    let reasons = Reason::ALL.iter().map(|reason| (*reason, counted(*reason)));
    sum.reasons = reasons.filter(|(_, count)| *count > 0).collect();
    sum
}

/// Every target by its identity: one pass, where a list would otherwise search all pools for each of its lines.
pub(crate) fn targets_by_id(snapshot: &Snapshot) -> HashMap<TargetId, &Target> {
    let all = snapshot.pools.values().flat_map(|pool| &pool.targets);
    all.map(|target| (target.id, &**target)).collect()
}

pub(crate) fn connection(view: &ConnectionView, targets: &HashMap<TargetId, &Target>) -> api::Connection {
    let target = view.target.and_then(|id| targets.get(&id));
    api::Connection {
        id: view.id.to_string(),
        client: view.client.to_string(),
        listener: view.listener.to_string(),
        target: target.map(|target| target.address.to_string()),
        age_s: view.since.elapsed().as_secs(),
        requests: view.requests,
        bytes_in: view.bytes_in,
        bytes_out: view.bytes_out,
    }
}

pub(crate) fn event(event: &Event) -> api::Event {
    let mut view = api::Event {
        sequence: event.sequence,
        time: rfc3339(event.at),
        kind: api::EventKind::Config,
        reason: event.reason.as_str().to_owned(),
        pool: None,
        target: None,
        listener: None,
        from: None,
        to: None,
        adopted: None,
        lines: Vec::new(),
    };
    match &event.kind {
        EventKind::Target { pool, target, from, to } => {
            view.kind = api::EventKind::Target;
            view.pool = Some(pool.to_string());
            view.target = Some(target.to_string());
            view.from = from.and_then(|word| word.parse().ok());
            view.to = to.and_then(|word| word.parse().ok());
        }
        EventKind::Listener { listener, change } => {
            view.kind = api::EventKind::Listener;
            view.listener = Some(listener.to_string());
            view.lines = vec![change.clone()];
        }
        EventKind::Config { lines, adopted } => {
            view.adopted = Some(*adopted);
            view.lines.clone_from(lines);
        }
    }
    view
}

pub(crate) fn latency(totals: &Totals) -> api::Latency {
    let count: u64 = totals.latency.iter().sum();
    api::Latency {
        count,
        mean_us: totals.latency_sum_us.checked_div(count).unwrap_or(0),
        p50_us: quantile_us(&totals.latency, count, 50),
        p99_us: quantile_us(&totals.latency, count, 99),
    }
}

/// The latency that so many percent lie below, taken to be spread evenly within its bucket. What lies beyond the
/// last limit is told as that limit, as Prometheus' `histogram_quantile` does.
fn quantile_us(buckets: &[u64], count: u64, percent: u64) -> u64 {
    if count == 0 {
        return 0;
    }
    let rank = (u128::from(count) * u128::from(percent)).div_ceil(100);
    let (mut below, mut lower) = (0_u128, 0_u64);
    for (bucket, upper) in buckets.iter().zip(BUCKET_LIMITS_US) {
        let held = u128::from(*bucket);
        if below + held >= rank {
            let into = u128::from(upper - lower) * (rank - below) / held.max(1);
            return lower + u64::try_from(into).unwrap_or(0);
        }
        below += held;
        lower = upper;
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_has_its_word() {
        let standings = [
            Standing::Available,
            Standing::Draining,
            Standing::Disabled,
            Standing::Unresolved,
            Standing::Down(Reason::ProbeRefused),
            Standing::Ejected(Reason::ErrorShare),
        ];
        for standing in standings {
            assert_eq!(state(standing).as_str(), standing.as_str());
        }
        assert_eq!(Standing::WORDS, api::TargetState::WORDS);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let mut totals = Totals::default();
        assert_eq!(latency(&totals), api::Latency::default());
        // 99 between 50 and 100 µs, one beyond every limit.
        totals.latency[1] = 99;
        totals.latency[20] = 1;
        totals.latency_sum_us = 99 * 80 + 30_000_000;
        let seen = latency(&totals);
        assert_eq!((seen.count, seen.p50_us, seen.p99_us), (100, 75, 100));
        totals.latency[20] = 2;
        assert_eq!(latency(&totals).p99_us, 26_214_400);
        totals.latency = [u64::MAX / 21; 21];
        assert!(latency(&totals).p99_us <= 26_214_400);
    }
}

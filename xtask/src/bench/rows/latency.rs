//! What a request waits for the proxy when it is not in a hurry.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::load;
use crate::bench::measure::{Sample, Usage};
use crate::bench::open_loop::{Plan, Told};
use crate::bench::stand::Stand;
use crate::shell::Outcome;

/// A request not sent for so long is given up; at half of saturation none should be.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) const ROW: Row = Row {
    name: "latency",
    title: "Added latency at half of saturation",
    about: "64 connections, 128-byte body. First wrk finds what the peer can do at most; then requests are sent at half \
            of that, each at its time whether or not earlier ones were answered, and latency counts from that time (no \
            coordinated omission). The same rate is then sent to the origin directly, and its percentile subtracted.",
    variants: &Variant::only(Work::PLAIN),
    columns: &[
        Column { head: "added p99 ms", digits: 3 },
        Column { head: "added p50 ms", digits: 3 },
        Column { head: "requests/s", digits: 0 },
        Column { head: "p50 ms", digits: 3 },
        Column { head: "p99 ms", digits: 3 },
        Column { head: "p99.9 ms", digits: 3 },
        Column { head: "origin p50 ms", digits: 3 },
        Column { head: "origin p99 ms", digits: 3 },
    ],
    aims: &[Aim::Below(0, 1.0), Aim::OfBestPeer(0, 1.0)],
    measure,
    calls: None,
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let proxy = stand.start()?;
    load::check_answer(proxy.address, stand.work.body)?;
    stand.warm_up(proxy.address)?;
    let most = stand.load(proxy.address).run(stand.seconds)?;
    let per_second = (most.requests as f64 * 1e6 / most.duration_us as f64 / 2.0) as u64;
    let before = Usage::now(&proxy.process, stand.cores)?;
    let through = send(stand, proxy.address, per_second)?;
    let used = Usage::now(&proxy.process, stand.cores)?.since(&before, stand.cores)?;
    drop(proxy);
    let direct = send(stand, stand.origin.address, per_second)?;
    let ms = |told: &Told, share| told.latency.percentile_ms(share);
    let values = vec![
        ms(&through, 0.99) - ms(&direct, 0.99),
        ms(&through, 0.5) - ms(&direct, 0.5),
        per_second as f64,
        ms(&through, 0.5),
        ms(&through, 0.99),
        ms(&through, 0.999),
        ms(&direct, 0.5),
        ms(&direct, 0.99),
    ];
    let errors = [&through, &direct].map(|told| told.due() - told.good).iter().sum();
    Ok(Sample { values, busy: Some(used.busy), errors })
}

fn send(stand: &Stand<'_>, address: SocketAddr, per_second: u64) -> Outcome<Told> {
    let plan = Plan {
        address,
        per_second,
        length: Duration::from_secs(stand.seconds.into()),
        connections: stand.work.connections,
        body: stand.work.body as u64,
        patience: PATIENCE,
        routes: 0,
    };
    plan.run(stand.scratch, &stand.cores.load)
}

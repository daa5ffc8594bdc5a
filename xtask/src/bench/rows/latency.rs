//! What a request waits for the proxy when it is not in a hurry.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::load;
use crate::bench::measure::{Sample, Usage, Used};
use crate::bench::open_loop::{Plan, Told};
use crate::bench::peers::Proxy;
use crate::bench::stand::Stand;
use crate::shell::Outcome;

/// A request not sent for so long is given up; at half of saturation none should be.
const PATIENCE: Duration = Duration::from_secs(1);
/// How busy the core of origin and load generator may be: beyond it, one measures how they wait for each other.
const AT_EASE: f64 = 0.7;
/// How long a rate is tried.
const TRIAL: Duration = Duration::from_secs(1);

pub(crate) const ROW: Row = Row {
    name: "latency",
    title: "Added latency at half of saturation",
    about: "64 connections, 128-byte body. First wrk finds what the peer can do at most; then requests are sent at half \
            of that, each at its time whether or not earlier ones were answered, and latency counts from that time (no \
            coordinated omission). Where origin and load generator, who share a core, would be busier than 70 % by that, \
            the rate is lowered until they are not. The same rate is then sent to the origin directly, and its percentile \
            subtracted.",
    variants: &Variant::only(Work::PLAIN),
    columns: &[
        Column { head: "added p99 ms", digits: 3 },
        Column { head: "added p50 ms", digits: 3 },
        Column { head: "requests/s", digits: 0 },
        Column { head: "% of saturation", digits: 0 },
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
    let saturation = most.requests as f64 * 1e6 / most.duration_us as f64;
    let per_second = at_ease(stand, &proxy, (saturation / 2.0) as u64)?;
    let length = Duration::from_secs(stand.seconds.into());
    let (through, used) = send_through(stand, &proxy, per_second, length)?;
    drop(proxy);
    let direct = send(stand, stand.origin.address, per_second, length)?;
    let ms = |told: &Told, share| told.latency.percentile_ms(share);
    let values = vec![
        ms(&through, 0.99) - ms(&direct, 0.99),
        ms(&through, 0.5) - ms(&direct, 0.5),
        per_second as f64,
        per_second as f64 * 100.0 / saturation,
        ms(&through, 0.5),
        ms(&through, 0.99),
        ms(&through, 0.999),
        ms(&direct, 0.5),
        ms(&direct, 0.99),
    ];
    let errors = [&through, &direct].map(|told| told.due() - told.good).iter().sum();
    Ok(Sample { values, busy: Some(used.busy), errors })
}

/// The highest rate up to `wanted` at which origin and load generator are not the story.
fn at_ease(stand: &Stand<'_>, proxy: &Proxy, wanted: u64) -> Outcome<u64> {
    let mut rate = wanted;
    loop {
        let (_, used) = send_through(stand, proxy, rate, TRIAL)?;
        if used.busy.load_cores <= AT_EASE || rate < 1000 {
            return Ok(rate);
        }
        rate = (rate as f64 * AT_EASE / used.busy.load_cores * 0.95) as u64;
    }
}

fn send_through(
    stand: &Stand<'_>,
    proxy: &Proxy,
    per_second: u64,
    length: Duration,
) -> Outcome<(Told, Used)> {
    let before = Usage::now(&proxy.process, stand.cores)?;
    let told = send(stand, proxy.address, per_second, length)?;
    Ok((told, Usage::now(&proxy.process, stand.cores)?.since(&before, stand.cores)?))
}

fn send(stand: &Stand<'_>, address: SocketAddr, per_second: u64, length: Duration) -> Outcome<Told> {
    let plan = Plan {
        address,
        per_second,
        length,
        connections: stand.work.connections,
        body: stand.work.body as u64,
        patience: PATIENCE,
        routes: 0,
    };
    plan.run(stand.scratch, &stand.cores.load)
}

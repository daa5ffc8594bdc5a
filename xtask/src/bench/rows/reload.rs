//! What clients notice of a new configuration.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::load;
use crate::bench::measure::{Sample, Usage, median};
use crate::bench::open_loop::{Plan, Told};
use crate::bench::peers::Proxy;
use crate::bench::stand::Stand;
use crate::shell::Outcome;

/// Enough to see a stall of a millisecond, and far from saturation.
const PER_SECOND: u64 = 2000;
/// From one reload to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// A reload that is not in force by then has failed.
const LIMIT: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(2);

pub(crate) const ROW: Row = Row {
    name: "reload",
    title: "Reload of 10,000 routes under load",
    about: "2,000 requests/s over 64 connections, each at its time, while a changed configuration of 10,000 routes is \
            adopted every second (SIGHUP; SIGUSR2 with HAProxy as master and worker). The longest delay of any request \
            stands beside the longest in the same time without a reload. A request whose kept connection turns out \
            closed is sent again, as clients do, and its delay counts from the first time.",
    variants: &Variant::only(Work { routes: 10_000, reloads: true, ..Work::PLAIN }),
    columns: &[
        Column { head: "longest ms", digits: 1 },
        Column { head: "longest without, ms", digits: 1 },
        Column { head: "p99.9 ms", digits: 2 },
        Column { head: "p99.9 without, ms", digits: 2 },
        Column { head: "ms until in force", digits: 0 },
        Column { head: "sent again", digits: 0 },
        Column { head: "peak MiB", digits: 1 },
    ],
    aims: &[Aim::Below(0, 5.0), Aim::OfBestPeer(0, 1.0)],
    measure,
    calls: None,
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let proxy = stand.start()?;
    load::check_answer(proxy.address, stand.work.body)?;
    let plan = Plan {
        address: proxy.address,
        per_second: PER_SECOND,
        length: Duration::from_secs(u64::from(stand.seconds) + 1),
        connections: stand.work.connections,
        body: stand.work.body as u64,
        patience: LIMIT,
        routes: stand.work.routes,
    };
    let quiet = plan.run(stand.scratch, &stand.cores.load)?;
    let before = Usage::now(&proxy.process, stand.cores)?;
    let process = plan.start(stand.scratch, &stand.cores.load)?;
    sleep(INTERVAL / 2);
    let mut times = Vec::new();
    for generation in 1..=u64::from(stand.seconds) {
        let begun = Instant::now();
        times.push(reload(stand, &proxy, generation)?.as_secs_f64() * 1e3);
        sleep(INTERVAL.saturating_sub(begun.elapsed()));
    }
    let told = plan.finish(process)?;
    let used = Usage::now(&proxy.process, stand.cores)?.since(&before, stand.cores)?;
    let ms = |told: &Told| told.latency.percentile_ms(0.999);
    let values = vec![
        told.latency.max_ms(),
        quiet.latency.max_ms(),
        ms(&told),
        ms(&quiet),
        median(times.into_iter()),
        told.retried as f64,
        used.peak_mib,
    ];
    Ok(Sample { values, busy: Some(used.busy), errors: told.due() - told.good })
}

/// Writes the next configuration, asks for it, and waits until requests are served by it.
fn reload(stand: &Stand<'_>, proxy: &Proxy, generation: u64) -> Outcome<Duration> {
    stand.rewrite(proxy.address, generation)?;
    let asked = Instant::now();
    proxy.process.send(stand.peer.kind.reload_signal());
    while load::ask(proxy.address, "/generation").is_none_or(|body| body != generation.to_string().as_bytes())
    {
        if asked.elapsed() > LIMIT {
            return Err(format!(
                "generation {generation} is not in force: {}",
                proxy.process.printed().trim()
            ));
        }
        sleep(GLANCE);
    }
    Ok(asked.elapsed())
}

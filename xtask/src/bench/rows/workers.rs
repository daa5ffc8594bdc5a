//! What a second worker gains, and what sharing costs.

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::closed_loop::{self, Run};
use crate::bench::measure::Sample;
use crate::bench::stand::Stand;
use crate::shell::Outcome;

const WORK: Work = Work { connections: 128, shared_cores: true, ..Work::PLAIN };

pub(crate) const ROW: Row = Row {
    name: "workers",
    title: "One worker and two",
    about: "As http1 with 128 connections, the proxy free to run on two cores. On a machine of two cores origin and load \
            generator run on the same two, and what they take is written beside: requests/s then cannot double, and \
            CPU per request is the figure that says whether workers get into each other's way.",
    variants: &[
        Variant { label: "1 worker", work: WORK },
        Variant { label: "2 workers", work: Work { workers: 2, ..WORK } },
    ],
    columns: &[
        closed_loop::COST,
        Column { head: "requests/s", digits: 0 },
        Column { head: "cores used by the proxy", digits: 2 },
        Column { head: "cores used by the rest", digits: 2 },
        Column { head: "p50 ms", digits: 2 },
        Column { head: "p99 ms", digits: 2 },
        Column { head: "peak MiB", digits: 1 },
    ],
    aims: &[Aim::Growth(1.2)],
    measure,
    ..super::http1::ROW
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let Run { loaded, used } = closed_loop::run(stand)?;
    let (proxy_count, load_count) = (stand.cores.proxy.len() as f64, stand.cores.load.len() as f64);
    let proxy = used.busy.proxy_share * proxy_count;
    let rest = used.busy.load_cores * load_count - if used.busy.shared { proxy } else { 0.0 };
    let requests = loaded.requests as f64;
    let values = vec![
        used.cpu_us / requests,
        requests * 1e6 / loaded.duration_us as f64,
        proxy,
        rest,
        loaded.p50_us as f64 / 1e3,
        loaded.p99_us as f64 / 1e3,
        used.peak_mib,
    ];
    Ok(Sample { values, busy: Some(used.busy), errors: loaded.errors })
}

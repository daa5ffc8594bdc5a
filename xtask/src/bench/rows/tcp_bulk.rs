//! Layer 4, as many bytes as will go.

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::iperf;
use crate::bench::measure::{Sample, Usage};
use crate::bench::origin::Kind;
use crate::bench::stand::Stand;
use crate::shell::Outcome;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

pub(crate) const ROW: Row = Row {
    name: "tcp-bulk",
    title: "TCP relay, bulk",
    about: "iperf3 sends through the relay over four connections as fast as it can; sender and receiver share a core, so \
            Gbit/s say little and CPU per GiB says much. HAProxy splices, nginx copies through 256 KiB buffers. No probes.",
    variants: &Variant::only(Work { origin: Kind::Iperf, probes: false, ..Work::TCP }),
    columns: &[
        Column { head: "CPU ms/GiB", digits: 1 },
        Column { head: "Gbit/s per CPU", digits: 1 },
        Column { head: "Gbit/s", digits: 1 },
        Column { head: "peak MiB", digits: 1 },
    ],
    aims: &[Aim::OfBestPeer(0, 1.0)],
    measure,
    calls: None,
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let proxy = stand.start()?;
    if stand.warmup > 0 {
        iperf::send(stand, proxy.address, stand.warmup)?;
    }
    let before = Usage::now(&proxy.process, stand.cores)?;
    let sent = iperf::send(stand, proxy.address, stand.seconds)?;
    let used = Usage::now(&proxy.process, stand.cores)?.since(&before, stand.cores)?;
    let gbit = sent.bytes as f64 * 8.0 / 1e9;
    let values = vec![
        used.cpu_us / 1e3 / (sent.bytes as f64 / GIB),
        gbit / (used.cpu_us / 1e6),
        gbit / sent.seconds,
        used.peak_mib,
    ];
    Ok(Sample { values, busy: Some(used.busy), errors: 0 })
}

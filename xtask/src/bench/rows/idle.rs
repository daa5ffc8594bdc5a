//! What a client costs that is merely there.

use std::thread::sleep;
use std::time::Duration;

use super::{Aim, Column, Row, Variant, Work};
use crate::bench::measure::{Group, Sample};
use crate::bench::stand::Stand;
use crate::bench::{hold, load};
use crate::shell::Outcome;

/// Clients that keep their connection.
const CLIENTS: u32 = 10_000;
/// Room for so many in the proxy that holds none.
const FEW: usize = 256;
/// From the last request to the look at memory: buffers that are given back late are given back.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) const ROW: Row = Row {
    name: "idle",
    title: "10,000 idle keep-alive connections",
    about: "10,000 clients connect one after the other, each asks once and keeps its connection. Two seconds later the \
            resident memory of the proxy is read; the first figure is what it is beyond that of the same proxy with room \
            for few connections, for each of them (nginx sets its table of connections up at start, so that one with room \
            for many costs before anybody has come). Memory of the kernel is not in it.",
    variants: &Variant::only(Work { connections: CLIENTS, most_connections: 12_000, ..Work::PLAIN }),
    columns: &[
        Column { head: "KiB/connection", digits: 2 },
        Column { head: "resident MiB", digits: 1 },
        Column { head: "with few, MiB", digits: 1 },
        Column { head: "peak MiB", digits: 1 },
    ],
    aims: &[Aim::OfBestPeer(0, 1.0), Aim::OfBestPeer(1, 1.0)],
    measure,
    calls: None,
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let few = Work { most_connections: FEW, ..*stand.work };
    let (bare, _) = resident(&Stand { work: &few, ..*stand }, 0)?;
    let (full, errors) = resident(stand, CLIENTS)?;
    let each = full.rss_kib.saturating_sub(bare.rss_kib) as f64 / f64::from(CLIENTS);
    let mib = |kib: u64| kib as f64 / 1024.0;
    let values = vec![each, mib(full.rss_kib), mib(bare.rss_kib), mib(full.peak_kib)];
    Ok(Sample { values, busy: None, errors })
}

/// What a proxy that so many clients are connected to takes, and how many of them it lost.
fn resident(stand: &Stand<'_>, clients: u32) -> Outcome<(Group, u64)> {
    let proxy = stand.start()?;
    load::check_answer(proxy.address, stand.work.body)?;
    let held = hold::start(stand, proxy.address, clients)?;
    sleep(SETTLE);
    let group = Group::of(proxy.process.group())?;
    Ok((group, held.lost()?))
}

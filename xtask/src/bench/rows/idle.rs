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
/// From the last request to the look at memory: buffers that are given back late are given back.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) const ROW: Row = Row {
    name: "idle",
    title: "10,000 idle keep-alive connections",
    about: "10,000 clients connect one after the other, each asks once and keeps its connection. Two seconds later the \
            resident memory of the proxy is read; the first figure is what it grew by since it started, for each \
            connection (nginx sets its table of connections up at start, so look at the whole as well). Memory of the \
            kernel is not in it.",
    variants: &Variant::only(Work { connections: CLIENTS, most_connections: 12_000, ..Work::PLAIN }),
    columns: &[
        Column { head: "KiB/connection", digits: 2 },
        Column { head: "resident MiB", digits: 1 },
        Column { head: "before, MiB", digits: 1 },
        Column { head: "peak MiB", digits: 1 },
    ],
    aims: &[Aim::OfBestPeer(0, 1.0), Aim::OfBestPeer(1, 1.0)],
    measure,
    calls: None,
};

fn measure(stand: &Stand<'_>) -> Outcome<Sample> {
    let proxy = stand.start()?;
    load::check_answer(proxy.address, stand.work.body)?;
    let before = Group::of(proxy.process.group())?;
    let held = hold::start(stand, proxy.address, CLIENTS)?;
    sleep(SETTLE);
    let after = Group::of(proxy.process.group())?;
    let errors = held.lost()?;
    let grown = after.rss_kib.saturating_sub(before.rss_kib) as f64;
    let mib = |kib: u64| kib as f64 / 1024.0;
    let values =
        vec![grown / f64::from(CLIENTS), mib(after.rss_kib), mib(before.rss_kib), mib(after.peak_kib)];
    Ok(Sample { values, busy: None, errors })
}

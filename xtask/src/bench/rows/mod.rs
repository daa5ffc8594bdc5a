//! What is measured: one file for each row of the table in `docs/performance.md`.

mod body_16k;
mod body_1k;
mod body_1m;
mod http1;
mod http1_close;
mod http1_log;
mod idle;
mod latency;
mod reload;
mod routes;
mod start;
mod targets;
mod tcp_bulk;
mod tcp_close;
mod tcp_relay;
mod upload_16k;
mod upload_1m;
mod workers;

use super::measure::Sample;
use super::origin::Kind;
use super::stand::Stand;
use crate::shell::Outcome;

/// One kind of work, the same for every peer, and how it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// What the command line calls it; also the chart's file name.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What a reader must know to judge the figures.
    pub(crate) about: &'static str,
    /// Mostly one; several where the question is how a figure grows.
    pub(crate) variants: &'static [Variant],
    /// What `measure` gives; the first is the one that is compared and drawn. Less is better there.
    pub(crate) columns: &'static [Column],
    /// What has to come out.
    pub(crate) aims: &'static [Aim],
    /// One run of one peer.
    pub(crate) measure: fn(&Stand<'_>) -> Outcome<Sample>,
    /// One run under `strace`, where a request costs system calls that can be counted.
    pub(crate) calls: Option<fn(&Stand<'_>) -> Outcome<super::syscalls::Calls>>,
}

/// One size of a row's work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// What the table calls it; empty when there is but one.
    pub(crate) label: &'static str,
    pub(crate) work: Work,
}

/// One figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
}

/// A target of the row, judged on the medians of Evenkeel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// The figure in that column is at most so many times the best peer's, in every variant.
    OfBestPeer(usize, f64),
    /// The first figure of the last variant is at most so many times that of the first.
    Growth(f64),
    /// The figure in that column is below this, in every variant.
    Below(usize, f64),
}

/// What the proxy and those around it are set up to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// The proxy relays bytes and does not look into them.
    pub(crate) tcp: bool,
    /// One line for each request.
    pub(crate) access_log: bool,
    /// Targets are probed.
    pub(crate) probes: bool,
    /// Bytes in the body of an answer.
    pub(crate) body: usize,
    /// Bytes in the body of a request; 0: GET.
    pub(crate) upload: usize,
    /// Clients at once.
    pub(crate) connections: u32,
    /// A new client connection for each request.
    pub(crate) close: bool,
    /// Threads or processes of the proxy that move bytes.
    pub(crate) workers: usize,
    /// Addresses in the pool, all of them the one origin.
    pub(crate) targets: usize,
    /// Path prefixes that lead to the pool; 0: no routing.
    pub(crate) routes: usize,
    /// The configuration is exchanged while it runs.
    pub(crate) reloads: bool,
    /// Connections that the proxy must be able to hold.
    pub(crate) most_connections: usize,
    /// Proxy and load use the same two cores where there are no others.
    pub(crate) shared_cores: bool,
    pub(crate) origin: Kind,
}

/// Bytes from which on a body is large.
const BULK: usize = 256 * 1024;

impl Work {
    /// What most rows vary.
    pub(crate) const PLAIN: Self = Self {
        tcp: false,
        access_log: false,
        probes: true,
        body: 128,
        upload: 0,
        connections: 64,
        close: false,
        workers: 1,
        targets: 1,
        routes: 0,
        reloads: false,
        most_connections: 4000,
        shared_cores: false,
        origin: Kind::Nginx,
    };

    /// Layer 4.
    pub(crate) const TCP: Self = Self { tcp: true, ..Self::PLAIN };

    /// What it moves is large: peers are given the buffers and the splicing that pay there.
    pub(crate) fn is_bulk(&self) -> bool {
        self.body.max(self.upload) >= BULK || self.origin == Kind::Iperf
    }
}

impl Variant {
    /// The only one.
    pub(crate) const fn only(work: Work) -> [Self; 1] {
        [Self { label: "", work }]
    }
}

/// In the order of the table.
pub(crate) const ALL: &[Row] = &[
    http1::ROW,
    http1_log::ROW,
    http1_close::ROW,
    body_1k::ROW,
    body_16k::ROW,
    body_1m::ROW,
    upload_16k::ROW,
    upload_1m::ROW,
    latency::ROW,
    idle::ROW,
    workers::ROW,
    targets::ROW,
    routes::ROW,
    start::ROW,
    reload::ROW,
    tcp_relay::ROW,
    tcp_close::ROW,
    tcp_bulk::ROW,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rows_are_told_apart_and_can_run() {
        let mut seen = HashSet::new();
        for row in ALL {
            assert!(seen.insert(row.name), "{} twice", row.name);
            assert!(row.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(row.about.ends_with('.') && !row.aims.is_empty(), "{}", row.name);
            for work in row.variants.iter().map(|variant| variant.work) {
                assert!(work.connections > 0 && work.workers > 0 && work.targets > 0);
                assert!(!(work.tcp && work.access_log), "no peer template logs relayed connections");
            }
        }
    }

    #[test]
    fn aims_speak_of_columns_and_variants_that_are_there() {
        for row in ALL {
            for aim in row.aims {
                match *aim {
                    Aim::OfBestPeer(column, bound) | Aim::Below(column, bound) => {
                        assert!(column < row.columns.len() && bound > 0.0, "{}", row.name);
                    }
                    Aim::Growth(bound) => assert!(row.variants.len() > 1 && bound > 0.0, "{}", row.name),
                }
            }
        }
    }
}

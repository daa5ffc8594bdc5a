//! What is measured: one file for each row of the table in `docs/performance.md`.

mod body_16k;
mod body_1k;
mod body_1m;
mod http1;
mod http1_close;
mod http1_log;
mod tcp_close;
mod tcp_relay;

/// One kind of work, the same for every peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// What the command line calls it; also the chart's file name.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What a reader must know to judge the figures.
    pub(crate) about: &'static str,
    /// The proxy relays bytes and does not look into them.
    pub(crate) tcp: bool,
    /// One line for each request.
    pub(crate) access_log: bool,
    /// Bytes in the body of an answer.
    pub(crate) body: usize,
    /// Clients at once.
    pub(crate) connections: u32,
    /// A new client connection for each request.
    pub(crate) close: bool,
    /// The cost aimed at, as a multiple of the best peer's.
    pub(crate) aim: f64,
}

/// In the order of the table.
pub(crate) const ALL: &[Row] = &[
    http1::ROW,
    http1_log::ROW,
    http1_close::ROW,
    body_1k::ROW,
    body_16k::ROW,
    body_1m::ROW,
    tcp_relay::ROW,
    tcp_close::ROW,
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
            assert!(row.connections > 0 && row.aim > 0.0 && row.about.ends_with('.'));
            assert!(!(row.tcp && row.access_log), "no peer template logs relayed connections");
        }
    }
}

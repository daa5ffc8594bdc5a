//! Whether a request gets dearer as a pool grows.

use super::{Aim, Row, Variant, Work};

/// Probes are off: thousands of them a second are not what a request costs.
const WORK: Work = Work { targets: 10, probes: false, most_connections: 12_000, ..Work::PLAIN };

pub(crate) const ROW: Row = Row {
    name: "targets",
    title: "10, 1,000 and 10,000 targets",
    about: "As http1, round robin over a pool of 10 to 10,000 addresses (127.0.0.0/8, all of them one origin), with a \
            kept connection to each and no probes. Beside the choice of a target this pays for the caches of the \
            kernel, which has as many connections to know.",
    variants: &[
        Variant { label: "10 targets", work: WORK },
        Variant { label: "1,000 targets", work: Work { targets: 1000, ..WORK } },
        Variant { label: "10,000 targets", work: Work { targets: 10_000, ..WORK } },
    ],
    aims: &[Aim::Growth(1.2)],
    ..super::http1::ROW
};

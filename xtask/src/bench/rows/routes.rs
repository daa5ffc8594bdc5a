//! Whether a request gets dearer as routes are added.

use super::{Aim, Row, Variant, Work};

const WORK: Work = Work { routes: 10, ..Work::PLAIN };

pub(crate) const ROW: Row = Row {
    name: "routes",
    title: "10, 1,000 and 10,000 routes",
    about: "As http1, with 10 to 10,000 path prefixes that lead to the pool, asked for in turn: routes in Evenkeel, \
            `location` in nginx, a map of prefixes in HAProxy.",
    variants: &[
        Variant { label: "10 routes", work: WORK },
        Variant { label: "1,000 routes", work: Work { routes: 1000, ..WORK } },
        Variant { label: "10,000 routes", work: Work { routes: 10_000, ..WORK } },
    ],
    aims: &[Aim::Growth(1.2)],
    ..super::http1::ROW
};

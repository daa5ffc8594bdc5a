//! The row that every other one is a variation of.

use super::{Aim, Row, Variant, Work};
use crate::bench::closed_loop;

pub(crate) const ROW: Row = Row {
    name: "http1",
    title: "HTTP/1.1, keep-alive",
    about: "64 client connections, 128-byte body, access log off; connections kept open on both sides.",
    variants: &Variant::only(Work::PLAIN),
    columns: closed_loop::COLUMNS,
    aims: &[Aim::OfBestPeer(0, 0.85)],
    measure: closed_loop::measure,
    calls: Some(closed_loop::calls),
};

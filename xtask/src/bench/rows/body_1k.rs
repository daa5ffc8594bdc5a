//! A small page.

use super::{Aim, Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "body-1k",
    title: "HTTP/1.1, 1 KiB bodies",
    about: "64 client connections, kept open on both sides; every answer has 1 KiB.",
    variants: &Variant::only(Work { body: 1024, ..Work::PLAIN }),
    aims: &[Aim::OfBestPeer(0, 1.0)],
    ..super::http1::ROW
};

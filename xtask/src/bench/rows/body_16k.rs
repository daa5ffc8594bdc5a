//! A page, or a picture.

use super::{Aim, Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "body-16k",
    title: "HTTP/1.1, 16 KiB bodies",
    about: "64 client connections, kept open on both sides; every answer has 16 KiB.",
    variants: &Variant::only(Work { body: 16 * 1024, ..Work::PLAIN }),
    aims: &[Aim::OfBestPeer(0, 1.0)],
    ..super::http1::ROW
};

//! Bulk, the other way.

use super::{Row, Variant, Work};
use crate::bench::origin::Kind;

pub(crate) const ROW: Row = Row {
    name: "upload-1m",
    title: "HTTP/1.1, 1 MiB uploads",
    about: "16 client connections, kept open on both sides; every request is a POST of 1 MiB, which the origin reads to \
            the end and counts. nginx streams through large buffers; HAProxy splices.",
    variants: &Variant::only(Work {
        upload: 1024 * 1024,
        connections: 16,
        origin: Kind::Counting,
        ..Work::PLAIN
    }),
    ..super::upload_16k::ROW
};

//! Bulk: what moving the bytes costs.

use super::{Aim, Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "body-1m",
    title: "HTTP/1.1, 1 MiB bodies",
    about: "16 client connections, kept open on both sides; every answer has 1 MiB. nginx keeps to memory (no \
            temporary files) and has large buffers; HAProxy splices.",
    variants: &Variant::only(Work { body: 1024 * 1024, connections: 16, ..Work::PLAIN }),
    aims: &[Aim::OfBestPeer(0, 1.0)],
    ..super::http1::ROW
};

//! Clients that do not keep their connection.

use super::{Aim, Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "http1-close",
    title: "HTTP/1.1, a connection per request",
    about: "64 clients that open a new connection for every request (`Connection: close`), 128-byte body; \
            connections to the origin are kept.",
    variants: &Variant::only(Work { close: true, ..Work::PLAIN }),
    aims: &[Aim::OfBestPeer(0, 0.9)],
    ..super::http1::ROW
};

//! Layer 4, bytes on connections that last.

use super::{Aim, Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "tcp-relay",
    title: "TCP relay, requests on lasting connections",
    about: "64 client connections, each relayed to the origin as bytes; every request and its 128-byte answer cross \
            the relay once.",
    variants: &Variant::only(Work::TCP),
    aims: &[Aim::OfBestPeer(0, 1.0)],
    ..super::http1::ROW
};

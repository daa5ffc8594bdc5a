//! Layer 4, a connection to each side for every request.

use super::{Aim, Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "tcp-close",
    title: "TCP relay, a connection per request",
    about: "64 clients that open a new connection for every request; the relay opens one to the origin for each, so \
            requests/s are relayed connections/s.",
    variants: &Variant::only(Work { close: true, ..Work::TCP }),
    aims: &[Aim::OfBestPeer(0, 1.0)],
    ..super::http1::ROW
};

//! A form, or a picture sent in.

use super::{Aim, Row, Variant, Work};
use crate::bench::origin::Kind;

pub(crate) const ROW: Row = Row {
    name: "upload-16k",
    title: "HTTP/1.1, 16 KiB uploads",
    about: "64 client connections, kept open on both sides; every request is a POST of 16 KiB, which the origin reads to \
            the end and counts: a byte that is missing there is an error. nginx streams (`proxy_request_buffering off`).",
    variants: &Variant::only(Work { upload: 16 * 1024, origin: Kind::Counting, ..Work::PLAIN }),
    aims: &[Aim::OfBestPeer(0, 1.0)],
    ..super::http1::ROW
};

//! A page, or a picture.

use super::Row;

pub(crate) const ROW: Row = Row {
    name: "body-16k",
    title: "HTTP/1.1, 16 KiB bodies",
    about: "64 client connections, kept open on both sides; every answer has 16 KiB.",
    body: 16 * 1024,
    aim: 1.0,
    ..super::http1::ROW
};

//! A small page.

use super::Row;

pub(crate) const ROW: Row = Row {
    name: "body-1k",
    title: "HTTP/1.1, 1 KiB bodies",
    about: "64 client connections, kept open on both sides; every answer has 1 KiB.",
    body: 1024,
    aim: 1.0,
    ..super::http1::ROW
};

//! The row that every other one is a variation of.

use super::Row;

pub(crate) const ROW: Row = Row {
    name: "http1",
    title: "HTTP/1.1, keep-alive",
    about: "64 client connections, 128-byte body, access log off; connections kept open on both sides.",
    tcp: false,
    access_log: false,
    body: 128,
    connections: 64,
    close: false,
    aim: 0.85,
};

//! Bulk: what moving the bytes costs.

use super::Row;

pub(crate) const ROW: Row = Row {
    name: "body-1m",
    title: "HTTP/1.1, 1 MiB bodies",
    about: "16 client connections, kept open on both sides; every answer has 1 MiB. nginx keeps to memory (no \
            temporary files); HAProxy may splice.",
    body: 1024 * 1024,
    connections: 16,
    aim: 1.0,
    ..super::http1::ROW
};

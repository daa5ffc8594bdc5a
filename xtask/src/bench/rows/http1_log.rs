//! What a line of access log adds.

use super::Row;

pub(crate) const ROW: Row = Row {
    name: "http1-log",
    title: "HTTP/1.1, keep-alive, access log on",
    about: "As http1, with one line of access log for each request, written to a file: nginx buffers 64 KiB, as its \
            manual advises; HAProxy writes to its standard output; Evenkeel writes its text format.",
    access_log: true,
    ..super::http1::ROW
};

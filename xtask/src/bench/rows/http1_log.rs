//! What a line of access log adds.

use super::{Row, Variant, Work};

pub(crate) const ROW: Row = Row {
    name: "http1-log",
    title: "HTTP/1.1, keep-alive, access log on",
    about: "As http1, with one line of access log for each request, written to a file: nginx buffers 64 KiB, as its \
            manual advises; HAProxy writes to its standard output; Evenkeel writes its text format.",
    variants: &Variant::only(Work { access_log: true, ..Work::PLAIN }),
    ..super::http1::ROW
};

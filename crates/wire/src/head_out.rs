//! Writing heads: building blocks that append to a buffer and never allocate more than it grows by.

use crate::tables::{TOKEN, all_in, first_control};
use crate::{Fields, Kinds};

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Request line and fields as [`write_fields`]; further fields and [`end_head`] are the caller's.
pub fn write_request_head(out: &mut Vec<u8>, method: &str, target: &str, fields: &Fields<'_>, skip: Kinds) {
    write_request_line(out, method, target);
    write_fields(out, fields, skip);
}

/// Status line and fields as [`write_fields`]; further fields and [`end_head`] are the caller's.
pub fn write_response_head(out: &mut Vec<u8>, status: u16, reason: &[u8], fields: &Fields<'_>, skip: Kinds) {
    write_status_line(out, status, reason);
    write_fields(out, fields, skip);
}

/// `METHOD SP TARGET SP HTTP/1.1 CRLF`. Both parts must come from a parsed head, or be as strict.
#[inline]
pub fn write_request_line(out: &mut Vec<u8>, method: &str, target: &str) {
    out.reserve(method.len() + target.len() + 12);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// `HTTP/1.1 SP STATUS SP REASON CRLF`. Control characters in the reason become spaces.
#[inline]
pub fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    let digit = |place: u16| b'0' + (status / place % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
    write_text(out, reason);
    out.extend_from_slice(b"\r\n");
}

/// All fields that may be forwarded and whose kind is not in `skip`, in order, each as `name: value CRLF`.
///
/// Neighbours that are written so already are copied as one piece.
pub fn write_fields(out: &mut Vec<u8>, fields: &Fields<'_>, skip: Kinds) {
    let (mut from, mut to) = (0, 0);
    for entry in fields.entries {
        let (start, end) = (entry.name_at as usize, entry.line_end as usize);
        if entry.hop || skip.has(entry.kind) {
            continue;
        }
        let as_is = entry.value_at == entry.name_end + 2
            && entry.line_end == entry.value_end + 2
            && fields.buf[entry.name_end as usize + 1] == b' ';
        if as_is && start == to {
            to = end;
            continue;
        }
        out.extend_from_slice(&fields.buf[from..to]);
        (from, to) = (start, end);
        if !as_is {
            // An empty piece that ends where this line does not: the next one begins its own.
            (from, to) = (0, 0);
            push_line(out, entry.name(fields.buf), entry.value(fields.buf));
        }
    }
    out.extend_from_slice(&fields.buf[from..to]);
}

/// One field. Control characters in the value become spaces, so that nothing looked up elsewhere can end the line;
/// a field whose name is not a token is not written.
#[inline]
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if name.is_empty() || !all_in(name.as_bytes(), TOKEN) {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    write_text(out, value);
    out.extend_from_slice(b"\r\n");
}

/// `content-length: N CRLF`.
pub fn write_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    push_digits::<10>(out, length);
    out.extend_from_slice(b"\r\n");
}

/// `transfer-encoding: chunked CRLF`.
pub fn write_chunked(out: &mut Vec<u8>) {
    out.extend_from_slice(b"transfer-encoding: chunked\r\n");
}

/// A chunk's size line; the payload and a CRLF follow it. A size of 0 would end the body: use [`LAST_CHUNK`].
pub fn write_chunk_size(out: &mut Vec<u8>, size: u64) {
    push_digits::<16>(out, size);
    out.extend_from_slice(b"\r\n");
}

/// The blank line.
#[inline]
pub fn end_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Text without what may not stand in a line.
pub(crate) fn write_text(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let (clean, rest) = text.split_at(first_control(text, 0));
        out.extend_from_slice(clean);
        match rest {
            [] => return,
            [_, rest @ ..] => text = rest,
        }
        out.push(b' ');
    }
}

/// A number in base `BASE`, at most 16, lower-case.
pub(crate) fn push_digits<const BASE: u64>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while let Some(place) = first.checked_sub(1) {
        digits[place] = b"0123456789abcdef"[(number % BASE) as usize & 15];
        first = place;
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldKind, Limits, Parsed, Progress, Scratch, parse_request};

    fn copied(fields: &str, skip: Kinds) -> String {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let limits = Limits { head_bytes: 4_096, headers: 100, target_bytes: 100 };
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        match parse_request(bytes.as_bytes(), &limits, &mut progress, &mut scratch) {
            Ok(Parsed::Complete(head)) => {
                let mut out = Vec::new();
                write_fields(&mut out, &head.fields, skip);
                String::from_utf8(out).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_copied_in_canonical_form() {
        let host = Kinds::NONE.with(FieldKind::Host);
        for (fields, expected) in [
            ("", ""),
            ("A: b\r\n", "A: b\r\n"),
            ("A: b\r\nC: d\r\n", "A: b\r\nC: d\r\n"),
            ("A:b\r\nC: d\r\nE:\tf\r\n", "A: b\r\nC: d\r\nE: f\r\n"),
            ("A:  b \t\r\nC: d\r\n", "A: b\r\nC: d\r\n"),
            ("A: b \r\nC: d\t\r\n", "A: b\r\nC: d\r\n"),
            ("A:\r\nB: \r\nC: \t\r\n", "A: \r\nB: \r\nC: \r\n"),
            ("TE: x\r\nA: b\r\nTE: x\r\nTE: x\r\nC: d\r\nE: f\r\nTE: x\r\n", "A: b\r\nC: d\r\nE: f\r\n"),
            ("A:b\r\nTE: x\r\nC:d\r\n", "A: b\r\nC: d\r\n"),
            ("Content-Length: 0012\r\nA: b\r\n", "Content-Length: 12\r\nA: b\r\n"),
            ("content-length: 00\r\n", "content-length: 0\r\n"),
            ("aCcEpT: b\r\nAccept: c\r\n", "aCcEpT: b\r\nAccept: c\r\n"),
        ] {
            assert_eq!(copied(fields, host), expected, "{fields:?}");
            assert_eq!(copied(fields, Kinds::NONE), format!("Host: a\r\n{expected}"), "{fields:?}");
        }
        let skip = host.with(FieldKind::Accept) | Kinds::FORWARDED;
        assert_eq!(
            copied("Accept: a\r\nA: b\r\nForwarded: c\r\nX-Real-IP: d\r\nX-Forwarded-Port: 1\r\n", skip),
            "A: b\r\n"
        );
    }

    #[test]
    fn lines_and_numbers() {
        let mut out = Vec::new();
        write_request_line(&mut out, "GET", "/a?b");
        write_status_line(&mut out, 404, b"Not\r\nFound");
        write_status_line(&mut out, 200, b"");
        write_field(&mut out, "a", b"b\xff\tc");
        write_field(&mut out, "location", b"/x\r\nset-cookie: y\0\x7f");
        write_field(&mut out, "", b"x");
        write_field(&mut out, "a b", b"x");
        write_content_length(&mut out, 0);
        write_content_length(&mut out, u64::MAX);
        write_chunked(&mut out);
        for size in [0, 9, 10, 255, 1 << 31, u64::MAX] {
            write_chunk_size(&mut out, size);
        }
        end_head(&mut out);
        let expected = "GET /a?b HTTP/1.1\r\nHTTP/1.1 404 Not  Found\r\nHTTP/1.1 200 \r\na: b\\xff\tc\r\n\
            location: /x  set-cookie: y  \r\ncontent-length: 0\r\ncontent-length: 18446744073709551615\r\n\
            transfer-encoding: chunked\r\n0\r\n9\r\na\r\nff\r\n80000000\r\nffffffffffffffff\r\n\r\n";
        let expected = expected.escape_debug().to_string().replace("\\\\x", "\\x");
        assert_eq!(out.escape_ascii().to_string(), expected);
    }
}

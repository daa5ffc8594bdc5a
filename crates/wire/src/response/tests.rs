use super::*;
use crate::Kinds;
use crate::samples::{MALFORMED_RESPONSES, VALID_RESPONSES};

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 100, target_bytes: 0 };
const GET: Asked = Asked { method: Method::Get, upgrade: false };
const HEAD: Asked = Asked { method: Method::Head, upgrade: false };
const OFFER: Asked = Asked { method: Method::Get, upgrade: true };

fn with<T>(bytes: &[u8], asked: Asked, see: impl FnOnce(ResponseHead<'_>) -> T) -> Result<Parsed<T>, Reason> {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    Ok(match parse_response(bytes, &LIMITS, asked, &mut progress, &mut scratch)? {
        Parsed::Complete(head) => Parsed::Complete(see(head)),
        Parsed::Partial => Parsed::Partial,
    })
}

fn accept<T>(bytes: &[u8], asked: Asked, see: impl FnOnce(ResponseHead<'_>) -> T) -> T {
    match with(bytes, asked, see) {
        Ok(Parsed::Complete(seen)) => seen,
        other => panic!("{} of {}", other.map_or_else(Reason::as_str, |_| "partial"), bytes.escape_ascii()),
    }
}

fn refuse(text: &str, asked: Asked) -> Option<Reason> {
    with(text.as_bytes(), asked, |_| ()).err()
}

#[test]
fn malformed_responses_are_refused_whole_and_byte_by_byte() {
    assert!(MALFORMED_RESPONSES.len() >= 25);
    for (name, bytes) in MALFORMED_RESPONSES {
        assert_eq!(with(bytes, GET, |_| ()), Err(Reason::BadResponse), "{name}: {}", bytes.escape_ascii());
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        let refused = (0..=bytes.len()).find_map(|end| {
            match parse_response(&bytes[..end], &LIMITS, GET, &mut progress, &mut scratch) {
                Ok(Parsed::Partial) => None,
                Ok(Parsed::Complete(_)) => panic!("{name} was accepted"),
                Err(reason) => Some(reason),
            }
        });
        assert_eq!(refused, Some(Reason::BadResponse), "{name}");
    }
}

#[test]
fn valid_responses_read_the_same_split_at_every_byte() {
    for (name, bytes) in VALID_RESPONSES {
        let (whole, head_len) = accept(bytes, GET, |head| (format!("{head:?}"), head.head_len));
        for split in 0..head_len {
            let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
            let first = parse_response(&bytes[..split], &LIMITS, GET, &mut progress, &mut scratch);
            assert!(matches!(first, Ok(Parsed::Partial)), "{name} at {split}: {first:?}");
            let rest = parse_response(bytes, &LIMITS, GET, &mut progress, &mut scratch);
            assert!(
                matches!(rest, Ok(Parsed::Complete(head)) if format!("{head:?}") == whole),
                "{name} at {split}"
            );
        }
    }
}

#[test]
fn framing_by_status_method_and_fields() {
    use Framing::{Chunked, Length, None, UntilClose};
    const CL: &str = "Content-Length: 5\r\n";
    const TE: &str = "Transfer-Encoding: chunked\r\n";
    for (status, fields, asked, framing, keep_alive) in [
        ("1.1 200", CL, GET, Length(5), true),
        ("1.1 200", TE, GET, Chunked, true),
        ("1.1 200", "", GET, UntilClose, false),
        ("1.1 200", CL, HEAD, None, true),
        ("1.1 200", TE, HEAD, None, true),
        ("1.1 200", "", HEAD, None, true),
        ("1.1 205", "Content-Length: 0\r\n", GET, Length(0), true),
        ("1.1 304", CL, GET, None, true),
        ("1.1 304", TE, GET, None, true),
        ("1.1 304", "", GET, None, true),
        ("1.1 204", "", GET, None, true),
        ("1.1 204", "Content-Length: 0\r\n", GET, None, true),
        ("1.1 204", CL, GET, None, false),
        ("1.1 204", TE, GET, None, false),
        ("1.1 100", "", GET, None, true),
        ("1.1 100", "Content-Length: 0\r\n", GET, None, true),
        ("1.1 199", "", HEAD, None, true),
        ("1.1 200", "Content-Length: 5\r\nConnection: close\r\n", GET, Length(5), false),
        ("1.1 200", "Connection: keep-alive\r\n", GET, UntilClose, false),
        ("1.0 200", CL, GET, Length(5), false),
        ("1.0 200", "Content-Length: 5\r\nConnection: keep-alive\r\n", GET, Length(5), true),
        ("1.0 200", "", GET, UntilClose, false),
        ("1.1 200", CL, OFFER, Length(5), true),
        ("1.1 426", "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", GET, Length(5), true),
    ] {
        let text = format!("HTTP/{status} X\r\n{fields}\r\n");
        accept(text.as_bytes(), asked, |head| {
            assert_eq!(
                (head.framing, head.keep_alive, head.upgrade),
                (framing, keep_alive, Option::None),
                "{text}"
            );
        });
    }
}

#[test]
fn conflicts_are_refused_even_where_no_body_can_follow() {
    for status in ["100", "103", "200", "204", "304"] {
        for asked in [GET, HEAD] {
            for fields in [
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                "Content-Length: x\r\n",
                "Transfer-Encoding: gzip\r\n",
            ] {
                let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
                assert_eq!(refuse(&text, asked), Some(Reason::BadResponse), "{text}");
            }
        }
    }
}

#[test]
fn switching_protocols_needs_an_offer_and_a_protocol() {
    let answer = |version: &str, fields: &str| format!("HTTP/{version} 101 X\r\n{fields}\r\n");
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    accept(answer("1.1", fields).as_bytes(), OFFER, |head| {
        assert_eq!((head.status, head.upgrade, head.framing), (101, Some(&b"websocket"[..]), Framing::None));
        assert!(!head.keep_alive);
    });
    assert_eq!(refuse(&answer("1.1", fields), GET), Some(Reason::BadResponse));
    assert_eq!(refuse(&answer("1.0", fields), OFFER), Some(Reason::BadResponse));
    for fields in [
        "",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade:\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(refuse(&answer("1.1", fields), OFFER), Some(Reason::BadResponse), "{fields}");
    }
}

#[test]
fn every_status_of_three_digits_from_100_to_599() {
    for status in 0..=999 {
        let text = format!("HTTP/1.1 {status:03} X\r\nContent-Length: 0\r\n\r\n");
        let sound = (100..=599).contains(&status) && status != 101;
        assert_eq!(refuse(&text, GET).is_none(), sound, "{status}");
    }
}

#[test]
fn reasons_are_kept_as_they_are() {
    for (line, reason) in
        [("200 OK", "OK"), ("200 ", ""), ("200", ""), ("200  two  ", " two  "), ("404 a\tb", "a\tb")]
    {
        let text = format!("HTTP/1.1 {line}\r\n\r\n");
        accept(text.as_bytes(), GET, |head| assert_eq!(head.reason, reason.as_bytes()));
    }
}

#[test]
fn what_must_not_be_forwarded() {
    let text = "HTTP/1.1 200 OK\r\nConnection: close, X-A\r\nX-A: b\r\nKeep-Alive: x\r\nTransfer-Encoding: chunked\r\n\
                Set-Cookie: a\r\nTrailer: X-Sum\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\n\r\n";
    let kept = accept(text.as_bytes(), GET, |head| {
        let mut out = Vec::new();
        crate::write_response_head(&mut out, head.status, head.reason, &head.fields, Kinds::NONE);
        out
    });
    assert_eq!(kept.escape_ascii().to_string(), r"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nTrailer: X-Sum\r\n");
    let kept =
        |bytes: &[u8]| accept(bytes, GET, |head| head.fields.iter().filter(|field| !field.hop).count());
    assert_eq!(kept(b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n"), 0);
    assert_eq!(kept(b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n"), 1);
}

#[test]
fn limits_have_their_own_reasons() {
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert_eq!(refuse(&fields, GET), Some(Reason::TooManyHeaders));
    let endless = format!("HTTP/1.1 200 {}", "x".repeat(17 << 10));
    assert_eq!(refuse(&endless, GET), Some(Reason::HeadTooLarge));
}

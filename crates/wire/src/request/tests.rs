use super::*;
use crate::samples::{MALFORMED_REQUESTS, VALID_REQUESTS};
use crate::{Field, MAX_HEADERS};
use proptest::prelude::*;

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 100, target_bytes: 8 << 10 };

/// What `see` makes of the head that `bytes` begin with.
fn with<T>(
    bytes: &[u8],
    limits: &Limits,
    see: impl FnOnce(RequestHead<'_>) -> T,
) -> Result<Parsed<T>, Reason> {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    Ok(match parse_request(bytes, limits, &mut progress, &mut scratch)? {
        Parsed::Complete(head) => Parsed::Complete(see(head)),
        Parsed::Partial => Parsed::Partial,
    })
}

fn accept<T>(bytes: &[u8], see: impl FnOnce(RequestHead<'_>) -> T) -> T {
    match with(bytes, &LIMITS, see) {
        Ok(Parsed::Complete(seen)) => seen,
        other => panic!("{} of {}", other.map_or_else(Reason::as_str, |_| "partial"), bytes.escape_ascii()),
    }
}

fn refuse(bytes: &[u8], limits: &Limits) -> Option<Reason> {
    with(bytes, limits, |_| ()).err()
}

/// Lines for the fields, and the request around them.
fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").into_bytes()
}

#[test]
fn malformed_requests_are_refused_whole() {
    assert!(MALFORMED_REQUESTS.len() >= 60);
    for (name, bytes, reason) in MALFORMED_REQUESTS {
        assert_eq!(refuse(bytes, &LIMITS), Some(*reason), "{name}: {}", bytes.escape_ascii());
    }
}

#[test]
fn malformed_requests_are_refused_byte_by_byte_and_before_anything_is_accepted() {
    for (name, bytes, reason) in MALFORMED_REQUESTS {
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        let refused = (0..=bytes.len()).find_map(|end| {
            match parse_request(&bytes[..end], &LIMITS, &mut progress, &mut scratch) {
                Ok(Parsed::Partial) => None,
                Ok(Parsed::Complete(_)) => panic!("{name} was accepted"),
                Err(reason) => Some(reason),
            }
        });
        assert_eq!(refused, Some(*reason), "{name}: {}", bytes.escape_ascii());
    }
}

#[test]
fn a_bad_request_line_is_refused_without_waiting_for_the_rest() {
    let mut tried = 0;
    for (name, bytes, reason) in MALFORMED_REQUESTS {
        let in_line = [
            Reason::BadRequestLine,
            Reason::BadMethod,
            Reason::BadTarget,
            Reason::BadVersion,
            Reason::MethodRefused,
        ];
        if in_line.contains(reason) {
            let start = if bytes.starts_with(b"\r\n\r\n") { 2 } else { 0 };
            let end = bytes[start..]
                .windows(2)
                .position(|pair| pair == b"\r\n")
                .map_or(bytes.len(), |at| start + at + 2);
            assert_eq!(refuse(&bytes[..end], &LIMITS), Some(*reason), "{name}");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
    // Control characters are refused before the line has ended.
    assert_eq!(refuse(b"\x16\x03\x01", &LIMITS), Some(Reason::BadMethod));
    assert_eq!(refuse(b"GET / HTTP/1.1\r\nA\x01", &LIMITS), Some(Reason::BadHeaderName));
}

#[test]
fn valid_requests_read_the_same_split_at_every_byte() {
    for (name, bytes) in VALID_REQUESTS {
        let whole = accept(bytes, |head| format!("{head:?}"));
        let head_len = accept(bytes, |head| head.head_len);
        for split in 0..bytes.len() {
            let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
            let first = parse_request(&bytes[..split], &LIMITS, &mut progress, &mut scratch);
            assert_eq!(
                matches!(first, Ok(Parsed::Complete(_))),
                split >= head_len,
                "{name} at {split}: {first:?}"
            );
            if split < head_len {
                assert!(matches!(first, Ok(Parsed::Partial)), "{name} at {split}: {first:?}");
                let rest = parse_request(bytes, &LIMITS, &mut progress, &mut scratch);
                assert!(
                    matches!(rest, Ok(Parsed::Complete(head)) if format!("{head:?}") == whole),
                    "{name} at {split}"
                );
                assert_eq!(progress, Progress::new());
            }
        }
    }
}

#[test]
fn what_a_head_says() {
    let bytes = b"\r\nPOST /a?b HTTP/1.1\r\nHost: A.example:80\r\nContent-Length: 0012\r\nExpect: 100-continue\r\nX: \t y \r\n\r\nbody";
    accept(bytes, |head| {
        assert_eq!((head.method, head.method_text, head.target), (Method::Post, "POST", "/a?b"));
        assert_eq!(
            (head.host, head.host_name(), head.version),
            ("A.example:80", "A.example", Version::Http11)
        );
        assert_eq!((head.framing, head.keep_alive, head.expect_continue), (Framing::Length(12), true, true));
        assert_eq!((head.upgrade, head.head_len), (None, bytes.len() - 4));
        assert_eq!(head.fields.len(), 4);
        assert_eq!(head.fields.get(FieldKind::ContentLength), Some(&b"12"[..]));
        assert_eq!(head.fields.find("x"), Some(&b"y"[..]));
        assert_eq!(head.fields.find("z"), None);
        let last = Field { name: b"X", value: b"y", kind: FieldKind::Other, hop: false };
        assert_eq!(head.fields.iter().last(), Some(last));
    });
}

#[test]
fn targets_and_hosts() {
    for (line, host, target, name) in [
        ("GET / HTTP/1.1", "a", "/", "a"),
        ("GET //b/../c;d?e=\\ HTTP/1.1", "a", "//b/../c;d?e=\\", "a"),
        ("OPTIONS * HTTP/1.1", "a", "*", "a"),
        ("OPTIONS /x HTTP/1.1", "a", "/x", "a"),
        ("GET http://A:80 HTTP/1.1", "a:80", "/", "a:80"),
        ("GET HTTPS://a/b?c HTTP/1.1", "a", "/b?c", "a"),
        ("OPTIONS http://a HTTP/1.1", "a", "*", "a"),
        ("OPTIONS http://a/ HTTP/1.1", "a", "/", "a"),
        ("GET http://[::1]:8/ HTTP/1.1", "[::1]:8", "/", "[::1]:8"),
    ] {
        let bytes = format!("{line}\r\nHost: {host}\r\n\r\n");
        accept(bytes.as_bytes(), |head| assert_eq!((head.target, head.host), (target, name), "{line}"));
    }
    accept(b"GET / HTTP/1.0\r\n\r\n", |head| assert_eq!(head.host, ""));
    accept(b"GET http://a/b HTTP/1.0\r\n\r\n", |head| assert_eq!((head.host, head.target), ("a", "/b")));
}

#[test]
fn keep_alive_by_version_and_connection() {
    for (version, connection, keep) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: x,, close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Proxy-Connection: close\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Keep-Alive: timeout=5\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        accept(bytes.as_bytes(), |head| assert_eq!(head.keep_alive, keep, "{version} {connection}"));
    }
}

#[test]
fn expectations_need_http_1_1_and_a_body() {
    for (head, waits) in [
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\n", true),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", true),
        ("POST / HTTP/1.1\r\nContent-Length: 0\r\n", false),
        ("POST / HTTP/1.1\r\n", false),
        ("POST / HTTP/1.0\r\nContent-Length: 1\r\n", false),
    ] {
        let bytes = format!("{head}Host: a\r\nExpect: 100-Continue\r\n\r\n");
        accept(bytes.as_bytes(), |parsed| assert_eq!(parsed.expect_continue, waits, "{head}"));
    }
}

#[test]
fn upgrades() {
    for (fields, upgrade) in [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", Some("websocket")),
        ("Connection: keep-alive, upgrade\r\nUpgrade: a/1, b\r\n", Some("a/1, b")),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", Some("websocket")),
        ("Upgrade: websocket\r\n", None),
        ("Connection: Upgrade\r\n", None),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\n", None),
        ("Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", None),
        ("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", None),
        ("Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", None),
    ] {
        accept(&get(fields), |head| assert_eq!(head.upgrade, upgrade.map(str::as_bytes), "{fields}"));
    }
    let old = b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    accept(old, |head| assert_eq!(head.upgrade, None));
    for bad in ["a/", "/1", "a/1/2", ",", "a b", "a;b"] {
        let fields = format!("Connection: Upgrade\r\nUpgrade: {bad}\r\n");
        assert_eq!(refuse(&get(&fields), &LIMITS), Some(Reason::BadUpgrade), "{bad}");
    }
}

#[test]
fn hop_by_hop_matrix() {
    let hops = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Upgrade",
        "Proxy",
        "X_Forwarded_For",
        "x-forwarded_proto",
        "X_FORWARDED_ANYTHING",
        "X.Real.IP",
        "Content_Length",
        "Transfer_Encoding",
        "Transfer~Encoding",
        "Keep_Alive",
        "Proxy_Connection",
        "x_forwarded-",
        "X-Forwarded-A_B",
    ];
    let ends = [
        "Trailer",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Real-IP",
        "Forwarded",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Cache-Control",
        "Content-Type",
        "Content-Digest",
        "Content-Range",
        "Date",
        "Server",
        "Accept",
        "Origin",
        "Range",
        "Location",
        "WWW-Authenticate",
    ];
    let others = [
        "X-Any",
        "Content_Type",
        "Hosts",
        "ho-st",
        "Contents",
        "Tea",
        "Acc_ept",
        "X-Forwarded",
        "Connection2",
        "Proxy-X",
        "a",
    ];
    let hop_of = |name: &str, connection: &str| {
        accept(&get(&format!("Connection: {connection}\r\n{name}: x\r\n")), |head| {
            head.fields.iter().last().map(|field| field.hop)
        })
    };
    for (names, alone, nominated) in
        [(&hops[..], true, true), (&ends[..], false, false), (&others[..], false, true)]
    {
        for name in names {
            for cased in [(*name).to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(hop_of(&cased, "keep-alive"), Some(alone), "{cased}");
                assert_eq!(
                    hop_of(&cased, &format!("close , {name},,")),
                    Some(nominated),
                    "{cased} nominated"
                );
                assert_eq!(
                    hop_of(&cased, &format!("close, {name}x")),
                    Some(alone),
                    "{cased} almost nominated"
                );
            }
        }
    }
    // Framing and routing stay whatever is nominated.
    let bytes =
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Host, Content-Length\r\nContent-Length: 1\r\n\r\n";
    accept(bytes, |head| {
        let kept: Vec<_> = head.fields.iter().filter(|f| !f.hop).map(|f| f.kind).collect();
        assert_eq!(kept, [FieldKind::Host, FieldKind::ContentLength]);
    });
}

#[test]
fn aliases_decide_nothing() {
    accept(&get("Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 1.2.3.4\r\n"), |head| {
        assert_eq!(head.framing, Framing::None);
        assert!(head.fields.iter().skip(1).all(|field| field.hop && field.kind == FieldKind::Alias));
    });
}

#[test]
fn nominations_are_counted() {
    let names = |count: usize| (0..count).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
    accept(&get(&format!("Connection: close, {}\r\n", names(32))), |head| assert!(!head.keep_alive));
    let split = format!("Connection: {}\r\nConnection: y\r\n", names(32));
    assert_eq!(refuse(&get(&split), &LIMITS), Some(Reason::BadHeaderValue));
}

#[test]
fn limits_at_their_edges() {
    let target =
        |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1)).into_bytes();
    let small = Limits { target_bytes: 100, ..LIMITS };
    assert_eq!(refuse(&target(100), &small), None);
    assert_eq!(refuse(&target(101), &small), Some(Reason::TargetTooLong));
    // An endless target is refused once no version can save it, and named rightly when the method is to blame.
    assert_eq!(refuse(&[b"GET /", &[b'x'; 200][..]].concat(), &small), Some(Reason::TargetTooLong));
    assert_eq!(refuse(&[b'x'; 200], &small), Some(Reason::BadMethod));

    let fields = |count: usize| get(&"A: b\r\n".repeat(count - 1));
    let few = Limits { headers: 10, ..LIMITS };
    assert_eq!(refuse(&fields(10), &few), None);
    assert_eq!(refuse(&fields(11), &few), Some(Reason::TooManyHeaders));
    let many = Limits { headers: usize::MAX, ..LIMITS };
    assert_eq!(refuse(&fields(MAX_HEADERS), &many), None);
    assert_eq!(refuse(&fields(MAX_HEADERS + 1), &many), Some(Reason::TooManyHeaders));

    let sized = |len: usize| get(&format!("A: {}\r\n", "x".repeat(len - get("A: \r\n").len())));
    let tight = Limits { head_bytes: 500, ..LIMITS };
    assert_eq!(sized(500).len(), 500);
    assert_eq!(refuse(&sized(500), &tight), None);
    assert_eq!(refuse(&sized(501), &tight), Some(Reason::HeadTooLarge));
    assert_eq!(refuse(&sized(501)[..499], &tight), None);
    assert_eq!(refuse(&sized(501)[..500], &tight), Some(Reason::HeadTooLarge));
    // What follows a head does not count.
    assert_eq!(refuse(&[sized(500), vec![b'x'; 2_000]].concat(), &tight), None);
    let none = Limits { head_bytes: 0, headers: 0, target_bytes: 0 };
    assert_eq!(refuse(b"GET / HTTP/1.1\r\n\r\n", &none), Some(Reason::HeadTooLarge));
    let all = Limits { head_bytes: usize::MAX, headers: usize::MAX, target_bytes: usize::MAX };
    assert_eq!(refuse(&sized(500), &all), None);
}

#[test]
fn limits_hold_byte_by_byte() {
    let tight = Limits { head_bytes: 500, headers: 10, target_bytes: 100 };
    let line = "GET / HTTP/1.1\r\n";
    for (endless, reason, at) in [
        (format!("{line}A: {}", "b".repeat(1_000)), Reason::HeadTooLarge, 500),
        (format!("GET /{}", "x".repeat(1_000)), Reason::TargetTooLong, 100 + MAX_METHOD_BYTES + 10 + 1),
        (format!("{line}{}", "A: b\r\n".repeat(100)), Reason::TooManyHeaders, line.len() + 11 * 6),
        ("x".repeat(1_000), Reason::BadMethod, 100 + MAX_METHOD_BYTES + 10 + 1),
    ] {
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        let refused = (0..=endless.len()).find_map(|end| {
            let parsed = parse_request(&endless.as_bytes()[..end], &tight, &mut progress, &mut scratch);
            parsed.err().map(|reason| (reason, end))
        });
        assert_eq!(refused, Some((reason, at)));
    }
}

#[test]
fn a_head_in_single_bytes_costs_no_more_than_its_length() {
    // Every byte is looked at once while the head grows, and once more when it is whole.
    let bytes = get(&"Abcdef: ghijkl\r\n".repeat(99));
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    for end in 1..bytes.len() {
        let before = progress;
        assert!(matches!(
            parse_request(&bytes[..end], &LIMITS, &mut progress, &mut scratch),
            Ok(Parsed::Partial)
        ));
        assert!(progress.scanned + 1 >= end, "what was seen is remembered");
        assert!(progress.scanned >= before.scanned && progress.line_at >= before.line_at);
    }
}

#[test]
fn progress_of_longer_bytes_is_forgotten() {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    let long = get("A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    assert!(matches!(parse_request(&long[..70], &LIMITS, &mut progress, &mut scratch), Ok(Parsed::Partial)));
    assert_ne!(progress, Progress::new());
    let short = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(matches!(parse_request(short, &LIMITS, &mut progress, &mut scratch), Ok(Parsed::Complete(_))));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = refuse(&bytes, &LIMITS);
        crate::fuzzing::request(&bytes);
        crate::fuzzing::response(&bytes);
        crate::fuzzing::chunked(&bytes);
    }

    #[test]
    fn only_one_byte_ever_makes_a_name_or_value_bad(name in "[a-z]{1,20}", value in "[ -~]{0,20}", byte: u8, at in 0_usize..44) {
        let mut bytes = get(&format!("{name}: {value}\r\n"));
        let start = bytes.len() - 4 - value.len() - 2 - name.len();
        let at = (start + at).min(bytes.len() - 4);
        bytes.insert(at, byte);
        let in_value = at > start + name.len();
        let bad_value = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
        if in_value {
            prop_assert_eq!(refuse(&bytes, &LIMITS).is_some(), bad_value);
        } else if !byte.is_ascii_alphanumeric() && byte != b':' && !b"!#$%&'*+-.^_`|~".contains(&byte) {
            prop_assert!(refuse(&bytes, &LIMITS).is_some());
        }
    }
}

/// By hand: `cargo test --release -p evenkeel-wire -- --ignored --nocapture cost`. The best of many short runs, since
/// the machine has other work.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_a_head() {
    const RUNS: u32 = 200;
    const ROUNDS: u32 = 10_000;
    let best = |round: &mut dyn FnMut()| {
        let one = |_| {
            let begun = std::time::Instant::now();
            (0..ROUNDS).for_each(|_| round());
            begun.elapsed() / ROUNDS
        };
        (0..RUNS).map(one).min().unwrap()
    };
    let mut scratch = Scratch::new();
    let mut out = Vec::with_capacity(4_096);
    for name in ["smallest", "wrk", "curl", "browser", "body with a length", "websocket", "proxied before"] {
        let Some((_, bytes)) = VALID_REQUESTS.iter().find(|sample| sample.0 == name) else {
            panic!("no {name}")
        };
        let ours = best(&mut || {
            let mut progress = Progress::new();
            let parsed = parse_request(std::hint::black_box(bytes), &LIMITS, &mut progress, &mut scratch);
            assert!(matches!(std::hint::black_box(&parsed), Ok(Parsed::Complete(_))));
        });
        let mut progress = Progress::new();
        let Ok(Parsed::Complete(head)) = parse_request(bytes, &LIMITS, &mut progress, &mut scratch) else {
            panic!()
        };
        let client = Some(std::net::IpAddr::from([192, 0, 2, 17]));
        let forwarding = crate::Forwarding { client, proto: "http", host: head.host, trust: false };
        let written = best(&mut || {
            out.clear();
            crate::write_request_head(
                &mut out,
                head.method_text,
                head.target,
                &head.fields,
                forwarding.skip(),
            );
            crate::forwarded(&mut out, &head.fields, &forwarding);
            crate::end_head(&mut out);
            std::hint::black_box(&out);
        });
        let httparse = best(&mut || {
            let mut headers = [const { std::mem::MaybeUninit::uninit() }; 64];
            let mut oracle = httparse::Request::new(&mut []);
            let parsed = oracle.parse_with_uninit_headers(std::hint::black_box(bytes), &mut headers);
            assert!(std::hint::black_box(parsed).is_ok());
        });
        println!(
            "{name}: {} bytes, read {ours:?}, written {written:?}; httparse's tokens alone {httparse:?}",
            bytes.len()
        );
    }
}

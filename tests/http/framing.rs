//! Every framing of a body, up and down, for every version of a client: the same bytes arrive, and the connection
//! goes on exactly where it may.

use std::io::Write as _;

use evenkeel_testkit::{AfterScript, AnswerStyle, Evenkeel, Link, LinkPlan, Load, LoadPlan, Origin};
use evenkeel_testkit::{Response, Way, hash, judge};

use crate::support::{http, start};
use crate::talk::{Client, RawOrigin, says_close};

const SIZES: [usize; 5] = [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20];

/// A body in which no two stretches are alike.
fn body(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8 ^ seed).collect()
}

/// The chunked coding of a body, in chunks of every length from 1 to `longest`.
fn chunked(body: &[u8], longest: usize, trailers: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut size) = (body, longest);
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(size.min(rest.len()));
        out.extend(format!("{:X}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
        rest = later;
        size = if size == 1 { longest } else { size - size.div_ceil(3) };
    }
    out.extend(format!("0\r\n{trailers}\r\n").bytes());
    out
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Length,
    Chunked,
    ChunkedTrailers,
    UntilClose,
}

impl Form {
    fn message(self, first_lines: &str, body: &[u8]) -> Vec<u8> {
        let (fields, coded) = match self {
            Self::Length => (format!("content-length: {}\r\n", body.len()), body.to_vec()),
            Self::Chunked => ("transfer-encoding: chunked\r\n".into(), chunked(body, 40_000, "")),
            Self::ChunkedTrailers => {
                ("transfer-encoding: chunked\r\n".into(), chunked(body, 900, "x-sum: 1\r\nx-two: 2\r\n"))
            }
            Self::UntilClose => (String::new(), body.to_vec()),
        };
        [first_lines.as_bytes(), fields.as_bytes(), b"\r\n", &coded].concat()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Speaks {
    Http11,
    Http10,
    Http10KeepAlive,
}

impl Speaks {
    fn head(self, method: &str) -> String {
        let (version, more) = match self {
            Self::Http11 => ("1.1", ""),
            Self::Http10 => ("1.0", ""),
            Self::Http10KeepAlive => ("1.0", "connection: keep-alive\r\n"),
        };
        format!("{method} /framing HTTP/{version}\r\nhost: a.example\r\n{more}")
    }
}

#[test]
fn bodies_of_every_size_pass_in_every_framing_both_ways() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut exchanges = 0;
    for speaks in [Speaks::Http11, Speaks::Http10, Speaks::Http10KeepAlive] {
        let ups: &[Form] = match speaks {
            Speaks::Http11 => &[Form::Length, Form::Chunked, Form::ChunkedTrailers],
            _ => &[Form::Length],
        };
        for up in ups {
            for down in [Form::Length, Form::Chunked, Form::ChunkedTrailers, Form::UntilClose] {
                let mut client = Client::connect(proxy.listener_addr("web"));
                for size in SIZES {
                    let lasts = exchange(&origin, &mut client, speaks, *up, down, size);
                    exchanges += 1;
                    if !lasts {
                        client = Client::connect(proxy.listener_addr("web"));
                    }
                }
            }
        }
    }
    println!("framing: N={exchanges} exchanges, each byte-exact both ways");
    assert_eq!(exchanges, (3 + 1 + 1) * 4 * SIZES.len());
}

/// One request and its answer; whether the client's connection goes on.
fn exchange(origin: &Origin, client: &mut Client, speaks: Speaks, up: Form, down: Form, size: usize) -> bool {
    let case = format!("{speaks:?}, {up:?} up, {down:?} down, {size} bytes");
    let (sent, answered) = (body(size, 0x5a), body(size, 0xa5));
    let script = down.message("HTTP/1.1 200 OK\r\nx-origin: a\r\n", &answered);
    let after = if down == Form::UntilClose { AfterScript::Close } else { AfterScript::Keep };
    origin.once(|b| b.answer = AnswerStyle::Script(script, after));
    let request = up.message(&speaks.head("POST"), &sent);
    let mut stream = client.wire.stream().try_clone().unwrap();
    let answer = std::thread::scope(|scope| {
        scope.spawn(move || stream.write_all(&request));
        client.answer("POST")
    });
    let entry = origin.journal().last().unwrap();
    assert!(entry.complete, "{case}");
    assert_eq!((entry.body_bytes, entry.body_hash), (size as u64, hash(&sent)), "{case}");
    assert_eq!((answer.status, answer.body.len()), (200, size), "{case}");
    assert_eq!(hash(&answer.body), hash(&answered), "{case}");
    assert_framed(&answer, speaks, down, &case);
    let lasts = match speaks {
        Speaks::Http11 => true,
        Speaks::Http10 => false,
        Speaks::Http10KeepAlive => down == Form::Length,
    };
    assert_eq!(says_close(&answer), !lasts, "{case}");
    if lasts {
        let kept = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"));
        assert!(speaks == Speaks::Http11 || kept, "{case}: HTTP/1.0 is not told that the connection goes on");
    } else {
        client.assert_finished();
    }
    lasts
}

fn assert_framed(answer: &Response, speaks: Speaks, down: Form, case: &str) {
    let (length, coding) = (answer.header("content-length"), answer.header("transfer-encoding"));
    match (down, speaks) {
        (Form::Length, _) => {
            assert_eq!((length, coding), (Some(answer.body.len().to_string().as_str()), None), "{case}");
        }
        (_, Speaks::Http11) => assert_eq!((length, coding), (None, Some("chunked")), "{case}"),
        _ => assert_eq!((length, coding), (None, None), "{case}"),
    }
    let trailers: Vec<_> =
        answer.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let passed = down == Form::ChunkedTrailers && speaks == Speaks::Http11;
    let expected = if passed { vec![("x-sum", "1"), ("x-two", "2")] } else { vec![] };
    assert_eq!(trailers, expected, "{case}");
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let cases = [
        ("HEAD", "200 OK", "content-length: 5000\r\n", Some("5000")),
        ("HEAD", "200 OK", "transfer-encoding: chunked\r\n", None),
        ("HEAD", "200 OK", "", None),
        ("HEAD", "404 Not Found", "content-length: 7\r\n", Some("7")),
        ("GET", "204 No Content", "", None),
        ("DELETE", "204 No Content", "", None),
        ("GET", "304 Not Modified", "content-length: 99\r\n", Some("99")),
        ("GET", "304 Not Modified", "etag: \"x\"\r\n", None),
        ("HEAD", "304 Not Modified", "", None),
        ("HEAD", "204 No Content", "", None),
        ("GET", "200 OK", "content-length: 0\r\n", Some("0")),
    ];
    for (method, status, fields, length) in cases {
        let script = format!("HTTP/1.1 {status}\r\nx-origin: a\r\n{fields}\r\n");
        origin.once(|b| b.answer = AnswerStyle::Script(script.into_bytes(), AfterScript::Keep));
        client.send(format!("{method} / HTTP/1.1\r\nhost: a.example\r\n\r\n"));
        let answer = client.answer(method);
        let case = format!("{method}, {status}, {fields:?}");
        assert!(status.starts_with(&answer.status.to_string()), "{case}");
        assert_eq!((answer.body.len(), answer.header("content-length")), (0, length), "{case}");
        assert_eq!(answer.rest, b"", "{case}");
        assert!(!says_close(&answer), "{case}");
    }
    client.assert_usable();
    assert_eq!(origin.journal().connections(), 1, "each of them left the target's connection fit for use");
}

/// Bodies long enough to be spliced end where they end: what follows is the next message.
#[test]
fn large_bodies_do_not_swallow_what_follows() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let sent = body(3 << 20, 0x33);
    for form in [Form::Length, Form::Chunked, Form::Length] {
        let mut bytes = form.message("PUT /large HTTP/1.1\r\nhost: a\r\nx-answer-bytes: 2000000\r\n", &sent);
        bytes.extend(b"GET /small HTTP/1.1\r\nhost: a\r\nx-request-id: small\r\n\r\n");
        let mut stream = client.wire.stream().try_clone().unwrap();
        let writer = std::thread::spawn(move || stream.write_all(&bytes).is_ok());
        assert_eq!(client.answer("PUT").body.len(), 2_000_000, "{form:?}");
        assert_eq!(client.answer("GET").header("x-answer-id"), Some("small"), "{form:?}");
        assert!(writer.join().unwrap());
        let entries = origin.journal().take();
        let seen: Vec<_> = entries.iter().map(|e| (e.path.as_str(), e.body_bytes, e.complete)).collect();
        assert_eq!(seen, [("/large", 3 << 20, true), ("/small", 0, true)], "{form:?}");
        assert_eq!(entries[0].body_hash, hash(&sent), "{form:?}");
        assert_eq!(
            entries[0].connection, entries[1].connection,
            "{form:?}: the target's connection is reused"
        );
    }
}

/// A target may answer each piece before the next one is sent: neither direction waits for the other's end.
#[test]
fn both_directions_flow_at_once() {
    let target = RawOrigin::start(|_, wire| {
        if wire.head().is_err() {
            return;
        }
        let _ = wire.stream().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while let Ok(bytes) = wire.some() {
            let _ = wire.stream().write_all(&bytes);
        }
    });
    let proxy = start(&http(&[target.addr()], "[listener.web.timeouts]\nresponse = \"2s\"\nbody = \"2s\""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.wire.head().unwrap().word(1), "200");
    for n in 0..24 {
        let chunk = format!("8\r\nping {n:03}\r\n");
        client.send(&chunk);
        assert_eq!(client.wire.bytes(chunk.len()).unwrap(), chunk.as_bytes());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.wire.bytes(5).unwrap(), b"0\r\n\r\n");
    client.assert_closed();
}

#[test]
fn http_1_0_ends_with_its_answer_unless_it_asked_otherwise() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for turn in 0..3 {
        client.send("GET / HTTP/1.0\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n");
        let answer = client.answer("GET");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")), "turn {turn}");
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    let last = client.answer("GET");
    assert!(last.status == 200 && says_close(&last));
    client.assert_finished();
    let entry = origin.journal().last().unwrap();
    assert_eq!(entry.head.as_ref().unwrap().word(2), "HTTP/1.1", "targets are always asked in HTTP/1.1");
    assert_eq!(entry.header("host"), Some("app"), "without Host it is the pool's name");
    // What we answer ourselves keeps to the same rules.
    let routed = start(&format!(
        "{}[[listener.web.route]]\nwhen = {{ path = \"/own\" }}\nrespond = {{ status = 200, body = \"ours\" }}\n",
        http(&[origin.addr()], "")
    ));
    let mut client = Client::connect(routed.listener_addr("web"));
    client.send("GET /own HTTP/1.0\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n");
    let own = client.answer("GET");
    assert_eq!(own.text(), "ours");
    if says_close(&own) {
        client.assert_finished();
    } else {
        assert_eq!(own.header("connection"), Some("keep-alive"), "HTTP/1.0 has to be told either way");
        client.assert_usable();
    }
}

#[test]
fn connection_close_of_the_target_is_not_the_clients() {
    let origin = Origin::start("a");
    origin.set(|b| b.requests_per_connection = Some(1));
    let proxy = start(&http(&[origin.addr()], ""));
    let plan = LoadPlan { requests: Some(50), methods: vec!["GET", "POST", "HEAD"], ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[origin.journal()]).assert_all_answered("the target closes after each answer");
    assert_eq!(client.connections(), 1);
    assert_eq!(origin.journal().connections(), 50);
    origin.set(|b| b.answer = AnswerStyle::UntilClose);
    let plan = LoadPlan { requests: Some(50), answer_bytes: 30_000, ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[origin.journal()]).assert_all_answered("until the target's close");
    assert_eq!(client.connections(), 1);
}

#[test]
fn close_asked_by_the_client_is_obeyed_and_not_passed_on() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for turn in 1..=5 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
        let answer = client.answer("GET");
        assert!(answer.status == 200 && says_close(&answer));
        client.assert_finished();
        assert_eq!(origin.journal().last().unwrap().header("connection"), None, "turn {turn}");
    }
    assert!(origin.journal().connections() <= 2, "the target's connections are kept");
}

#[test]
fn a_chunked_body_passes_byte_by_byte_over_a_slow_link_both_ways() {
    let origin = Origin::start("a");
    let near = LinkPlan { up: one_byte_at_a_time(), ..LinkPlan::default() };
    let far = LinkPlan { down: one_byte_at_a_time(), ..LinkPlan::default() };
    let behind = Link::start(origin.addr(), far);
    let proxy = start(&http(&[behind.addr()], ""));
    let front = Link::start(proxy.listener_addr("web"), near);
    let script = Form::ChunkedTrailers.message("HTTP/1.1 200 OK\r\n", &body(30, 1));
    origin.once(|b| b.answer = AnswerStyle::Script(script, AfterScript::Keep));
    let mut client = Client::connect(front.addr());
    let hostile = "5;ext=\"a b\" ; c\r\nhello\r\n1\r\n \r\n006;x\r\nworld!\r\n00;last\r\nX-Sum: 1\r\n\r\n";
    client.send(format!("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{hostile}"));
    let answer = client.answer("PUT");
    assert_eq!(answer.body, body(30, 1));
    assert_eq!(answer.trailers.len(), 2);
    let entry = origin.journal().last().unwrap();
    assert_eq!((entry.body_bytes, entry.body_hash), (12, hash(b"hello world!")));
}

/// 99 bytes a second are one byte at a time.
fn one_byte_at_a_time() -> Way {
    Way { bandwidth: Some(99), ..Way::default() }
}

#[test]
fn chunked_bodies_pass_whatever_their_splits() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let payload = body(300, 7);
    let coded = chunked(&payload, 60, "X-Sum: 1\r\n");
    for step in [1, 2, 3, 5, 7, 16, 64, 1000] {
        for version in ["1.1", "1.0"] {
            split(&proxy, &origin, (&payload, &coded), version, step);
        }
    }
}

fn split(proxy: &Evenkeel, origin: &Origin, (payload, coded): (&[u8], &[u8]), version: &str, step: usize) {
    let script = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", coded].concat();
    origin.once(|b| b.answer = AnswerStyle::Script(script, AfterScript::Keep));
    let mut client = Client::connect(proxy.listener_addr("web"));
    if version == "1.0" {
        client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    } else {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        for piece in [head, coded].concat().chunks(step) {
            client.send(piece);
        }
    }
    let answer = client.answer("POST");
    assert_eq!(hash(&answer.body), hash(payload), "HTTP/{version}, pieces of {step}");
    if version == "1.1" {
        let entry = origin.journal().last().unwrap();
        assert_eq!(entry.body_hash, hash(payload), "pieces of {step}");
    }
}

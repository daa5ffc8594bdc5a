//! Every limit at its edge: one below, just so, and one beyond.

use std::io::Write as _;

use evenkeel_testkit::{AfterScript, AnswerStyle, Evenkeel, Origin};

use crate::support::{http, start};
use crate::talk::{Client, assert_quiet, says_close, verdict};

fn limited(origin: &Origin, limit: &str) -> Evenkeel {
    start(&http(&[origin.addr()], &format!("[listener.web.http]\n{limit}\n")))
}

/// A head of exactly so many bytes, its blank line included.
fn head_of(first_lines: &str, bytes: usize) -> String {
    let frame = format!("{first_lines}x-fill: \r\n\r\n");
    let head = format!("{first_lines}x-fill: {}\r\n\r\n", "x".repeat(bytes - frame.len()));
    assert_eq!(head.len(), bytes);
    head
}

/// Sends the bytes as they are and, on another connection, one by one; both get the same verdict.
#[track_caller]
fn assert_verdict(proxy: &Evenkeel, method: &str, bytes: &[u8], expected: (u16, &str), case: &str) {
    for at_once in [true, false] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let _ = if at_once { client.send(bytes) } else { client.drip(bytes) };
        let answer = client.answer(method);
        assert_eq!(verdict(&answer), expected, "{case}, at once: {at_once}");
        // Only a body that has come whole, and is too large all the same, leaves a place for another request.
        let lasts = !says_close(&answer);
        assert!(lasts == (expected.0 == 200) || expected.0 == 413, "{case}");
        if lasts {
            client.assert_usable();
        } else {
            client.assert_closed();
        }
    }
}

#[test]
fn heads_up_to_their_limit_pass() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_head_bytes = \"2KiB\"");
    let too_large = (431, "head-too-large");
    for (bytes, expected) in [(2047, (200, "-")), (2048, (200, "-")), (2049, too_large), (10_000, too_large)]
    {
        let head = head_of("GET / HTTP/1.1\r\nhost: a\r\n", bytes);
        assert_verdict(&proxy, "GET", head.as_bytes(), expected, &format!("{bytes} bytes"));
    }
    // A head that is too large is refused when that is certain, not when it ends.
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx-fill: {}", "x".repeat(2100)));
    assert_eq!(verdict(&client.answer("GET")), too_large);
}

#[test]
fn heads_larger_than_a_buffer_pass_below_a_larger_limit() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_head_bytes = \"200KiB\"");
    let limit = 200 * 1024;
    for (bytes, expected) in
        [(limit - 1, (200, "-")), (limit, (200, "-")), (limit + 1, (431, "head-too-large"))]
    {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(head_of("GET / HTTP/1.1\r\nhost: a\r\n", bytes));
        assert_eq!(verdict(&client.answer("GET")), expected, "{bytes} bytes");
    }
    let seen = origin.journal().last().unwrap();
    let frame = "GET / HTTP/1.1\r\nhost: a\r\nx-fill: \r\n\r\n".len();
    assert_eq!(seen.header("x-fill").map(str::len), Some(limit - frame));
}

#[test]
fn rule_07_fields_are_counted() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_headers = 20\nmax_head_bytes = \"1MiB\"");
    let too_many = (431, "too-many-headers");
    for (fields, expected) in
        [(19, (200, "-")), (20, (200, "-")), (21, too_many), (22, too_many), (10_000, too_many)]
    {
        for name in ["x", "cookie", "connection"] {
            let more = format!("{name}: a\r\n").repeat(fields - 1);
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n");
            if fields < 100 {
                assert_verdict(
                    &proxy,
                    "GET",
                    request.as_bytes(),
                    expected,
                    &format!("{fields} times {name}"),
                );
            } else {
                let mut client = Client::connect(proxy.listener_addr("web"));
                client.send(request);
                assert_eq!(verdict(&client.answer("GET")), expected, "{fields} times {name}");
            }
        }
    }
}

#[test]
fn targets_up_to_their_limit_pass() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_target_bytes = 100");
    let too_long = (414, "target-too-long");
    for (bytes, expected) in [(99, (200, "-")), (100, (200, "-")), (101, too_long), (5_000, too_long)] {
        for start in ["/", "/?"] {
            let target = format!("{start}{}", "x".repeat(bytes - start.len()));
            let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_verdict(&proxy, "GET", request.as_bytes(), expected, &format!("{bytes} bytes"));
        }
    }
    // Not a line end yet, and too long for certain.
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(format!("GET /{}", "x".repeat(200)));
    assert_eq!(verdict(&client.answer("GET")), too_long);
    // A path grows by its canonical form; what was within the limit stays served.
    let mut client = Client::connect(proxy.listener_addr("web"));
    assert_eq!(client.get(&format!("/{}", "|".repeat(99))).status, 200);
    assert_eq!(origin.journal().last().unwrap().path.len(), 1 + 3 * 99);
}

#[test]
fn bodies_up_to_their_limit_pass_in_both_framings() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_body_bytes = 1000");
    for (bytes, expected) in [(999, (200, "-")), (1000, (200, "-")), (1001, (413, "body-too-large"))] {
        let body = "b".repeat(bytes);
        let length = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n{body}");
        assert_verdict(&proxy, "POST", length.as_bytes(), expected, &format!("{bytes} bytes by length"));
        for chunk in [1000, 100, 7] {
            let chunks = body.as_bytes().chunks(chunk);
            let coded: String =
                chunks.map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c))).collect();
            let request =
                format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{coded}0\r\n\r\n");
            assert_verdict(
                &proxy,
                "POST",
                request.as_bytes(),
                expected,
                &format!("{bytes} in chunks of {chunk}"),
            );
        }
    }
    assert_quiet(&proxy);
    // A declared length is refused before a byte of the body, and of the request, has gone anywhere.
    let before = origin.journal().len();
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n");
    assert_eq!(verdict(&client.answer("POST")), (413, "body-too-large"));
    assert_eq!(origin.journal().len(), before);
    let entries = origin.journal().entries();
    assert!(entries.iter().all(|entry| entry.body_bytes <= 1000), "more than the limit was forwarded");
}

#[test]
fn a_body_limit_of_nothing_admits_what_has_no_body() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_body_bytes = 0");
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    for (rest, expected) in [
        ("\r\n", (200, "-")),
        ("content-length: 0\r\n\r\n", (200, "-")),
        ("transfer-encoding: chunked\r\n\r\n0\r\n\r\n", (200, "-")),
        ("content-length: 1\r\n\r\nx", (413, "body-too-large")),
        ("transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", (413, "body-too-large")),
    ] {
        assert_verdict(&proxy, "POST", format!("{head}{rest}").as_bytes(), expected, rest);
    }
}

#[test]
fn heads_of_answers_beyond_the_limits_are_a_502() {
    let origin = Origin::start("a");
    let proxy = limited(&origin, "max_head_bytes = \"2KiB\"\nmax_headers = 20");
    let first = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n";
    let bad = (502, "bad-response");
    for (bytes, expected) in [(2047, (200, "-")), (2048, (200, "-")), (2049, bad), (100_000, bad)] {
        let head = head_of(first, bytes);
        origin.once(|b| b.answer = AnswerStyle::Script(head.into_bytes(), AfterScript::Keep));
        let mut client = Client::connect(proxy.listener_addr("web"));
        assert_eq!(verdict(&client.get("/")), expected, "{bytes} bytes");
        client.assert_usable();
    }
    for (fields, expected) in [(19, (200, "-")), (20, (200, "-")), (21, bad), (90, bad)] {
        let head = format!("{first}{}\r\n", "x: a\r\n".repeat(fields - 1));
        origin.once(|b| b.answer = AnswerStyle::Script(head.into_bytes(), AfterScript::Keep));
        let mut client = Client::connect(proxy.listener_addr("web"));
        assert_eq!(verdict(&client.get("/")), expected, "{fields} fields");
    }
    // Interim heads count for themselves.
    let hint = format!("HTTP/1.1 103 Hint\r\nlink: {}\r\n\r\n", "x".repeat(1900)).repeat(3);
    let script = format!("{hint}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    origin.once(|b| b.answer = AnswerStyle::Script(script.into_bytes(), AfterScript::Keep));
    let answer = Client::connect(proxy.listener_addr("web")).get("/");
    assert_eq!((answer.status, answer.interim.len()), (200, 3));
}

#[test]
fn rule_05_a_megabyte_of_head_costs_no_memory() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    Client::connect(proxy.listener_addr("web")).assert_usable();
    let before = proxy.rss_bytes();
    let mut held: Vec<Client> = (0..50).map(|_| Client::connect(proxy.listener_addr("web"))).collect();
    for client in &mut held {
        let mut stream = client.wire.stream().try_clone().unwrap();
        std::thread::spawn(move || {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ");
            stream.write_all(&vec![b'x'; 1 << 20])
        });
    }
    for client in &mut held {
        assert_eq!(verdict(&client.answer("GET")), (431, "head-too-large"));
    }
    let grown = proxy.rss_bytes().saturating_sub(before);
    println!("fifty heads of a megabyte: {} KiB more memory", grown / 1024);
    assert!(grown < 8 << 20, "{grown} bytes more for 50 MiB of heads");
}

//! The rules of hardening, each by its sharpest case where no other story has it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Cause, Entry, Launch, Load, LoadPlan, Origin, have, judge, skip, wait_until};

use crate::support::{BIN, http, start};
use crate::talk::{Client, PATIENCE, RawOrigin, assert_quiet, get, says_close, verdict};

/// The classics of request smuggling: whoever reads them otherwise than we do executes `/smuggled`.
#[test]
fn rule_02_framing_is_decided_once() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let hidden = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = hidden.len();
    let both = [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n0\r\n\r\n{hidden}"),
        format!("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n{hidden}"),
        format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("content-length: 0\r\ncontent-length: {length}\r\n\r\n{hidden}"),
        format!("content-length: 0, {length}\r\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n0;\n\r\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n0\n\n{hidden}"),
        format!("transfer-encoding: chunked\r\n\r\n0\r\n{hidden}"),
    ];
    for (n, rest) in both.iter().enumerate() {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("POST /{n} HTTP/1.1\r\nhost: a\r\n{rest}"));
        let refusal = client.answer("POST");
        assert_eq!((refusal.status, says_close(&refusal)), (400, true), "{rest:?}");
        client.assert_closed();
    }
    let executed: Vec<_> = origin.journal().entries().into_iter().filter(Entry::executed).collect();
    assert!(executed.is_empty(), "{executed:#?}");
    // In HTTP/1.0 no body is delimited by the close of a request: without a length there is none.
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(format!("POST /old HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n{hidden}"));
    assert_eq!(client.answer("POST").status, 200);
    assert_eq!(client.answer("GET").header("x-origin"), Some("a"), "an honest second request");
    assert_eq!(origin.journal().entries().iter().map(|entry| entry.body_bytes).sum::<u64>(), 0);
}

/// Declared and delivered lengths agree at every size around a buffer's edge, or the message is broken off.
#[test]
fn rule_02_declared_length_is_delivered_length() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for declared in [1_usize, 2, 16_383, 16_384, 16_385, 200_000] {
        for delivered in [0, declared / 2, declared - 1] {
            let mut client = Client::connect(proxy.listener_addr("web"));
            client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {declared}\r\n\r\n"));
            client.send(vec![b'x'; delivered]);
            client.finish();
            let (bytes, _) = client.rest();
            assert!(!bytes.starts_with(b"HTTP/1.1 2"), "{delivered} of {declared} were good enough");
        }
    }
    assert_quiet(&proxy);
    wait_until("the target's end of each", PATIENCE, || origin.open_connections() == 0);
    assert!(origin.journal().entries().iter().all(|entry| !entry.complete));
}

#[test]
fn rule_04_an_unread_body_ends_the_connection() {
    let origin = Origin::start("a");
    let nobody = evenkeel_testkit::reserve_port();
    let full = "limits = { connections = 1, pending = 0 }";
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    // Nobody there; nobody free; too large: refused without a look at the body.
    for (config, status) in [
        (http(&[nobody.addr()], ""), 503),
        (http(&[origin.addr()], full), 503),
        (http(&[origin.addr()], "[listener.web.http]\nmax_body_bytes = 10"), 413),
    ] {
        let proxy = start(&config);
        let mut first = Client::connect(proxy.listener_addr("web"));
        first.send("POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n");
        if config.contains(full) {
            let before = origin.journal().len();
            wait_until("the first one", PATIENCE, || {
                origin.journal().len() > before || crate::talk::in_flight(&proxy) == 1
            });
        }
        for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
            let mut client = Client::connect(proxy.listener_addr("web"));
            let chunk = if framing.starts_with('t') { "3e8\r\n" } else { "" };
            client.send(format!("POST /second HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{chunk}{smuggled}"));
            let refusal = client.answer("POST");
            assert_eq!((refusal.status, says_close(&refusal)), (status, true), "{framing}");
            client.send(smuggled.repeat(2));
            client.assert_closed();
        }
    }
    assert!(origin.journal().entries().iter().all(|entry| entry.path != "/smuggled"));
}

#[test]
fn rule_05_names_are_tokens_and_nothing_else() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for byte in 0..=255_u8 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let head = [b"GET / HTTP/1.1\r\nhost: a\r\nx", &[byte][..], b"y: z\r\n\r\n"].concat();
        client.send(head);
        let answer = client.answer("GET");
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        // A colon ends the name, and what follows is the value.
        let expected = if token || byte == b':' { 200 } else { 400 };
        assert_eq!(answer.status, expected, "byte {byte:#04x}: {:?}", verdict(&answer));
    }
    for byte in 0..=255_u8 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send([b"GET / HTTP/1.1\r\nhost: a\r\nx: y", &[byte][..], b"z\r\n\r\n"].concat());
        let control = byte < b' ' && byte != b'\t' || byte == 0x7f;
        assert_eq!(
            client.answer("GET").status,
            if control { 400 } else { 200 },
            "byte {byte:#04x} in a value"
        );
    }
}

/// One attacker's byte must not cost what twenty honest ones do: many fields, many nominations, many dots.
#[test]
fn rule_08_costly_requests_cost_little() {
    let origin = Origin::start("a");
    let routes =
        "[[listener.web.route]]\nwhen = { host = \"*.a.example\", path = \"/a/*/c/**\" }\npool = \"app\"\n";
    let proxy = start(&http(&[origin.addr()], routes));
    let honest = get("/a");
    let names: String = (0..32).map(|n| format!("n{n},")).collect();
    let fields: String = (0..90).map(|n| format!("n{n}: v\r\n")).collect();
    let costly = [
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {}\r\n{fields}\r\n", names.trim_end_matches(',')),
        get(&format!("/a{}", "/a/..".repeat(1_000))),
        get(&format!("/{}", "%61".repeat(2_000))),
        format!("GET /a/b/c/d HTTP/1.1\r\nhost: {}a.example\r\n\r\n", "x.".repeat(100)),
        get(&format!("/?{}", "a=b&".repeat(1_500))),
    ];
    let per_byte = |request: &str| {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let (before, rounds) = (proxy.cpu_seconds(), 60_000 / request.len() + 20);
        for _ in 0..rounds {
            client.send(request);
            assert_eq!(client.answer("GET").status, 200);
        }
        (proxy.cpu_seconds() - before) / (rounds * request.len()) as f64
    };
    // A hundredth of a second is the clock's step, so the honest one is measured over many.
    let honest = (0..3).map(|_| per_byte(&honest)).fold(1e-9_f64, f64::max);
    for request in &costly {
        let cost = per_byte(request);
        println!("rule 8: {:.1} times an honest byte: {request:.40}", cost / honest);
        assert!(cost <= 20.0 * honest, "{cost} instead of {honest}: {request:.60}");
    }
}

#[test]
fn rule_14_lengths_at_the_edges_of_integers() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let liar = RawOrigin::start(|_, wire| {
        if let Ok(head) = wire.head() {
            let length = head.word(1).trim_start_matches('/');
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nabc");
            let _ = wire.stream().write_all(answer.as_bytes());
        }
    });
    let lying = start(&http(&[liar.addr()], ""));
    let edges: [u128; 10] = [
        (1 << 31) - 1,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        (1 << 62) - 1,
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        (1 << 64) - 1,
        1 << 64,
    ];
    for length in edges {
        let fits = length < 1 << 63;
        // As the length of a request: taken, and missed when it does not come.
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nabc"));
        client.finish();
        let (bytes, _) = client.rest();
        assert_eq!(
            bytes.starts_with(b"HTTP/1.1 400"),
            !fits,
            "{length}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        assert!(!bytes.starts_with(b"HTTP/1.1 2"), "{length}");
        // As the size of a chunk.
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\nabc"
        ));
        client.finish();
        let (bytes, _) = client.rest();
        assert_eq!(bytes.starts_with(b"HTTP/1.1 400"), !fits, "chunk of {length}");
        // As the length of an answer: three bytes of it come, and then the end.
        let mut client = Client::connect(lying.listener_addr("web"));
        client.send(get(&format!("/{length}")));
        let (bytes, end) = if fits { client.rest() } else { (client.answer("GET").raw, Cause::Closed) };
        let expected: &[u8] = if fits { b"HTTP/1.1 200" } else { b"HTTP/1.1 502" };
        assert!(bytes.starts_with(expected), "{length}, {end:?}: {:?}", String::from_utf8_lossy(&bytes));
    }
    // Sums of two maxima: what is left of one chunk and the size of the next.
    let most = format!("{:x}", i64::MAX);
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n{most}\r\nb"
    ));
    client.finish();
    assert!(!client.rest().0.starts_with(b"HTTP/1.1 2"));
    assert_eq!(proxy.admin_json("/api/v1/status")["panics"], 0);
    assert_quiet(&proxy);
    Client::connect(proxy.listener_addr("web")).assert_usable();
}

#[test]
fn rule_14_a_body_limit_is_met_by_sums_of_chunks() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], "[listener.web.http]\nmax_body_bytes = 100"));
    for sizes in [vec![100], vec![99, 1], vec![1; 100], vec![60, 60], vec![100, 1], vec![i64::MAX as usize]] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let mut request = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for size in &sizes {
            let sent = vec![b'x'; (*size).min(200)];
            request.extend([format!("{size:x}\r\n").as_bytes(), &sent, b"\r\n"].concat());
        }
        request.extend(b"0\r\n\r\n");
        client.send(request);
        let total = sizes.iter().fold(0_usize, |sum, size| sum.saturating_add(*size));
        let expected = if total <= 100 { (200, "-") } else { (413, "body-too-large") };
        assert_eq!(verdict(&client.answer("POST")), expected, "{sizes:?}");
    }
}

#[test]
fn rule_15_running_out_of_descriptors_stops_no_loop() {
    if !have("prlimit") {
        skip!("prlimit is not installed");
    }
    let origin = Origin::start("a");
    let proxy = Launch::new(BIN, &http(&[origin.addr()], "")).wrap(&["prlimit", "--nofile=64:64"]).start();
    let addr = proxy.listener_addr("web");
    let mut early = Client::connect(addr);
    early.assert_usable();
    let held: Vec<Client> = (0..100).map(|_| Client::connect(addr)).collect();
    // Who was in is served all the while, and waiting for descriptors costs no CPU to speak of.
    let (begun, before) = (Instant::now(), proxy.cpu_seconds());
    while begun.elapsed() < Duration::from_millis(1_000) {
        early.assert_usable();
        std::thread::sleep(Duration::from_millis(50));
    }
    let busy = (proxy.cpu_seconds() - before) / begun.elapsed().as_secs_f64();
    println!("rule 15: {:.0} % of a CPU without descriptors", 100.0 * busy);
    assert!(busy < 0.5, "the accept loops spin: {:.0} % of a CPU", 100.0 * busy);
    drop(held);
    // And the loops resume by themselves.
    let plan = LoadPlan { connections: 4, requests: Some(200), ..LoadPlan::default() };
    let client = Load::run(addr, plan);
    judge(&client, &[origin.journal()]).assert_all_answered("rule 15: descriptors are back");
    assert!(proxy.exited().is_none());
}

#[test]
fn rule_15_what_clients_send_first_stops_no_loop() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for n in 0..300_u32 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let noise: Vec<u8> = (0..n % 40).map(|i| (i.wrapping_mul(n) >> 2) as u8).collect();
        let _ = client.wire.stream().write_all(&noise);
        if n % 2 == 0 {
            client.reset();
        }
    }
    assert_quiet(&proxy);
    let plan = LoadPlan { connections: 4, requests: Some(400), keep_alive: false, ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[origin.journal()]).assert_all_answered("rule 15: after noise on 300 connections");
}

//! A deadline for every phase, and no hand-off that clears one.

use std::io::Write as _;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Evenkeel, Hang, Origin, wait_until};

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, RawOrigin, assert_quiet, counted, get, says_close, verdict};

/// Every deadline but the one under test is far away.
fn with(origin: &impl std::fmt::Display, phase: &str) -> Evenkeel {
    start(&http(&[origin], &format!("[listener.web.timeouts]\n{phase} = \"500ms\"\n")))
}

/// For what must not be late: even a busy machine wakes a thread within a second.
fn with_a_second(origin: &impl std::fmt::Display, phase: &str) -> Evenkeel {
    start(&http(&[origin], &format!("[listener.web.timeouts]\n{phase} = \"1s\"\n")))
}

/// It took the deadline of half a second, and not much more, even on a busy machine.
#[track_caller]
fn assert_in_time(begun: Instant) {
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(495) && took < Duration::from_secs(3), "it took {took:?}");
}

#[test]
fn rule_06_a_head_that_does_not_arrive_is_a_408() {
    let origin = Origin::start("a");
    let proxy = with(origin.addr(), "header");
    let whole = "GET / HTTP/1.1\r\nhost: a.example\r\nx-more: and more\r\n\r\n";
    let slow = [1, 3, 14, 16, 20, whole.len() - 1].map(|part| {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let begun = Instant::now();
        client.send(&whole[..part]);
        (client, begun, part)
    });
    for (mut client, begun, part) in slow {
        let refusal = client.answer("GET");
        assert_in_time(begun);
        assert_eq!(verdict(&refusal), (408, "header-timeout"), "{part} bytes");
        assert!(says_close(&refusal));
        client.assert_closed();
    }
    // Who has said nothing is told nothing: there was no request to answer.
    let begun = Instant::now();
    Client::connect(proxy.listener_addr("web")).assert_finished();
    assert_in_time(begun);
    assert!(origin.journal().is_empty());
    assert_quiet(&proxy);
}

#[test]
fn rule_06_dripping_a_head_does_not_extend_its_deadline() {
    let origin = Origin::start("a");
    let proxy = with(origin.addr(), "header");
    let head = get("/").replace("\r\n\r\n", &format!("\r\nx-drip: {}\r\n\r\n", "x".repeat(400)));
    for before in ["", "a whole request first"] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        if !before.is_empty() {
            client.assert_usable();
        }
        let begun = Instant::now();
        // All of it would take twenty seconds.
        let mut stream = client.wire.stream().try_clone().unwrap();
        let drip = head.clone();
        std::thread::spawn(move || {
            for byte in drip.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert_eq!(verdict(&client.answer("GET")), (408, "header-timeout"), "{before}");
        assert_in_time(begun);
    }
}

#[test]
fn rule_06_a_body_that_stalls_is_a_408() {
    let origin = Origin::start("a");
    let proxy = with(origin.addr(), "body");
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    let stalling = [
        ("content-length: 10\r\n\r\n", ""),
        ("content-length: 10\r\n\r\n", "half"),
        (chunked, ""),
        (chunked, "5"),
        (chunked, "5;ext"),
        (chunked, "5\r\nhel"),
        (chunked, "5\r\nhello"),
        (chunked, "5\r\nhello\r\n"),
        (chunked, "5\r\nhello\r\n0\r\n"),
        (chunked, "5\r\nhello\r\n0\r\nx-sum: 1\r\n"),
    ]
    .map(|(framing, part)| {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let begun = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}{part}"));
        (client, begun, framing, part)
    });
    for (mut client, begun, framing, part) in stalling {
        let refusal = client.answer("POST");
        assert_in_time(begun);
        assert_eq!(verdict(&refusal), (408, "body-timeout"), "{framing:?} {part:?}");
        assert!(says_close(&refusal));
        client.assert_closed();
    }
    assert_quiet(&proxy);
    wait_until("the target's end of each", PATIENCE, || origin.open_connections() == 0);
    assert!(origin.journal().entries().iter().all(|entry| !entry.complete));
}

#[test]
fn rule_06_a_slow_body_is_no_stalled_one() {
    let origin = Origin::start("a");
    let proxy = with_a_second(origin.addr(), "body");
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n");
    for byte in b"no hurry" {
        std::thread::sleep(Duration::from_millis(160));
        client.send([*byte]);
    }
    assert_eq!(client.answer("POST").status, 200, "the deadline is for the gap, not for the whole");
}

#[test]
fn rule_06_each_head_has_its_own_deadline_and_no_other_phase_has_it() {
    let origin = Origin::start("a");
    let proxy = with(origin.addr(), "header");
    let mut client = Client::connect(proxy.listener_addr("web"));
    for (framing, body) in [
        ("content-length: 12", "twelve bytes".to_owned()),
        ("transfer-encoding: chunked", "c;drip\r\ntwelve bytes\r\n0\r\nx: y\r\n\r\n".to_owned()),
    ] {
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
        for byte in body.bytes() {
            std::thread::sleep(Duration::from_millis(60));
            client.send([byte]);
        }
        assert_eq!(client.answer("POST").status, 200, "{framing}: a body is no head");
    }
    // Neither the body's time nor the bytes of its last chunk count for the head that follows.
    for pause in [0, 700] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
        std::thread::sleep(Duration::from_millis(pause));
        let begun = Instant::now();
        client.send("0\r\n\r\nGET /next HT");
        assert_eq!(client.answer("POST").status, 200);
        assert_eq!(verdict(&client.answer("GET")), (408, "header-timeout"), "after {pause} ms");
        assert_in_time(begun);
    }
}

#[test]
fn rule_06_a_target_that_does_not_answer_is_a_504() {
    let origin = Origin::start("a");
    let proxy = start(&http(
        &[origin.addr()],
        "retry = { attempts = 0 }\n[listener.web.timeouts]\nresponse = \"1s\"\n",
    ));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for hang in [Hang::Answer, Hang::Read] {
        origin.set(|b| b.hang = Some(hang));
        let begun = Instant::now();
        assert_eq!(verdict(&client.get("/late")), (504, "request-timeout"), "{hang:?}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(950) && took < Duration::from_secs(4), "{took:?}");
        origin.set(|b| b.hang = None);
        client.assert_usable();
    }
    drop(client);
    assert_quiet(&proxy);
}

#[test]
fn rule_06_dripping_an_answers_head_does_not_extend_its_deadline() {
    let target = RawOrigin::start(|_, wire| {
        while wire.head().is_ok() {
            let head = format!("HTTP/1.1 200 OK\r\nx-drip: {}\r\n\r\n", "x".repeat(400));
            for byte in head.bytes() {
                if wire.stream().write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let proxy = with(&target.addr(), "response");
    let begun = Instant::now();
    let answer = Client::connect(proxy.listener_addr("web")).get("/");
    assert_eq!(verdict(&answer), (504, "request-timeout"));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "three tries at most, of half a second each: {took:?}");
}

#[test]
fn rule_06_an_answer_that_stalls_is_cut_visibly() {
    let origin = Origin::start("a");
    origin.set(|b| b.delay_body = Duration::from_secs(5));
    let proxy = with(origin.addr(), "response");
    for version in ["1.1", "1.0"] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let begun = Instant::now();
        client.send(format!("GET / HTTP/{version}\r\nhost: a\r\nx-answer-bytes: 100000\r\n\r\n"));
        let error = client.wire.response("GET").expect_err("half an answer");
        assert_in_time(begun);
        assert_eq!(error.status, Some(200));
    }
    assert_quiet(&proxy);
}

#[test]
fn rule_06_an_idle_connection_is_closed_in_silence() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], "[listener.web.timeouts]\nkeep_alive = \"2s\"\n"));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for _ in 0..3 {
        client.assert_usable();
        std::thread::sleep(Duration::from_millis(700));
    }
    client.assert_usable();
    let begun = Instant::now();
    client.assert_finished();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < Duration::from_secs(5), "{took:?}");
    wait_until("the count of it", PATIENCE, || counted(&proxy, "idle-timeout") == 1);
}

#[test]
fn rule_06_an_idle_connection_is_idle_whatever_came_before() {
    let origin = Origin::start("a");
    let proxy = with_a_second(origin.addr(), "keep_alive");
    let requests = [
        ("GET", get("/")),
        ("HEAD", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        ("POST", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi".to_owned()),
        (
            "PUT",
            "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned(),
        ),
        ("GET", "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n".to_owned()),
    ];
    let mut clients: Vec<Client> =
        requests.iter().map(|_| Client::connect(proxy.listener_addr("web"))).collect();
    for (client, (method, request)) in clients.iter_mut().zip(&requests) {
        client.send(request);
        assert_eq!(client.answer(method).status, 200);
    }
    let begun = Instant::now();
    clients.iter_mut().for_each(Client::assert_finished);
    assert!(begun.elapsed() < Duration::from_secs(4));
    // The head of the next request has the deadline of heads, not that of idleness.
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.assert_usable();
    client.send("GET / HT");
    std::thread::sleep(Duration::from_millis(1_300));
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer("GET").status, 200);
}

#[test]
fn rule_06_a_client_that_takes_nothing_is_given_up() {
    let origin = Origin::start("a");
    let proxy = with(origin.addr(), "write");
    for (n, version) in ["1.1", "1.0"].iter().enumerate() {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("GET / HTTP/{version}\r\nhost: a\r\nx-answer-bytes: 100000000\r\n\r\n"));
        origin.wait_requests(n + 1);
        assert_quiet(&proxy);
        let error = client.wire.response_into("GET", &mut |_| {}).expect_err("a part of 100 MB");
        assert_eq!(error.status, Some(200), "HTTP/{version}");
    }
    wait_until("the target's end of each", PATIENCE, || origin.open_connections() == 0);
}

#[test]
fn rule_06_a_target_that_takes_nothing_is_given_up() {
    let origin = Origin::start("a");
    origin.set(|b| b.hang = Some(Hang::Read));
    let proxy = start(&http(
        &[origin.addr()],
        "retry = { attempts = 0 }\n[listener.web.timeouts]\nwrite = \"300ms\"\n",
    ));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let body = vec![b'x'; 50 << 20];
    let mut stream = client.wire.stream().try_clone().unwrap();
    std::thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body))
    });
    let refusal = client.answer("POST");
    assert_eq!(refusal.status, 504, "{:?}", verdict(&refusal));
    client.assert_closed();
    assert_quiet(&proxy);
}

#[test]
fn rule_06_a_refused_client_is_not_listened_to_for_ever() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("bad request\r\n\r\n");
    assert_eq!(client.answer("GET").status, 400);
    // It goes on sending, a byte at a time, and never closes.
    let begun = Instant::now();
    while client.send("x") {
        std::thread::sleep(Duration::from_millis(20));
        assert!(begun.elapsed() < Duration::from_secs(6), "the connection is held for as long as it likes");
    }
    assert_quiet(&proxy);
}

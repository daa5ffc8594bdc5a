//! What is no HTTP is refused by name and goes nowhere, in whatever pieces it comes and whatever it follows.

use evenkeel_base::Reason;
use evenkeel_testkit::{AfterScript, AnswerStyle, Origin, read_response, wait_until};
use evenkeel_wire::samples::{
    MALFORMED_CHUNKED, MALFORMED_REQUESTS, MALFORMED_RESPONSES, VALID_CHUNKED, VALID_REQUESTS,
    VALID_RESPONSES,
};

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, assert_quiet, counted, get, says_close, verdict};

/// What RFC 9110 §15 has for it, written anew.
fn status_of(reason: Reason) -> u16 {
    match reason {
        Reason::MethodRefused => 405,
        Reason::BadExpect => 417,
        Reason::BadVersion => 505,
        _ => 400,
    }
}

/// How a sample comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    AtOnce,
    ByteByByte,
    BehindAGoodOne,
}

#[test]
fn malformed_requests_are_refused_by_name_and_never_forwarded() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut good = 0;
    for way in [Way::AtOnce, Way::ByteByByte, Way::BehindAGoodOne] {
        for (what, bytes, reason) in MALFORMED_REQUESTS {
            let mut client = Client::connect(proxy.listener_addr("web"));
            if way == Way::BehindAGoodOne {
                good += 1;
                client.send([get("/good").as_bytes(), bytes].concat());
                assert_eq!(client.answer("GET").status, 200, "{what}: the good one before it");
            } else if way == Way::ByteByByte {
                client.drip(bytes);
            } else {
                client.send(bytes);
            }
            let refusal = client.answer("GET");
            assert_eq!(verdict(&refusal), (status_of(*reason), reason.as_str()), "{what}, {way:?}");
            assert!(says_close(&refusal), "{what}, {way:?}");
            client.assert_closed();
        }
        assert_eq!(origin.journal().len(), good, "{way:?}: something malformed was forwarded");
        let paths = origin.journal().entries();
        assert!(paths.iter().all(|entry| entry.path == "/good" && entry.complete), "{way:?}");
    }
    // Not even a connection was opened for the malformed ones: at most one per worker serves the good ones.
    assert!(origin.journal().connections() <= 2, "{}", origin.journal().connections());
    let n = MALFORMED_REQUESTS.len();
    assert!(n >= 120, "{n} samples");
    println!("malformed requests: N={} refused={} forwarded=0", 3 * n, 3 * n);
    assert_quiet(&proxy);
}

#[test]
fn what_is_refused_is_counted_by_its_reason() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for (what, bytes, reason) in MALFORMED_REQUESTS {
        let before = counted(&proxy, reason.as_str());
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(bytes);
        client.answer("GET");
        assert_eq!(counted(&proxy, reason.as_str()), before + 1, "{what}");
    }
}

#[test]
fn malformed_chunks_are_refused_and_reach_no_origin_as_a_whole() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let head = "POST /bad HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
    for at_once in [true, false] {
        for (what, bytes, reason) in MALFORMED_CHUNKED {
            let mut client = Client::connect(proxy.listener_addr("web"));
            let _ = if at_once {
                client.send([head.as_bytes(), bytes].concat())
            } else {
                client.send(head) && client.drip(bytes)
            };
            let refusal = client.answer("POST");
            assert_eq!(verdict(&refusal), (400, reason.as_str()), "{what}, at once: {at_once}");
            assert!(says_close(&refusal), "{what}");
            client.assert_closed();
        }
    }
    assert_quiet(&proxy);
    // A head may have gone ahead of its body; what followed never made it a request.
    wait_until("the origin's end of each", PATIENCE, || origin.open_connections() == 0);
    let entries = origin.journal().entries();
    assert!(entries.iter().all(|entry| !entry.complete && entry.answered.is_none()), "{entries:#?}");
    println!("malformed chunked bodies: N={} executed=0", 2 * MALFORMED_CHUNKED.len());
}

#[test]
fn malformed_responses_become_a_502_and_cost_the_connection() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], "retry = { attempts = 3 }"));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for (n, (what, bytes)) in MALFORMED_RESPONSES.iter().enumerate() {
        origin.once(|b| b.answer = AnswerStyle::Script(bytes.to_vec(), AfterScript::Keep));
        let refusal = client.get("/bad");
        assert_eq!(verdict(&refusal), (502, "bad-response"), "{what}");
        let bad = origin.journal().last().unwrap();
        assert_eq!(origin.journal().len(), 2 * n + 1, "{what}: tried again");
        // The client's own connection is none the worse for it.
        let next = client.get("/next");
        assert_eq!((next.status, next.header("x-origin")), (200, Some("a")), "{what}");
        let good = origin.journal().last().unwrap();
        assert_ne!(good.connection, bad.connection, "{what}: the connection was used again");
    }
    println!("malformed responses: N={} delivered=0", MALFORMED_RESPONSES.len());
}

#[test]
fn malformed_chunks_of_an_answer_never_look_whole() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for (what, bytes, _) in MALFORMED_CHUNKED {
        for version in ["1.1", "1.0"] {
            let head = b"HTTP/1.1 200 OK\r\nx-origin: a\r\ntransfer-encoding: chunked\r\n\r\n";
            let script = [head, &b"3\r\nabc\r\n"[..], bytes].concat();
            origin.once(|b| b.answer = AnswerStyle::Script(script, AfterScript::Keep));
            let mut client = Client::connect(proxy.listener_addr("web"));
            client.send(format!("GET /bad HTTP/{version}\r\nhost: a.example\r\n\r\n"));
            match read_response(client.wire.stream(), "GET") {
                Ok(answer) => assert_eq!(verdict(&answer), (502, "bad-response"), "{what}, HTTP/{version}"),
                // A truncated one; but never silence.
                Err(error) => assert!(error.status == Some(200), "{what}, HTTP/{version}: {error:?}"),
            }
            let bad = origin.journal().last().unwrap().connection;
            Client::connect(proxy.listener_addr("web")).assert_usable();
            assert_ne!(origin.journal().last().unwrap().connection, bad, "{what}: used again");
        }
    }
}

#[test]
fn what_is_valid_passes() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for (what, bytes) in VALID_REQUESTS.iter().filter(|(what, _)| *what != "longest length") {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(bytes);
        let answer = client.answer("GET");
        assert!(matches!(answer.status, 200 | 101), "{what}: {:?}", verdict(&answer));
    }
    for (what, bytes, payload) in VALID_CHUNKED {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("POST /chunked HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send(bytes);
        assert_eq!(client.answer("POST").status, 200, "{what}");
        let entry = origin.journal().entries().into_iter().rfind(|entry| entry.method == "POST").unwrap();
        assert_eq!((entry.body_bytes, entry.complete), (payload.len() as u64, true), "{what}");
        assert_eq!(entry.body_hash, evenkeel_testkit::hash(payload), "{what}");
    }
    for (what, bytes) in VALID_RESPONSES.iter().filter(|(what, _)| *what != "early hints") {
        origin.once(|b| b.answer = AnswerStyle::Script(bytes.to_vec(), AfterScript::Close));
        let mut client = Client::connect(proxy.listener_addr("web"));
        let answer = client.get("/");
        assert_eq!(answer.header("x-evenkeel-reason"), None, "{what}");
        assert!(
            bytes.starts_with(b"HTTP/1.") && bytes[9..].starts_with(answer.status.to_string().as_bytes())
        );
    }
}

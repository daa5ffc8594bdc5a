//! `Expect: 100-continue` and the other interim answers: passed on to those who know them, and bounded.

use std::io::Write as _;
use std::time::Duration;

use evenkeel_testkit::{AfterScript, AnswerStyle, Early, OnExpect, Origin};

use crate::support::{http, start};
use crate::talk::{Client, RawOrigin, assert_silent, says_close, verdict};

const EXPECTING: &str =
    "POST /big HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

#[test]
fn f15_the_targets_100_comes_before_the_body_is_sent() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for framing in ["content-length: 5\r\n\r\n", "transfer-encoding: chunked\r\n\r\n"] {
        client.send(format!("PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n{framing}"));
        // Not a byte of the body has been sent, so only the target can have said this.
        assert_eq!(client.wire.head().unwrap().word(1), "100");
        assert_eq!(origin.journal().last().unwrap().header("expect"), Some("100-continue"));
        client.send(if framing.starts_with('c') { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" });
        let answer = client.answer("PUT");
        assert_eq!((answer.status, says_close(&answer)), (200, false));
        let entry = origin.journal().last().unwrap();
        assert_eq!((entry.body_bytes, entry.complete), (5, true));
    }
}

#[test]
fn f15_a_body_that_does_not_wait_is_fine() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for expect in [OnExpect::Continue, OnExpect::Ignore] {
        origin.set(|b| b.expect = expect);
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("{EXPECTING}hello"));
        let answer = client.answer("POST");
        assert_eq!((answer.status, says_close(&answer)), (200, false), "{expect:?}");
        assert_eq!(origin.journal().last().unwrap().body_bytes, 5);
        client.assert_usable();
    }
}

#[test]
fn f15_a_refused_expectation_is_passed_on_and_the_connection_ends() {
    let origin = Origin::start("a");
    origin.set(|b| b.expect = OnExpect::Refuse);
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(EXPECTING);
    let answer = client.answer("POST");
    assert_eq!((answer.status, answer.header("x-origin"), answer.interim.len()), (417, Some("a"), 0));
    // Whether the body comes now, nobody knows: what follows must not be read as a request.
    assert!(says_close(&answer));
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.assert_closed();
    assert_eq!(origin.journal().len(), 1);
}

#[test]
fn f15_an_early_final_answer_without_100_ends_the_connection() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for early in [Early::ReadOn, Early::StopReading(Duration::from_secs(1))] {
        origin.once(|b| {
            b.expect = OnExpect::Ignore;
            b.early = Some(early);
            b.status = 401;
        });
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(EXPECTING);
        let answer = client.answer("POST");
        assert_eq!((answer.status, answer.interim.len()), (401, 0), "{early:?}");
        assert!(says_close(&answer), "{early:?}");
        client.assert_closed();
    }
    let mut next = Client::connect(proxy.listener_addr("web"));
    next.assert_usable();
    assert_eq!(origin.journal().connections(), 3, "no connection with an unread body serves another request");
}

#[test]
fn other_expectations_are_refused_here() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for expect in ["200-ok", "100-continue, tea", "\"100-continue\"", "100", ""] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\nexpect: {expect}\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(verdict(&client.answer("POST")), (417, "bad-expect"), "{expect:?}");
        client.assert_closed();
    }
    assert!(origin.journal().is_empty());
}

#[test]
fn f15_early_hints_reach_those_who_know_them() {
    let origin = Origin::start("a");
    origin.set(|b| b.interim = vec![103, 102, 103]);
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for method in ["GET", "HEAD", "POST"] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = client.answer(method);
        assert_eq!((answer.status, answer.interim.as_slice()), (200, &[103, 102, 103][..]), "{method}");
        assert!(String::from_utf8_lossy(&answer.raw).contains("link: </x>"), "with their fields");
    }
    for keep_alive in ["", "connection: keep-alive\r\n"] {
        let mut old = Client::connect(proxy.listener_addr("web"));
        old.send(format!("GET / HTTP/1.0\r\n{keep_alive}\r\n"));
        let answer = old.answer("GET");
        assert_eq!((answer.status, answer.interim.len()), (200, 0), "HTTP/1.0 has no interim answers");
    }
}

#[test]
fn f15_interim_answers_come_as_they_are_sent() {
    let origin = Origin::start("a");
    origin.once(|b| {
        b.interim = vec![103];
        b.delay_head = Duration::from_millis(1_000);
    });
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.wire.head().unwrap().word(1), "103");
    assert_silent(&mut client.wire, Duration::from_millis(100));
    assert_eq!(client.answer("GET").status, 200);
}

#[test]
fn rule_13_a_flood_of_interim_answers_becomes_a_502() {
    let origin = Origin::start("a");
    origin.set(|b| b.answer = AnswerStyle::EndlessInterim);
    let proxy = start(&http(&[origin.addr()], ""));
    for version in ["1.1", "1.0"] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n"));
        let answer = client.answer("GET");
        assert_eq!(verdict(&answer), (502, "bad-response"), "HTTP/{version}");
        assert!(answer.interim.len() <= 32, "{} were passed on", answer.interim.len());
    }
    origin.behave();
    Client::connect(proxy.listener_addr("web")).assert_usable();
}

#[test]
fn f15_a_switch_that_nobody_asked_for_is_a_502() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let asking = "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    for fields in ["", "upgrade: websocket\r\n", "connection: upgrade\r\n", asking] {
        origin.once(|b| b.answer = AnswerStyle::Script(switch.into(), AfterScript::Keep));
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        assert_eq!(verdict(&client.answer("GET")), (502, "bad-response"), "{fields:?}");
        assert_eq!(origin.journal().last().unwrap().header("upgrade"), None, "{fields:?}: passed on");
    }
    // Asked for, but incomplete or not what was asked.
    for switch in ["HTTP/1.1 101 Go\r\n\r\n", "HTTP/1.1 101 Go\r\nupgrade: websocket\r\n\r\n"] {
        let target = RawOrigin::start(move |_, wire| {
            if wire.head().is_ok() {
                let _ = wire.stream().write_all(switch.as_bytes());
                let _ = wire.some();
            }
        });
        let proxy = start(&http(&[target.addr()], ""));
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        assert_eq!(verdict(&client.answer("GET")), (502, "bad-response"), "{switch:?}");
    }
}

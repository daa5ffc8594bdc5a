//! The answers we give ourselves: one status and one reason each, the same to the client, in the log, in the API
//! and in the metrics.

use evenkeel_testkit::{AfterScript, AnswerStyle, Cut, Evenkeel, Hang, Launch, Origin, Response};
use evenkeel_testkit::{reserve_port, wait_until};
use serde_json::Value;

use crate::support::{BIN, http, start};
use crate::talk::{Client, PATIENCE, access_log, counted, get, says_close, verdict};

/// A listener of which everything can go wrong, and which writes down what did.
fn strict(targets: &[String], more: &str) -> Evenkeel {
    let limits = "[listener.web.http]\nmax_head_bytes = \"1KiB\"\nmax_headers = 10\nmax_target_bytes = 64\n\
        max_body_bytes = 10\n[listener.web.timeouts]\nheader = \"200ms\"\nbody = \"200ms\"\nresponse = \"1s\"\n";
    let log = "[access_log]\npath = \"{dir}/access.log\"\n";
    start(&http(targets, &format!("{more}\n{limits}{log}")))
}

/// The lines of the access log whose `end` is this reason.
fn logged(proxy: &Evenkeel, reason: &str) -> Vec<Value> {
    access_log(proxy).into_iter().filter(|line| line["end"] == reason).collect()
}

/// The answer's own form, and that log, API and metrics tell the same.
#[track_caller]
fn assert_told(proxy: &Evenkeel, answer: &Response, status: u16, reason: &str) {
    assert_eq!(verdict(answer), (status, reason));
    assert_eq!(answer.header("content-type"), Some("application/json"), "{reason}");
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{reason}");
    let body: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(body["error"]["reason"], reason);
    let known = evenkeel_base::Reason::ALL.iter().find(|known| known.as_str() == reason).unwrap();
    assert_eq!(body["error"]["message"], known.meaning(), "{reason}");
    assert_eq!(answer.header("retry-after").is_some(), status == 503, "{reason}");
    assert_eq!(answer.header("allow").is_some(), status == 405, "{reason}");
    assert!(counted(proxy, reason) >= 1, "{reason} is not counted");
    let label = format!("reason=\"{reason}\"");
    let metric = proxy.metric(METRIC, &["listener=\"web\"", &label]);
    assert_eq!(metric, counted(proxy, reason) as f64, "{reason} in {METRIC}");
    wait_until(&format!("{reason} in the access log"), PATIENCE, || !logged(proxy, reason).is_empty());
    assert_eq!(logged(proxy, reason)[0]["status"], status, "{reason}");
}

const METRIC: &str = "evenkeel_ends_total";

#[test]
fn what_clients_do_wrong_has_a_stable_answer() {
    let origin = Origin::start("a");
    let proxy = strict(&[origin.addr().to_string()], "");
    let post = "POST / HTTP/1.1\r\nhost: a\r\n";
    let cases = [
        (get("/%zz"), 400, "bad-target"),
        (get("/../../etc/passwd"), 400, "bad-target"),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, "missing-host"),
        (
            format!("{post}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
            400,
            "conflicting-framing",
        ),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 405, "method-refused"),
        ("GET / HTTP/1.1\r\nhost:".into(), 408, "header-timeout"),
        (format!("{post}content-length: 5\r\n\r\nhalf"), 408, "body-timeout"),
        (format!("{post}content-length: 11\r\n\r\n"), 413, "body-too-large"),
        (get(&format!("/{}", "x".repeat(64))), 414, "target-too-long"),
        (format!("{post}expect: tea\r\ncontent-length: 1\r\n\r\n"), 417, "bad-expect"),
        (format!("{post}x: {}\r\n\r\n", "x".repeat(2000)), 431, "head-too-large"),
        (format!("{post}{}\r\n", "x: a\r\n".repeat(10)), 431, "too-many-headers"),
        ("GET / HTTP/2.0\r\n\r\n".into(), 505, "bad-version"),
    ];
    for (request, status, reason) in cases {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(&request);
        let answer = client.answer("GET");
        assert_told(&proxy, &answer, status, reason);
        assert!(says_close(&answer), "{reason}");
        client.assert_closed();
    }
    assert_eq!(origin.journal().entries().iter().filter(|entry| entry.complete).count(), 0);
}

#[test]
fn what_targets_do_wrong_has_a_stable_answer() {
    let origin = Origin::start("a");
    let proxy = strict(&[origin.addr().to_string()], "retry = { attempts = 0 }");
    let mut client = Client::connect(proxy.listener_addr("web"));
    let script = |bytes: &[u8]| AnswerStyle::Script(bytes.to_vec(), AfterScript::Close);
    origin.once(|b| b.answer = script(b"garbage\r\n\r\n"));
    assert_told(&proxy, &client.get("/"), 502, "bad-response");
    origin.once(|b| b.cut = Some(Cut { after_bytes: 0, reset: false }));
    assert_told(&proxy, &client.get("/"), 502, "target-closed-early");
    origin.once(|b| b.cut = Some(Cut { after_bytes: 10, reset: true }));
    assert_told(&proxy, &client.get("/"), 502, "target-reset");
    origin.set(|b| b.hang = Some(Hang::Answer));
    assert_told(&proxy, &client.get("/"), 504, "request-timeout");
    origin.behave();
    // None of it was the client's fault: its connection goes on.
    client.assert_usable();
}

#[test]
fn what_is_missing_has_a_stable_answer() {
    let nobody = reserve_port();
    let cases = [
        (vec![], "", "no-target"),
        (vec![nobody.addr().to_string()], "", "connect-refused"),
        (vec![nobody.addr().to_string()], "limits = { connections = 1, pending = 0 }", "connect-refused"),
    ];
    for (targets, more, reason) in cases {
        let proxy = strict(&targets, more);
        let mut client = Client::connect(proxy.listener_addr("web"));
        for _ in 0..2 {
            let answer = client.get("/");
            assert_told(&proxy, &answer, 503, reason);
            assert!(!says_close(&answer), "{reason}: the next request may fare better");
        }
    }
}

#[test]
fn what_is_full_has_a_stable_answer() {
    let origin = Origin::start("a");
    for (limits, reason) in [
        ("limits = { connections = 1, pending = 0 }", "queue-full"),
        ("limits = { connections = 1, pending = 1, queue_timeout = \"100ms\" }", "queue-timeout"),
    ] {
        let proxy =
            start(&http(&[origin.addr()], &format!("{limits}\n[access_log]\npath = \"{{dir}}/access.log\"")));
        origin.set(|b| b.hang = Some(Hang::Answer));
        let before = origin.journal().len();
        let mut first = Client::connect(proxy.listener_addr("web"));
        first.send(get("/first"));
        origin.wait_requests(before + 1);
        assert_told(&proxy, &Client::connect(proxy.listener_addr("web")).get("/second"), 503, reason);
        origin.set(|b| b.hang = None);
        assert_eq!(first.answer("GET").status, 200);
        first.assert_usable();
    }
    let one = http(&[origin.addr()], "").replace("protocol = ", "max_connections = 1\nprotocol = ");
    let proxy = start(&one);
    let mut first = Client::connect(proxy.listener_addr("web"));
    first.assert_usable();
    let mut second = Client::connect(proxy.listener_addr("web"));
    let refusal = second.answer("GET");
    assert_eq!((verdict(&refusal), refusal.header("retry-after")), ((503, "listener-full"), Some("1")));
    second.assert_closed();
    assert_eq!(counted(&proxy, "listener-full"), 1);
    first.assert_usable();
    drop(first);
    crate::talk::assert_quiet(&proxy);
    Client::connect(proxy.listener_addr("web")).assert_usable();
}

/// A listener that forwards nothing: what no route claims is a 404.
fn routed(origin: &Origin) -> Evenkeel {
    let config = http(&[origin.addr()], "").replacen("pool = \"app\"\n", "", 1);
    start(&format!("{config}[[listener.web.route]]\nwhen = {{ path = \"/known/**\" }}\npool = \"app\"\n"))
}

#[test]
fn browsers_are_told_in_html_and_everybody_else_in_json() {
    let origin = Origin::start("a");
    let proxy = routed(&origin);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, html) in [
        (browser, true),
        ("TEXT/HTML", true),
        ("*/*", false),
        ("application/json", false),
        ("application/json, text/html;q=0.5", false),
        ("", false),
    ] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("GET /unknown HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n"));
        let answer = client.answer("GET");
        assert_eq!(verdict(&answer), (404, "no-route"), "{accept:?}");
        let kind = if html { "text/html; charset=utf-8" } else { "application/json" };
        assert_eq!(answer.header("content-type"), Some(kind), "{accept:?}");
        assert_eq!(answer.text().starts_with("<!doctype html>"), html, "{accept:?}");
        assert!(answer.text().contains("no-route"), "{accept:?}");
    }
}

#[test]
fn head_is_answered_without_a_body() {
    let origin = Origin::start("a");
    let proxy = routed(&origin);
    let mut client = Client::connect(proxy.listener_addr("web"));
    for _ in 0..3 {
        client.send("HEAD /unknown HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = client.answer("HEAD");
        assert_eq!((verdict(&answer), answer.rest.len()), ((404, "no-route"), 0));
        assert!(answer.header("content-length").is_some_and(|length| length != "0"), "as GET would have it");
        assert!(!says_close(&answer), "there is nothing wrong with the connection");
        client.send(get("/known/x"));
        assert_eq!(client.answer("GET").status, 200);
    }
}

#[test]
fn rule_16_a_defect_costs_one_request() {
    let origin = Origin::start("a");
    let proxy = Launch::new(BIN, &http(&[origin.addr()], "")).env("EVENKEEL_FAILPOINTS", "1").start();
    let mut bystander = Client::connect(proxy.listener_addr("web"));
    bystander.assert_usable();
    for n in 1..=5 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("GET / HTTP/1.1\r\nhost: a\r\nx-evenkeel-failpoint: panic\r\n\r\n");
        assert_eq!(verdict(&client.answer("GET")), (500, "internal"));
        client.assert_closed();
        assert_eq!(proxy.admin_json("/api/v1/status")["panics"], n);
        bystander.assert_usable();
    }
    // Without being told to at start, nobody can ask for it.
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-evenkeel-failpoint: panic\r\n\r\n");
    assert_eq!(client.answer("GET").status, 200);
}

#[test]
fn an_error_of_the_target_is_the_targets() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for status in [400, 404, 429, 500, 502, 503, 504, 599] {
        origin.once(|b| b.status = status);
        let answer = client.get("/");
        assert_eq!((answer.status, answer.header("x-origin")), (status, Some("a")));
        assert_eq!(answer.header("x-evenkeel-reason"), None, "{status}: we gave no reason");
    }
}

//! Who may come in, and what is written down of those who came.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Cut, Evenkeel, Load, LoadPlan, Origin, TempDir, judge, reserve_port, signal, wait_until,
};
use serde_json::Value;

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, access_log, assert_quiet, counted, get, verdict};

const LOG: &str = "[access_log]\npath = \"{dir}/access.log\"\n";

fn raw_log(proxy: &Evenkeel) -> String {
    fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default()
}

/// Waits for so many lines, each of which is JSON.
#[track_caller]
fn log(proxy: &Evenkeel, lines: usize) -> Vec<Value> {
    wait_until(&format!("{lines} lines"), PATIENCE, || access_log(proxy).len() >= lines);
    access_log(proxy)
}

#[test]
fn networks_are_allowed_and_denied() {
    let origin = Origin::start("a");
    let both = "bind = [\"127.0.0.1:0\", \"[::1]:0\"]";
    for (rules, v4, v6) in [
        ("", true, true),
        ("allow = [\"127.0.0.0/8\"]", true, false),
        ("allow = [\"::1\"]", false, true),
        ("allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]", false, false),
        ("allow = []", false, false),
        ("deny = [\"127.0.0.1\"]", false, true),
        ("deny = [\"::/0\"]", true, false),
        ("allow = [\"0.0.0.0/0\"]\ndeny = [\"127.0.0.0/8\"]", false, false),
        ("allow = [\"127.0.0.1\"]\ndeny = [\"10.0.0.0/8\"]", true, false),
    ] {
        let config =
            http(&[origin.addr()], "").replacen("bind = \"127.0.0.1:0\"", &format!("{both}\n{rules}"), 1);
        let proxy = start(&config);
        for addr in proxy.listener_addrs("web") {
            let admitted = if addr.is_ipv4() { v4 } else { v6 };
            let mut client = Client::connect(addr);
            client.send(get("/"));
            let answer = client.answer("GET");
            let expected = if admitted { (200, "-") } else { (403, "address-denied") };
            assert_eq!(verdict(&answer), expected, "{addr}, {rules:?}");
            if !admitted {
                client.assert_closed();
            }
        }
        let refused = u64::from(!v4) + u64::from(!v6);
        assert_eq!(counted(&proxy, "address-denied"), refused, "{rules:?}");
        assert_quiet(&proxy);
    }
}

#[test]
fn rule_10_an_empty_list_of_those_allowed_admits_nobody() {
    let origin = Origin::start("a");
    let config = http(&[origin.addr()], "");
    let proxy = start(&config);
    Client::connect(proxy.listener_addr("web")).assert_usable();
    proxy.write_config(&config.replace("protocol = ", "allow = []\nprotocol = "));
    assert_eq!(proxy.admin("POST", "/api/v1/reload", "").0, 200);
    for _ in 0..10 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(get("/"));
        assert_eq!(verdict(&client.answer("GET")), (403, "address-denied"));
    }
    assert_eq!(origin.journal().len(), 1);
}

#[test]
fn what_a_client_claims_does_not_let_it_in() {
    let origin = Origin::start("a");
    let trusting = "[listener.web.http]\ntrust_forwarded = true";
    let closed =
        http(&[origin.addr()], trusting).replace("protocol = ", "allow = [\"10.0.0.0/8\"]\nprotocol = ");
    let proxy = start(&closed);
    for claim in ["X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1"] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{claim}\r\n\r\n"));
        assert_eq!(verdict(&client.answer("GET")), (403, "address-denied"), "{claim}");
    }
    assert!(origin.journal().is_empty());
}

#[test]
fn a_line_tells_what_became_of_a_request() {
    let (a, nobody) = (Origin::start("a"), reserve_port());
    let targets = [nobody.addr().to_string(), a.addr().to_string()];
    let proxy = start(&http(&targets, LOG));
    let mut client = Client::connect(proxy.listener_addr("web"));
    a.once(|b| b.delay_head = Duration::from_millis(50));
    client.send(
        "POST /p?q=1 HTTP/1.1\r\nhost: a.example\r\nx-answer-bytes: 5000\r\ncontent-length: 3\r\n\r\nabc",
    );
    assert_eq!(client.answer("POST").status, 200);
    let line = &log(&proxy, 1)[0];
    for (name, expected) in [
        ("protocol", Value::from("http")),
        ("listener", "web".into()),
        ("route", "-".into()),
        ("pool", "app".into()),
        ("target", targets[1].as_str().into()),
        ("method", "POST".into()),
        ("host", "a.example".into()),
        ("path", "/p?q=1".into()),
        ("status", 200.into()),
        ("attempts", 2.into()),
        ("reused", 0.into()),
        ("end", "finished".into()),
    ] {
        assert_eq!(line[name], expected, "{name} in {line}");
    }
    let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name} in {line}"));
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(!line["connection"].as_str().unwrap().is_empty(), "{line}");
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(since_1970.as_millis().abs_diff(u128::from(number("time_ms"))) < 60_000, "{line}");
    assert!(number("first_byte_us") >= 50_000 && number("total_us") >= number("first_byte_us"), "{line}");
    assert!(number("queue_us") < 50_000 && number("connect_us") < 50_000, "{line}");
    assert!(number("bytes_in") > 3 && number("bytes_out") > 5_000, "{line}");
}

#[test]
fn a_line_tells_why_a_request_ended() {
    let origin = Origin::start("a");
    let config = http(&[origin.addr()], &format!("retry = {{ attempts = 0 }}\n{LOG}"));
    // One worker, so that lines come in the order of the requests.
    let proxy = start(&config.replace("count = 2", "count = 1"));
    let addr = proxy.listener_addr("web");
    let big = "GET /big HTTP/1.1\r\nhost: a\r\nx-answer-bytes: 50000000\r\n\r\n";
    // 1. All is well, over a fresh connection and over a kept one.
    let mut client = Client::connect(addr);
    client.assert_usable();
    client.assert_usable();
    // 2. The target broke off in the middle; 3. before anything.
    origin.once(|b| b.cut = Some(Cut { after_bytes: 1_000_000, reset: false }));
    client.send(big);
    client.wire.response("GET").expect_err("a part");
    origin.once(|b| b.cut = Some(Cut { after_bytes: 0, reset: false }));
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/cut").status, 502);
    // 4. The client vanished in the middle.
    client.send(big);
    client.wire.some().unwrap();
    client.reset();
    // 5. It switched protocols, and then left.
    let socket = evenkeel_testkit::WebSocket::connect(addr, "/ws", PATIENCE).unwrap();
    socket.close().unwrap();
    // 6. What it sent was no request.
    let mut client = Client::connect(addr);
    client.send("nonsense\r\n\r\n");
    client.answer("GET");
    let lines = log(&proxy, 7);
    let ends: Vec<(&Value, &Value)> = lines.iter().map(|line| (&line["status"], &line["end"])).collect();
    let told = |status: u64, reason: &str| {
        ends.iter().filter(|(s, end)| s.as_u64() == Some(status) && end.as_str() == Some(reason)).count()
    };
    assert_eq!(told(200, "finished"), 2, "{ends:?}");
    assert_eq!(told(200, "target-closed-early"), 1, "{ends:?}");
    assert_eq!(told(502, "target-closed-early"), 1, "{ends:?}");
    assert_eq!(told(200, "client-reset"), 1, "{ends:?}");
    let switched = lines.iter().find(|line| line["status"] == 101).expect("the WebSocket");
    assert!(
        ["target-closed", "client-closed", "finished"].contains(&switched["end"].as_str().unwrap()),
        "{switched}"
    );
    assert_eq!(told(400, "bad-request-line"), 1, "{ends:?}");
    let reused: Vec<&Value> = lines[..2].iter().map(|line| &line["reused"]).collect();
    assert_eq!(reused, [&Value::from(0), &Value::from(1)]);
    // Whatever the end was, a request that was sent to a target names it.
    let target = Value::from(origin.addr().to_string());
    let unnamed: Vec<_> = lines.iter().filter(|l| l["status"] != 400 && l["target"] != target).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

#[test]
fn hostile_text_cannot_break_a_line() {
    let origin = Origin::start("a");
    let hostile = [
        ("GET", r#"/a"b"#),
        ("GET", r#"/?x=","status":200,"y":""#),
        ("GET", "/%0d%0a{\"forged\":1}"),
        ("GET", "/?q=\\\"\\\\"),
        ("GET", "/?a={}[]:,'`|^"),
        ("!#$%&'*+-.^_`|~", "/"),
    ];
    for format in ["json", "text"] {
        let proxy = start(&http(&[origin.addr()], &format!("{LOG}format = \"{format}\"\n")));
        let mut client = Client::connect(proxy.listener_addr("web"));
        for (method, target) in hostile {
            client.send(format!("{method} {target} HTTP/1.1\r\nhost: a\r\nuser-agent: \"\\\r\n\r\n"));
            assert_eq!(client.answer(method).status, 200, "{target:?}");
        }
        wait_until("the lines", PATIENCE, || raw_log(&proxy).matches('\n').count() >= hostile.len());
        let text = raw_log(&proxy);
        assert_eq!(text.lines().count(), hostile.len(), "{text}");
        assert!(text.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{text:?}");
        if format == "json" {
            for (line, (method, target)) in text.lines().zip(hostile) {
                let line: Value = serde_json::from_str(line).expect(line);
                assert_eq!((&line["method"], &line["status"]), (&method.into(), &200.into()));
                let (query, logged) =
                    (target.split_once('?').map_or("", |(_, q)| q), line["path"].as_str().unwrap());
                assert!(logged.ends_with(query), "{logged} of {target}");
                assert_eq!(line.get("forged"), None);
            }
        } else {
            assert!(
                text.lines().all(|line| line.starts_with("time_ms=") && line.matches(" end=").count() == 1)
            );
        }
    }
}

#[test]
fn lines_go_to_standard_output_when_no_file_is_named() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], "[access_log]\nformat = \"text\"\n"));
    Client::connect(proxy.listener_addr("web")).assert_usable();
    let line = proxy.wait_stdout("path=/again", PATIENCE).expect("a line");
    assert!(line.contains(" status=200 ") && line.contains(" listener=web "), "{line}");
}

#[test]
fn every_request_has_its_line() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], LOG));
    let plan = LoadPlan { connections: 4, requests: Some(3_000), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("the access log is on");
    let lines = log(&proxy, 3_000);
    assert_eq!(lines.len(), 3_000);
    let connections: BTreeSet<String> = lines.iter().map(|line| line["connection"].to_string()).collect();
    assert_eq!(connections.len(), 4);
    assert_eq!(proxy.admin_json("/api/v1/status")["access_log_dropped"], 0);
}

#[test]
fn f40_a_stalled_log_reader_never_holds_a_request_up() {
    let origin = Origin::start("a");
    let dir = TempDir::new();
    let pipe = dir.path().join("log.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    // Open for both, so that opening it waits for nobody; and then never read.
    let _reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let path = "/x".repeat(4_000);
    origin.set(|b| b.keep_heads = false);
    let proxy = start(&http(&[origin.addr()], &format!("[access_log]\npath = \"{}\"\n", pipe.display())));
    // Each line has eight kilobytes: far more in all than the pipe, and all that may wait before it, can hold.
    let plan = LoadPlan { connections: 4, requests: Some(6_000), path, ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    let verdict = judge(&client, &[origin.journal()]);
    verdict.assert_all_answered("F40: the log's reader stalls");
    assert!(verdict.latency(100.0) < Duration::from_secs(2), "{:?}", verdict.latency(100.0));
    // It says what it dropped, and still ends when it is told to.
    let dropped = proxy.admin_json("/api/v1/status")["access_log_dropped"].as_u64().unwrap();
    println!("F40: {dropped} lines dropped");
    assert!(dropped > 0, "nothing was ever held up");
    let begun = Instant::now();
    proxy.signal(signal::SIGTERM);
    assert!(proxy.wait_exit(PATIENCE).success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn f40_a_full_disk_costs_lines_and_no_requests() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], "[access_log]\npath = \"/dev/full\"\n"));
    let plan = LoadPlan { connections: 4, requests: Some(1_000), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[origin.journal()]).assert_all_answered("F40: the log's disk is full");
}

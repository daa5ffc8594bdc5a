//! Targets are trusted no more than clients: garbage, lies and floods cost one answer and no memory.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_testkit::{AfterScript, AnswerStyle, Load, LoadPlan, Origin, judge, wait_until};

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, RawOrigin, assert_quiet, verdict};

#[test]
fn f13_garbage_is_a_502() {
    let garbage: [&[u8]; 8] = [
        b"\0",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46 alert\r\n",
        b"<html><body>200 OK</body></html>\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n bad\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nhost: you\r\n\r\n",
    ];
    for bytes in garbage {
        for close in [false, true] {
            let target = RawOrigin::start(move |_, wire| {
                while wire.head().is_ok() {
                    let _ = wire.stream().write_all(bytes);
                    if close {
                        return;
                    }
                }
            });
            let proxy = start(&http(
                &[target.addr()],
                "retry = { attempts = 0 }\n[listener.web.timeouts]\nresponse = \"2s\"",
            ));
            let answer = Client::connect(proxy.listener_addr("web")).get("/");
            assert_eq!(
                answer.status,
                502,
                "{:?}, close: {close}: {:?}",
                bytes.escape_ascii().to_string(),
                verdict(&answer)
            );
        }
    }
}

#[test]
fn f13_rule_13_an_endless_head_is_a_502_in_bounded_memory() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    Client::connect(proxy.listener_addr("web")).assert_usable();
    let before = proxy.rss_bytes();
    origin.set(|b| b.answer = AnswerStyle::EndlessHead);
    for version in ["1.1", "1.0"] {
        let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(proxy.listener_addr("web"))).collect();
        for client in &mut clients {
            client.send(format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(verdict(&client.answer("GET")), (502, "bad-response"), "HTTP/{version}");
        }
    }
    let grown = proxy.rss_bytes().saturating_sub(before);
    println!("F13: forty endless heads: {} KiB more memory", grown / 1024);
    assert!(grown < 8 << 20, "{grown} bytes more");
    origin.behave();
    Client::connect(proxy.listener_addr("web")).assert_usable();
    assert_quiet(&proxy);
    wait_until("the end of all floods", PATIENCE, || origin.open_connections() <= 2);
}

#[test]
fn f13_one_line_without_end_is_a_502() {
    for start_of_line in ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 OK\r\nx"] {
        let target = RawOrigin::start(move |_, wire| {
            if wire.head().is_ok() {
                let _ = wire.stream().write_all(start_of_line.as_bytes());
                while wire.stream().write_all(&[b'y'; 4096]).is_ok() {}
            }
        });
        let proxy = start(&http(&[target.addr()], ""));
        let answer = Client::connect(proxy.listener_addr("web")).get("/");
        assert_eq!(verdict(&answer), (502, "bad-response"), "{start_of_line:?}");
    }
}

#[test]
fn f13_a_target_that_talks_garbage_is_penalised() {
    let (mut bad, good) = (Origin::start("bad"), Origin::start("good"));
    bad.set(|b| b.answer = AnswerStyle::Script(b"garbage\r\n\r\n".to_vec(), AfterScript::Close));
    let proxy =
        start(&http(&[bad.addr(), good.addr()], "passive = { connect_errors = 3, eject_for = \"10s\" }"));
    let plan = LoadPlan { requests: Some(200), methods: vec!["GET", "POST"], ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    println!("F13: {}", judge(&client, &[good.journal()]));
    wait_until("its ejection", PATIENCE, || {
        let targets = proxy.admin_json("/api/v1/pools/app/targets");
        targets.as_array().is_some_and(|all| all.iter().any(|target| target["state"] == "ejected"))
    });
    assert!(
        bad.journal().len() < 20,
        "{} of 200 requests went to a target that talks garbage",
        bad.journal().len()
    );
    bad.kill();
}

#[test]
fn rule_13_trailers_of_a_target_are_bounded_and_clean() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    for (what, trailers) in [
        ("too many", "x: a\r\n".repeat(1_000)),
        ("too large", format!("x: {}\r\n", "a".repeat(100_000))),
        ("framing", "content-length: 5\r\n".into()),
        ("coding", "transfer-encoding: chunked\r\n".into()),
        ("set-cookie split", "x: a\rset-cookie: b\r\n".into()),
        ("hop", "connection: close\r\n".into()),
    ] {
        let script = format!("{head}{trailers}\r\n");
        origin.once(|b| b.answer = AnswerStyle::Script(script.into_bytes(), AfterScript::Keep));
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        match client.wire.response("GET") {
            Ok(answer) => assert_eq!(verdict(&answer), (502, "bad-response"), "{what}"),
            Err(error) => assert_eq!(error.status, Some(200), "{what}: {error:?}"),
        }
        Client::connect(proxy.listener_addr("web")).assert_usable();
    }
}

#[test]
fn rule_13_chunks_of_a_target_that_cost_more_than_they_carry_are_refused() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(10_000));
    for coded in [extension.as_str(), "00000000000000001\r\nx\r\n0\r\n\r\n", "8000000000000000\r\nx"] {
        let script = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{coded}");
        origin.once(|b| b.answer = AnswerStyle::Script(script.into_bytes(), AfterScript::Keep));
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        match client.wire.response("GET") {
            Ok(answer) => assert_eq!(verdict(&answer), (502, "bad-response")),
            Err(error) => assert_eq!(error.status, Some(200), "{error:?}"),
        }
    }
}

#[test]
fn rule_13_a_target_that_speaks_first_is_not_believed_on_kept_connections() {
    // Said before the request was: on a connection that waits for its next one.
    let said = Arc::new(AtomicBool::new(false));
    let saying = Arc::clone(&said);
    let target = RawOrigin::start(move |number, wire| {
        while wire.head().is_ok() {
            let _ = wire
                .stream()
                .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}").as_bytes());
            if number == 0 {
                std::thread::sleep(Duration::from_millis(50));
                let _ = wire.stream().write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
                saying.store(true, Ordering::SeqCst);
            }
        }
    });
    let proxy = start(&http(&[target.addr()], "").replace("count = 2", "count = 1"));
    let mut client = Client::connect(proxy.listener_addr("web"));
    assert_eq!(client.get("/").text(), "0");
    wait_until("its word", PATIENCE, || said.load(Ordering::SeqCst));
    assert_eq!(client.get("/").text(), "1", "asked anew, over a fresh connection");
    assert_eq!(client.get("/").text(), "1");
}

#[test]
fn f15_interim_answers_do_not_confuse_what_follows() {
    let script = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hint\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let target = RawOrigin::answering(script);
    let proxy = start(&http(&[target.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for method in ["GET", "HEAD", "POST"] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = client.answer(method);
        assert_eq!((answer.status, answer.interim.as_slice()), (200, &[100, 103][..]), "{method}");
    }
    // Nothing but interim answers, and then the end.
    let target = RawOrigin::start(|_, wire| {
        if wire.head().is_ok() {
            let _ = wire.stream().write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    });
    let proxy = start(&http(&[target.addr()], "retry = { attempts = 0 }"));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let answer = client.get("/");
    assert_eq!((verdict(&answer), answer.interim.as_slice()), ((502, "target-closed-early"), &[100][..]));
}

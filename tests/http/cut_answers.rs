//! Answers that break off, lie about their length, or overtake the request: the client is never deceived.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel_testkit::{
    AfterScript, AnswerStyle, Cause, Cut, Early, Evenkeel, Load, LoadPlan, Origin, Outcome, ReadError,
    Response, judge, wait_until,
};

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, RawOrigin, assert_quiet, says_close, verdict};

const BODY_BYTES: usize = 30_000;

fn ask(proxy: &Evenkeel, version: &str) -> (Client, Result<Response, ReadError>) {
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(format!("GET / HTTP/{version}\r\nhost: a\r\nx-answer-bytes: {BODY_BYTES}\r\n\r\n"));
    let answer = client.wire.response("GET");
    (client, answer)
}

#[test]
fn f03_an_answer_cut_anywhere_never_looks_whole() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], "retry = { attempts = 0 }"));
    let whole = ask(&proxy, "1.1").1.unwrap().raw.len() as u64;
    let (mut cuts, mut deceived) = (0, Vec::new());
    for style in
        [AnswerStyle::Length, AnswerStyle::Chunked, AnswerStyle::ChunkedTrailers, AnswerStyle::UntilClose]
    {
        origin.set(|b| b.answer = style.clone());
        for version in ["1.1", "1.0"] {
            for after_bytes in [0, 1, 12, 40, 80, 100, 200, 8_000, 16_384, 20_000, whole - 200, whole - 100] {
                for reset in [false, true] {
                    // The end of a body that only its end delimits cannot be told from a FIN too early.
                    if style == AnswerStyle::UntilClose && !reset && after_bytes > 40 {
                        continue;
                    }
                    origin.once(|b| {
                        b.answer = style.clone();
                        b.cut = Some(Cut { after_bytes, reset });
                    });
                    cuts += 1;
                    let case = format!("{style:?}, HTTP/{version}, cut after {after_bytes}, reset: {reset}");
                    match ask(&proxy, version).1 {
                        Ok(answer)
                            if answer.status == 502 && answer.header("x-evenkeel-reason").is_some() => {}
                        // Not a byte came over a kept connection: it was stale, and a fresh one served.
                        Ok(answer) if after_bytes == 0 && answer.body.len() == BODY_BYTES => {}
                        Ok(answer) => deceived.push(format!("{case}: {} whole", answer.status)),
                        Err(error) if error.bytes == 0 => deceived.push(format!("{case}: silence")),
                        Err(ReadError { cause: Cause::TimedOut, .. }) => {
                            deceived.push(format!("{case}: hangs"));
                        }
                        Err(_) => {}
                    }
                }
            }
        }
    }
    println!("F03: N={cuts} clean ends={}", deceived.len());
    assert!(deceived.is_empty(), "{deceived:#?}");
    assert_quiet(&proxy);
}

#[test]
fn f03_large_answers_cut_anywhere_never_look_whole() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for style in [AnswerStyle::Length, AnswerStyle::Chunked, AnswerStyle::UntilClose] {
        let cut = Cut { after_bytes: 2_000_000, reset: true };
        origin.set(|b| (b.answer, b.cut) = (style.clone(), Some(cut)));
        let plan = LoadPlan {
            connections: 2,
            requests: Some(20),
            answer_bytes: 5_000_000,
            methods: vec!["GET", "POST"],
            ..LoadPlan::default()
        };
        let client = Load::run(proxy.listener_addr("web"), plan);
        let truncated = client.count(|outcome| matches!(outcome, Outcome::Truncated { status: Some(200) }));
        let verdict = judge(&client, &[origin.journal()]);
        println!("F03, {style:?}: {verdict}");
        assert_eq!((truncated, verdict.offences.len()), (20, 0), "{verdict:?}");
    }
}

#[test]
fn f14_an_answer_shorter_than_it_promised_is_visible() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for more in [1, 100, 1_000_000, u64::MAX >> 2] {
        for version in ["1.1", "1.0"] {
            origin.once(|b| b.answer = AnswerStyle::PromiseMore(more));
            let error = ask(&proxy, version).1.expect_err("less than was promised");
            assert_eq!(error.status, Some(200), "{more} more, HTTP/{version}");
            assert!(matches!(error.cause, Cause::Closed | Cause::Reset), "{more} more: {error:?}");
        }
    }
    assert_quiet(&proxy);
    Client::connect(proxy.listener_addr("web")).assert_usable();
}

#[test]
fn f14_an_answer_longer_than_it_promised_is_cut_and_its_connection_closed() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for less in [1, 100, 20_000] {
        origin.once(|b| b.answer = AnswerStyle::PromiseLess(less));
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx-answer-bytes: {BODY_BYTES}\r\n\r\n"));
        let answer = client.answer("GET");
        assert_eq!((answer.status, answer.body.len() as u64), (200, BODY_BYTES as u64 - less));
        let lied = origin.journal().last().unwrap().connection;
        // The surplus is nobody's answer.
        let next = client.get("/next");
        assert_eq!((next.status, next.header("x-origin")), (200, Some("a")), "{less} less");
        assert_ne!(origin.journal().last().unwrap().connection, lied, "{less} less: used again");
    }
}

#[test]
fn f14_what_a_target_says_unasked_is_nobodys_answer() {
    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
    const EVIL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for late in [false, true] {
        let said = Arc::new(AtomicUsize::new(0));
        let saying = Arc::clone(&said);
        let target = RawOrigin::start(move |_, wire| {
            while wire.head().is_ok() {
                let _ = wire.stream().write_all(&if late { GOOD.to_vec() } else { [GOOD, EVIL].concat() });
                if late {
                    std::thread::sleep(Duration::from_millis(30));
                    let _ = wire.stream().write_all(EVIL);
                }
                saying.fetch_add(1, Ordering::SeqCst);
            }
        });
        let proxy = start(&http(&[target.addr()], "").replace("count = 2", "count = 1"));
        for (n, method) in ["GET", "POST", "GET", "POST"].into_iter().enumerate() {
            let mut client = Client::connect(proxy.listener_addr("web"));
            client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
            assert_eq!(client.answer(method).text(), "good", "late: {late}");
            wait_until("all that it says", PATIENCE, || said.load(Ordering::SeqCst) == n + 1);
        }
        assert_eq!(target.connections(), 4, "each connection was given up");
    }
}

#[test]
fn f12_an_early_answer_is_delivered_while_the_client_goes_on_sending() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let body = vec![b'x'; 20 << 20];
    for chunked in [false, true] {
        for early in [Early::ReadOn, Early::StopReading(Duration::from_secs(2))] {
            origin.once(|b| {
                b.early = Some(early);
                b.status = 413;
            });
            let plan = LoadPlan {
                requests: Some(2),
                methods: vec!["POST", "GET"],
                body_bytes: body.len(),
                chunked,
                ..LoadPlan::default()
            };
            let client = Load::run(proxy.listener_addr("web"), plan);
            let outcome = &client.records[0].outcome;
            let Outcome::Answered { status, origin: by, close_seen, .. } = outcome else {
                panic!("{early:?}, chunked: {chunked}: {outcome:?}")
            };
            assert_eq!((*status, by.as_deref()), (413, Some("a")), "{early:?}");
            // A target that reads on may have taken all of it by then; any other leaves the rest to nobody.
            assert!(*close_seen || early == Early::ReadOn, "{early:?}, chunked: {chunked}");
            let next = &client.records[1].outcome;
            assert!(
                matches!(next, Outcome::Answered { status: 200, .. }),
                "{early:?}, out of step: {next:?}"
            );
        }
    }
    assert_quiet(&proxy);
}

#[test]
fn f12_bytes_behind_an_early_answer_are_no_request() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for early in [Early::ReadOn, Early::StopReading(Duration::from_secs(1))] {
        for framing in ["content-length: 100000", "transfer-encoding: chunked"] {
            origin.once(|b| {
                b.early = Some(early);
                b.status = 401;
            });
            let before = origin.journal().len();
            let mut client = Client::connect(proxy.listener_addr("web"));
            client.send(format!("POST /early HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
            let answer = client.answer("POST");
            assert_eq!((answer.status, says_close(&answer)), (401, true), "{framing}");
            let connection = origin.journal().last().unwrap().connection;
            client.send("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3));
            client.assert_closed();
            assert_eq!(origin.journal().len(), before + 1, "{framing}, {early:?}: executed as a request");
            Client::connect(proxy.listener_addr("web")).assert_usable();
            assert_ne!(origin.journal().last().unwrap().connection, connection, "{framing}: used again");
        }
    }
}

#[test]
fn f14_a_204_or_304_that_has_a_body_all_the_same_costs_the_connection() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for (method, head) in [
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"),
    ] {
        let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        origin.once(|b| b.answer = AnswerStyle::Script(format!("{head}{evil}").into(), AfterScript::Keep));
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = client.answer(method);
        assert_eq!((answer.body.len(), answer.rest.len()), (0, 0), "{method} {head:?}");
        let lied = origin.journal().last().unwrap().connection;
        let next = client.get("/next");
        assert_eq!((verdict(&next), next.header("x-origin")), ((200, "-"), Some("a")), "{method} {head:?}");
        assert_ne!(origin.journal().last().unwrap().connection, lied, "{method} {head:?}");
    }
}

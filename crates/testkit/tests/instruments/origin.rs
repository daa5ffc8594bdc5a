//! Every misbehaviour of an origin, and what a client makes of it.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    AfterScript, AnswerStyle, Behaviour, BodyCheck, Cause, ClientJournal, Cut, Early, Hang, Load, LoadPlan,
    OnExpect, Origin, Outcome, Response, Stream, TempDir, WebSocket, Wire, judge, raw_exchange,
    read_response, wait_until,
};

const SHORT: Duration = Duration::from_millis(150);

fn plan() -> LoadPlan {
    LoadPlan { requests: Some(1), answer_bytes: 1000, timeout: Duration::from_secs(5), ..LoadPlan::default() }
}

/// The outcome of one request to an origin that behaves so.
fn outcome(plan: LoadPlan, change: impl FnOnce(&mut Behaviour)) -> Outcome {
    let origin = Origin::start("a");
    origin.set(change);
    let mut journal = Load::run(origin.addr(), plan);
    assert_eq!(journal.records.len(), 1);
    journal.records.pop().unwrap().outcome
}

fn get(change: impl FnOnce(&mut Behaviour)) -> Outcome {
    outcome(plan(), change)
}

fn answered(status: u16, close_seen: bool) -> Outcome {
    Outcome::Answered { status, origin: Some("a".to_owned()), body: BodyCheck::Right, close_seen }
}

fn open(origin: &Origin) -> Stream {
    let mut stream = Stream::connect(origin.addr(), Duration::from_secs(5)).unwrap();
    stream.set_deadline(Some(Instant::now() + Duration::from_secs(5)));
    stream
}

fn ask(stream: &mut Stream, request: &str) -> Response {
    stream.write_all(request.as_bytes()).unwrap();
    read_response(stream, "GET").unwrap()
}

#[test]
fn every_honest_form_of_answer_is_right() {
    for style in
        [AnswerStyle::Length, AnswerStyle::Chunked, AnswerStyle::ChunkedTrailers, AnswerStyle::UntilClose]
    {
        assert_eq!(get(|b| b.answer = style.clone()), answered(200, false), "{style:?}");
    }
    assert_eq!(get(|b| b.status = 503), answered(503, false));
    assert_eq!(get(|b| b.status = 204), answered(204, false));
    assert_eq!(get(|b| b.interim = vec![103, 102, 103]), answered(200, false));
    assert_eq!(get(|b| b.requests_per_connection = Some(1)), answered(200, true));
    let large = LoadPlan { answer_bytes: 3_000_000, ..plan() };
    assert_eq!(outcome(large, |b| b.answer = AnswerStyle::Chunked), answered(200, false));
}

#[test]
fn delays_are_kept() {
    for change in [|b: &mut Behaviour| b.delay_head = SHORT, |b: &mut Behaviour| b.delay_body = SHORT] {
        let started = Instant::now();
        assert_eq!(get(change), answered(200, false));
        assert!(started.elapsed() >= SHORT);
    }
}

#[test]
fn every_broken_answer_is_seen_as_what_it_is() {
    let cut = |after_bytes, reset| move |b: &mut Behaviour| b.cut = Some(Cut { after_bytes, reset });
    assert_eq!(get(cut(0, false)), Outcome::Closed);
    assert_eq!(get(cut(0, true)), Outcome::Reset);
    assert_eq!(get(cut(20, false)), Outcome::Truncated { status: None });
    assert_eq!(get(cut(500, false)), Outcome::Truncated { status: Some(200) });
    assert_eq!(get(cut(500, true)), Outcome::Truncated { status: Some(200) });
    assert_eq!(get(|b| b.answer = AnswerStyle::PromiseMore(5)), Outcome::Truncated { status: Some(200) });
    let short = get(|b| b.answer = AnswerStyle::PromiseLess(5));
    assert!(matches!(short, Outcome::Answered { body: BodyCheck::Wrong(_), .. }), "{short:?}");
    let close = |bytes: &str| AnswerStyle::Script(bytes.into(), AfterScript::Close);
    assert!(matches!(get(|b| b.answer = close("SSH-2.0-x\r\n\r\n")), Outcome::Malformed(_)));
    assert_eq!(get(|b| b.answer = close("HTTP/1.1 2")), Outcome::Truncated { status: None });
    let by_another = get(|b| b.answer = close("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"));
    assert!(matches!(by_another, Outcome::Answered { status: 502, origin: None, .. }), "{by_another:?}");
    assert!(matches!(get(|b| b.answer = AnswerStyle::EndlessHead), Outcome::Malformed(_)));
    assert!(matches!(get(|b| b.answer = AnswerStyle::EndlessInterim), Outcome::Malformed(_)));
}

#[test]
fn a_cut_is_exact_to_the_byte() {
    let origin = Origin::start("a");
    for after_bytes in [1, 17, 200, 900] {
        origin.once(|b| b.cut = Some(Cut { after_bytes, reset: after_bytes % 2 == 0 }));
        let mut stream = open(&origin);
        stream.write_all(b"GET / HTTP/1.1\r\nx-answer-bytes: 1000\r\n\r\n").unwrap();
        let error = read_response(&mut stream, "GET").unwrap_err();
        assert_eq!(error.bytes, after_bytes);
        assert!(origin.journal().last().unwrap().spoilt);
    }
}

#[test]
fn a_request_cut_short_is_in_the_journal_but_not_executed() {
    let origin = Origin::start("a");
    let mut stream = open(&origin);
    stream.write_all(b"POST /p HTTP/1.1\r\nx-request-id: 7\r\ncontent-length: 10\r\n\r\nabc").unwrap();
    origin.wait_requests(1);
    drop(stream);
    wait_until("the connection's end", Duration::from_secs(5), || origin.open_connections() == 0);
    let entry = origin.journal().of("7").pop().unwrap();
    assert_eq!((entry.method.as_str(), entry.path.as_str(), entry.body_bytes), ("POST", "/p", 3));
    assert_eq!(entry.header("Content-Length"), Some("10"));
    assert!(!entry.complete && !entry.executed());
}

#[test]
fn a_hang_holds_the_request_and_lets_it_go() {
    for (hang, seen, executed) in [(Hang::Accept, 0, false), (Hang::Read, 0, false), (Hang::Answer, 1, true)]
    {
        let origin = Origin::start("a");
        origin.set(|b| b.hang = Some(hang));
        let load = Load::start(origin.addr(), LoadPlan { timeout: SHORT, ..plan() });
        assert_eq!(load.finish().count(|o| *o == Outcome::TimedOut), 1, "{hang:?}");
        assert_eq!(origin.journal().len(), seen, "{hang:?}");
        assert!(!executed || origin.journal().last().unwrap().executed());
        let held = Load::start(origin.addr(), plan());
        origin.set(|b| b.hang = None);
        assert_eq!(held.finish().count(|o| *o == answered(200, false)), 1, "{hang:?}");
    }
}

#[test]
fn an_early_answer_is_delivered_while_the_body_is_still_written() {
    let post = LoadPlan { methods: vec!["POST"], body_bytes: 20_000_000, ..plan() };
    let stops = |b: &mut Behaviour| {
        b.status = 413;
        b.early = Some(Early::StopReading(Duration::from_secs(60)));
    };
    let started = Instant::now();
    assert_eq!(outcome(post.clone(), stops), answered(413, false));
    assert!(started.elapsed() < Duration::from_secs(4), "the rest of the body must not be waited for");
    let small = LoadPlan { requests: Some(5), body_bytes: 100, ..post };
    let origin = Origin::start("a");
    origin.set(|b| b.early = Some(Early::ReadOn));
    let journal = Load::run(origin.addr(), small);
    assert_eq!((journal.count(|o| *o == answered(200, false)), journal.connections()), (5, 1));
}

#[test]
fn an_announced_or_silent_close_is_told_apart() {
    let origin = Origin::start("a");
    origin.set(|b| {
        b.requests_per_connection = Some(1);
        b.announce_close = false;
    });
    let load = Load::start(origin.addr(), LoadPlan { requests: Some(2), pause: SHORT, ..plan() });
    let outcomes: Vec<Outcome> = load.finish().records.into_iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes[0], answered(200, false));
    assert!(matches!(outcomes[1], Outcome::Closed | Outcome::Reset), "{outcomes:?}");
    origin.set(|b| b.announce_close = true);
    let pipelined = LoadPlan { requests: Some(3), pipelining: 3, ..plan() };
    let journal: ClientJournal = Load::run(origin.addr(), pipelined);
    assert_eq!(journal.count(|o| *o == Outcome::Unprocessed), 2);
    let verdict = judge(&journal, &[origin.journal()]);
    assert_eq!((verdict.unprocessed, verdict.lost), (2, 0));
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let origin = Origin::start("a");
    origin.set(|b| b.idle_close = Some(SHORT));
    let mut stream = open(&origin);
    ask(&mut stream, "GET / HTTP/1.1\r\n\r\n");
    let started = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(started.elapsed() >= SHORT / 2 && started.elapsed() < Duration::from_secs(3));
}

#[test]
fn expectations_are_met_ignored_or_refused() {
    let head = "POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let origin = Origin::start("a");
    let mut stream = open(&origin);
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(ask(&mut stream, "ab").status, 200);
    origin.set(|b| b.expect = OnExpect::Ignore);
    let response = ask(&mut stream, &format!("{head}ab"));
    assert_eq!((response.status, response.interim.len()), (200, 0));
    origin.set(|b| b.expect = OnExpect::Refuse);
    let refused = ask(&mut stream, head);
    assert_eq!((refused.status, refused.header("connection")), (417, Some("close")));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn health_is_toggled_apart_from_the_journal() {
    let origin = Origin::start("a");
    let mut stream = open(&origin);
    let request = "GET /healthz HTTP/1.1\r\n\r\n";
    assert_eq!(ask(&mut stream, request).status, 200);
    origin.set(|b| b.health = 503);
    assert_eq!(ask(&mut stream, request).status, 503);
    assert_eq!((origin.journal().health_checks(), origin.journal().len()), (2, 0));
    origin.behave();
    let closing = b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n";
    let raw = raw_exchange(origin.addr(), closing, Duration::from_secs(5)).unwrap();
    assert!(raw.starts_with(b"HTTP/1.1 200") && raw.ends_with(b"ok\n"));
}

#[test]
fn upgrades_echo_bytes_and_websocket_messages() {
    let origin = Origin::start("a");
    let mut wire = Wire::new(open(&origin));
    let request = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nfirst";
    wire.stream().write_all(request).unwrap();
    assert_eq!(wire.response("GET").unwrap().status, 101);
    assert_eq!(wire.bytes(5).unwrap(), b"first");
    wire.stream().write_all(b"second").unwrap();
    assert_eq!(wire.bytes(6).unwrap(), b"second");

    let mut socket = WebSocket::connect(origin.addr(), "/ws", Duration::from_secs(5)).unwrap();
    for text in ["", "hello", &"long ".repeat(20_000)] {
        socket.send(text).unwrap();
        assert_eq!(socket.receive().unwrap(), text);
    }
    socket.close().unwrap();
    origin.set(|b| b.upgrade = false);
    let refused = WebSocket::connect(origin.addr(), "/ws", Duration::from_secs(5)).unwrap_err();
    assert!(refused.starts_with("status 200"), "{refused}");
}

#[test]
fn stop_sends_fin_kill_sends_rst_and_the_port_stays() {
    let mut origin = Origin::start("a");
    let addr = origin.addr().clone();
    for (kill, cause) in [(false, Cause::Closed), (true, Cause::Reset)] {
        let (mut idle, mut held) = (open(&origin), open(&origin));
        ask(&mut idle, "GET / HTTP/1.1\r\n\r\n");
        origin.once(|b| b.delay_head = Duration::from_secs(60));
        let requests = origin.journal().len();
        held.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        origin.wait_requests(requests + 1);
        if kill {
            origin.kill();
        } else {
            origin.stop();
        }
        for stream in [&mut idle, &mut held] {
            let error = read_response(stream, "GET").unwrap_err();
            assert_eq!((error.cause, error.bytes), (cause.clone(), 0));
        }
        assert!(Stream::connect(&addr, Duration::from_secs(1)).is_err());
        origin.restart();
        assert_eq!(origin.addr(), &addr);
        assert_eq!(ask(&mut open(&origin), "GET / HTTP/1.1\r\n\r\n").status, 200);
        origin.behave();
    }
}

#[test]
fn refusing_leaves_the_connections_that_stand() {
    let dir = TempDir::new();
    for mut origin in [Origin::start("a"), Origin::start_unix("a", dir.path().join("s"))] {
        let mut standing = open(&origin);
        ask(&mut standing, "GET / HTTP/1.1\r\n\r\n");
        origin.refuse();
        assert!(Stream::connect(origin.addr(), Duration::from_secs(1)).is_err());
        assert_eq!(ask(&mut standing, "GET / HTTP/1.1\r\n\r\n").status, 200);
        origin.restart();
        assert_eq!(ask(&mut open(&origin), "GET / HTTP/1.1\r\n\r\n").status, 200);
    }
}

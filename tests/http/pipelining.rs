//! Requests sent without waiting are answered one by one, in order, wherever their bytes are split.

use std::io::Write as _;
use std::time::Duration;

use evenkeel_testkit::{Load, LoadPlan, Origin, Stream, judge};

use crate::support::{http, start};
use crate::talk::{Client, verdict};

/// One request of a pipeline, and how its answer is told from the others.
struct Request {
    id: String,
    method: &'static str,
    bytes: Vec<u8>,
    answer_bytes: usize,
}

/// The `n`th request of a pipeline: all methods and framings take turns, and so do sizes of bodies and answers.
fn request(n: usize) -> Request {
    const METHODS: [&str; 5] = ["GET", "POST", "HEAD", "PUT", "DELETE"];
    let (method, id) = (METHODS[n % METHODS.len()], format!("p-{n}"));
    let answer_bytes = [0, 100, 5_000, 20_000][n / 3 % 4];
    let body = vec![b'a' + (n % 26) as u8; [0, 1, 700][n / 2 % 3]];
    let head = format!(
        "{method} /{n} HTTP/1.1\r\nhost: a.example\r\nx-request-id: {id}\r\nx-answer-bytes: {answer_bytes}\r\n"
    );
    let bytes = match method {
        "POST" => {
            let length = format!("content-length: {}\r\n\r\n", body.len());
            [head.as_bytes(), length.as_bytes(), &body].concat()
        }
        "PUT" => {
            let (first, second) = body.split_at(body.len() / 2);
            let mut bytes = [head.as_bytes(), b"transfer-encoding: chunked\r\n\r\n"].concat();
            for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()));
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            bytes
        }
        _ => [head.as_bytes(), b"\r\n"].concat(),
    };
    Request { id, method, bytes, answer_bytes }
}

/// Writes the pieces from a thread of its own, so that neither side waits for the other for ever.
fn write_apart(client: &mut Client, pieces: Vec<Vec<u8>>) {
    let mut stream: Stream = client.wire.stream().try_clone().unwrap();
    std::thread::spawn(move || pieces.iter().all(|piece| stream.write_all(piece).is_ok()));
}

#[track_caller]
fn assert_answered(client: &mut Client, requests: &[Request], case: &str) {
    for request in requests {
        let answer = client.answer(request.method);
        assert_eq!(answer.header("x-answer-id"), Some(request.id.as_str()), "{case}: out of order");
        assert_eq!(answer.status, 200, "{case}");
        if request.method != "HEAD" {
            assert!(answer.body.len() >= request.answer_bytes, "{case}: {} bytes", answer.body.len());
            assert!(answer.text().starts_with(&format!("id={} ", request.id)), "{case}");
        }
    }
}

#[test]
fn pipelines_of_every_depth_are_answered_in_order() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let mut sent = 0;
    for depth in 1..=50 {
        let requests: Vec<Request> = (0..depth).map(request).collect();
        let mut client = Client::connect(proxy.listener_addr("web"));
        write_apart(&mut client, vec![requests.iter().flat_map(|r| r.bytes.clone()).collect()]);
        assert_answered(&mut client, &requests, &format!("depth {depth}"));
        client.assert_usable();
        sent += depth + 1;
    }
    assert_eq!(a.journal().len() + b.journal().len(), sent);
    println!("pipelining: N={sent} answered in order={sent}");
}

#[test]
fn pipelines_may_be_split_anywhere() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let requests: Vec<Request> = (0..12).map(request).collect();
    let whole: Vec<u8> = requests.iter().flat_map(|request| request.bytes.clone()).collect();
    // Behind every CR, every LF, and every head's last byte but one: all the places where a parser stops to think.
    let boundaries: Vec<usize> =
        (1..whole.len()).filter(|&at| matches!(whole[at - 1], b'\r' | b'\n')).collect();
    for step in [1, 7, 1000, 16 * 1024 - 1] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        write_apart(&mut client, whole.chunks(step).map(<[u8]>::to_vec).collect());
        assert_answered(&mut client, &requests, &format!("pieces of {step}"));
    }
    let mut client = Client::connect(proxy.listener_addr("web"));
    let edges: Vec<usize> = [0].into_iter().chain(boundaries.iter().copied()).chain([whole.len()]).collect();
    write_apart(&mut client, edges.windows(2).map(|edge| whole[edge[0]..edge[1]].to_vec()).collect());
    assert_answered(&mut client, &requests, "split behind every CR and LF");
    for at in boundaries.iter().step_by(5) {
        let mut client = Client::connect(proxy.listener_addr("web"));
        let (first, second) = whole.split_at(*at);
        write_apart(&mut client, vec![first.to_vec(), second.to_vec()]);
        assert_answered(&mut client, &requests, &format!("split at {at}"));
    }
}

#[test]
fn pipelined_load_loses_nothing() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let plan = LoadPlan {
        connections: 4,
        requests: Some(2_000),
        pipelining: 16,
        answer_bytes: 3_000,
        methods: vec!["GET", "HEAD", "GET"],
        ..LoadPlan::default()
    };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("pipelining 16 deep");
    assert_eq!(client.connections(), 4);
}

#[test]
fn what_is_pipelined_behind_a_slow_answer_waits_for_its_turn() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    origin.once(|b| b.delay_head = Duration::from_millis(300));
    let requests: Vec<Request> = (0..5).map(request).collect();
    let mut client = Client::connect(proxy.listener_addr("web"));
    write_apart(&mut client, vec![requests.iter().flat_map(|request| request.bytes.clone()).collect()]);
    assert_answered(&mut client, &requests, "behind a slow one");
    let times: Vec<_> = origin.journal().entries().iter().map(|entry| entry.at).collect();
    assert!(
        times[1] - times[0] >= Duration::from_millis(300),
        "requests of one client never overtake each other"
    );
}

#[test]
fn more_pipelined_requests_than_fit_a_buffer_wait_in_the_kernel() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    origin.once(|b| b.delay_head = Duration::from_millis(200));
    let requests: Vec<Request> = (0..2_000).map(|n| request(n * 5)).collect();
    let mut client = Client::connect(proxy.listener_addr("web")).patient_for(Duration::from_secs(20));
    let bytes: Vec<u8> = requests.iter().flat_map(|request| request.bytes.clone()).collect();
    assert!(bytes.len() > 8 * 16 * 1024);
    write_apart(&mut client, vec![bytes]);
    assert_answered(&mut client, &requests, "far more than one buffer");
}

#[test]
fn a_finished_client_gets_all_it_asked_for() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let requests: Vec<Request> = (0..10).map(request).collect();
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(requests.iter().flat_map(|request| request.bytes.clone()).collect::<Vec<u8>>());
    client.finish();
    assert_answered(&mut client, &requests, "F10: half-closed behind the last request");
    client.assert_finished();
}

#[test]
fn nothing_behind_connection_close_is_executed() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(verdict(&client.answer("GET")), (200, "-"));
    client.assert_closed();
    let paths: Vec<_> = origin.journal().entries().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["/1"]);
}

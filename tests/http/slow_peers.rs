//! Clients and targets of any speed: memory does not grow with the body, and nobody else waits.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use evenkeel_testkit::{Evenkeel, Load, LoadPlan, Origin, Verdict, hash, judge};

use crate::support::{http, start};
use crate::talk::{Client, assert_quiet};

const MIB: u64 = 1 << 20;
const BIG: u64 = 100 * MIB;

/// One worker, so that the slow and the others share it.
fn one_worker(origin: &Origin) -> Evenkeel {
    let proxy = start(&http(&[origin.addr()], "").replace("count = 2", "count = 1"));
    // Its first requests settle what it keeps for all of them.
    bystanders(&proxy, origin, 200);
    proxy
}

#[track_caller]
fn bystanders(proxy: &Evenkeel, origin: &Origin, requests: u64) -> Verdict {
    let plan = LoadPlan {
        connections: 2,
        requests: Some(requests),
        methods: vec!["GET", "POST"],
        body_bytes: 500,
        answer_bytes: 500,
        ..LoadPlan::default()
    };
    let verdict = judge(&Load::run(proxy.listener_addr("web"), plan), &[origin.journal()]);
    verdict.assert_all_answered("beside the slow");
    verdict
}

#[track_caller]
fn assert_bounded(proxy: &Evenkeel, before: u64, what: &str) {
    let grown = proxy.rss_bytes().saturating_sub(before);
    println!("{what}: {} KiB more memory", grown / 1024);
    assert!(grown < 16 * MIB, "{what}: {grown} bytes more memory");
}

#[test]
fn f49_slow_readers_cost_no_memory_and_nobody_waits_for_them() {
    let origin = Origin::start("a");
    let proxy = one_worker(&origin);
    let before = proxy.rss_bytes();
    let connect = || Client::connect(proxy.listener_addr("web")).patient_for(Duration::from_secs(30));
    // No more of them: what they leave unread fills the kernel's buffers, which all tests of a machine share.
    let mut slow: Vec<Client> = (0..12).map(|_| connect()).collect();
    for (n, client) in slow.iter_mut().enumerate() {
        let version = if n % 2 == 0 { "1.1" } else { "1.0" };
        client.send(format!("GET / HTTP/{version}\r\nhost: a\r\nx-answer-bytes: {BIG}\r\n\r\n"));
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        for client in &mut slow {
            let mut byte = [0; 16];
            client.wire.stream().read_exact(&mut byte).unwrap();
        }
        bystanders(&proxy, &origin, 50);
        assert_bounded(&proxy, before, "F49: 12 slow readers of 100 MB each");
    }
    let others = bystanders(&proxy, &origin, 300);
    assert!(others.latency(99.0) < Duration::from_secs(1), "{:?}", others.latency(99.0));
    drop(slow);
    assert_quiet(&proxy);
}

#[test]
fn f50_slow_senders_cost_no_memory_and_nobody_waits_for_them() {
    let origin = Origin::start("a");
    let proxy = one_worker(&origin);
    let before = proxy.rss_bytes();
    let mut slow: Vec<Client> = (0..40).map(|_| Client::connect(proxy.listener_addr("web"))).collect();
    for (n, client) in slow.iter_mut().enumerate() {
        let framing =
            if n % 2 == 0 { format!("content-length: {BIG}") } else { "transfer-encoding: chunked".into() };
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
        if n % 2 == 1 {
            client.send(format!("{BIG:x}\r\n"));
        }
    }
    for _ in 0..10 {
        for client in &mut slow {
            client.send(vec![b'x'; 10_000]);
        }
        bystanders(&proxy, &origin, 50);
        assert_bounded(&proxy, before, "F50: 40 slow senders of 100 MB each");
    }
    let others = bystanders(&proxy, &origin, 300);
    assert!(others.latency(99.0) < Duration::from_secs(1), "{:?}", others.latency(99.0));
    drop(slow);
    assert_quiet(&proxy);
}

/// A hundred megabytes through at full speed, both ways at once, in either framing.
#[test]
fn large_bodies_are_streamed_and_never_held() {
    let origin = Origin::start("a");
    origin.set(|b| b.keep_heads = false);
    let proxy = one_worker(&origin);
    let before = proxy.rss_bytes();
    for chunked in [false, true] {
        let style = if chunked {
            evenkeel_testkit::AnswerStyle::Chunked
        } else {
            evenkeel_testkit::AnswerStyle::Length
        };
        origin.set(|b| b.answer = style);
        let plan = LoadPlan {
            requests: Some(1),
            methods: vec!["PUT"],
            body_bytes: BIG as usize / 2,
            answer_bytes: BIG / 2,
            chunked,
            timeout: Duration::from_secs(30),
            ..LoadPlan::default()
        };
        let load = Load::start(proxy.listener_addr("web"), plan);
        while load.answered() + load.failed() < 1 {
            std::thread::sleep(Duration::from_millis(20));
            let grown = proxy.rss_bytes().saturating_sub(before);
            assert!(grown < 16 * MIB, "chunked: {chunked}: {grown} bytes more memory");
        }
        let client = load.finish();
        judge(&client, &[origin.journal()]).assert_all_answered("a hundred megabytes");
    }
    assert_bounded(&proxy, before, "a hundred megabytes each way");
}

/// The target reads slowly: the client is held back, and nothing piles up in between.
#[test]
fn a_slow_target_holds_its_client_back() {
    let origin = Origin::start("a");
    let proxy = one_worker(&origin);
    let before = proxy.rss_bytes();
    origin.set(|b| b.hang = Some(evenkeel_testkit::Hang::Read));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let body = vec![b'y'; 60 * MIB as usize];
    let whole = hash(&body);
    let mut stream = client.wire.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let head = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_ok()
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(!writer.is_finished(), "sixty megabytes went somewhere");
    assert_bounded(&proxy, before, "a target that does not read");
    origin.set(|b| b.hang = None);
    assert_eq!(client.answer("PUT").status, 200);
    assert!(writer.join().unwrap());
    assert_eq!(origin.journal().last().unwrap().body_hash, whole);
}

/// Bodies of many clients at once, none of which sees a byte of another's.
#[test]
fn bodies_of_many_clients_never_mix() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let loads: Vec<Load> =
        [(3_000, 70_000, true), (40_000, 10, false), (10, 300_000, true), (200_000, 20_000, false)]
            .into_iter()
            .map(|(body_bytes, answer_bytes, chunked)| {
                let methods = vec!["POST", "GET", "PUT"];
                let plan = LoadPlan {
                    connections: 3,
                    requests: Some(300),
                    methods,
                    body_bytes,
                    answer_bytes,
                    chunked,
                    timeout: Duration::from_secs(30),
                    ..LoadPlan::default()
                };
                Load::start(proxy.listener_addr("web"), plan)
            })
            .collect();
    let journals =
        loads.into_iter().map(Load::finish).reduce(evenkeel_testkit::ClientJournal::merge).unwrap();
    judge(&journals, &[a.journal(), b.journal()]).assert_all_answered("many bodies at once");
}

//! Rule 9: a client may vanish at any moment, and nothing of it is left: no lease, no connection, no half request.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::Duration;

use evenkeel_testkit::{AnswerStyle, Evenkeel, Hang, Origin, wait_until};

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, assert_quiet, get, in_flight};

/// Where a request is when its client vanishes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Connected,
    InHead,
    InBody,
    InChunk,
    Waiting,
    WaitingWithMoreSent,
    InAnswerHead,
    InAnswer,
    InStalledAnswer,
    Switched,
    Idle,
}

const STAGES: [Stage; 11] = [
    Stage::Connected,
    Stage::InHead,
    Stage::InBody,
    Stage::InChunk,
    Stage::Waiting,
    Stage::WaitingWithMoreSent,
    Stage::InAnswerHead,
    Stage::InAnswer,
    Stage::InStalledAnswer,
    Stage::Switched,
    Stage::Idle,
];

/// Brings a client to that stage.
fn client_at(stage: Stage, proxy: &Evenkeel, origin: &Origin) -> Client {
    let mut client = Client::connect(proxy.listener_addr("web"));
    let before = origin.journal().len();
    let hang = |hang| origin.set(|b| b.hang = hang);
    match stage {
        Stage::Connected => {}
        Stage::InHead => {
            client.send("GET / HTTP/1.1\r\nhos");
        }
        Stage::InBody => {
            client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc");
            origin.wait_requests(before + 1);
        }
        Stage::InChunk => {
            client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe");
            origin.wait_requests(before + 1);
        }
        Stage::Waiting | Stage::WaitingWithMoreSent => {
            hang(Some(Hang::Answer));
            client.send(get("/"));
            if stage == Stage::WaitingWithMoreSent {
                client.send(get("/pipelined").repeat(3));
            }
            origin.wait_requests(before + 1);
        }
        Stage::InAnswerHead => {
            origin.once(|b| {
                b.interim = vec![103];
                b.delay_head = Duration::from_secs(60);
            });
            client.send(get("/"));
            assert_eq!(client.wire.head().unwrap().word(1), "103");
        }
        Stage::InAnswer => {
            client.send("GET / HTTP/1.1\r\nhost: a\r\nx-answer-bytes: 50000000\r\n\r\n");
            client.wire.some().unwrap();
        }
        Stage::InStalledAnswer => {
            origin.once(|b| b.delay_body = Duration::from_secs(60));
            client.send("GET / HTTP/1.1\r\nhost: a\r\nx-answer-bytes: 10000\r\n\r\n");
            client.wire.some().unwrap();
        }
        Stage::Switched => {
            client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
            assert_eq!(client.answer("GET").status, 101);
        }
        Stage::Idle => {
            assert_eq!(client.get("/").status, 200);
        }
    }
    client
}

#[test]
fn rule_09_a_client_may_reset_at_any_stage() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    Client::connect(proxy.listener_addr("web")).assert_usable();
    let descriptors = proxy.fd_count();
    for stage in STAGES {
        let clients: Vec<Client> = (0..5).map(|_| client_at(stage, &proxy, &origin)).collect();
        clients.into_iter().for_each(Client::reset);
        // Within the five seconds of patience, far below any deadline of thirty.
        println!("rule 9: reset, {stage:?}");
        assert_quiet(&proxy);
        origin.behave();
        // Of the connections to the target, those that are fit for use are kept: one per worker served them all.
        let last = RefCell::new(Vec::new());
        wait_until(&format!("descriptors back, {stage:?}"), PATIENCE, || {
            let open = proxy.descriptors();
            let few = open.len() <= descriptors + 4;
            if *last.borrow() != open {
                println!("{} descriptors, {descriptors} at first: {}", open.len(), open.join(" "));
                last.replace(open);
            }
            few
        });
        Client::connect(proxy.listener_addr("web")).assert_usable();
    }
    assert_eq!(proxy.admin_json("/api/v1/status")["panics"], 0);
}

#[test]
fn rule_09_a_client_may_leave_in_order_at_any_stage() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    for stage in STAGES {
        // Half-closed only, it waits for its answer, and is right to; gone for good, its end shows when it is written to.
        if matches!(
            stage,
            Stage::Waiting | Stage::WaitingWithMoreSent | Stage::InAnswerHead | Stage::InStalledAnswer
        ) {
            continue;
        }
        println!("rule 9: closed, {stage:?}");
        drop((0..5).map(|_| client_at(stage, &proxy, &origin)).collect::<Vec<_>>());
        assert_quiet(&proxy);
        origin.behave();
        Client::connect(proxy.listener_addr("web")).assert_usable();
    }
}

#[test]
fn rule_09_a_place_in_the_queue_is_given_back() {
    let origin = Origin::start("a");
    let proxy =
        start(&http(&[origin.addr()], "limits = { connections = 1, pending = 5, queue_timeout = \"1s\" }"));
    let mut first = client_at(Stage::Waiting, &proxy, &origin);
    let queued: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = Client::connect(proxy.listener_addr("web"));
            client.send(get("/queued"));
            client
        })
        .collect();
    let waiting = || proxy.admin_json("/api/v1/pools/app")["waiting"].as_u64();
    wait_until("a full queue", PATIENCE, || waiting() == Some(5));
    queued.into_iter().for_each(Client::reset);
    wait_until("an empty queue", PATIENCE, || waiting() == Some(0));
    origin.behave();
    assert_eq!(first.answer("GET").status, 200);
    drop(first);
    assert_quiet(&proxy);
    Client::connect(proxy.listener_addr("web")).assert_usable();
}

#[test]
fn rule_09_a_reload_a_removal_and_a_cut_in_the_middle() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let config = http(&[a.addr(), b.addr()], "");
    let proxy = start(&config);
    for change in 0..3 {
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(proxy.listener_addr("web"))).collect();
        for client in &mut clients {
            client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n");
            client.send(vec![b'x'; 100_000]);
        }
        wait_until("four leases", PATIENCE, || in_flight(&proxy) == 4);
        match change {
            0 => {
                proxy.write_config(&http(&[a.addr(), b.addr()], "algorithm = \"random\""));
                let (status, body) = proxy.admin("POST", "/api/v1/reload", "");
                assert_eq!(status, 200, "{body}");
            }
            1 => {
                let (status, body) =
                    proxy.admin("DELETE", &format!("/api/v1/pools/app/targets/{}", b.addr()), "");
                assert!(matches!(status, 200 | 204), "{status} {body}");
            }
            _ => {
                for connection in proxy.admin_json("/api/v1/connections").as_array().unwrap() {
                    let id = connection["id"].as_str().unwrap();
                    assert!(matches!(
                        proxy.admin("DELETE", &format!("/api/v1/connections/{id}"), "").0,
                        200 | 204
                    ));
                }
                for client in &mut clients {
                    client.assert_closed();
                }
                assert_quiet(&proxy);
                continue;
            }
        }
        for client in &mut clients {
            client.send(vec![b'x'; 100_000]);
            assert_eq!(client.answer("POST").status, 200, "change {change}: what was begun is finished");
        }
        drop(clients);
        assert_quiet(&proxy);
    }
}

#[test]
fn rule_09_clients_that_come_and_go_leave_nothing() {
    let origin = Origin::start("a");
    origin.set(|b| b.answer = AnswerStyle::Chunked);
    let proxy = start(&http(&[origin.addr()], ""));
    Client::connect(proxy.listener_addr("web")).assert_usable();
    let (descriptors, threads) = (proxy.fd_count(), proxy.threads());
    let request = "GET / HTTP/1.1\r\nhost: a\r\nx-answer-bytes: 300000\r\n\r\n".as_bytes();
    for n in 0..400 {
        let mut client = Client::connect(proxy.listener_addr("web"));
        // Every prefix of a request, and then some of its answer.
        let _ = client.wire.stream().write_all(&request[..request.len().min(n / 4 + 1)]);
        if n % 3 == 0 {
            client.reset();
        }
    }
    assert_quiet(&proxy);
    wait_until("all descriptors back", PATIENCE, || proxy.fd_count() <= descriptors + 8);
    assert_eq!(proxy.threads(), threads);
    Client::connect(proxy.listener_addr("web")).assert_usable();
}

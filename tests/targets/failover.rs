//! A target dies and returns under load: no request fails, and it is used again.

use std::io::{Read, Write};
use std::net::TcpStream;

use evenkeel_api::TargetState;
use evenkeel_testkit::{Load, LoadPlan, Origin, judge, wait_until};

use crate::kit::{ms, target_events, wait_state};
use crate::support::{http, start, tcp};

/// Until the origin has got so many more requests.
fn wait_used(origin: &Origin, more: usize) {
    let before = origin.journal().len();
    wait_until("the target to be used again", ms(8000), || origin.journal().len() >= before + more);
}

#[test]
fn a_target_that_dies_and_returns_is_found_by_its_probes() {
    let (mut a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let more =
        "passive = false\n[pool.app.health]\ncheck = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\n";
    let proxy = start(&http(&[a.addr(), b.addr(), c.addr()], more));
    let load = Load::start(proxy.listener_addr("web"), LoadPlan { connections: 8, ..LoadPlan::default() });
    load.wait_answers(300);
    for _ in 0..2 {
        a.kill();
        let down = wait_state(&proxy, a.addr(), TargetState::Down);
        assert_eq!(down.reason.as_deref(), Some("probe-refused"));
        load.wait_answers(200);
        a.restart();
        wait_state(&proxy, a.addr(), TargetState::Up);
        wait_used(&a, 50);
    }
    let verdict = judge(&load.stop(), &[a.journal(), b.journal(), c.journal()]);
    verdict.assert_all_answered("failover, probes");
}

#[test]
fn a_target_that_dies_and_returns_is_tried_again_after_its_ejection() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    let more = "[pool.app.passive]\nconnect_errors = 3\neject_for = \"400ms\"\nmax_eject_for = \"1s\"\n";
    let proxy = start(&http(&[a.addr(), b.addr()], more));
    let load = Load::start(proxy.listener_addr("web"), LoadPlan { connections: 8, ..LoadPlan::default() });
    load.wait_answers(300);
    for _ in 0..2 {
        a.kill();
        let ejected = wait_state(&proxy, a.addr(), TargetState::Ejected);
        assert_eq!(ejected.reason.as_deref(), Some("connect-errors"));
        a.restart();
        wait_used(&a, 50);
    }
    judge(&load.stop(), &[a.journal(), b.journal()]).assert_all_answered("failover, passive");
    let reasons: Vec<String> =
        target_events(&proxy, a.addr()).into_iter().map(|event| event.reason).collect();
    assert_eq!(&reasons[..2], ["connect-errors", "ejection-over"], "{reasons:?}");
}

/// The client connects once, and never learns that its first target was dead.
#[test]
fn a_tcp_client_never_sees_a_failed_try() {
    let (mut a, mut b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let proxy = start(&tcp(&[a.addr(), b.addr(), c.addr()], "passive = false"));
    a.stop();
    b.stop();
    let trials = 60;
    for trial in 0..trials {
        let mut client = TcpStream::connect(proxy.listener_addr("web")).unwrap();
        let request =
            format!("GET / HTTP/1.1\r\nhost: x\r\nx-request-id: t{trial}\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-origin: c"), "{trial}: {answer}");
    }
    println!("failover, TCP: N={trials} lost=0");
}

//! F01, F02: servers that die between requests and in the middle of them.

use evenkeel_testkit::{Hang, Load, LoadPlan, Origin, judge, wait_until};

use crate::kit::{Caller, ms, one_worker, quoted, target, who};
use crate::support::{http, start};

/// A killed process leaves its peers a FIN, or a reset where it had bytes that it never read.
fn die(origin: &mut Origin, turn: usize) {
    if turn.is_multiple_of(2) { origin.kill() } else { origin.stop() }
}

#[test]
fn f01_server_killed_between_requests() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], "passive = false"));
    let plan = LoadPlan { connections: 4, pause: ms(10), ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    for turn in 0..6 {
        load.wait_answers(60);
        die(&mut a, turn);
        load.wait_answers(60);
        a.restart();
    }
    let client = load.stop();
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F01");
    assert!(client.answers_of("a") > 50, "it was used again each time");
}

#[test]
fn f01_the_next_request_goes_elsewhere_within_one_connect() {
    for method in ["GET", "POST"] {
        let (mut a, b) = (Origin::start("a"), Origin::start("b"));
        let proxy = start(&http(&[a.addr(), b.addr()], ""));
        let mut client = Caller::to(proxy.listener_addr("web"));
        let before: Vec<_> = (0..4).map(|_| who(&client.get()).to_owned()).collect();
        assert_eq!(before.iter().filter(|name| *name == "a").count(), 2);
        a.kill();
        for id in ["one", "two"] {
            let before = target(&proxy, a.addr()).connect_errors;
            client.send(method, id, b"body");
            let answer = client.receive();
            assert_eq!((answer.status, who(&answer)), (200, "b"), "{method} {id}: {answer:?}");
            assert!(target(&proxy, a.addr()).connect_errors <= before + 1, "{method} {id}: one connect each");
        }
        let dead = target(&proxy, a.addr());
        assert!(dead.connect_errors >= 1, "nobody had a turn at the dead server: {dead:?}");
        assert_eq!(dead.connect_errors, dead.retries, "{dead:?}");
    }
}

#[test]
fn f02_server_killed_mid_request_under_load() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    a.set(|o| o.delay_head = ms(3));
    b.set(|o| o.delay_head = ms(3));
    let proxy = start(&http(&[a.addr(), b.addr()], "passive = false"));
    let methods = vec!["GET", "POST"];
    let plan = LoadPlan { connections: 16, methods, body_bytes: 2000, ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    load.wait_answers(600);
    for turn in 0..6 {
        die(&mut a, turn);
        load.wait_answers(200);
        a.restart();
        load.wait_answers(200);
    }
    let verdict = judge(&load.stop(), &[a.journal(), b.journal()]);
    verdict.assert_none_lost("F02");
    assert!(verdict.reported_5xx > 0, "no POST was under way when its server died: {verdict}");
}

#[test]
fn f02_two_of_three_servers_die_at_once() {
    let (mut a, mut b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let origins = [a.addr(), b.addr(), c.addr()];
    let proxy = start(&http(&origins, "passive = false"));
    let load = Load::start(proxy.listener_addr("web"), LoadPlan { connections: 12, ..LoadPlan::default() });
    load.wait_answers(900);
    for turn in 0..4 {
        die(&mut a, turn);
        die(&mut b, turn);
        load.wait_answers(300);
        a.restart();
        b.restart();
        load.wait_answers(300);
    }
    let client = load.stop();
    judge(&client, &[a.journal(), b.journal(), c.journal()]).assert_all_answered("F02, two of three");
}

/// The server's kernel may hold its acknowledgement back while the server reads and acts. That nothing was
/// acknowledged before a reset proves nothing.
#[test]
fn f02_post_whose_server_dies_right_after_reading_it_is_never_sent_twice() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let targets = [quoted(a.addr()), quoted(b.addr())];
    let proxy = start(&one_worker(&targets, "algorithm = \"first\"\npassive = false"));
    let mut client = Caller::to(proxy.listener_addr("web"));
    let trials = 40;
    for trial in 0..trials {
        // A few answers make the connection an interactive one, whose acknowledgements ride on answers.
        for _ in 0..6 {
            assert_eq!(who(&client.get()), "a");
        }
        a.set(|o| o.hang = Some(Hang::Answer));
        let id = format!("post-{trial}");
        client.send("POST", &id, b"one order, please");
        wait_until("the server to have read the request", ms(5000), || {
            a.journal().of(&id).iter().any(|entry| entry.complete)
        });
        if trial % 2 == 0 {
            a.reset_connections();
        } else {
            a.close_connections();
        }
        let answer = client.receive();
        assert_eq!(answer.status, 502, "it is reported: {answer:?}");
        let executed = a.journal().of(&id).len() + b.journal().of(&id).len();
        assert_eq!(executed, 1, "trial {trial}: a POST was executed twice");
        a.set(|o| o.hang = None);
    }
    println!("F02, died after reading: N={trials} executed twice=0");
}

//! F27, F28: targets are drained, disabled, removed and added under load, and nothing is lost.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use evenkeel_api::{TargetState, drain_path};
use evenkeel_testkit::{Hang, Load, LoadPlan, Origin, WebSocket, judge};

use crate::kit::{
    Caller, add, ask, change, edit, eventually, get, ms, one_worker, pool, remove, target, wait_idle,
    wait_state, who,
};
use crate::support::{http, start, tcp};

fn plan() -> LoadPlan {
    let methods = vec!["GET", "POST"];
    LoadPlan { connections: 8, methods, body_bytes: 800, ..LoadPlan::default() }
}

#[test]
fn f28_a_server_that_is_drained_before_it_stops_loses_nothing() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    // Slow enough that something is always under way.
    a.set(|o| o.delay_head = ms(5));
    b.set(|o| o.delay_head = ms(5));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let load = Load::start(proxy.listener_addr("web"), plan());
    for _ in 0..12 {
        load.wait_answers(60);
        change(&proxy, "POST", &drain_path("app", &a.addr().to_string()), "");
        assert_eq!(target(&proxy, a.addr()).state, TargetState::Draining);
        wait_idle(&proxy, a.addr());
        a.kill();
        load.wait_answers(20);
        a.restart();
        edit(&proxy, a.addr(), "{\"state\": \"enabled\"}");
    }
    let client = load.stop();
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F28");
    assert!(client.answers_of("a") > 100, "it served in between");
}

/// While a queue waits for each target, too.
#[test]
fn f28_a_saturated_server_that_is_drained_before_it_stops_loses_nothing() {
    let mut origins = ["a", "b"].map(Origin::start);
    let limited = |origin: &Origin| format!("{{ address = \"{}\", max_connections = 2 }}", origin.addr());
    let targets = origins.each_ref().map(limited);
    let more = "[pool.app.limits]\nqueue_timeout = \"20s\"\n";
    let proxy = start(&one_worker(&targets, more).replace("count = 1", "count = 2"));
    let load = Load::start(proxy.listener_addr("web"), LoadPlan { connections: 12, ..plan() });
    for turn in 0..12 {
        let origin = &mut origins[turn % 2];
        load.wait_answers(60);
        change(&proxy, "POST", &drain_path("app", &origin.addr().to_string()), "");
        wait_idle(&proxy, origin.addr());
        origin.kill();
        load.wait_answers(20);
        origin.restart();
        edit(&proxy, origin.addr(), "{\"state\": \"enabled\"}");
    }
    let client = load.stop();
    judge(&client, &origins.each_ref().map(Origin::journal)).assert_all_answered("F28, saturated");
}

/// Who waits holds the pool as it was when it came.
#[test]
fn who_waits_in_the_queue_of_a_drained_target_goes_elsewhere() {
    for state in ["draining", "disabled"] {
        let origins = ["a", "b"].map(Origin::start);
        origins.iter().for_each(|origin| origin.set(|o| o.hang = Some(Hang::Answer)));
        let limited = |origin: &Origin| format!("{{ address = \"{}\", max_connections = 1 }}", origin.addr());
        let targets = origins.each_ref().map(limited);
        let proxy = start(&one_worker(&targets, "[pool.app.limits]\nqueue_timeout = \"20s\"\n"));
        let clients = ask(proxy.listener_addr("web"), 8);
        eventually("six to wait", ms(5000), || pool(&proxy).waiting == 6);
        edit(&proxy, origins[0].addr(), &format!("{{\"state\": \"{state}\"}}"));
        origins.iter().for_each(|origin| origin.set(|o| o.hang = None));
        for mut client in clients {
            assert_eq!(client.receive().status, 200);
        }
        assert_eq!(origins.each_ref().map(|origin| origin.journal().len()), [1, 7], "{state}");
    }
}

/// A target that comes while others wait for places takes its share of them.
#[test]
fn who_waits_is_served_by_a_target_that_is_added() {
    let origins = ["a", "b"].map(Origin::start);
    origins[0].set(|o| o.hang = Some(Hang::Answer));
    let target = format!("{{ address = \"{}\", max_connections = 1 }}", origins[0].addr());
    let proxy = start(&one_worker(&[target], "[pool.app.limits]\nqueue_timeout = \"20s\"\n"));
    let mut clients = ask(proxy.listener_addr("web"), 5);
    eventually("four to wait", ms(5000), || pool(&proxy).waiting == 4);
    add(&proxy, origins[1].addr());
    eventually("nobody to wait", ms(5000), || pool(&proxy).waiting == 0);
    for client in &mut clients[1..] {
        assert_eq!(who(&client.receive()), "b");
    }
}

#[test]
fn f27_draining_disabling_removing_and_adding_in_a_loop_loses_nothing() {
    let origins = ["a", "b", "c"].map(Origin::start);
    let addrs = origins.each_ref().map(|origin| origin.addr().clone());
    let proxy = start(&http(&addrs, ""));
    let load = Load::start(proxy.listener_addr("web"), plan());
    for round in 0..40 {
        let addr = &addrs[round % 3];
        match round % 4 {
            0 => edit(&proxy, addr, "{\"state\": \"disabled\"}"),
            1 => remove(&proxy, addr),
            2 => edit(&proxy, addr, "{\"state\": \"draining\"}"),
            _ => edit(&proxy, addr, "{\"weight\": 0}"),
        }
        load.wait_answers(15);
        match round % 4 {
            1 => add(&proxy, addr),
            3 => edit(&proxy, addr, "{\"weight\": 1}"),
            _ => edit(&proxy, addr, "{\"state\": \"enabled\"}"),
        }
        load.wait_answers(15);
    }
    let client = load.stop();
    let journals = origins.each_ref().map(Origin::journal);
    judge(&client, &journals).assert_all_answered("F27");
    assert!(["a", "b", "c"].iter().all(|name| client.answers_of(name) > 100), "all served");
}

#[test]
fn f27_streams_of_a_removed_server_finish() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], "algorithm = \"first\""));
    let web = proxy.listener_addr("web");
    let mut socket = WebSocket::connect(web, "/chat", ms(8000)).unwrap();
    say(&mut socket, "before");
    a.set(|o| o.delay_body = ms(700));
    let streams = (0..4).map(|n| {
        thread::spawn(move || {
            let mut client = Caller::to(web);
            let head =
                format!("GET / HTTP/1.1\r\nhost: x\r\nx-request-id: s{n}\r\nx-answer-bytes: 3000000\r\n\r\n");
            client.write(head.as_bytes());
            client.receive()
        })
    });
    let streams: Vec<_> = streams.collect();
    a.wait_requests(5);
    remove(&proxy, a.addr());
    assert_eq!(who(&get(web)), "b", "nothing new goes there");
    for stream in streams {
        let answer = stream.join().unwrap();
        assert_eq!((who(&answer), answer.body.len()), ("a", 3_000_000));
    }
    say(&mut socket, "after, and not cut");
}

fn say(socket: &mut WebSocket, text: &str) {
    socket.send(text).unwrap();
    assert_eq!(socket.receive().unwrap(), text);
}

#[test]
fn f27_a_tcp_connection_to_a_removed_server_goes_on() {
    let (first, second) = (echo(), echo());
    let proxy = start(&tcp(&[first, second], "algorithm = \"first\""));
    let mut client = TcpStream::connect(proxy.listener_addr("web")).unwrap();
    client.set_read_timeout(Some(ms(5000))).unwrap();
    let mut say = |text: &[u8]| {
        client.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    say(b"before");
    eventually("it to be in flight", ms(2000), || target(&proxy, first).in_flight == 1);
    edit(&proxy, first, "{\"state\": \"draining\"}");
    say(b"draining");
    edit(&proxy, first, "{\"state\": \"disabled\"}");
    say(b"disabled");
    remove(&proxy, first);
    say(b"removed");
}

fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut from = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut from, &mut stream);
            });
        }
    });
    addr
}

#[test]
fn a_weight_changes_live() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let counts = |requests| {
        let plan = LoadPlan { connections: 3, requests: Some(requests), ..LoadPlan::default() };
        [&a, &b].iter().for_each(|origin| drop(origin.journal().take()));
        let client = Load::run(proxy.listener_addr("web"), plan);
        judge(&client, &[a.journal(), b.journal()]).assert_all_answered("weights, live");
        ["a", "b"].map(|name| client.answers_of(name))
    };
    assert_eq!(counts(100), [50, 50]);
    edit(&proxy, a.addr(), "{\"weight\": 4}");
    assert_eq!(counts(100), [80, 20]);
    edit(&proxy, b.addr(), "{\"weight\": 6}");
    assert_eq!(counts(100), [40, 60]);
    edit(&proxy, a.addr(), "{\"weight\": 0}");
    assert_eq!(wait_state(&proxy, a.addr(), TargetState::Draining).weight, 0);
    assert_eq!(counts(50), [0, 50]);
    edit(&proxy, a.addr(), "{\"weight\": 6}");
    assert_eq!(counts(100), [50, 50]);
}

#[test]
fn a_disabled_pool_refuses_and_an_enabled_one_serves_again() {
    let a = Origin::start("a");
    let proxy = start(&http(&[a.addr()], ""));
    let mut client = Caller::to(proxy.listener_addr("web"));
    assert_eq!(who(&client.get()), "a");
    for state in ["disabled", "draining"] {
        edit(&proxy, a.addr(), &format!("{{\"state\": \"{state}\"}}"));
        crate::kit::assert_refused(&client.get(), 503, "no-target");
        edit(&proxy, a.addr(), "{\"state\": \"enabled\"}");
        assert_eq!(who(&client.get()), "a");
    }
}

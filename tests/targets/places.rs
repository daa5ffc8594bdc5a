//! Places never leak, whatever ends a request; and no algorithm searches for ever.

use std::io::Write;
use std::thread;

use evenkeel_testkit::{Evenkeel, Hang, Load, LoadPlan, Origin, Stream, judge};

use crate::kit::{Caller, ask, eventually, ms, one_worker, pool, read, target, wait_idle};
use crate::support::{start, tcp};

/// Every word of the configuration's `algorithm`.
pub(crate) const ALGORITHMS: [&str; 11] = [
    "round-robin",
    "least-connections",
    "random",
    "p2c",
    "peak-ewma",
    "ip-hash",
    "ip-port-hash",
    "consistent-hash",
    "maglev",
    "rendezvous",
    "first",
];

/// Everything that can end a request, for about a second: answers, resets and closes on either side, timeouts of
/// the answer and of the queue, and clients that lose patience.
fn churn(proxy: &Evenkeel, origins: [&Origin; 2]) {
    let web = proxy.listener_addr("web");
    let methods = vec!["GET", "POST"];
    let plan =
        LoadPlan { connections: 16, methods, body_bytes: 100, timeout: ms(3000), ..LoadPlan::default() };
    let load = Load::start(web, plan);
    for turn in 0..10 {
        let origin = origins[turn % 2];
        origin.set(|o| o.hang = Some([Hang::Answer, Hang::Read][turn % 2]));
        // Some of them are refused already while they connect: that is one more way to end.
        let mut gone: Vec<_> = (0..8).filter_map(|_| Stream::connect(&web.into(), ms(3000)).ok()).collect();
        for (n, client) in gone.iter_mut().enumerate() {
            let _ = client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            if n % 2 == 0 {
                client.reset_on_close();
            }
        }
        thread::sleep(ms(if turn % 3 == 0 { 150 } else { 20 }));
        drop(gone);
        if turn % 4 < 2 {
            origin.reset_connections();
        } else {
            origin.close_connections();
        }
        origin.set(|o| o.hang = None);
        thread::sleep(ms(30));
    }
    assert!(load.answered() > 100, "some must have been served, too");
    drop(load);
}

/// All of the capacity is there: so many, and no more, reach the origins at once.
fn assert_capacity(proxy: &Evenkeel, origins: [&Origin; 2], per_target: u64, capacity: u64) {
    for origin in origins {
        origin.behave();
        wait_idle(proxy, origin.addr());
    }
    eventually("an empty queue", ms(5000), || pool(proxy).waiting == 0);
    for origin in origins {
        origin.set(|o| o.hang = Some(Hang::Answer));
    }
    let clients = ask(proxy.listener_addr("web"), capacity as usize + 4);
    eventually("the capacity to be used", ms(5000), || {
        let pool = pool(proxy);
        (pool.in_flight, pool.waiting) == (capacity, 4)
    });
    for origin in origins {
        assert!(target(proxy, origin.addr()).in_flight <= per_target);
        origin.set(|o| o.hang = None);
    }
    for mut client in clients {
        assert_eq!(client.receive().status, 200);
    }
}

#[test]
fn places_for_requests_never_leak() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let limited = |origin: &Origin| format!("{{ address = \"{}\", max_connections = 4 }}", origin.addr());
    let more = "passive = false\n[pool.app.limits]\nconnections = 7\npending = 12\nqueue_timeout = \"400ms\"\n\
                [listener.web.timeouts]\nresponse = \"100ms\"\n";
    let config = one_worker(&[limited(&a), limited(&b)], more).replace("count = 1", "count = 2");
    let proxy = start(&config);
    churn(&proxy, [&a, &b]);
    // The same limits, now with time to look.
    let patient = config.replace("\"400ms\"", "\"20s\"").replace("\"100ms\"", "\"20s\"");
    crate::kit::reload(&proxy, &patient);
    assert_capacity(&proxy, [&a, &b], 4, 7);
}

#[test]
fn places_for_connections_never_leak() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let more =
        "passive = false\n[pool.app.limits]\nconnections = 6\npending = 12\nqueue_timeout = \"400ms\"\n";
    let config = tcp(&[a.addr(), b.addr()], more);
    let proxy = start(&config);
    churn(&proxy, [&a, &b]);
    crate::kit::reload(&proxy, &config.replace("\"400ms\"", "\"20s\""));
    for origin in [&a, &b] {
        wait_idle(&proxy, origin.addr());
        origin.set(|o| o.hang = Some(Hang::Answer));
    }
    let web = proxy.listener_addr("web");
    let mut clients = ask(web, 9);
    eventually("the capacity to be used", ms(5000), || {
        let pool = pool(&proxy);
        (pool.in_flight, pool.waiting) == (6, 3)
    });
    a.behave();
    b.behave();
    // A connection keeps its place until it is closed: the last three get theirs from the first.
    let last = clients.split_off(6);
    for mut client in clients.into_iter().chain(last) {
        assert_eq!(client.receive().status, 200);
    }
}

/// A pool and a listener for each algorithm, all before the same three targets that take one request each.
fn start_all(origins: &[Origin; 3], queue_timeout: &str) -> Evenkeel {
    let target = |origin: &Origin| format!("{{ address = \"{}\", max_connections = 1 }}", origin.addr());
    let targets = origins.each_ref().map(target).join(", ");
    let section = |algorithm| {
        format!(
            "[listener.{algorithm}]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"{algorithm}\"\n\
             [pool.{algorithm}]\nalgorithm = \"{algorithm}\"\ntargets = [{targets}]\n\
             [pool.{algorithm}.limits]\nqueue_timeout = \"{queue_timeout}\"\n"
        )
    };
    let sections: String = ALGORITHMS.iter().map(section).collect();
    start(&format!("[workers]\ncount = 2\n{sections}"))
}

#[test]
fn every_algorithm_ends_when_two_hundred_clients_meet_limits_of_one() {
    let origins = ["a", "b", "c"].map(Origin::start);
    let proxy = start_all(&origins, "20s");
    for algorithm in ALGORITHMS {
        let plan = LoadPlan { connections: 200, requests: Some(400), ..LoadPlan::default() };
        let client = Load::run(proxy.listener_addr(algorithm), plan);
        let journals = origins.each_ref().map(Origin::journal);
        judge(&client, &journals).assert_all_answered(&format!("limits of one, {algorithm}"));
        origins.iter().for_each(|origin| drop(origin.journal().take()));
    }
}

#[test]
fn waiting_costs_no_time_whatever_the_algorithm() {
    let origins = ["a", "b", "c"].map(Origin::start);
    origins.iter().for_each(|origin| origin.set(|o| o.hang = Some(Hang::Answer)));
    let proxy = start_all(&origins, "20s");
    let ask_all = |algorithm: &&str| ask(proxy.listener_addr(algorithm), 20);
    let clients: Vec<Vec<Caller>> = ALGORITHMS.iter().map(ask_all).collect();
    let pools = || read::<Vec<evenkeel_api::Pool>>(&proxy, "/api/v1/pools");
    eventually("all of them to wait", ms(5000), || pools().iter().all(|pool| pool.waiting == 17));
    let before = proxy.cpu_seconds();
    thread::sleep(ms(500));
    let used = proxy.cpu_seconds() - before;
    println!("{} waiting clients took {used} s of CPU in 0.5 s", ALGORITHMS.len() * 17);
    assert!(used < 0.15, "somebody searches instead of waiting: {used} s of CPU in 0.5 s");
    origins.iter().for_each(|origin| origin.set(|o| o.hang = None));
    for mut client in clients.into_iter().flatten() {
        assert_eq!(client.receive().status, 200);
    }
}

//! Connections to targets are kept, shared between clients, and let go in time.

use evenkeel_testkit::{Hang, Load, LoadPlan, Origin, judge};

use crate::kit::{Caller, ask, eventually, get, ms, one_worker, quoted, target, who};
use crate::support::{http, start};

#[test]
fn requests_share_kept_connections() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    // A client that opens a connection for every request does not make us do the same.
    for keep_alive in [true, false] {
        let plan = LoadPlan { connections: 4, requests: Some(1000), keep_alive, ..LoadPlan::default() };
        [&a, &b].iter().for_each(|origin| drop(origin.journal().take()));
        let client = Load::run(proxy.listener_addr("web"), plan);
        judge(&client, &[a.journal(), b.journal()]).assert_all_answered("kept connections");
    }
    for origin in [&a, &b] {
        let label = format!("target=\"{}\"", origin.addr());
        let of = |name: &str| proxy.metric(name, &["pool=\"app\"", &label]);
        let (requests, connects, reused) = (
            of("evenkeel_target_requests_total"),
            of("evenkeel_target_connects_total"),
            of("evenkeel_target_reused_total"),
        );
        println!("{label}: {requests} requests, {connects} connections, {reused} over kept ones");
        assert_eq!(requests, 1000.0);
        assert_eq!(connects + reused, requests);
        assert!(connects <= 8.0, "at most one per client and worker: {connects}");
        assert_eq!(origin.journal().connections() as f64, connects);
    }
}

/// The client's connection is one; the requests on it go where each of them belongs.
#[test]
fn origins_alternate_on_one_client_connection() {
    let origins = ["a", "b", "c"].map(Origin::start);
    let proxy = start(&http(&origins.each_ref().map(Origin::addr), ""));
    let mut client = Caller::to(proxy.listener_addr("web"));
    let answers: Vec<String> = (0..12).map(|_| who(&client.get()).to_owned()).collect();
    for (n, name) in answers.iter().enumerate() {
        assert_eq!(*name, answers[n % 3], "{answers:?}");
    }
    assert_ne!(answers[0], answers[1]);
    assert_ne!(answers[1], answers[2]);
    for origin in &origins {
        assert_eq!(origin.journal().connections(), 1, "each is dialled once");
    }
}

#[test]
fn no_more_than_max_idle_are_kept() {
    for max_idle in [0, 3] {
        let a = Origin::start("a");
        let proxy = start(&one_worker(&[quoted(a.addr())], &format!("max_idle = {max_idle}")));
        a.set(|o| o.hang = Some(Hang::Answer));
        let clients = ask(proxy.listener_addr("web"), 12);
        a.wait_requests(12);
        assert_eq!(a.open_connections(), 12);
        a.set(|o| o.hang = None);
        for mut client in clients {
            assert_eq!(client.receive().status, 200);
        }
        eventually("the surplus to be closed", ms(5000), || a.open_connections() <= max_idle);
        assert_eq!(a.open_connections(), max_idle);
        (0..6).for_each(|_| drop(get(proxy.listener_addr("web"))));
        let expected = if max_idle == 0 { 12 + 6 } else { 12 };
        assert_eq!(a.journal().connections(), expected, "max_idle = {max_idle}");
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let a = Origin::start("a");
    let proxy = start(&one_worker(&[quoted(a.addr())], "keep_alive_timeout = \"300ms\""));
    let mut client = Caller::to(proxy.listener_addr("web"));
    for _ in 0..3 {
        assert_eq!(client.get().status, 200);
    }
    assert_eq!((a.open_connections(), a.journal().connections()), (1, 1));
    let idle = std::time::Instant::now();
    eventually("it to be closed", ms(5000), || a.open_connections() == 0);
    assert!(idle.elapsed() > ms(250), "closed too early, after {:?}", idle.elapsed());
    assert!(idle.elapsed() < ms(1500), "closed late, after {:?}", idle.elapsed());
    assert_eq!(client.get().status, 200, "the client's connection is another matter");
    assert_eq!(a.journal().connections(), 2);
}

#[test]
fn a_connection_that_the_server_closes_is_not_used_again() {
    for announce in [true, false] {
        let a = Origin::start("a");
        a.set(|o| {
            o.requests_per_connection = Some(4);
            o.announce_close = announce;
        });
        let proxy = start(&one_worker(&[quoted(a.addr())], "passive = false"));
        let methods = vec!["GET", "POST"];
        let plan = LoadPlan { requests: Some(400), methods, body_bytes: 40, ..LoadPlan::default() };
        let client = Load::run(proxy.listener_addr("web"), plan);
        let verdict = judge(&client, &[a.journal()]);
        verdict.assert_none_lost("connections of four requests");
        if announce {
            assert_eq!(verdict.answered_2xx, 400, "an announced close surprises nobody: {verdict}");
            assert_eq!(a.journal().connections(), 100);
            assert_eq!(target(&proxy, a.addr()).failures, 0);
        }
        assert_eq!(client.connections(), 1, "the client's connection is kept");
    }
}

//! F08, F09: kept connections to servers that the server has closed, or is closing just now.

use evenkeel_api::Listener;
use evenkeel_testkit::{ClientJournal, Load, LoadPlan, Origin, OriginJournal, TempDir, judge};

use crate::kit::{ms, one_worker, quoted, read, target, wait_told};
use crate::support::start;

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "HEAD"];

#[test]
fn f08_idle_connections_that_were_reset_or_closed_are_replaced_silently() {
    let dir = TempDir::new();
    let a = Origin::start("a");
    // The kernel tells less of a unix socket: nothing of what was acknowledged.
    let b = Origin::start_unix("b", dir.path().join("b.sock"));
    let targets = [quoted(a.addr()), quoted(b.addr())];
    let proxy = start(&one_worker(&targets, ""));
    let web = proxy.listener_addr("web");
    let mut client = ClientJournal::default();
    let rounds = 60;
    for round in 0..rounds {
        // Each request of the round but the first two goes over a kept connection; those that begin the next
        // round find it gone.
        let mut methods = METHODS.to_vec();
        methods.rotate_left(round / 2 % METHODS.len());
        let plan = LoadPlan { requests: Some(6), methods, body_bytes: 16 * 1024, ..LoadPlan::default() };
        client = client.merge(Load::run(web, plan));
        for origin in [&a, &b] {
            if round % 2 == 0 {
                origin.reset_connections();
            } else {
                origin.close_connections();
            }
            wait_told(origin);
        }
    }
    println!("{:?}", read::<Vec<Listener>>(&proxy, "/api/v1/listeners")[0].reasons);
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F08");
    for origin in [&a, &b] {
        let seen = target(&proxy, origin.addr());
        assert_eq!((seen.connects, seen.reused), (rounds as u64, 2 * rounds as u64), "{seen:?}");
        assert_eq!(seen.failures, 0, "nothing of it is the server's fault: {seen:?}");
    }
}

/// The server gives up a connection after 40 ms; each of its connections is used again after about 40 ms.
#[test]
fn f09_a_reset_races_with_our_request() {
    let origins: Vec<Origin> = (0..40).map(|n| Origin::start(&format!("o{n}"))).collect();
    origins.iter().for_each(|origin| origin.set(|o| o.idle_close = Some(ms(40))));
    let targets: Vec<String> = origins.iter().map(|origin| quoted(origin.addr())).collect();
    let proxy = start(&one_worker(&targets, "passive = false"));
    let mut client = ClientJournal::default();
    // 40 servers in turn: 1000 requests a second are one per server and 40 ms. The kernel's timer is late by up
    // to some milliseconds, so the rates sweep over the moment.
    for rate in [1000, 980, 960, 940, 920, 900] {
        let methods = METHODS.to_vec();
        let requests = Some(600);
        let plan =
            LoadPlan { connections: 7, methods, body_bytes: 100, rate, requests, ..LoadPlan::default() };
        client = client.merge(Load::run(proxy.listener_addr("web"), plan));
    }
    let journals: Vec<&OriginJournal> = origins.iter().map(Origin::journal).collect();
    let verdict = judge(&client, &journals);
    verdict.assert_none_lost("F09");
    let seen: Vec<_> = origins.iter().map(|origin| target(&proxy, origin.addr())).collect();
    let (connects, reused) =
        seen.iter().fold((0, 0), |(connects, reused), t| (connects + t.connects, reused + t.reused));
    println!("F09: {connects} connections, {reused} requests over kept ones");
    assert!(connects > 200 && reused > 200, "that was no race: {connects} dials, {reused} reused");
}

//! A target that cannot be reached is passed over; the client never sees the failed try.

use std::io::Read;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Addr, ClientJournal, Load, LoadPlan, Origin, Outcome, Stream, TempDir, reserve_port, wait_until,
};

use crate::peers::{Blackhole, End, PATIENCE, Server, connect, ended, fate_of_a_client, line, of_target};
use crate::support::{start, tcp};

const NO_EJECTION: &str = "passive = false";

#[test]
fn f07_a_refused_dial_goes_to_the_next_target() {
    let (dead, live) = (reserve_port(), Server::echo("live"));
    let dead = Addr::from(dead.addr());
    let proxy = start(&tcp(&[&dead, live.addr()], NO_EJECTION));
    let addr = proxy.listener_addr("web");
    let mut took: Vec<Duration> = (0..100)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(line(&mut connect(addr)), "live");
            started.elapsed()
        })
        .collect();
    took.sort();
    println!("failover: 100 connections, 0 failed; median {:?}", took[50]);
    // The promise is 5 ms more than without; the whole took less than that.
    assert!(took[50] < Duration::from_millis(5), "{took:?}");
    let tries = of_target(&proxy, &dead, "connect_errors");
    assert!(tries >= 50, "the dead one was tried {tries} times");
    assert_eq!(of_target(&proxy, &dead, "retries"), tries);
    wait_until("no place taken", PATIENCE, || of_target(&proxy, &dead, "in_flight") == 0);
}

#[test]
fn f06_a_dial_without_an_answer_goes_to_the_next_target() {
    let (deaf, live) = (Blackhole::start(), Server::echo("live"));
    let deaf_addr = Addr::from(deaf.addr());
    let more = format!("connect_timeout = \"150ms\"\n{NO_EJECTION}");
    let proxy = start(&tcp(&[&deaf_addr, live.addr()], &more));
    let addr = proxy.listener_addr("web");
    let took = (0..6).map(|_| {
        let started = Instant::now();
        assert_eq!(line(&mut connect(addr)), "live");
        started.elapsed()
    });
    let mut took: Vec<Duration> = took.collect();
    took.sort();
    let tries = of_target(&proxy, &deaf_addr, "connect_errors");
    println!(
        "failover: 6 connections, 0 failed, {tries} tries at the deaf target, the slowest took {:?}",
        took[5]
    );
    assert!(tries >= 3, "the deaf one was tried {tries} times");
    assert!(took[3] >= Duration::from_millis(150) && took[5] < Duration::from_millis(1900), "{took:?}");
}

#[test]
fn a_missing_unix_socket_goes_to_the_next_target() {
    let (dir, live) = (TempDir::new(), Server::echo("live"));
    let missing = Addr::from(dir.path().join("nobody.sock"));
    let proxy = start(&tcp(&[&missing, live.addr()], NO_EJECTION));
    for _ in 0..10 {
        assert_eq!(line(&mut connect(proxy.listener_addr("web"))), "live");
    }
    assert!(of_target(&proxy, &missing, "connect_errors") >= 5);
}

#[test]
fn a_thousand_connections_do_not_fail_while_a_target_dies_and_returns() {
    let (a, mut b) = (Origin::start("a"), Origin::start("b"));
    let more = "connect_timeout = \"1s\"\npassive = { eject_for = \"20ms\", max_eject_for = \"20ms\" }";
    let proxy = start(&tcp(&[a.addr(), b.addr()], more));
    let addr = proxy.listener_addr("web");
    // A connection that the kernel of a dying server had taken already is beyond our help, so that nobody may be
    // on the way at the moment of death; all the time it is dead, and when it returns, they may.
    let (dying, left, deaths) = (RwLock::new(()), AtomicU64::new(1000), AtomicU64::new(0));
    let one = || {
        let _nobody_dies = dying.read().unwrap();
        Load::run(addr, LoadPlan { requests: Some(1), keep_alive: false, ..LoadPlan::default() })
    };
    let journals: Vec<_> = thread::scope(|scope| {
        let client = || {
            let take_one =
                || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            std::iter::from_fn(|| take_one().ok().map(|_| one())).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        while left.load(Ordering::SeqCst) > 0 {
            let all_quiet = dying.write().unwrap();
            b.refuse();
            drop(all_quiet);
            deaths.fetch_add(1, Ordering::SeqCst);
            let then = left.load(Ordering::SeqCst).saturating_sub(50);
            wait_until("connections without b", PATIENCE, || left.load(Ordering::SeqCst) <= then);
            let served = b.journal().len();
            b.restart();
            wait_until("b to be used again", PATIENCE, || {
                b.journal().len() > served || left.load(Ordering::SeqCst) == 0
            });
        }
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let client = journals.into_iter().reduce(ClientJournal::merge).unwrap();
    let failed = client.count(|outcome| !matches!(outcome, Outcome::Answered { status: 200, .. }));
    let deaths = deaths.load(Ordering::SeqCst);
    println!("failover: N = {}, {failed} failed over {deaths} deaths", client.records.len());
    assert_eq!((client.records.len(), failed), (1000, 0));
    assert!(deaths >= 3, "b died only {deaths} times");
    assert!(of_target(&proxy, b.addr(), "connect_errors") > 0, "nobody met b while it was dead");
}

#[test]
fn nobody_left_is_a_reset_with_its_reason() {
    let (one, two, three) = (reserve_port(), reserve_port(), reserve_port());
    let more = format!("retry = {{ attempts = 5 }}\n{NO_EJECTION}");
    let proxy = start(&tcp(&[one.addr(), two.addr(), three.addr()], &more));
    let addr = proxy.listener_addr("web");
    for _ in 0..10 {
        assert_eq!(fate_of_a_client(addr), (vec![], End::Reset));
    }
    wait_until("the reasons", PATIENCE, || ended(&proxy, "connect-refused") == 10);
    for target in [&one, &two, &three] {
        assert_eq!(
            of_target(&proxy, &target.addr().into(), "connect_errors"),
            10,
            "each was tried each time"
        );
    }
}

#[test]
fn a_pool_without_targets_is_a_reset_with_its_reason() {
    let proxy = start(&tcp::<Addr>(&[], ""));
    for _ in 0..10 {
        assert_eq!(fate_of_a_client(proxy.listener_addr("web")), (vec![], End::Reset));
    }
    wait_until("the reasons", PATIENCE, || ended(&proxy, "no-target") == 10);
}

#[test]
fn a_deaf_target_alone_is_a_reset_after_the_connect_timeout() {
    let deaf = Blackhole::start();
    let proxy = start(&tcp(&[deaf.addr()], &format!("connect_timeout = \"100ms\"\n{NO_EJECTION}")));
    let started = Instant::now();
    assert_eq!(fate_of_a_client(proxy.listener_addr("web")), (vec![], End::Reset));
    assert!(started.elapsed() >= Duration::from_millis(100));
    wait_until("the reason", PATIENCE, || ended(&proxy, "connect-timeout") == 1);
}

#[test]
fn without_retries_the_first_failure_is_the_last() {
    let (dead, live) = (reserve_port(), Server::echo("live"));
    let more = format!("retry = {{ attempts = 0 }}\n{NO_EJECTION}");
    let proxy = start(&tcp(&[&dead.addr().into(), live.addr()], &more));
    let ends: Vec<bool> = (0..10)
        .map(|_| {
            let client = Stream::connect(&proxy.listener_addr("web").into(), PATIENCE);
            client.is_ok_and(|mut client| client.read(&mut [0; 1]).is_ok())
        })
        .collect();
    assert_eq!(ends, [false, true, false, true, false, true, false, true, false, true]);
}

#[test]
fn the_emergency_target_serves_when_nobody_else_does_and_only_then() {
    let (mut a, emergency) = (Origin::start("a"), Origin::start("emergency"));
    let more = format!("emergency = \"{}\"\n{NO_EJECTION}", emergency.addr());
    let proxy = start(&tcp(&[a.addr()], &more));
    let by_whom = || {
        let plan = LoadPlan { requests: Some(20), keep_alive: false, ..LoadPlan::default() };
        let client = Load::run(proxy.listener_addr("web"), plan);
        (client.answers_of("a"), client.answers_of("emergency"))
    };
    assert_eq!(by_whom(), (20, 0));
    a.kill();
    assert_eq!(by_whom(), (0, 20));
    a.restart();
    assert_eq!(by_whom(), (20, 0));
}

//! F16, F17, F18: all servers down, all probes wrong, and a server that cannot decide.

use std::time::{Duration, Instant};

use evenkeel_api::TargetState;
use evenkeel_testkit::{Load, LoadPlan, Origin, Outcome, Rules, judge, judge_by};

use crate::kit::{Caller, assert_refused, eventually, get, ms, pool, target_events, wait_state, who};
use crate::support::{http, start};

const PROBED: &str = "[pool.app.health]\ncheck = \"http\"\npath = \"/healthz\"\n";

#[test]
fn f16_with_all_servers_down_refusals_are_immediate_and_recovery_is_quick() {
    let (mut a, mut b) = (Origin::start("a"), Origin::start("b"));
    let more = format!(
        "{PROBED}interval = \"2s\"\ntimeout = \"1s\"\nfall = 1\nrise = 2\n[pool.app.limits]\npending = 5\n"
    );
    let proxy = start(&http(&[a.addr(), b.addr()], &more));
    let web = proxy.listener_addr("web");
    assert_eq!(get(web).status, 200);
    a.kill();
    b.kill();
    // Before the probes know, and after.
    assert_refused(&get(web), 503, "connect-refused");
    wait_state(&proxy, a.addr(), TargetState::Down);
    wait_state(&proxy, b.addr(), TargetState::Down);
    assert_refused(&get(web), 503, "no-target");
    let methods = vec!["GET", "POST"];
    let plan = LoadPlan { connections: 16, methods, requests: Some(2000), ..LoadPlan::default() };
    let load = Load::start(web, plan);
    while load.answered() + load.failed() < 1500 {
        assert_eq!(pool(&proxy).waiting, 0, "nobody waits for what is not there");
    }
    let client = load.finish();
    let verdict = judge_by(Rules { healthy_server: false }, &client, &[a.journal(), b.journal()]);
    println!("F16, all down: {verdict}");
    assert!(verdict.offences.is_empty(), "{:?}", verdict.offences.first());
    assert_eq!(client.count(|o| matches!(o, Outcome::Answered { status: 503, .. })), 2000, "{verdict}");
    let slowest = client.records.iter().map(|record| record.latency).max().unwrap();
    assert!(slowest < ms(500), "a refusal took {slowest:?}");

    let back = Instant::now();
    b.restart();
    eventually("an answer", Duration::from_secs(5), || get(web).status == 200);
    let took = back.elapsed();
    println!("F16: recovered {took:?} after the first server was back");
    assert!(took < Duration::from_secs(1), "recovery took {took:?}");
}

#[test]
fn f16_without_probes_the_first_server_back_serves_at_once() {
    let (mut a, mut b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let mut client = Caller::to(proxy.listener_addr("web"));
    assert_eq!(client.get().status, 200);
    a.kill();
    b.kill();
    for _ in 0..50 {
        assert_refused(&client.get(), 503, "connect-refused");
    }
    b.restart();
    // Whatever was ejected meanwhile: nothing else is left, so everything is tried.
    let answer = client.get();
    assert_eq!((answer.status, who(&answer)), (200, "b"), "{answer:?}");
}

#[test]
fn f17_when_all_probes_fail_and_servers_work_fail_open_serves() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let more = format!("fail_open = true\n{PROBED}interval = \"500ms\"\ntimeout = \"500ms\"\nfall = 1\n");
    let proxy = start(&http(&[a.addr(), b.addr()], &more));
    let plan =
        LoadPlan { connections: 6, methods: vec!["GET", "POST"], body_bytes: 50, ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    load.wait_answers(200);
    for origin in [&a, &b] {
        origin.set(|o| o.health = 500);
    }
    for origin in [&a, &b] {
        let down = wait_state(&proxy, origin.addr(), TargetState::Down);
        assert_eq!(down.reason.as_deref(), Some("probe-status"));
    }
    assert_eq!(pool(&proxy).available, 0);
    let before = [a.journal().len(), b.journal().len()];
    load.wait_answers(400);
    assert!(a.journal().len() > before[0] + 100 && b.journal().len() > before[1] + 100, "both serve");
    // One that is back is better than those that are not.
    b.set(|o| o.health = 200);
    wait_state(&proxy, b.addr(), TargetState::Up);
    let client = load.stop();
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F17");
    let before = a.journal().len();
    for _ in 0..10 {
        assert_eq!(who(&get(proxy.listener_addr("web"))), "b");
    }
    assert_eq!(a.journal().len(), before);
}

#[test]
fn f17_without_fail_open_a_pool_whose_probes_fail_refuses() {
    let a = Origin::start("a");
    a.set(|o| o.health = 500);
    let more = format!("{PROBED}interval = \"100ms\"\ntimeout = \"100ms\"\nfall = 1\n");
    let proxy = start(&http(&[a.addr()], &more));
    wait_state(&proxy, a.addr(), TargetState::Down);
    assert_refused(&get(proxy.listener_addr("web")), 503, "no-target");
    assert!(a.journal().is_empty());
}

/// Half a second up, half a second down: undamped that is two events a second.
#[test]
fn f18_flapping_at_one_hertz_is_damped() {
    let origins = ["a", "b", "c"].map(Origin::start);
    let a = &origins[0];
    let more = format!("{PROBED}interval = \"100ms\"\ntimeout = \"100ms\"\nrise = 2\nfall = 4\n");
    let proxy = start(&http(&origins.each_ref().map(Origin::addr), &more));
    eventually("the first verdict", ms(3000), || !target_events(&proxy, a.addr()).is_empty());
    let load = Load::start(
        proxy.listener_addr("web"),
        LoadPlan { connections: 4, pause: ms(20), ..LoadPlan::default() },
    );
    let (began, half) = (Instant::now(), ms(500));
    let mut late = 0;
    for turn in 0..14 {
        a.set(|o| o.health = if turn % 2 == 0 { 500 } else { 200 });
        while began.elapsed() < half * (turn + 1) {
            std::thread::sleep(ms(5));
        }
        if turn == 9 {
            late = target_events(&proxy, a.addr()).len();
        }
    }
    let events = target_events(&proxy, a.addr());
    println!("F18: {} events in 7 s of flapping at 1 Hz", events.len() - 1);
    assert!(events.len() > 4, "it did not flap: {events:?}");
    assert!(events.len() <= 9, "a storm of events: {events:?}");
    assert!(events.len() <= late + 2, "it does not come to rest: {late} after 5 s, then {events:?}");
    judge(&load.stop(), &origins.each_ref().map(Origin::journal)).assert_all_answered("F18");
}

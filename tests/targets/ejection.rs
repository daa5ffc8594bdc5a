//! Passive signals: real traffic takes a failing target out for a while.

use std::time::{Duration, Instant};

use evenkeel_api::TargetState;
use evenkeel_testkit::{Evenkeel, Load, LoadPlan, Origin, judge};

use crate::kit::{eventually, get, ms, read, target, target_events, time_of, wait_state};
use crate::support::{http, start};

fn load(proxy: &Evenkeel) -> Load {
    let plan = LoadPlan { connections: 4, pause: ms(2), ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    load.wait_answers(50);
    load
}

fn ejected(proxy: &Evenkeel) -> usize {
    let all: Vec<evenkeel_api::Target> = read(proxy, "/api/v1/targets?status=ejected");
    all.len()
}

#[test]
fn ejections_for_connect_errors_grow_up_to_their_cap() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    let more = "[pool.app.passive]\nconnect_errors = 2\neject_for = \"200ms\"\nmax_eject_for = \"800ms\"\n";
    let proxy = start(&http(&[a.addr(), b.addr()], more));
    let load = load(&proxy);
    a.stop();
    eventually("four ejections", ms(9000), || target_events(&proxy, a.addr()).len() >= 8);
    judge(&load.stop(), &[a.journal(), b.journal()]).assert_all_answered("ejection, connect errors");
    let events = target_events(&proxy, a.addr());
    let mut lasted = Vec::new();
    for pair in events[..8].chunks(2) {
        assert_eq!([&*pair[0].reason, &*pair[1].reason], ["connect-errors", "ejection-over"], "{pair:?}");
        assert_eq!([pair[0].to, pair[1].to], [Some(TargetState::Ejected), Some(TargetState::Up)]);
        lasted.push((time_of(&pair[1]) + DAY_MS - time_of(&pair[0])) % DAY_MS);
    }
    println!("ejections lasted {lasted:?} ms");
    for (lasted, expected) in lasted.into_iter().zip([200, 400, 800, 800]) {
        assert!((expected - 2..2 * expected).contains(&lasted), "{lasted} ms instead of {expected}");
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[test]
fn a_share_of_server_errors_ejects() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let more = "[pool.app.passive]\nhttp_5xx_percent = 50\nmin_requests = 20\nwindow = \"2s\"\n\
                eject_for = \"400ms\"\nmax_eject_for = \"1s\"\n";
    let proxy = start(&http(&[a.addr(), b.addr()], more));
    let load = load(&proxy);
    a.set(|o| o.status = 500);
    let seen = wait_state(&proxy, a.addr(), TargetState::Ejected);
    assert_eq!(seen.reason.as_deref(), Some("error-share"));
    let before = a.journal().len();
    load.wait_answers(30);
    assert!(a.journal().len() <= before + 4, "an ejected target gets nothing but what was under way");
    a.behave();
    wait_state(&proxy, a.addr(), TargetState::Up);
    let before = a.journal().len();
    eventually("it to be used again", ms(5000), || a.journal().len() > before + 10);
    judge(&load.stop(), &[a.journal(), b.journal()]).assert_none_lost("ejection, 5xx");
    let reasons: Vec<_> = target_events(&proxy, a.addr()).into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["error-share", "ejection-over"]);
}

#[test]
fn few_errors_and_few_requests_do_not_eject() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let more = "[pool.app.passive]\nhttp_5xx_percent = 50\nmin_requests = 40\nwindow = \"5s\"\n";
    let proxy = start(&http(&[a.addr(), b.addr()], more));
    // 19 errors of 19 requests are too few to judge by; 19 of 69 are too few of them.
    a.set(|o| o.status = 500);
    (0..38).for_each(|_| drop(get(proxy.listener_addr("web"))));
    settle();
    a.behave();
    (0..100).for_each(|_| drop(get(proxy.listener_addr("web"))));
    settle();
    assert_eq!(target(&proxy, a.addr()).answers.server_error, 19);
    assert_eq!(target_events(&proxy, a.addr()).len(), 0);
}

/// The counters are looked at four times a second; that nothing follows is only to be seen by waiting.
fn settle() {
    std::thread::sleep(Duration::from_millis(600));
}

#[test]
fn no_more_than_the_permitted_share_is_ejected() {
    let (good, bad) = (Origin::start("good"), ["b1", "b2", "b3"].map(Origin::start));
    bad.iter().for_each(|origin| origin.set(|o| o.status = 500));
    let more = "[pool.app.passive]\nmin_requests = 10\nmax_ejected_percent = 50\n";
    let targets = [good.addr(), bad[0].addr(), bad[1].addr(), bad[2].addr()];
    let proxy = start(&http(&targets, more));
    let load = load(&proxy);
    eventually("two to be ejected", ms(5000), || ejected(&proxy) == 2);
    let began = Instant::now();
    while began.elapsed() < ms(800) {
        assert_eq!(ejected(&proxy), 2, "half of four");
    }
    assert_eq!(target(&proxy, good.addr()).state, TargetState::Up);
    drop(load);
}

#[test]
fn the_last_one_is_never_ejected() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    a.set(|o| o.status = 500);
    b.set(|o| o.status = 500);
    let more = "[pool.app.passive]\nmin_requests = 10\nmax_ejected_percent = 100\n";
    let proxy = start(&http(&[a.addr(), b.addr()], more));
    let load = load(&proxy);
    eventually("one to be ejected", ms(5000), || ejected(&proxy) == 1);
    let began = Instant::now();
    while began.elapsed() < ms(800) {
        assert_eq!(ejected(&proxy), 1, "one has to serve");
    }
    let client = load.stop();
    judge(&client, &[a.journal(), b.journal()]); // every answer came from an origin
    assert_eq!(client.answers_of("a") + client.answers_of("b"), client.records.len());
}

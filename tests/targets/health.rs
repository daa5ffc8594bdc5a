//! Active probes: what they ask, how many it takes, and where their verdict is to be seen.

use evenkeel_api::TargetState;
use evenkeel_testkit::{Evenkeel, Origin, wait_until};

use crate::kit::{assert_refused, eventually, get, ms, target, target_events, wait_state, who};
use crate::support::{http, start};

fn probed(origin: &Origin, check: &str) -> Evenkeel {
    let timing = "interval = \"200ms\"\ntimeout = \"200ms\"\n";
    start(&http(&[origin.addr()], &format!("[pool.app.health]\n{timing}{check}\n")))
}

/// With time enough for an origin on a busy machine: a probe that is late would hide the reason that is asked for.
fn http_probed(origin: &Origin, expect: &str) -> Evenkeel {
    let check = "check = \"http\"\npath = \"/healthz\"\ninterval = \"500ms\"\ntimeout = \"500ms\"\nfall = 1\nrise = 1";
    start(&http(&[origin.addr()], &format!("[pool.app.health]\n{check}\nexpect = {expect}\n")))
}

/// Waits until the target is up because a probe said so.
fn wait_verdict(proxy: &Evenkeel, origin: &Origin) {
    eventually("a first verdict", ms(5000), || !target_events(proxy, origin.addr()).is_empty());
    wait_state(proxy, origin.addr(), TargetState::Up);
}

fn wait_down(proxy: &Evenkeel, origin: &Origin, reason: &str) {
    let down = wait_state(proxy, origin.addr(), TargetState::Down);
    assert_eq!(down.reason.as_deref(), Some(reason));
}

#[test]
fn a_tcp_probe_finds_a_closed_port_and_its_return() {
    let mut a = Origin::start("a");
    let proxy = probed(&a, "check = \"tcp\"");
    wait_verdict(&proxy, &a);
    a.stop();
    wait_down(&proxy, &a, "probe-refused");
    assert_refused(&get(proxy.listener_addr("web")), 503, "no-target");
    a.restart();
    wait_state(&proxy, a.addr(), TargetState::Up);
    assert_eq!(who(&get(proxy.listener_addr("web"))), "a");
}

#[test]
fn an_http_probe_judges_by_the_status() {
    let a = Origin::start("a");
    let proxy = http_probed(&a, "{ status = [\"200-204\", \"301\"] }");
    for status in [204, 301] {
        a.set(|o| o.health = status);
        let seen = a.journal().health_checks();
        wait_until("more probes", ms(5000), || a.journal().health_checks() > seen + 1);
        let events = target_events(&proxy, a.addr());
        assert!(
            events.iter().all(|event| event.reason != "probe-status"),
            "{status} is as expected: {events:?}"
        );
    }
    for status in [205, 302, 404, 500] {
        a.set(|o| o.health = status);
        wait_down(&proxy, &a, "probe-status");
        a.set(|o| o.health = 200);
        wait_state(&proxy, a.addr(), TargetState::Up);
    }
}

/// The origin's page is "ok" and a line end.
#[test]
fn an_http_probe_judges_by_the_body() {
    let a = Origin::start("a");
    let proxy = http_probed(&a, "{ status = \"200\", body = \"ok\" }");
    wait_verdict(&proxy, &a);
    let proxy = http_probed(&a, "{ status = \"200\", body = \"fine\" }");
    wait_down(&proxy, &a, "probe-body");
}

#[test]
fn a_probe_that_gets_no_answer_is_late() {
    let a = Origin::start("a");
    let proxy = http_probed(&a, "{ status = \"200\" }");
    wait_verdict(&proxy, &a);
    a.set(|o| o.hang = Some(evenkeel_testkit::Hang::Read));
    wait_down(&proxy, &a, "probe-timeout");
}

#[test]
fn another_port_can_be_asked() {
    let (a, mut page) = (Origin::start("a"), Origin::start("page"));
    let evenkeel_testkit::Addr::Tcp(addr) = page.addr().clone() else { unreachable!() };
    let check = format!("check = \"http\"\npath = \"/healthz\"\nfall = 2\nport = {}", addr.port());
    let proxy = probed(&a, &check);
    wait_verdict(&proxy, &a);
    page.stop();
    wait_down(&proxy, &a, "probe-refused");
    page.restart();
    wait_state(&proxy, a.addr(), TargetState::Up);
    assert!(page.journal().health_checks() > 0);
    assert_eq!(a.journal().health_checks(), 0, "only the other port is asked");
}

#[test]
fn it_takes_fall_failures_and_rise_successes_in_a_row() {
    let a = Origin::start("a");
    let check = "check = \"http\"\npath = \"/healthz\"\nfall = 4\nrise = 3";
    let proxy = probed(&a, check);
    wait_verdict(&proxy, &a);
    for (health, state, needed) in [(500, TargetState::Down, 4), (200, TargetState::Up, 3)] {
        let before = a.journal().health_checks();
        a.set(|o| o.health = health);
        wait_state(&proxy, a.addr(), state);
        let took = a.journal().health_checks() - before;
        // One probe may have been under way before, and one more may have come since.
        assert!((needed..=needed + 2).contains(&took), "{state} took {took} probes instead of {needed}");
    }
}

/// A success between failures begins the count anew.
#[test]
fn failures_with_successes_between_them_do_not_add_up() {
    let a = Origin::start("a");
    let check = "check = \"http\"\npath = \"/healthz\"\nfall = 3\nrise = 1";
    let proxy = probed(&a, check);
    wait_verdict(&proxy, &a);
    let next_probes = |count| {
        let seen = a.journal().health_checks();
        wait_until("a probe", ms(3000), || a.journal().health_checks() >= seen + count);
    };
    for _ in 0..6 {
        a.set(|o| o.health = 500);
        next_probes(1);
        a.set(|o| o.health = 200);
        next_probes(2);
    }
    let events = target_events(&proxy, a.addr());
    assert_eq!(events.len(), 1, "12 failures, but never 3 in a row: {events:?}");
}

#[test]
fn one_verdict_one_reason_in_api_events_metrics_and_log() {
    let a = Origin::start("a");
    let proxy = http_probed(&a, "{ status = \"200\" }");
    wait_verdict(&proxy, &a);
    a.set(|o| o.health = 503);
    let address = a.addr().to_string();
    wait_down(&proxy, &a, "probe-status");

    let all: Vec<evenkeel_api::Target> = crate::kit::read(&proxy, "/api/v1/targets?status=down");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].address.as_str(), all[0].reason.as_deref()), (address.as_str(), Some("probe-status")));

    let event = target_events(&proxy, &address).pop().unwrap();
    assert_eq!(event.reason, "probe-status");
    assert_eq!((event.from, event.to), (Some(TargetState::Up), Some(TargetState::Down)));

    let labels = ["pool=\"app\"", &format!("target=\"{address}\"")];
    assert_eq!(proxy.metric("evenkeel_target_up", &labels), 0.0);
    let because = [labels[0], labels[1], "to=\"down\"", "reason=\"probe-status\""];
    assert_eq!(proxy.metric("evenkeel_target_transitions_total", &because), 1.0);

    let line = proxy.wait_stderr("(probe-status)", ms(3000)).expect("a line on standard error");
    assert!(line.contains(&address) && line.contains("down"), "{line}");
    assert!(line.contains("app"), "{line}");
}

#[test]
fn the_emergency_target_serves_when_nothing_else_does_and_no_longer() {
    let (mut a, mut b, e) = (Origin::start("a"), Origin::start("b"), Origin::start("e"));
    let more = format!(
        "emergency = \"{}\"\n[pool.app.health]\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\n",
        e.addr()
    );
    let proxy = start(&http(&[a.addr(), b.addr()], &more));
    let web = proxy.listener_addr("web");
    let answers = || (0..6).map(|_| who(&get(web)).to_owned()).collect::<Vec<_>>();
    assert!(!answers().contains(&"e".to_owned()));
    a.stop();
    wait_down(&proxy, &a, "probe-refused");
    assert_eq!(answers(), ["b"; 6], "one is left");
    b.stop();
    wait_down(&proxy, &b, "probe-refused");
    assert_eq!(answers(), ["e"; 6]);
    a.restart();
    wait_state(&proxy, a.addr(), TargetState::Up);
    assert_eq!(answers(), ["a"; 6]);
    assert!(target(&proxy, e.addr()).emergency);
}

/// Even before any probe or ejection knows.
#[test]
fn the_emergency_target_serves_the_very_first_request_that_finds_all_others_dead() {
    let (mut a, mut b, e) = (Origin::start("a"), Origin::start("b"), Origin::start("e"));
    let proxy = start(&http(&[a.addr(), b.addr()], &format!("emergency = \"{}\"", e.addr())));
    a.stop();
    b.stop();
    for _ in 0..20 {
        assert_eq!(who(&get(proxy.listener_addr("web"))), "e");
    }
}

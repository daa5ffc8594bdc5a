//! F04: a server that hangs, as one does after SIGSTOP.

use std::time::Duration;

use evenkeel_api::TargetState;
use evenkeel_testkit::{Evenkeel, Hang, Load, LoadPlan, Origin, judge, wait_until};

use crate::kit::{ms, wait_state};
use crate::support::{http, start};

const RESPONSE_TIMEOUT: Duration = ms(300);

fn start_impatient(origins: &[&Origin]) -> Evenkeel {
    let targets: Vec<_> = origins.iter().map(|origin| origin.addr()).collect();
    start(&http(
        &targets,
        "[pool.app.health]\ncheck = \"http\"\npath = \"/healthz\"\ninterval = \"250ms\"\ntimeout = \"250ms\"\n\
         fall = 2\n[listener.web.timeouts]\nresponse = \"300ms\"\n",
    ))
}

fn load(proxy: &Evenkeel, methods: Vec<&'static str>) -> Load {
    let plan = LoadPlan { connections: 8, methods, body_bytes: 300, ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    load.wait_answers(400);
    load
}

#[test]
fn f04_a_hanging_server_is_marked_down_and_nothing_is_lost() {
    let (a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let proxy = start_impatient(&[&a, &b, &c]);
    let load = load(&proxy, vec!["GET", "POST"]);
    a.set(|o| o.hang = Some(Hang::Read));
    let down = wait_state(&proxy, a.addr(), TargetState::Down);
    assert_eq!(down.reason.as_deref(), Some("probe-timeout"));
    load.wait_answers(300);
    a.set(|o| o.hang = None);
    wait_state(&proxy, a.addr(), TargetState::Up);
    let before = a.journal().len();
    wait_until("the server to be used again", ms(5000), || a.journal().len() > before + 20);
    let verdict = judge(&load.stop(), &[a.journal(), b.journal(), c.journal()]);
    verdict.assert_none_lost("F04");
    assert!(verdict.reported_5xx <= 8, "a POST is given up once per hanging connection: {verdict}");
    let (slowest, limit) = (verdict.latency(100.0), RESPONSE_TIMEOUT * 10);
    assert!(slowest >= RESPONSE_TIMEOUT && slowest < limit, "the slowest answer took {slowest:?}");
}

#[test]
fn f04_a_server_that_reads_and_never_answers_is_ejected_and_nothing_is_lost() {
    let (a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let proxy = start_impatient(&[&a, &b, &c]);
    let load = load(&proxy, vec!["GET"]);
    // Its health page is as good as ever.
    a.set(|o| o.hang = Some(Hang::Answer));
    let ejected = wait_state(&proxy, a.addr(), TargetState::Ejected);
    assert_eq!(ejected.reason.as_deref(), Some("connect-errors"));
    load.wait_answers(200);
    a.set(|o| o.hang = None);
    let verdict = judge(&load.stop(), &[a.journal(), b.journal(), c.journal()]);
    verdict.assert_all_answered("F04, answers hang");
}

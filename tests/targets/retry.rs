//! Trying again: what is tried again, how often, and at what price.

use std::time::Instant;

use evenkeel_api::TargetState;
use evenkeel_testkit::{
    Cut, Hang, Load, LoadPlan, Origin, Outcome, Rules, hash, judge, judge_by, reserve_port,
};

use crate::kit::{Caller, assert_refused, get, ms, one_worker, quoted, target, wait_told, who, why};
use crate::support::{http, start};

const ON_503: &str = "passive = false\n[pool.app.retry]\non = [\"connect\", \"stale\", \"503\"]\n";

#[test]
fn a_chosen_status_is_tried_elsewhere_for_idempotent_requests_only() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    a.set(|o| o.status = 503);
    let proxy = start(&http(&[a.addr(), b.addr()], &format!("{ON_503}budget_percent = 100\n")));
    let mut client = Caller::to(proxy.listener_addr("web"));
    for turn in 0..40 {
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            client.send(method, &format!("{method}-{turn}"), b"");
            let answer = client.receive();
            assert_eq!((answer.status, who(&answer)), (200, "b"), "{method} {turn}: {answer:?}");
        }
    }
    let posts = Load::run(
        proxy.listener_addr("web"),
        LoadPlan { methods: vec!["POST"], body_bytes: 10, requests: Some(40), ..LoadPlan::default() },
    );
    let verdict = judge(&posts, &[a.journal(), b.journal()]);
    verdict.assert_none_lost("retry, POST");
    assert_eq!((verdict.answered_2xx, verdict.answered_other), (20, 20), "{verdict}");
    let of_a =
        |o: &Outcome| matches!(o, Outcome::Answered { status: 503, origin: Some(name), .. } if name == "a");
    assert_eq!(posts.count(of_a), 20, "the server's own answer is passed on");
}

/// When all servers say so, the client gets a server's own words.
#[test]
fn a_status_that_cannot_be_tried_elsewhere_is_passed_on() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    for origin in [&a, &b] {
        origin.set(|o| o.status = 503);
    }
    for budget in [0, 100] {
        let proxy = start(&http(&[a.addr(), b.addr()], &format!("{ON_503}budget_percent = {budget}\n")));
        for _ in 0..20 {
            let answer = get(proxy.listener_addr("web"));
            assert_eq!((answer.status, why(&answer)), (503, ""), "budget {budget}: {answer:?}");
            assert!(matches!(who(&answer), "a" | "b"), "budget {budget}: {answer:?}");
        }
    }
}

/// An answer that was not passed on is an answer all the same: no connect error, but a share of errors.
#[test]
fn an_answer_that_was_given_up_counts_as_what_it_was() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    a.set(|o| o.status = 503);
    let more = "[pool.app.passive]\nmin_requests = 30\n[pool.app.retry]\non = [\"connect\", \"stale\", \"503\"]\nbudget_percent = 100\n";
    let proxy = start(&http(&[a.addr(), b.addr()], more));
    let mut client = Caller::to(proxy.listener_addr("web"));
    for _ in 0..10 {
        assert_eq!(who(&client.get()), "b");
    }
    let seen = target(&proxy, a.addr());
    assert_eq!(
        (seen.answers.server_error, seen.failures, seen.connect_errors),
        (seen.requests, 0, 0),
        "{seen:?}"
    );
    while target(&proxy, a.addr()).state == TargetState::Up {
        assert_eq!(who(&client.get()), "b");
    }
    assert_eq!(target(&proxy, a.addr()).reason.as_deref(), Some("error-share"));
}

/// Counts what reaches the servers when every one of them fails, against what the clients sent.
fn amplification(name: &str, more: &str, spoil: impl Fn(&Origin)) {
    let origins = ["a", "b", "c", "d"].map(Origin::start);
    let targets = origins.each_ref().map(|origin| origin.addr().clone());
    let proxy = start(&http(&targets, more));
    let plan = LoadPlan { connections: 8, requests: Some(3000), ..LoadPlan::default() };
    origins.iter().for_each(spoil);
    let began = Instant::now();
    let client = Load::run(proxy.listener_addr("web"), plan);
    let seconds = began.elapsed().as_secs() as usize + 1;
    let journals = origins.each_ref().map(Origin::journal);
    let reached: usize = journals.iter().map(|journal| journal.len()).sum();
    println!("{name}: N={} requests, {reached} at the servers, {seconds} s", client.records.len());
    // Three retries a second are always free, so that a quiet pool can fail over.
    assert!(reached <= 3000 * 12 / 10 + 3 * (seconds + 1), "{reached} requests for 3000");
    assert!(reached > 3300, "the budget was never used: {reached}");
    let verdict = judge_by(Rules { healthy_server: false }, &client, &journals);
    assert!(verdict.offences.is_empty(), "{verdict}: {:?}", verdict.offences.first());
}

#[test]
fn retries_for_failures_add_a_fifth_at_most() {
    let cut = |origin: &Origin| origin.set(|o| o.cut = Some(Cut { after_bytes: 0, reset: false }));
    amplification("retry budget, failures", "passive = false\n", cut);
}

#[test]
fn retries_for_statuses_add_a_fifth_at_most() {
    let more = format!("{ON_503}budget_percent = 20\n");
    amplification("retry budget, 503", &more, |origin| origin.set(|o| o.status = 503));
}

#[test]
fn attempts_bound_the_number_of_dials() {
    let dead: Vec<_> = (0..5).map(|_| reserve_port()).collect();
    let targets: Vec<_> = dead.iter().map(evenkeel_testkit::ReservedPort::addr).collect();
    for attempts in 0..4 {
        let more = format!("passive = false\n[pool.app.retry]\nattempts = {attempts}\n");
        let proxy = start(&http(&targets, &more));
        let rounds = 5;
        for _ in 0..rounds {
            assert_refused(&get(proxy.listener_addr("web")), 503, "connect-refused");
        }
        let errors: u64 = targets.iter().map(|addr| target(&proxy, addr).connect_errors).sum();
        assert_eq!(errors, rounds * (attempts + 1), "attempts = {attempts}");
    }
}

#[test]
fn without_connect_a_failed_dial_is_not_repeated() {
    let (dead, a) = (reserve_port(), Origin::start("a"));
    let more = "passive = false\n[pool.app.retry]\non = [\"stale\"]\n";
    let targets = [quoted(dead.addr()), quoted(a.addr())];
    let proxy = start(&one_worker(&targets, more));
    let refused = (0..10).filter(|_| why(&get(proxy.listener_addr("web"))) == "connect-refused").count();
    assert_eq!(refused, 5);
}

#[test]
fn a_failure_is_tried_elsewhere_for_idempotent_requests_only() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let targets = [quoted(a.addr()), quoted(b.addr())];
    let proxy = start(&one_worker(&targets, "algorithm = \"first\"\npassive = false"));
    let mut client = Caller::to(proxy.listener_addr("web"));
    for (turn, reset) in [(0, false), (1, true)] {
        a.set(|o| o.cut = Some(Cut { after_bytes: 0, reset }));
        client.send("GET", &format!("get-{turn}"), b"");
        assert_eq!(who(&client.receive()), "b");
        let id = format!("post-{turn}");
        client.send("POST", &id, b"x");
        let answer = client.receive();
        assert_eq!((answer.status, who(&answer)), (502, ""), "{answer:?}");
        assert_eq!((a.journal().of(&id).len(), b.journal().of(&id).len()), (1, 0));
        client = Caller::to(proxy.listener_addr("web"));
    }
}

/// Nothing of an answer that has begun is ever repeated.
#[test]
fn an_answer_that_breaks_off_is_not_tried_elsewhere() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let targets = [quoted(a.addr()), quoted(b.addr())];
    let proxy = start(&one_worker(&targets, "algorithm = \"first\"\npassive = false"));
    a.set(|o| o.cut = Some(Cut { after_bytes: 150, reset: false }));
    let plan = LoadPlan { requests: Some(20), answer_bytes: 5000, ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    let verdict = judge(&client, &[a.journal(), b.journal()]);
    assert_eq!(verdict.cut_by_origin, 20, "{verdict}");
    assert!(b.journal().is_empty());
}

/// The kept connection is gone when the request comes: even a POST is sent again, body and all.
#[test]
fn a_body_of_up_to_16_kib_survives_a_stale_connection() {
    let a = Origin::start("a");
    let proxy = start(&one_worker(&[quoted(a.addr())], "passive = false"));
    let mut client = Caller::to(proxy.listener_addr("web"));
    let sizes = [0, 1, 1000, 8 * 1024, 15 * 1024, 16 * 1024];
    for (turn, bytes) in sizes.into_iter().cycle().take(60).enumerate() {
        assert_eq!(client.get().status, 200);
        if turn % 2 == 0 {
            a.reset_connections();
        } else {
            a.close_connections();
        }
        wait_told(&a);
        let (id, body) = (format!("post-{turn}"), vec![b'b'; bytes]);
        client.send(["POST", "PUT"][turn / 6 % 2], &id, &body);
        let answer = client.receive();
        assert_eq!((answer.status, who(&answer)), (200, "a"), "{turn}, {bytes} bytes: {answer:?}");
        let entries = a.journal().of(&id);
        assert_eq!(entries.len(), 1, "{turn}: executed {} times", entries.len());
        assert_eq!((entries[0].body_bytes, entries[0].body_hash), (bytes as u64, hash(&body)));
    }
    println!("stale connections with bodies: N=60 lost=0 duplicated=0");
}

/// A request that timed out may be at work still: only what may be repeated is.
#[test]
fn a_late_answer_is_tried_elsewhere_for_idempotent_requests_only() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let targets = [quoted(a.addr()), quoted(b.addr())];
    let more = "algorithm = \"first\"\npassive = false\n[listener.web.timeouts]\nresponse = \"150ms\"\n";
    let proxy = start(&one_worker(&targets, more));
    a.set(|o| o.hang = Some(Hang::Answer));
    let asked = Instant::now();
    assert_eq!(who(&get(proxy.listener_addr("web"))), "b");
    assert!(asked.elapsed() >= ms(150));
    let latency = target(&proxy, b.addr()).latency;
    assert!(
        latency.count == 1 && latency.mean_us < 100_000,
        "the time lost on another is not its own: {latency:?}"
    );
    let mut client = Caller::to(proxy.listener_addr("web"));
    client.send("POST", "late", b"x");
    assert_refused(&client.receive(), 504, "request-timeout");
    assert!(b.journal().of("late").is_empty());
}

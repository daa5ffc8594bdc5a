//! The client against faultless and dying origins.

use std::time::{Duration, Instant};

use evenkeel_testkit::{Link, LinkPlan, Load, LoadPlan, Origin, Outcome, TempDir, judge, reserve_port};

#[test]
fn a_faultless_origin_answers_everything_right() {
    let origin = Origin::start("a");
    let plans = [
        LoadPlan { connections: 8, requests: Some(2000), ..LoadPlan::default() },
        LoadPlan { requests: Some(400), pipelining: 16, answer_bytes: 1000, ..LoadPlan::default() },
        LoadPlan { requests: Some(100), keep_alive: false, ..LoadPlan::default() },
        LoadPlan {
            connections: 3,
            requests: Some(300),
            methods: vec!["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH"],
            body_bytes: 50_000,
            answer_bytes: 50_000,
            ..LoadPlan::default()
        },
        LoadPlan {
            requests: Some(50),
            methods: vec!["POST"],
            chunked: true,
            body_bytes: 9000,
            ..LoadPlan::default()
        },
    ];
    for plan in plans {
        let sent = plan.requests.unwrap() as usize;
        let journal = Load::run(origin.addr(), plan);
        let verdict = judge(&journal, &[origin.journal()]);
        verdict.assert_all_answered("faultless");
        assert_eq!((verdict.sent, verdict.latencies.len()), (sent, sent));
        assert!(verdict.latency(50.0) <= verdict.latency(99.0) && verdict.latency(99.0) > Duration::ZERO);
    }
    assert_eq!(origin.journal().len(), 2850);
}

#[test]
fn connections_are_kept_and_renewed_as_planned() {
    let origin = Origin::start("a");
    let plan = LoadPlan { requests: Some(30), ..LoadPlan::default() };
    assert_eq!(Load::run(origin.addr(), plan.clone()).connections(), 1);
    let renewed = LoadPlan { requests_per_connection: Some(10), ..plan.clone() };
    assert_eq!(Load::run(origin.addr(), renewed).connections(), 3);
    origin.set(|b| b.requests_per_connection = Some(5));
    let announced = Load::run(origin.addr(), plan.clone());
    assert_eq!(announced.connections(), 6);
    judge(&announced, &[origin.journal()]).assert_all_answered("announced close");
    assert_eq!(origin.journal().connections(), 10);
}

#[test]
fn a_unix_socket_serves_like_a_port() {
    let dir = TempDir::new();
    let origin = Origin::start_unix("u", dir.path().join("o.sock"));
    let journal = Load::run(origin.addr(), LoadPlan { requests: Some(100), ..LoadPlan::default() });
    judge(&journal, &[origin.journal()]).assert_all_answered("unix");
}

#[test]
fn a_rate_is_kept_and_a_stall_shows_in_every_request_it_delayed() {
    let origin = Origin::start("a");
    let started = Instant::now();
    let plan = LoadPlan { requests: Some(40), rate: 200, ..LoadPlan::default() };
    origin.once(|b| b.delay_head = Duration::from_millis(100));
    let journal = Load::run(origin.addr(), plan);
    assert!(started.elapsed() >= Duration::from_millis(195));
    let late = journal.records.iter().filter(|r| r.latency > Duration::from_millis(40)).count();
    assert!(late >= 10, "{late} requests were delayed");
}

#[test]
fn a_killed_and_restarted_origin_leaves_traces_in_the_journal() {
    let mut origin = Origin::start("a");
    let plan = LoadPlan { connections: 4, answer_bytes: 2000, ..LoadPlan::default() };
    let load = Load::start(origin.addr(), plan);
    load.wait_answers(200);
    origin.kill();
    assert_eq!(origin.open_connections(), 0);
    let failed = load.failed();
    evenkeel_testkit::wait_until("refusals", Duration::from_secs(5), || load.failed() > failed);
    origin.restart();
    load.wait_answers(200);
    let journal = load.stop();
    assert!(journal.count(|o| *o == Outcome::ConnectRefused) > 0);
    let broken = journal.count(|o| matches!(o, Outcome::Reset | Outcome::Truncated { .. } | Outcome::Closed));
    assert!((1..=4).contains(&broken), "{broken} of four connections broke");
    let verdict = judge(&journal, &[origin.journal()]);
    assert_eq!((verdict.misrouted, verdict.wrong_body, verdict.duplicated), (0, 0, 0), "{verdict}");
    assert_eq!(verdict.lost + verdict.cut_by_origin, broken, "{verdict}");
}

#[test]
fn a_stopped_origin_refuses_and_an_unanswering_one_times_out() {
    let port = reserve_port();
    let quick = |requests| LoadPlan {
        requests: Some(requests),
        timeout: Duration::from_millis(100),
        ..LoadPlan::default()
    };
    let refused = Load::run(port.addr(), quick(3));
    assert_eq!(refused.count(|o| *o == Outcome::ConnectRefused), 3);
    assert_eq!(judge(&refused, &[]).refused, 3);
    let origin = Origin::start("a");
    let mut deaf = LinkPlan::default();
    deaf.up.stall_after_bytes = Some(0);
    let link = Link::start(origin.addr(), deaf);
    assert_eq!(Load::run(link.addr(), quick(2)).count(|o| *o == Outcome::TimedOut), 2);
    assert!(origin.journal().is_empty());
}

#[test]
fn a_load_ends_when_told_even_while_it_waits() {
    let origin = Origin::start("a");
    let started = Instant::now();
    let load = Load::start(origin.addr(), LoadPlan { pause: Duration::from_secs(60), ..LoadPlan::default() });
    load.wait_answers(1);
    assert_eq!(load.stop().records.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(5));
}

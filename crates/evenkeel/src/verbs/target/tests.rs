use clap::Parser;
use evenkeel_api::{Answers, Latency};

use super::*;
use crate::cli::{Cli, Verb};
use crate::fake_api::{FakeApi, Reply};

fn seen(state: TargetState, in_flight: u64) -> Seen {
    Seen {
        pool: "app".into(),
        address: "10.0.0.1:80".into(),
        id: 1,
        state,
        reason: None,
        weight: 1,
        priority: 0,
        max_connections: None,
        emergency: false,
        resolved: Vec::new(),
        in_flight,
        requests: 0,
        connects: 0,
        connect_errors: 0,
        reused: 0,
        answers: Answers::default(),
        failures: 0,
        retries: 0,
        failures_in_a_row: 0,
        bytes_to: 0,
        bytes_from: 0,
        latency: Latency::default(),
    }
}

fn place() -> Place {
    Place { pool: evenkeel_base::PoolName::new("app").unwrap(), address: "10.0.0.1:80".parse().unwrap() }
}

/// Runs `evenkeel target …` against a server that takes everything, and gives what was asked.
fn asked(words: &[&str]) -> (String, String) {
    let api = FakeApi::start(|_| Reply::Json(200, String::new()));
    let cli = Cli::try_parse_from([&["evenkeel", "target"], words].concat()).unwrap();
    let Verb::Target(target) = cli.verb else { panic!("{words:?}") };
    make(&mut api.client(), &target, &mut |_| Ok(())).unwrap();
    let mut asked = api.asked();
    assert_eq!(asked.len(), 1);
    let asked = asked.remove(0);
    (asked.line, asked.body)
}

#[test]
fn every_change_is_one_request() {
    let of = |line: &str, body: &str| (line.to_owned(), body.to_owned());
    assert_eq!(
        asked(&["add", "app", "10.0.0.1:80", "--weight", "3", "--max-connections", "9", "--save"]),
        of(
            "POST /api/v1/pools/app/targets",
            r#"{"address":"10.0.0.1:80","weight":3,"max_connections":9,"save":true}"#
        )
    );
    assert_eq!(
        asked(&["remove", "app", "unix:/run/a.sock", "--save"]),
        of("DELETE /api/v1/pools/app/targets/unix:%2Frun%2Fa.sock?save=1", "")
    );
    let path = "/api/v1/pools/app/targets/10.0.0.1:80";
    assert_eq!(asked(&["remove", "app", "10.0.0.1:80"]), of(&format!("DELETE {path}"), ""));
    assert_eq!(
        asked(&["set", "app", "10.0.0.1:80", "--priority", "2", "--max-connections", "none"]),
        of(&format!("PATCH {path}"), r#"{"priority":2,"max_connections":null}"#)
    );
    assert_eq!(asked(&["drain", "app", "10.0.0.1:80"]), of(&format!("POST {path}/drain"), ""));
    assert_eq!(
        asked(&["enable", "app", "10.0.0.1:80"]),
        of(&format!("PATCH {path}"), r#"{"state":"enabled"}"#)
    );
    assert_eq!(
        asked(&["disable", "app", "10.0.0.1:80"]),
        of(&format!("PATCH {path}"), r#"{"state":"disabled"}"#)
    );
}

#[test]
fn the_answer_tells_how_the_target_stands() {
    let told = |seen: &Seen| told(&place(), "changed", true, serde_json::to_string(seen).unwrap().as_bytes());
    let limited = Seen { priority: 2, max_connections: Some(1), ..seen(TargetState::Up, 5) };
    assert_eq!(
        told(&limited),
        "changed 10.0.0.1:80 in app, and saved: up, weight 1, priority 2, at most 1 connection, 5 in flight\n"
    );
    let body = serde_json::to_string(&seen(TargetState::Draining, 37)).unwrap();
    let drain = super::told(&place(), "draining", false, body.as_bytes());
    assert_eq!(drain, "draining 10.0.0.1:80 in app: weight 1, 37 in flight\n");
    let drained = Seen { weight: 0, ..seen(TargetState::Draining, 0) };
    assert!(told(&drained).contains("draining (its weight is 0)"), "{}", told(&drained));
    let down = Seen { reason: Some("probe-timeout".into()), ..seen(TargetState::Down, 0) };
    assert!(told(&down).contains("down (probe-timeout)"), "{}", told(&down));
}

/// Follows a drain through these looks; the last one repeats.
fn followed(looks: Vec<Vec<Seen>>, timeout: Option<Duration>) -> (Vec<String>, Result<String, Failure>) {
    let mut looks = looks.into_iter();
    let mut last = Vec::new();
    let api = FakeApi::start(move |_| {
        last = looks.next().unwrap_or_else(|| last.clone());
        Reply::Json(200, serde_json::to_string(&last).unwrap())
    });
    let mut lines = Vec::new();
    let end = follow(&mut api.client(), &place(), timeout, Duration::from_millis(1), &mut |line| {
        lines.push(line.trim_end().to_owned());
        Ok(())
    });
    (lines, end)
}

#[test]
fn a_drain_is_followed_to_its_end() {
    let looks = [37, 37, 5, 0].map(|n| vec![seen(TargetState::Draining, n)]).to_vec();
    let (lines, end) = followed(looks, None);
    assert_eq!(lines, ["37 in flight", "5 in flight", "0 in flight"]);
    assert_eq!(end.unwrap(), "drained 10.0.0.1:80 in app\n");
}

#[test]
fn a_drain_that_takes_too_long_fails_and_goes_on() {
    let (_, end) = followed(vec![vec![seen(TargetState::Draining, 2)]], Some(Duration::from_millis(20)));
    let failure = end.unwrap_err();
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.contains("still has 2 in flight; it goes on draining"), "{}", failure.message);
}

#[test]
fn a_drain_ends_with_its_target_or_when_somebody_enables_it() {
    let emergency = Seen { emergency: true, ..seen(TargetState::Up, 1) };
    let (_, end) = followed(vec![vec![seen(TargetState::Draining, 2)], vec![emergency]], None);
    assert_eq!(end.unwrap(), "10.0.0.1:80 is no longer in app\n");
    let (_, end) = followed(vec![vec![seen(TargetState::Draining, 2)], vec![seen(TargetState::Up, 2)]], None);
    assert!(end.unwrap_err().message.contains("no longer drains"));
}

//! `/metrics`, `/health`, `/ready`, and that one change has one reason wherever it is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use evenkeel_testkit::{Load, LoadPlan, Origin, judge, wait_until};

use crate::support::{http, start};
use crate::world::{Kept, MOMENT, ask, target, tell, wait_event};

/// One sample: name, labels as written, value.
type Sample = (String, String, f64);

/// Reads the page as Prometheus' text format 0.0.4 wants it, and panics where it is not.
fn parsed(page: &str) -> (HashMap<String, String>, Vec<Sample>) {
    let (mut kinds, mut helps, mut samples) = (HashMap::new(), HashSet::new(), Vec::new());
    let (mut family, mut closed, mut seen) = (String::new(), HashSet::new(), HashSet::new());
    assert!(page.ends_with('\n'), "the last line ends, too");
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(!help.trim().is_empty() && helps.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            assert!(closed.insert(std::mem::replace(&mut family, name.to_owned())), "{line}");
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let (name, labels) = key.split_once('{').unwrap_or((key, ""));
            let of_family = name == family || kinds[&family] == "histogram" && name.starts_with(&family);
            assert!(of_family, "a sample outside of its family {family}: {line}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{line}"
            );
            assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
            assert!(seen.insert(key.to_owned()), "the same series twice: {line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            samples.push((name.to_owned(), labels.trim_end_matches('}').to_owned(), value));
        }
    }
    assert!(kinds.keys().all(|name| helps.contains(name)), "every family has its help");
    (kinds, samples)
}

#[test]
fn the_page_is_well_formed_and_counts_what_happened() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let routes =
        "[[listener.web.route]]\nwhen = { path = \"/none\" }\nrespond = { status = 404, body = \"no\" }\n";
    let proxy =
        start(&http(&[a.addr(), b.addr()], &format!("{routes}[pool.idle]\ntargets = [\"127.0.0.1:9\"]\n")));
    let web = proxy.listener_addr("web");
    let client = Load::run(web, LoadPlan { connections: 4, requests: Some(300), ..LoadPlan::default() });
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("metrics");
    assert_eq!(Kept::connect(web).get("/none").unwrap().status, 404);
    let answer = ask(&proxy, "GET", "/metrics", &[("host", "localhost")], b"");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (kinds, samples) = parsed(&answer.text());
    let ours: Vec<_> = kinds.keys().filter(|name| name.starts_with("evenkeel_")).collect();
    assert!(ours.len() > 20, "{ours:?}");
    for (name, kind) in &kinds {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
    for (name, labels, value) in samples.iter().filter(|(name, ..)| name.ends_with("_total")) {
        assert!(*value >= 0.0 && value.fract() == 0.0, "{name} {labels} {value}");
    }
    assert_eq!(proxy.metric("evenkeel_listener_requests_total", &[r#"listener="web""#]), 301.0);
    assert_eq!(proxy.metric("evenkeel_target_requests_total", &[r#"pool="app""#]), 300.0);
    assert_eq!(proxy.metric("evenkeel_target_answers_total", &[r#"class="2xx""#]), 300.0);
    assert_eq!(proxy.metric("evenkeel_target_latency_seconds_count", &[r#"pool="app""#]), 300.0);
    assert_eq!(proxy.metric("evenkeel_target_in_flight", &[]), 0.0);
    assert_histograms(&samples);
}

/// Buckets rise with their limit, and the last one holds them all.
fn assert_histograms(samples: &[Sample]) {
    let mut series: HashMap<String, Vec<(f64, f64)>> = HashMap::new();
    for (name, labels, value) in samples.iter().filter(|(name, ..)| name.ends_with("_bucket")) {
        let (labels, limit) = labels.rsplit_once("le=\"").unwrap();
        let limit = limit.trim_end_matches('"').replace("+Inf", "inf").parse().unwrap();
        series
            .entry(format!("{}{}", name.trim_end_matches("_bucket"), labels))
            .or_default()
            .push((limit, *value));
    }
    assert_eq!(series.len(), 2, "one for each target that has answered");
    for (key, buckets) in &series {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{key}: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 150.0)), "{key}");
    }
}

#[test]
fn one_transition_has_the_same_reason_in_log_api_and_metrics() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    let health =
        "[pool.app.health]\ncheck = \"tcp\"\ninterval = \"50ms\"\ntimeout = \"50ms\"\nrise = 1\nfall = 1\n";
    let proxy = start(&http(&[a.addr(), b.addr()], health));
    let address = a.addr().to_string();
    let count = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        proxy.metric("evenkeel_target_transitions_total", &[r#"pool="app""#, &reason])
    };
    let ups = count("probe-succeeded");
    a.kill();
    let down = wait_event(&proxy, "the target to be down", |event| event["to"] == "down");
    assert_eq!(down["reason"], "probe-refused", "{down}");
    assert_eq!(down["target"], address.as_str(), "{down}");
    let seen = target(&proxy, "app", &address);
    assert_eq!((&seen["state"], &seen["reason"]), (&"down".into(), &"probe-refused".into()), "{seen}");
    assert_eq!(count("probe-refused"), 1.0);
    let line = proxy.wait_stderr("(probe-refused)", MOMENT).unwrap_or_else(|| panic!("{}", proxy.stderr()));
    assert!(line.contains("pool app") && line.contains(&address) && line.contains("down"), "{line}");
    let row = tell(&proxy, &["status", "targets", "--status", "down"]).fine();
    assert!(row.contains(&address) && row.contains("probe-refused"), "{row}");

    let after = crate::world::number(&down["sequence"]);
    a.restart();
    let up = wait_event(&proxy, "the target to be up again", |event| {
        event["to"] == "up" && event["target"] == address.as_str() && event["sequence"].as_u64() > Some(after)
    });
    assert_eq!((&up["from"], &up["reason"]), (&"down".into(), &"probe-succeeded".into()), "{up}");
    wait_until("the transition to be counted", MOMENT, || count("probe-succeeded") >= ups + 1.0);
    assert!(proxy.wait_stderr("down → up (probe-succeeded)", MOMENT).is_some(), "{}", proxy.stderr());
    assert_eq!(target(&proxy, "app", &address)["reason"], serde_json::Value::Null);
}

#[test]
fn health_and_ready_answer_without_a_token_and_say_what_they_mean() {
    let origin = Origin::start("a");
    let config = format!(
        "{}[admin]\nbind = \"unix:{{dir}}/admin.sock\"\ntoken = {{ env = \"TEST_TOKEN\" }}\n",
        http(&[origin.addr()], "")
    );
    let launch = evenkeel_testkit::Launch::new(crate::support::BIN, &config).env("TEST_TOKEN", "s3cret");
    let proxy = launch.admin_token("s3cret").start();
    for (path, word) in [("/health", "alive"), ("/ready", "ready")] {
        let answer = ask(&proxy, "GET", path, &[("host", "localhost")], b"");
        assert_eq!((answer.status, answer.text()), (200, format!("{{\"status\":\"{word}\"}}")));
        assert_eq!(ask(&proxy, "HEAD", path, &[("host", "localhost")], b"").status, 200);
    }
    assert_eq!(ask(&proxy, "GET", "/metrics", &[("host", "localhost")], b"").status, 401);
    assert_eq!(proxy.metric("evenkeel_ready", &[]), 1.0);
}

#[test]
fn metrics_are_open_when_that_is_asked_for() {
    let origin = Origin::start("a");
    let config = format!(
        "{}[admin]\nbind = \"unix:{{dir}}/admin.sock\"\nopen_metrics = true\ntoken = {{ env = \"TEST_TOKEN\" }}\n",
        http(&[origin.addr()], "")
    );
    let launch = evenkeel_testkit::Launch::new(crate::support::BIN, &config).env("TEST_TOKEN", "s3cret");
    let proxy = launch.timeout(Duration::from_secs(15)).admin_token("s3cret").start();
    assert_eq!(ask(&proxy, "GET", "/metrics", &[("host", "localhost")], b"").status, 200);
    assert_eq!(ask(&proxy, "GET", "/api/v1/status", &[("host", "localhost")], b"").status, 401);
}

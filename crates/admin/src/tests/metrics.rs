//! The page of metrics, read as strictly as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use evenkeel_base::{ClientAddr, Reason};
use evenkeel_state::EventKind;

use super::play::{CONFIG, Stage, config, lease, listener};

/// Samples by name and labels, once every line has been found well formed.
fn parsed(page: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families, mut closed) = (BTreeMap::new(), BTreeMap::new(), HashSet::new());
    let (mut family, mut kind) = ("", "");
    assert!(page.ends_with('\n'));
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            closed.insert(family);
            let (name, text) = help.split_once(' ').unwrap();
            assert!(!text.is_empty() && text.ends_with('.'), "{line}");
            let declared = lines.next().unwrap().strip_prefix("# TYPE ").unwrap().split_once(' ').unwrap();
            assert_eq!(declared.0, name);
            assert!(!closed.contains(name), "{name} is declared twice");
            (family, kind) = declared;
            families.insert(family, kind);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| {
            (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))
        });
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} stands under {family}"));
        match kind {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        check_labels(labels);
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value >= 0.0, "{line}");
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} is there twice");
    }
    samples
}

fn check_labels(labels: &str) {
    let (mut rest, mut names) = (labels, BTreeSet::new());
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{labels}"));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{labels}");
        assert!(names.insert(name), "{labels}");
        let mut escaped = false;
        let end = after.bytes().position(|b| {
            let ends = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            ends
        });
        rest = &after[end.unwrap_or_else(|| panic!("{labels}")) + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[test]
fn the_page_is_well_formed_and_complete() {
    let stage = Stage::new();
    let (worker, pool) = (stage.worker(), stage.pool("app"));
    let client = ClientAddr::Ip("192.0.2.7:1234".parse().unwrap());
    let admitted = worker.admit(&listener("web"), client).unwrap();
    worker.count(&listener("web"), Reason::NoRoute);
    let held = lease(&pool, &worker, "192.0.2.7:1");
    for (status, us) in [(200, 60), (204, 1_500), (404, 70), (500, 30_000_000)] {
        held.answered(status, us);
    }
    held.cell().bytes_to.add(11);
    let response = stage.get("/metrics");
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = parsed(&response.body);
    let target = format!("pool=\"app\",target=\"{}\"", held.target().address);
    let at = |series: &str| {
        let series = series.replace("$T", &target);
        *samples.get(&series).unwrap_or_else(|| panic!("{series} is not there:\n{}", response.body))
    };
    assert_eq!(at("evenkeel_build_info{version=\"9.9.9\"}"), 1.0);
    assert_eq!(at("evenkeel_config_generation"), 1.0);
    assert!(at("evenkeel_uptime_seconds") >= 0.0);
    assert_eq!((at("evenkeel_ready"), at("evenkeel_workers")), (1.0, 2.0));
    assert!(at("process_resident_memory_bytes") > 1e6 && at("process_open_fds") >= 3.0);
    assert_eq!(at("evenkeel_listener_connections_open{listener=\"web\"}"), 1.0);
    assert_eq!(at("evenkeel_listener_connections_accepted_total{listener=\"web\"}"), 1.0);
    assert_eq!(at("evenkeel_listener_requests_total{listener=\"sql\"}"), 0.0);
    assert_eq!(at("evenkeel_ends_total{listener=\"web\",reason=\"no-route\"}"), 1.0);
    assert_eq!(at("evenkeel_panics_total{listener=\"web\"}"), 0.0);
    assert_eq!(at("evenkeel_pool_targets{pool=\"app\",state=\"up\"}"), 2.0);
    assert_eq!(at("evenkeel_pool_targets{pool=\"db\",state=\"unresolved\"}"), 1.0);
    assert_eq!(at("evenkeel_pool_waiting{pool=\"db\"}"), 0.0);
    assert_eq!(at("evenkeel_pool_clients{pool=\"app\"}"), 1.0);
    assert_eq!((at("evenkeel_target_up{$T}"), at("evenkeel_target_in_flight{$T}")), (1.0, 1.0));
    assert_eq!(at("evenkeel_target_up{pool=\"db\",target=\"db.internal:5432\"}"), 0.0);
    assert_eq!(at("evenkeel_target_up{pool=\"db\",target=\"unix:/run/db \\\"one\\\".sock\"}"), 1.0);
    assert_eq!(at("evenkeel_target_answers_total{$T,class=\"2xx\"}"), 2.0);
    assert_eq!(at("evenkeel_target_bytes_to_total{$T}"), 11.0);
    let bucket = |le: &str| at(&format!("evenkeel_target_latency_seconds_bucket{{$T,le=\"{le}\"}}"));
    assert_eq!((bucket("0.00005"), bucket("0.0001"), bucket("0.0016")), (0.0, 2.0, 3.0));
    assert_eq!((bucket("26.2144"), bucket("+Inf")), (3.0, 4.0));
    assert_eq!(at("evenkeel_target_latency_seconds_count{$T}"), 4.0);
    assert!((at("evenkeel_target_latency_seconds_sum{$T}") - 30.001_63).abs() < 1e-9);
    drop(admitted);
}

#[test]
fn buckets_never_decrease() {
    let stage = Stage::new();
    let (worker, pool) = (stage.worker(), stage.pool("app"));
    let held = lease(&pool, &worker, "192.0.2.7:1");
    for us in (0..64).map(|bit| 1_u64 << bit) {
        held.answered(200, us >> 1);
    }
    let page = stage.get("/metrics").body;
    parsed(&page);
    let buckets: Vec<u64> = page
        .lines()
        .filter(|line| line.starts_with("evenkeel_target_latency_seconds_bucket"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(buckets.len(), 21);
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&64));
}

#[test]
fn transitions_are_counted_with_the_reason_of_their_event() {
    let stage = Stage::new();
    let path = "/api/v1/pools/app/targets/10.0.0.1:80";
    for state in ["draining", "enabled", "draining", "disabled"] {
        assert_eq!(stage.json("PATCH", path, &format!(r#"{{"state": "{state}"}}"#)).status, 200);
    }
    assert_eq!(stage.call("DELETE", path, &[], b"").status, 204);
    let samples = parsed(&stage.get("/metrics").body);
    let count = |to: &str, reason: &str| {
        let series = "evenkeel_target_transitions_total{pool=\"app\",target=\"10.0.0.1:80\"";
        samples.get(&format!("{series},to=\"{to}\",reason=\"{reason}\"}}")).copied()
    };
    assert_eq!(count("draining", "drained"), Some(2.0));
    assert_eq!(count("up", "enabled"), Some(1.0));
    assert_eq!(count("disabled", "disabled"), Some(1.0));
    assert_eq!(count("removed", "removed"), Some(1.0));
    assert_eq!(samples["evenkeel_target_transitions_untold_total"], 0.0);
}

#[test]
fn no_transition_is_lost_silently() {
    let stage = Stage::new();
    let (pool, target) = ("app".to_owned(), "10.0.0.1:80".to_owned());
    for _ in 0..5_000 {
        let kind = EventKind::Target {
            pool: evenkeel_base::PoolName::new(&pool).unwrap(),
            target: target.parse().unwrap(),
            from: Some("up"),
            to: Some("down"),
        };
        stage.registry.events().emit(kind, Reason::ProbeTimeout);
    }
    let samples = parsed(&stage.get("/metrics").body);
    let series = "evenkeel_target_transitions_total{pool=\"app\",target=\"10.0.0.1:80\",to=\"down\",reason=\"probe-timeout\"}";
    let (told, untold) = (samples[series], samples["evenkeel_target_transitions_untold_total"]);
    assert!(told >= 1_024.0, "{told}");
    assert_eq!(told + untold, 5_000.0);
}

#[test]
fn a_scraper_that_reads_nothing_holds_one_place_of_few() {
    let targets: Vec<String> =
        (0..10_000).map(|n| format!("\"10.1.{}.{}:8080\"", n / 250, n % 250)).collect();
    let stage = Stage::with(&format!("{CONFIG}\n[pool.big]\ntargets = [{}]\n", targets.join(", ")), None);
    let mut idle: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = stage.open("/metrics", &[]);
            std::io::Read::read_exact(&mut stream, &mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let refused = stage.get("/metrics");
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (503, "overloaded"));
    assert_eq!(stage.get("/health").status, 200);
    drop(idle.pop());
    let deadline = Instant::now() + super::play::SOON;
    while stage.get("/metrics").status != 200 {
        assert!(Instant::now() < deadline, "the place is not given back");
    }
}

#[test]
fn ten_thousand_targets_are_told_in_one_piece() {
    let targets: Vec<String> =
        (0..10_000).map(|n| format!("\"10.1.{}.{}:8080\"", n / 250, n % 250)).collect();
    let text = format!("{CONFIG}\n[pool.big]\ntargets = [{}]\n", targets.join(", "));
    let stage = Stage::with(CONFIG, None);
    stage.registry.apply(config(&text));
    let (worker, pool) = (stage.worker(), stage.pool("big"));
    for n in 0..pool.targets.len() {
        lease(&pool, &worker, &format!("192.0.2.1:{}", n + 1)).answered(200, n as u64);
    }
    let begun = Instant::now();
    let page = stage.get("/metrics").body;
    let took = begun.elapsed();
    assert!(page.len() > 20 << 20, "{} bytes", page.len());
    assert!(took.as_secs() < 5, "{took:?}");
    assert_eq!(page.matches("# TYPE evenkeel_target_latency_seconds ").count(), 1);
    assert!(stage.get("/health").status == 200);
}

use clap::Parser;
use evenkeel_api::TargetState;

use super::*;
use crate::cli::{Cli, Verb};
use crate::fake_api::{FakeApi, Reply};

fn asked(words: &[&str]) -> cli::Status {
    let cli = Cli::try_parse_from([&["evenkeel", "status"], words].concat()).unwrap();
    let Verb::Status(status) = cli.verb else { panic!("{words:?}") };
    status
}

fn target(address: &str, state: TargetState) -> String {
    format!(
        r#"{{"pool":"app","address":"{address}","id":1,"state":"{state}","reason":null,"weight":1,"priority":0,
        "max_connections":null,"emergency":false,"resolved":[],"in_flight":0,"requests":0,"connects":0,
        "connect_errors":0,"reused":0,"answers":{{"1xx":0,"2xx":0,"3xx":0,"4xx":0,"5xx":0}},"failures":0,"retries":0,
        "failures_in_a_row":0,"bytes_to":0,"bytes_from":0,
        "latency":{{"count":0,"mean_us":0,"p50_us":0,"p99_us":0}}}}"#
    )
}

fn pool(name: &str, available: usize) -> String {
    format!(
        r#"{{"name":"{name}","algorithm":"random","targets":2,"available":{available},"emergency":null,"in_flight":0,
        "waiting":0,"clients":null,"check":null}}"#
    )
}

fn process() -> FakeApi {
    FakeApi::start(|asked| {
        let body = match asked.line.as_str() {
            "GET /api/v1/status" => {
                r#"{"version":"1.2.3","pid":7,"started":"","uptime_s":200,"generation":4,"workers":2,"connections":1,
                "listeners_count":1,"pools_count":2,"targets_up":1,"targets_total":2,"config_file":"e.toml","ready":true,
                "draining":false,"events":0,"panics":0,"access_log_dropped":0,"resident_bytes":1048576}"#
                    .to_owned()
            }
            "GET /api/v1/pools" => format!("[{},{}]", pool("app", 1), pool("api", 2)),
            "GET /api/v1/pools/app/targets" => {
                format!("[{},{}]", target("10.0.0.1:80", TargetState::Up), target("10.0.0.2:80", TargetState::Down))
            }
            "GET /api/v1/listeners" | "GET /api/v1/connections" => "[]".to_owned(),
            "GET /api/v1/clients" => {
                r#"[{"address":"10.9.9.9","target":"a:1","pool":"app","last_seen_s":1,"uses":2},
                {"address":"10.8.8.8","target":"b:1","pool":"api","last_seen_s":1,"uses":2}]"#
                    .to_owned()
            }
            _ => {
                let body = r#"{"error":{"reason":"not-found","message":"there is no such pool"}}"#;
                return Reply::Json(404, body.to_owned());
            }
        };
        Reply::Json(200, body)
    })
}

fn page_of(words: &[&str]) -> Result<String, Failure> {
    let asked = asked(words);
    let subject = subject(&asked)?;
    Ok(page(&mut process().client(), subject, &asked)?)
}

#[test]
fn a_glance_shows_process_listeners_pools_and_what_is_not_up() {
    let expected = "\
evenkeel 1.2.3, ready, up for 3m 20s, process 7, e.toml
2 workers, 1.0 MiB, 1 open connection, 1 of 2 targets up

LISTENER  PROTOCOL  ADDRESS  POOL  ROUTES  OPEN  ACCEPTED  REQUESTS  IN  OUT

POOL  ALGORITHM  UP  TARGETS  IN-FLIGHT  WAITING  CLIENTS  CHECK  EMERGENCY
app   random      1        2          0        0        -  -      -
api   random      2        2          0        0        -  -      -

Not up:
POOL  TARGET       STATE  REASON  WEIGHT  IN-FLIGHT  REQUESTS  5XX  ERRORS  P50  P99   IN  OUT
app   10.0.0.2:80  down   -            1          0         0    0       0    -    -  0 B  0 B
";
    assert_eq!(page_of(&[]).unwrap(), expected);
}

#[test]
fn filters_narrow_tables_and_json_alike() {
    for words in [
        &["targets", "--status", "down"][..],
        &["--status", "unhealthy"],
        &["--status", "down", "--pool", "app"],
    ] {
        let text = page_of(words).unwrap();
        assert!(text.contains("10.0.0.2:80") && !text.contains("10.0.0.1:80"), "{text}");
    }
    let text = page_of(&["--status", "healthy", "--json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["address"], "10.0.0.1:80");
    assert_eq!(json[0]["bytes_to"], 0);
    let clients = page_of(&["clients", "--pool", "api"]).unwrap();
    assert!(clients.contains("10.8.8.8") && !clients.contains("10.9.9.9"), "{clients}");
    assert!(page_of(&["targets", "--status", "ejected"]).unwrap().lines().count() == 1);
}

#[test]
fn a_stream_of_json_has_a_line_each() {
    let text = page_of(&["pools", "--json", "--watch"]).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}

#[test]
fn an_unknown_pool_names_those_that_are_there() {
    for view in ["targets", "pools", "clients", "listeners"] {
        let failure = page_of(&[view, "--pool", "ap"]).unwrap_err();
        assert_eq!(failure.message, "there is no pool \"ap\"; known are app, api");
        assert_eq!(failure.exit, Exit::Usage);
    }
}

#[test]
fn a_pool_that_a_reload_took_away_meanwhile_is_left_out() {
    // The pool api is listed, but asked for its targets it is gone.
    let text = page_of(&["targets"]).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn filters_that_cannot_apply_are_refused() {
    for words in [&["pools", "--status", "up"][..], &["connections", "--pool", "app"]] {
        assert_eq!(page_of(words).unwrap_err().exit, Exit::Usage, "{words:?}");
    }
}

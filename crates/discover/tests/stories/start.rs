//! The start: names are waited for, and not for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel_discover::{resolve_once, run};

use crate::server::{Server, a};
use crate::world::{addresses, registry, wait_for};

#[tokio::test]
async fn a_start_waits_until_every_name_has_answered() {
    let server = Server::new(|query| match query.name.as_str() {
        "none.test" => vec![query.refusal(3)],
        _ => vec![query.reply(&[a(0, "10.0.0.1")])],
    });
    let hosts: Vec<String> = (0..100).map(|n| format!("n{n}.test")).chain(["none.test".into()]).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let registry = registry(server.addr, "timeout = \"10s\"\nmin_ttl = \"10ms\"\nmax_ttl = \"10ms\"", &hosts);
    resolve_once(Arc::clone(&registry), Duration::from_secs(20)).await;
    for host in &hosts[..100] {
        assert_eq!(addresses(&registry, host), ["10.0.0.1"], "{host}");
    }
}

#[tokio::test]
async fn a_start_goes_on_without_a_name_server_that_is_silent() {
    let server = Server::new(|query| match query.name.as_str() {
        "good.test" => vec![query.reply(&[a(60, "10.0.0.1")])],
        _ => vec![],
    });
    let registry = registry(server.addr, "timeout = \"60s\"", &["silent.test", "good.test"]);
    let began = Instant::now();
    resolve_once(Arc::clone(&registry), Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(addresses(&registry, "good.test"), ["10.0.0.1"]);
    // And ends early when everybody's own time is over.
    let registry = crate::world::registry(server.addr, "timeout = \"100ms\"", &["silent.test"]);
    resolve_once(registry, Duration::from_secs(3600)).await;
}

#[tokio::test]
async fn without_names_there_is_nothing_to_wait_for() {
    let server = Server::new(|_| vec![]);
    let registry = registry(server.addr, "", &["app.test"]);
    registry.remove_target("app.test", &"app.test:80".parse().unwrap()).unwrap();
    resolve_once(registry, Duration::from_secs(3600)).await;
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn what_was_found_at_the_start_is_not_asked_for_twice() {
    let server = Server::new(|query| match query.name.as_str() {
        "late.test" => vec![query.refusal(2)],
        _ => vec![query.reply(&[a(3600, "10.0.0.1")])],
    });
    let settings = "timeout = \"10s\"\nmin_ttl = \"1h\"\nmax_ttl = \"1h\"";
    let registry = registry(server.addr, settings, &["app.test", "late.test"]);
    resolve_once(Arc::clone(&registry), Duration::from_secs(20)).await;
    let (app, late) = (server.count("app.test"), server.count("late.test"));
    let discovery = tokio::spawn(run(Arc::clone(&registry)));
    wait_for("the one without an answer is asked for again", || server.count("late.test") > late).await;
    assert_eq!(server.count("app.test"), app);
    discovery.abort();
}

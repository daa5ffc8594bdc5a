//! Who may call: every path against every kind of caller.

use super::openapi::operations;
use super::play::{CONFIG, Stage};

const TOKEN: &str = "correct-horse-battery-staple";

/// Calls a path without anything that it could do harm with.
fn probe(stage: &Stage, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    // A follower's stream has no end; its list has.
    let path = if path.ends_with("/events") { format!("{path}?follow=0") } else { path.to_owned() };
    let response = stage.call(method, &path, headers, b"");
    (response.status, format!("{}\n{}", response.head, response.body))
}

#[test]
fn every_path_wants_the_token_but_the_probes() {
    let stage = Stage::with(CONFIG, Some(TOKEN));
    let right = format!("Bearer {TOKEN}");
    for (method, path) in operations() {
        let is_open = matches!(path.as_str(), "/health" | "/ready");
        for wrong in [None, Some("Bearer wrong"), Some("Bearer"), Some(TOKEN), Some("Basic dXNlcjpwdw==")] {
            let headers: Vec<_> = wrong.map(|wrong| ("authorization", wrong)).into_iter().collect();
            let response = stage.call(&method, &path, &headers, b"");
            if is_open {
                assert_eq!(response.status, 200, "{method} {path}");
            } else {
                assert_eq!(
                    (response.status, response.refusal().reason.as_str()),
                    (401, "unauthorized"),
                    "{path}"
                );
                assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            }
        }
        let (status, _) = probe(&stage, &method, &path, &[("authorization", &right)]);
        assert_ne!(status, 401, "{method} {path}");
    }
    for unknown in ["/", "/api/v1/secrets", "/healthz", "/metrics/"] {
        assert_eq!(stage.get(unknown).status, 401, "{unknown}");
    }
    assert_eq!(stage.registry.snapshot().generation, 1 + 3, "with the right token: drain, reload, removal");
}

#[test]
fn metrics_may_be_left_open_and_rules_change_in_place() {
    let stage = Stage::with(CONFIG, Some(TOKEN));
    let secret = |text: &str| Some(evenkeel_config::Secret(text.to_owned()));
    assert_eq!(stage.get("/metrics").status, 401);
    stage.access.set(secret(TOKEN), true);
    assert_eq!((stage.get("/metrics").status, stage.get("/api/v1/status").status), (200, 401));
    stage.access.set(secret("another"), false);
    let old = format!("Bearer {TOKEN}");
    assert_eq!(stage.call("GET", "/api/v1/status", &[("authorization", &old)], b"").status, 401);
    assert_eq!(stage.call("GET", "/api/v1/status", &[("authorization", "Bearer another")], b"").status, 200);
    stage.access.set(None, false);
    assert_eq!((stage.get("/metrics").status, stage.get("/api/v1/status").status), (200, 200));
}

#[test]
fn the_token_is_in_no_output() {
    let stage = Stage::with(CONFIG, Some(TOKEN));
    let right = format!("Bearer {TOKEN}");
    let mut everything = String::new();
    for (method, path) in operations() {
        for authorization in [right.as_str(), "Bearer wrong"] {
            everything.push_str(&probe(&stage, &method, &path, &[("authorization", authorization)]).1);
        }
    }
    let authorized = [("authorization", right.as_str()), ("content-type", "application/json")];
    for (method, path, body) in [
        ("POST", "/api/v1/pools/app/targets", r#"{"address": "10.0.0.3:80"}"#),
        ("POST", "/api/v1/pools/app/targets", "{"),
        ("POST", "/api/v1/reload", ""),
        ("PUT", "/api/v1/config", "x"),
        ("GET", "/nowhere", ""),
    ] {
        let response = stage.call(method, path, &authorized, body.as_bytes());
        everything.push_str(&response.head);
        everything.push_str(&response.body);
    }
    everything.push_str(&stage.audit_text());
    everything.push_str(&format!("{:?}", stage.access));
    assert!(everything.contains("evenkeel_build_info") && everything.contains("add-target"));
    assert!(!everything.contains(TOKEN));
}

#[test]
fn pages_of_other_sites_can_neither_change_nor_read() {
    let stage = Stage::new();
    let port = stage.address.port();
    let ours = format!("http://127.0.0.1:{port}");
    let other_port = format!("http://127.0.0.1:{}", port ^ 1);
    let before = stage.registry.snapshot().generation;
    for (method, path) in operations() {
        for header in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", other_port.as_str()),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("host", "evil.example"),
            ("host", "127.0.0.1.nip.io"),
        ] {
            let refused = stage.call(&method, &path, &[header], b"");
            assert_eq!(refused.status, 403, "{method} {path} {header:?}");
            assert_eq!(refused.refusal().reason, "forbidden");
            assert!(refused.header("access-control-allow-origin").is_none());
        }
    }
    assert_eq!(stage.registry.snapshot().generation, before);
    for header in [
        ("origin", ours.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
        ("host", &format!("localhost:{port}")),
        ("host", "[::1]:1"),
    ] {
        assert_eq!(stage.call("GET", "/api/v1/status", &[header], b"").status, 200, "{header:?}");
    }
}

#[test]
fn forms_and_plain_text_change_nothing() {
    let stage = Stage::new();
    let before = stage.registry.snapshot().generation;
    let body = br#"{"address": "10.0.0.3:80"}"#;
    for content in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/toml"),
    ] {
        let headers: Vec<_> = content.map(|content| ("content-type", content)).into_iter().collect();
        let refused = stage.call("POST", "/api/v1/pools/app/targets", &headers, body);
        assert_eq!(
            (refused.status, refused.refusal().at.as_deref()),
            (415, Some("content-type")),
            "{content:?}"
        );
    }
    let refused = stage.json("PUT", "/api/v1/config", CONFIG);
    assert_eq!((refused.status, refused.refusal().at.as_deref()), (415, Some("content-type")));
    assert_eq!(stage.registry.snapshot().generation, before);
}

#[test]
fn answers_are_neither_cached_nor_guessed_at() {
    let stage = Stage::new();
    for path in ["/health", "/api/v1/status", "/api/v1/nowhere", "/metrics"] {
        let response = stage.get(path);
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn refusals_are_counted() {
    let stage = Stage::with(CONFIG, Some(TOKEN));
    stage.get("/api/v1/status");
    stage.call("GET", "/health", &[("origin", "null")], b"");
    let right = format!("Bearer {TOKEN}");
    let page = stage.call("GET", "/metrics", &[("authorization", &right)], b"").body;
    assert!(page.contains("evenkeel_admin_refused_total{reason=\"unauthorized\"} 1\n"), "{page}");
    assert!(page.contains("evenkeel_admin_refused_total{reason=\"forbidden\"} 1\n"), "{page}");
}

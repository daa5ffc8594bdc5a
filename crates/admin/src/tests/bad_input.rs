//! Requests that are refused with a named reason and a place, and have changed nothing (F26).

use super::play::Stage;

const TARGETS: &str = "/api/v1/pools/app/targets";
const ONE: &str = "/api/v1/pools/app/targets/10.0.0.1:80";

/// Method, path, body, status, place.
type Case<'c> = (&'c str, &'c str, &'c str, u16, &'c str);

fn check(cases: &[Case<'_>]) {
    let stage = Stage::new();
    let before = stage.registry.snapshot();
    let events = stage.registry.events().count();
    for (method, path, body, status, at) in cases {
        let what = format!("{method} {path} {}", &body[..body.len().min(80)]);
        let refused = stage.json(method, path, body);
        assert_eq!(refused.status, *status, "{what}: {}", refused.body);
        let detail = refused.refusal();
        assert_eq!(detail.at.as_deref().unwrap_or_default(), *at, "{what}: {}", refused.body);
        assert!(refused.body.len() < 2_000, "{what}: the answer is {} bytes", refused.body.len());
    }
    let after = stage.registry.snapshot();
    assert_eq!((before.generation, &before.config), (after.generation, &after.config));
    assert_eq!(stage.registry.events().count(), events);
    assert_eq!(stage.get("/health").status, 200);
}

#[test]
fn bodies_of_new_targets() {
    check(&[
        ("POST", TARGETS, "", 400, "1:1"),
        ("POST", TARGETS, " \n ", 400, "2:2"),
        ("POST", TARGETS, "null", 400, "1:1"),
        ("POST", TARGETS, "7", 400, "1:1"),
        ("POST", TARGETS, "\"10.0.0.3:80\"", 400, "1:1"),
        ("POST", TARGETS, "[\"10.0.0.3:80\", 1, 0, 5, false]", 400, "1:1"),
        ("POST", TARGETS, "{", 400, "1:1"),
        ("POST", TARGETS, "{}", 400, "address"),
        ("POST", TARGETS, "{\"address\": \"10.0.0.3:80\"", 400, "1:25"),
        ("POST", TARGETS, "{\"address\": \"10.0.0.3:80\",}", 400, "1:27"),
        ("POST", TARGETS, "{\"address\": \"10.0.0.3:80\"}{}", 400, "1:27"),
        ("POST", TARGETS, "{'address': 1}", 400, "1:2"),
        ("POST", TARGETS, r#"{"address": null}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": 80}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": ""}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": "10.0.0.3"}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": "10.0.0.3:0"}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": "10.0.0.3:65536"}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": "[fe80::1%eth0]:80"}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": "unix:run/x"}"#, 400, "address"),
        ("POST", TARGETS, "{\"address\": \"a\\r\\nb:80\"}", 400, "address"),
        ("POST", TARGETS, "{\"address\": \"a\\u0000b:80\"}", 400, "address"),
        ("POST", TARGETS, "{\"address\": \"\\ud800:80\"}", 400, "address"),
        ("POST", TARGETS, r#"{"address": "a:1", "address": "b:1"}"#, 400, "address"),
        ("POST", TARGETS, r#"{"address": "a:1", "wieght": 1}"#, 400, "wieght"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": null}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": -1}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": 1.5}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": "1"}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": 1001}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": 65536}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": 18446744073709551616}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": 1e999999999}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": 1e-999999999}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": [1]}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "weight": NaN}"#, 400, "weight"),
        ("POST", TARGETS, r#"{"address": "a:1", "priority": 1001}"#, 400, "priority"),
        ("POST", TARGETS, r#"{"address": "a:1", "max_connections": 0}"#, 400, "max_connections"),
        ("POST", TARGETS, r#"{"address": "a:1", "max_connections": 10000001}"#, 400, "max_connections"),
        ("POST", TARGETS, r#"{"address": "a:1", "max_connections": 4294967296}"#, 400, "max_connections"),
        ("POST", TARGETS, r#"{"address": "a:1", "max_connections": null}"#, 400, "max_connections"),
        ("POST", TARGETS, r#"{"address": "a:1", "save": null}"#, 400, "save"),
        ("POST", TARGETS, r#"{"address": "a:1", "save": "yes"}"#, 400, "save"),
        ("POST", "/api/v1/pools/nope/targets", r#"{"address": "a:1"}"#, 404, "pool"),
    ]);
}

#[test]
fn bodies_of_edits() {
    check(&[
        ("PATCH", ONE, "{}", 400, ""),
        ("PATCH", ONE, r#"{"save": true}"#, 400, ""),
        ("PATCH", ONE, r#"{"weight": null}"#, 400, "weight"),
        ("PATCH", ONE, r#"{"priority": null}"#, 400, "priority"),
        ("PATCH", ONE, r#"{"state": null}"#, 400, "state"),
        ("PATCH", ONE, r#"{"state": "asleep"}"#, 400, "state"),
        ("PATCH", ONE, r#"{"state": "Draining"}"#, 400, "state"),
        ("PATCH", ONE, r#"{"state": {"draining": null}}"#, 400, "state"),
        ("PATCH", ONE, r#"{"state": "draining", "save": true}"#, 400, "save"),
        ("PATCH", ONE, r#"{"max_connections": 0}"#, 400, "max_connections"),
        ("PATCH", ONE, r#"{"max_connections": "many"}"#, 400, "max_connections"),
        ("PATCH", ONE, r#"{"address": "10.0.0.5:80"}"#, 400, "address"),
        ("PATCH", ONE, r#"{"weight": 2, "weight": 3}"#, 400, "weight"),
        ("PATCH", "/api/v1/pools/app/targets/10.0.0.77:80", r#"{"weight": 2}"#, 404, ""),
        ("PATCH", "/api/v1/pools/app/targets/nonsense", r#"{"weight": 2}"#, 400, "target"),
        ("PATCH", "/api/v1/pools/app/targets/%ff%fe:80", r#"{"weight": 2}"#, 400, "path"),
        ("PATCH", "/api/v1/pools/nope/targets/10.0.0.1:80", r#"{"weight": 2}"#, 404, "pool"),
    ]);
}

#[test]
fn bodies_where_there_are_none() {
    let drain = format!("{ONE}/drain");
    check(&[
        ("POST", &drain, r#"{"timeout": "30s"}"#, 400, "timeout"),
        ("POST", &drain, "[]", 400, "1:1"),
        ("POST", "/api/v1/reload", r#"{"force": true}"#, 400, "force"),
        ("DELETE", ONE, r#"{"save": true}"#, 400, "save"),
        ("DELETE", "/api/v1/connections/0-1", "x", 400, "1:1"),
    ]);
}

#[test]
fn paths_and_queries() {
    check(&[
        ("GET", "/api/v1/targets?status=", "", 400, "status"),
        ("GET", "/api/v1/targets?status=UP", "", 400, "status"),
        ("GET", "/api/v1/targets?state=up", "", 400, "state"),
        ("GET", "/api/v1/targets?status=up&status=down", "", 400, "status"),
        ("GET", "/api/v1/status?verbose=1", "", 400, "verbose"),
        ("GET", "/api/v1/clients?limit=0", "", 400, "limit"),
        ("GET", "/api/v1/clients?limit=10001", "", 400, "limit"),
        ("GET", "/api/v1/clients?limit=-1", "", 400, "limit"),
        ("GET", "/api/v1/clients?limit=99999999999999999999", "", 400, "limit"),
        ("GET", "/api/v1/connections?limit=1e3", "", 400, "limit"),
        ("GET", "/api/v1/events?follow=maybe", "", 400, "follow"),
        ("DELETE", "/api/v1/pools/app/targets/10.0.0.1:80?save=please", "", 400, "save"),
        ("DELETE", "/api/v1/connections/1", "", 400, "id"),
        ("DELETE", "/api/v1/connections/-1--1", "", 400, "id"),
        ("DELETE", "/api/v1/connections/65536-1", "", 400, "id"),
        ("DELETE", "/api/v1/connections/65535-18446744073709551615", "", 404, "id"),
        ("GET", "/api/v1/pools/..%2f..%2fstatus", "", 404, "pool"),
        ("GET", "/", "", 404, "path"),
        ("GET", "/api/v1", "", 404, "path"),
        ("GET", "/api/v1/", "", 404, "path"),
        ("GET", "/api/v1/status/", "", 404, "path"),
        ("GET", "/api/v2/status", "", 404, "path"),
        ("GET", "/api/v1/nodes", "", 404, "path"),
        ("GET", "//health", "", 404, "path"),
        ("GET", "/%68ealth", "", 404, "path"),
        ("POST", "/api/v1/status", "", 405, "method"),
        ("DELETE", "/api/v1/pools/app", "", 405, "method"),
        ("GET", "/api/v1/reload", "", 405, "method"),
        ("OPTIONS", "/api/v1/config", "", 405, "method"),
        ("TRACE", "/health", "", 405, "method"),
        ("BREW", "/metrics", "", 405, "method"),
    ]);
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let stage = Stage::new();
    let refused = stage.get("/api/v1/node%22s");
    assert!(refused.refusal().message.contains("/api/v1/node%22s"), "{}", refused.body);
    let refused = stage.call("PUT", "/api/v1/status", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET,HEAD")));
}

#[test]
fn bodies_beyond_their_limit() {
    let stage = Stage::new();
    let nesting = "[".repeat(1 << 20);
    let refused = stage.json("POST", TARGETS, &format!(r#"{{"weight": {nesting}"#));
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (413, "body-too-large"));
    let padded = format!(r#"{{"weight": 2{}}}"#, " ".repeat((64 << 10) - 13));
    assert_eq!(padded.len(), 64 << 10);
    assert_eq!(stage.json("PATCH", ONE, &padded).status, 200);
    assert_eq!(stage.json("PATCH", ONE, &format!("{padded} ")).status, 413);
    let deep = format!(r#"{{"weight": {}"#, "[".repeat(60_000));
    assert_eq!(stage.json("PATCH", ONE, &deep).status, 400);
}

#[test]
fn a_body_that_breaks_off_changes_nothing() {
    use std::io::{Read, Write};
    let stage = Stage::new();
    let before = stage.registry.snapshot().generation;
    let mut stream = std::net::TcpStream::connect(stage.address).unwrap();
    let host = stage.address.to_string();
    let headers = [("host", host.as_str()), ("content-type", "application/json")];
    stream.write_all(&super::play::head("PATCH", ONE, &headers, 100)).unwrap();
    stream.write_all(br#"{"weight": 7}"#).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(stage.registry.snapshot().generation, before);
}

//! The description of the API against the API.

use super::play::Stage;
use crate::openapi::text;

/// Every method and path that is described, with names filled in that the stage has.
pub(super) fn operations() -> Vec<(String, String)> {
    let description: serde_json::Value = serde_json::from_str(&text()).unwrap();
    let mut found = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.replace("{pool}", "app").replace("{target}", "10.0.0.1:80").replace("{id}", "0-77");
        found.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    // What is removed is removed last.
    found.sort_by_key(|(method, path)| (method == "DELETE", path.clone()));
    found
}

#[test]
fn the_page_is_what_is_committed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text(), "docs/openapi.json is old: run this test with UPDATE_GOLDEN=1");
}

#[test]
fn what_is_described_is_there_and_what_is_there_is_described() {
    let stage = Stage::new();
    let described = operations();
    assert_eq!(described.len(), 22);
    for (method, path) in &described {
        let path = if path.ends_with("/events") { format!("{path}?follow=0") } else { path.clone() };
        let response = stage.call(method, &path, &[], b"");
        let is_missing = response.status == 404 && response.refusal().at.as_deref() == Some("path");
        assert!(!is_missing && response.status != 405, "{method} {path}: {}", response.body);
    }
    for path in described.iter().map(|(_, path)| path) {
        let allowed =
            stage.call("BREW", path, &[], b"").header("allow").map(str::to_owned).unwrap_or_default();
        for method in allowed.split(',').filter(|method| *method != "HEAD") {
            let is_described = described.iter().any(|(m, p)| m == method && p == path);
            assert!(is_described, "{method} {path} is not described");
        }
    }
    assert_eq!(stage.get("/api/v1/openapi.json").body, text());
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let description: serde_json::Value = serde_json::from_str(&text()).unwrap();
    let paths = description["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
    let names: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

#[test]
fn requests_are_described_as_strictly_as_they_are_read() {
    let description: serde_json::Value = serde_json::from_str(&text()).unwrap();
    let schemas = &description["components"]["schemas"];
    for name in ["NewTarget", "EditTarget"] {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    assert_eq!(schemas["NewTarget"]["required"], serde_json::json!(["address"]));
    assert_eq!(schemas["EditTarget"]["properties"]["weight"]["type"], "integer");
    let types = &schemas["EditTarget"]["properties"]["max_connections"]["type"];
    assert_eq!(*types, serde_json::json!(["integer", "null"]));
}

//! Targets that are added, changed, drained and removed.

use evenkeel_api::{self as api, TargetState};
use evenkeel_base::Weight;

use super::play::Stage;
use crate::SavedEdit;

const TARGETS: &str = "/api/v1/pools/app/targets";

fn generation(stage: &Stage) -> u64 {
    stage.registry.snapshot().generation
}

#[test]
fn a_target_comes_changes_drains_and_goes() {
    let stage = Stage::new();
    let path = api::target_path("app", "10.0.0.3:80");
    let added = stage.json("POST", TARGETS, r#"{"address": "10.0.0.3:80", "weight": 5, "priority": 2}"#);
    assert_eq!(added.status, 201, "{}", added.body);
    let added: api::Target = added.json();
    assert_eq!((added.weight, added.priority, added.max_connections), (5, 2, None));
    assert_eq!((added.state, added.reason.as_deref()), (TargetState::Up, None));

    let again = stage.json("POST", TARGETS, r#"{"address": "10.0.0.3:80"}"#);
    assert_eq!((again.status, again.refusal().reason.as_str()), (409, "already-exists"));

    let edited: api::Target = stage.json("PATCH", &path, r#"{"max_connections": 9, "weight": 4}"#).json();
    assert_eq!((edited.weight, edited.priority, edited.max_connections), (4, 2, Some(9)));
    let lifted: api::Target = stage.json("PATCH", &path, r#"{"max_connections": null}"#).json();
    assert_eq!((lifted.weight, lifted.max_connections), (4, None));

    let drained = stage.json("POST", &api::drain_path("app", "10.0.0.3:80"), "");
    assert_eq!(drained.status, 200, "{}", drained.body);
    let drained: api::Target = drained.json();
    assert_eq!((drained.state, drained.reason.as_deref()), (TargetState::Draining, Some("drained")));
    let disabled: api::Target = stage.json("PATCH", &path, r#"{"state": "disabled"}"#).json();
    assert_eq!(disabled.state, TargetState::Disabled);
    let enabled: api::Target = stage.json("PATCH", &path, r#"{"state": "enabled"}"#).json();
    assert_eq!(enabled.state, TargetState::Up);

    assert_eq!(stage.call("DELETE", &path, &[], b"").status, 204);
    assert_eq!(stage.get(&path).status, 404);
    assert_eq!(stage.call("DELETE", &path, &[], b"").status, 404);
    assert!(stage.process.script().saved.is_empty());
}

#[test]
fn every_change_is_told_of_in_the_audit_log_and_in_events() {
    let stage = Stage::new();
    let path = api::target_path("app", "unix:/run/new one.sock");
    assert_eq!(stage.json("POST", TARGETS, r#"{"address": "unix:/run/new one.sock"}"#).status, 201);
    assert_eq!(stage.json("PATCH", &path, r#"{"weight": 2}"#).status, 200);
    assert_eq!(stage.json("POST", &format!("{path}/drain"), "{}").status, 200);
    assert_eq!(stage.call("DELETE", &path, &[], b"").status, 204);
    assert_eq!(stage.call("DELETE", &path, &[], b"").status, 404);
    let told: Vec<_> = stage
        .audited()
        .iter()
        .map(|line| {
            assert!(line["who"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
            assert_eq!(line["subject"], "app unix:/run/new one.sock");
            format!("{} {}", line["what"].as_str().unwrap(), line["outcome"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "add-target done",
        "edit-target done",
        "drain-target done",
        "remove-target done",
        "remove-target not-found",
    ];
    assert_eq!(told, expected);
    let events: Vec<api::Event> = stage.read("/api/v1/events?follow=0");
    let seen: Vec<_> = events.iter().map(|event| (event.from, event.to, event.reason.as_str())).collect();
    let (up, draining) = (Some(TargetState::Up), Some(TargetState::Draining));
    assert_eq!(seen, [(None, up, "added"), (up, draining, "drained"), (draining, None, "removed")]);
    assert!(events.iter().all(|event| event.target.as_deref() == Some("unix:/run/new one.sock")));
}

#[test]
fn a_change_is_saved_when_that_is_asked_for() {
    let stage = Stage::new();
    let path = api::target_path("app", "10.0.0.3:80");
    assert_eq!(stage.json("POST", TARGETS, r#"{"address": "10.0.0.3:80", "save": true}"#).status, 201);
    let edit = r#"{"weight": 0, "max_connections": null, "save": true}"#;
    assert_eq!(stage.json("PATCH", &path, edit).status, 200);
    assert_eq!(stage.call("DELETE", &format!("{path}?save=1"), &[], b"").status, 204);
    let saved = std::mem::take(&mut stage.process.script().saved);
    assert!(matches!(&saved[0], SavedEdit::Add { pool, target }
        if pool.as_str() == "app" && target.address.to_string() == "10.0.0.3:80"));
    assert!(matches!(
        &saved[1],
        SavedEdit::Set { weight: Some(Weight::ZERO), priority: None, max_connections: Some(None), .. }
    ));
    assert!(matches!(&saved[2], SavedEdit::Remove { address, .. } if address.to_string() == "10.0.0.3:80"));
    assert_eq!(saved.len(), 3);
}

#[test]
fn a_change_that_cannot_be_saved_is_live_and_said_to_be() {
    let stage = Stage::new();
    stage.process.script().save_fails = true;
    let refused = stage.json("POST", TARGETS, r#"{"address": "10.0.0.3:80", "save": true}"#);
    let detail = refused.refusal();
    assert_eq!((refused.status, detail.reason.as_str()), (500, "save-failed"));
    assert_eq!(detail.message, "the change is live, but could not be saved: the disk is full");
    assert_eq!(stage.get(&api::target_path("app", "10.0.0.3:80")).status, 200);
    assert_eq!(stage.audited()[0]["outcome"], "save-failed");
}

#[test]
fn without_a_file_nothing_is_done_that_asks_to_be_saved() {
    let stage = Stage::new();
    stage.process.script().config_file = None;
    let before = generation(&stage);
    let path = api::target_path("app", "10.0.0.1:80");
    for refused in [
        stage.json("POST", TARGETS, r#"{"address": "10.0.0.3:80", "save": true}"#),
        stage.json("PATCH", &path, r#"{"weight": 2, "save": true}"#),
        stage.call("DELETE", &format!("{path}?save=true"), &[], b""),
    ] {
        assert_eq!((refused.status, refused.refusal().at.as_deref()), (400, Some("save")));
    }
    assert_eq!(generation(&stage), before);
}

#[test]
fn the_emergency_target_is_no_member() {
    let stage = Stage::new();
    let refused = stage.json("POST", TARGETS, r#"{"address": "10.0.0.9:80"}"#);
    assert_eq!((refused.status, refused.refusal().at.as_deref()), (409, Some("address")));
    let path = api::target_path("app", "10.0.0.9:80");
    assert_eq!(stage.get(&path).status, 200);
    assert_eq!(stage.call("DELETE", &path, &[], b"").status, 404);
}

//! The configuration as a whole.

use evenkeel_api::Plan;

use super::play::{CONFIG, Response, Stage};

fn put(stage: &Stage, path: &str, headers: &[(&str, &str)], text: &[u8]) -> Response {
    let mut all = vec![("content-type", "application/toml")];
    all.extend_from_slice(headers);
    stage.call("PUT", path, &all, text)
}

fn heavier() -> String {
    CONFIG.replace("weight = 3", "weight = 4")
}

#[test]
fn it_is_shown_with_its_etag_and_replaced_in_one_step() {
    let stage = Stage::new();
    let shown = stage.get("/api/v1/config");
    assert_eq!(shown.header("content-type"), Some("application/toml"));
    let etag = shown.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert!(shown.body.contains("[pool.app]"), "{}", shown.body);

    let planned = put(&stage, "/api/v1/config?dry_run=1", &[("if-match", &etag)], heavier().as_bytes());
    assert_eq!(planned.status, 200, "{}", planned.body);
    let plan: Plan = planned.json();
    assert_eq!(plan.changes, ["pool app: target 10.0.0.2:80 weight 3 → 4"]);
    assert!(!plan.needs_restart);
    assert_eq!(planned.header("etag"), Some(etag.as_str()));
    assert!(stage.audited().is_empty(), "a plan is no change");

    let done =
        put(&stage, "/api/v1/config", &[("if-match", &format!("\"other\", {etag}"))], heavier().as_bytes());
    assert_eq!((done.status, done.json::<Plan>()), (200, plan));
    assert_ne!(done.header("etag"), Some(etag.as_str()));
    assert!(stage.get("/api/v1/config").body.contains("weight = 4"));
    let told = stage.audited();
    assert_eq!(
        (told[0]["what"].as_str(), told[0]["outcome"].as_str()),
        (Some("replace-config"), Some("done"))
    );
    assert_eq!(told[0]["changes"][0], "pool app: target 10.0.0.2:80 weight 3 → 4");

    let late = put(&stage, "/api/v1/config", &[("if-match", &etag)], CONFIG.as_bytes());
    assert_eq!((late.status, late.refusal().reason.as_str()), (412, "conflict"));
    for any in ["*", " * "] {
        assert_eq!(put(&stage, "/api/v1/config", &[("if-match", any)], heavier().as_bytes()).status, 200);
    }
    assert_eq!(put(&stage, "/api/v1/config", &[], heavier().as_bytes()).status, 200);
}

#[test]
fn preconditions_that_do_not_hold_or_make_no_sense() {
    let stage = Stage::new();
    let before = stage.registry.snapshot().generation;
    let current = stage.get("/api/v1/config").header("etag").unwrap().to_owned();
    for (if_match, status) in [
        ("\"x\"", 412),
        ("\"x\", \"y\"", 412),
        ("W/\"x\"", 412),
        (&format!("W/{current}"), 412),
        ("\"\"", 412),
        ("x", 400),
        ("", 400),
        ("\"", 400),
        ("\"x\", y", 400),
    ] {
        let refused = put(&stage, "/api/v1/config", &[("if-match", if_match)], heavier().as_bytes());
        assert_eq!(refused.status, status, "{if_match}: {}", refused.body);
        refused.refusal();
    }
    assert_eq!(stage.registry.snapshot().generation, before);
}

#[test]
fn every_problem_is_told_with_its_place_and_nothing_changes() {
    let stage = Stage::new();
    let before = stage.registry.snapshot().generation;
    let text = heavier().replace("weight = 4", "weight = -1").replace("algorithm", "algorythm");
    for path in ["/api/v1/config", "/api/v1/config?dry_run=true"] {
        let refused = put(&stage, path, &[], text.as_bytes());
        let detail = refused.refusal();
        assert_eq!((refused.status, detail.reason.as_str()), (422, "bad-config"));
        assert_eq!(detail.problems.len(), 2, "{}", refused.body);
        assert!(detail.problems[0].starts_with("config:14:1: "), "{}", refused.body);
        assert_eq!(detail.at.as_deref(), Some("14:1"));
    }
    assert_eq!(put(&stage, "/api/v1/config", &[], b"").status, 422);
    let broken = put(&stage, "/api/v1/config", &[], b"a = 1\nb = \"\xff\"");
    assert_eq!((broken.status, broken.refusal().at.as_deref()), (400, Some("2:6")));
    assert_eq!(stage.registry.snapshot().generation, before);
    let told: Vec<_> = stage.audited().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(told, ["bad-config", "bad-config"]);
}

#[test]
fn a_body_of_16_mib_is_read_and_a_longer_one_is_not() {
    let stage = Stage::new();
    let longest = format!("{}#{}", heavier(), "x".repeat((16 << 20) - heavier().len() - 1));
    assert_eq!(longest.len(), 16 << 20);
    let done = put(&stage, "/api/v1/config?dry_run=1", &[], longest.as_bytes());
    assert_eq!(done.status, 200, "{}", done.body);
    let refused = put(&stage, "/api/v1/config?dry_run=1", &[], format!("{longest}x").as_bytes());
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (413, "body-too-large"));
}

#[test]
fn the_file_is_read_again() {
    let stage = Stage::new();
    stage.process.script().file_text = heavier();
    let done = stage.call("POST", "/api/v1/reload", &[], b"");
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.json::<Plan>().changes.len(), 1);
    assert!(stage.json("POST", "/api/v1/reload", "{}").json::<Plan>().changes.is_empty());
    stage.process.script().file_text = "nonsense".into();
    let refused = stage.call("POST", "/api/v1/reload", &[], b"");
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (422, "bad-config"));
    let told: Vec<_> = stage.audited().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(told, ["done", "done", "bad-config"]);
}

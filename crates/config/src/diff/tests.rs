use super::*;
use crate::{NoSource, load};

const BASE: &str = r#"
grace = "30s"

[listener.web]
bind = [":80", ":81"]
protocol = "http"
pool = "app"

[[listener.web.route]]
when = { path = "/a" }
pool = "app"

[[listener.web.route]]
when = { path = "/b" }
pool = "app"

[pool.app]
targets = ["10.0.0.1:80", "10.0.0.2:80"]

[pool.old]
targets = []
"#;

fn config(text: &str) -> Config {
    load(text, "x.toml", &NoSource).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn changes(edits: &[(&str, &str)], expected: &[&str]) {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let (old, new) = (config(BASE), config(&text));
    let lines = |changes: Vec<Change>| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(lines(diff(&old, &new)), expected);
    assert_eq!(diff(&new, &old).is_empty(), expected.is_empty());
    assert!(diff(&new, &new).is_empty());
}

#[test]
fn what_means_the_same_is_no_change() {
    changes(&[("grace = \"30s\"", "grace = \"30000ms\"")], &[]);
    changes(&[("[pool.old]\ntargets = []", "[pool.old]\ntargets = []\nmax_idle = 1024")], &[]);
    changes(&[("\n[pool.app]", "\n[admin]\n[workers]\ncount = \"auto\"\n[pool.app]")], &[]);
}

#[test]
fn targets_are_told_one_by_one() {
    changes(
        &[("\"10.0.0.2:80\"", "\"10.0.0.2:80\", \"10.0.0.3:80\"")],
        &["pool app: target 10.0.0.3:80 added"],
    );
    changes(&[("\"10.0.0.1:80\", ", "")], &["pool app: target 10.0.0.1:80 removed"]);
    changes(
        &[(
            "\"10.0.0.2:80\"",
            "{ address = \"10.0.0.2:80\", weight = 3, priority = 1, max_connections = 9 }",
        )],
        &[
            "pool app: target 10.0.0.2:80 weight 1 → 3",
            "pool app: target 10.0.0.2:80 priority 0 → 1",
            "pool app: target 10.0.0.2:80 max_connections unlimited → 9",
        ],
    );
    changes(
        &[("\"10.0.0.1:80\", \"10.0.0.2:80\"", "\"10.0.0.2:80\", \"10.0.0.1:80\"")],
        &["pool app: targets reordered"],
    );
}

#[test]
fn pools_and_listeners_come_go_and_change() {
    changes(&[("[pool.old]\ntargets = []", "")], &["pool old: removed"]);
    changes(
        &[("[pool.old]", "[pool.new]\ntargets = [\"a:1\"]\n[pool.old]")],
        &["pool new: added with 1 target"],
    );
    changes(
        &[("[pool.old]", "[listener.db]\nbind = \":5432\"\nprotocol = \"tcp\"\npool = \"old\"\n[pool.old]")],
        &["listener db: added: tcp on :5432 → pool old"],
    );
    changes(
        &[
            (
                "[pool.app]\n",
                "[pool.app]\nalgorithm = \"maglev\"\nemergency = \"b:1\"\n[pool.app.health]\n[pool.app.limits]\npending = 5\n[pool.old.x]\n",
            ),
            ("[pool.old.x]\n", ""),
            (
                "[pool.app.limits]\npending = 5\ntargets = [\"10.0.0.1:80\", \"10.0.0.2:80\"]",
                "[pool.app.limits]\npending = 5",
            ),
            ("emergency = \"b:1\"", "emergency = \"b:1\"\ntargets = [\"10.0.0.1:80\", \"10.0.0.2:80\"]"),
        ],
        &[
            "pool app: algorithm round-robin → maglev",
            "pool app: emergency none → b:1",
            "pool app: health added",
            "pool app: limits.pending 1000 → 5",
        ],
    );
    changes(&[("[pool.app]\n", "[pool.app]\npassive = false\n")], &["pool app: passive removed"]);
    changes(
        &[
            ("[\":80\", \":81\"]", "[\":80\", \":82\"]"),
            ("protocol = \"http\"", "protocol = \"http\"\nallow = []\ndeny = \"10.0.0.0/8\""),
        ],
        &[
            "listener web: bind :82 added",
            "listener web: bind :81 removed",
            "listener web: allow none → []",
            "listener web: deny 10.0.0.0/8 added",
        ],
    );
}

#[test]
fn routes_are_told_by_their_conditions() {
    changes(
        &[(
            "when = { path = \"/b\" }\npool = \"app\"",
            "when = { path = \"/b\" }\nrespond = { status = 403 }",
        )],
        &["listener web: route { path = \"/b\" }: pool app → respond 403"],
    );
    changes(
        &[("when = { path = \"/b\" }", "when = { path = \"/c\" }")],
        &[
            "listener web: route { path = \"/c\" } → pool app added",
            "listener web: route { path = \"/b\" } removed",
        ],
    );
    changes(
        &[("\"/a\"", "\"/x\""), ("\"/b\"", "\"/a\""), ("\"/x\"", "\"/b\"")],
        &["listener web: routes reordered"],
    );
}

#[test]
fn only_the_number_of_workers_needs_a_restart() {
    let text = format!("{}\n[workers]\ncount = 4\n", BASE.replace("\"30s\"", "\"1m\""));
    let changes = diff(&config(BASE), &config(&text));
    let told: Vec<_> = changes.iter().map(|change| (change.to_string(), change.needs_restart())).collect();
    assert_eq!(
        told,
        [("grace 30s → 1m".to_owned(), false), ("workers.count auto → 4 (needs a restart)".to_owned(), true),]
    );
}

#[test]
fn a_new_secret_is_told_without_telling_it() {
    let with = |value: &str| {
        let mut config = config(BASE);
        let admin = config.admin.as_mut().unwrap();
        admin.token = Some(crate::Secret(value.into()));
        admin.token_from = Some(crate::SecretFrom::Env("X".into()));
        config
    };
    let lines: Vec<_> = diff(&with("one"), &with("two")).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["admin.token changed"]);
}

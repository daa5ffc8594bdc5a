//! Rule `floor` and rule `external`: who may depend on whom.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::Violation;
use super::source::Tree;
use crate::shell::{self, Outcome};

/// What a floor is, or that a crate stands outside the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floor {
    /// May use what lies lower.
    Number(u8),
    /// `xtask`: used by nobody.
    Outside,
    /// `testkit`: used by tests alone.
    Tests,
}

/// The outer crates that one crate may use.
#[derive(Debug, Clone, Copy)]
enum External {
    Only(&'static [&'static str]),
    /// Whatever the workspace's table of dependencies lists.
    Any,
}

use External::{Any, Only};
use Floor::{Number, Outside, Tests};

/// Brains compute; beyond tokenising HTTP and a hash that must agree across nodes they need nobody.
const PURE: External = Only(&["httparse", "xxhash-rust"]);
const MEANING: External =
    Only(&["annotate-snippets", "ipnet", "schemars", "serde", "serde_json", "toml", "toml_edit", "utoipa"]);

/// Every crate by its folder (package names carry `evenkeel-` before it). A crate that is not here yet when
/// it appears is a violation: its floor is a decision, not an accident.
const HOUSE: &[(&str, Floor, External)] = &[
    ("base", Number(0), PURE),
    ("balance", Number(1), PURE),
    ("health", Number(1), PURE),
    ("route", Number(1), PURE),
    ("flow", Number(1), PURE),
    ("limit", Number(1), PURE),
    ("wire", Number(1), PURE),
    ("config", Number(2), MEANING),
    ("api", Number(2), MEANING),
    ("state", Number(3), Only(&["arc-swap", "tokio", "crossbeam-utils"])),
    (
        "net",
        Number(3),
        Only(&["libc", "pin-project-lite", "rustix", "rustls", "socket2", "tokio", "tokio-rustls"]),
    ),
    ("tcp", Number(4), Only(&[])),
    ("udp", Number(4), Only(&[])),
    ("http", Number(4), Only(&["h2", "h3"])),
    ("dsr", Number(4), Only(&["aya"])),
    ("dns", Number(4), Only(&["hickory-proto", "hickory-server"])),
    ("probe", Number(4), Only(&["http-body-util", "hyper", "hyper-util", "tokio"])),
    ("discover", Number(4), Only(&["hickory-resolver", "tokio"])),
    ("tunnel", Number(4), Only(&["jsonwebtoken", "tokio", "tokio-tungstenite", "yamux"])),
    ("cluster", Number(4), Only(&["chitchat", "tokio"])),
    ("vrrp", Number(4), Only(&["rtnetlink", "tokio"])),
    (
        "admin",
        Number(4),
        Only(&[
            "axum",
            "http-body-util",
            "hyper",
            "hyper-util",
            "prometheus-client",
            "rust-embed",
            "serde",
            "serde_json",
            "tokio",
            "tower",
            "tower-service",
            "utoipa",
        ]),
    ),
    ("evenkeel", Number(5), Any),
    ("testkit", Tests, Any),
    ("benches", Tests, Any),
    ("xtask", Outside, Only(&["serde_json"])),
];

/// A package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    name: String,
    /// Needed by tests, examples and benches alone.
    for_tests: bool,
    /// Lies in this workspace.
    ours: bool,
}

/// The packages as cargo sees them; nothing is fetched.
///
/// # Errors
/// When `cargo metadata` fails, as it does on a broken manifest.
pub(super) fn packages(root: &Path) -> Outcome<Vec<Package>> {
    let mut cargo = shell::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root);
    let done = cargo.output().map_err(|e| format!("cannot start cargo: {e}"))?;
    if !done.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    parse(&done.stdout)
}

fn parse(metadata: &[u8]) -> Outcome<Vec<Package>> {
    let metadata: Value = serde_json::from_slice(metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let dependency = |value: &Value| Dependency {
        name: name(value),
        for_tests: value["kind"] == "dev",
        ours: value["path"].is_string(),
    };
    let package = |value: &Value| Package {
        name: name(value),
        dependencies: list(value, "dependencies").iter().map(dependency).collect(),
    };
    Ok(list(&metadata, "packages").iter().map(package).collect())
}

/// The names listed in the root manifest's `[workspace.dependencies]`.
pub(super) fn workspace_dependencies(tree: &Tree) -> BTreeSet<String> {
    let manifest = tree.files.iter().find(|f| f.path == "Cargo.toml").map_or("", |f| &f.text);
    let table = manifest.split_once("[workspace.dependencies]").map_or("", |(_, rest)| rest);
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}

pub(super) fn check(packages: &[Package], table: &BTreeSet<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let Some((floor, external)) = place(&package.name) else {
            let message = "has no floor: give it one in xtask/src/tidy/floors.rs and ARCHITECTURE.md";
            found.push(Violation::new("floor", &*package.name, message));
            continue;
        };
        for dependency in &package.dependencies {
            let message = if dependency.ours {
                inner(floor, dependency).map(|message| ("floor", message))
            } else {
                outer(external, dependency, table).map(|message| ("external", message))
            };
            if let Some((rule, message)) = message {
                found.push(Violation::new(rule, &*package.name, message));
            }
        }
    }
    found
}

fn place(package: &str) -> Option<(Floor, External)> {
    let folder = package.strip_prefix("evenkeel-").unwrap_or(package);
    HOUSE.iter().find(|(name, ..)| *name == folder).map(|&(_, floor, external)| (floor, external))
}

fn inner(floor: Floor, dependency: &Dependency) -> Option<String> {
    let name = &dependency.name;
    let theirs = place(name).map(|(floor, _)| floor);
    match (floor, theirs) {
        (_, Some(Outside)) => Some(format!("depends on {name}, which nobody uses")),
        _ if dependency.for_tests => None,
        (Tests, Some(_)) => None,
        (_, Some(Tests)) => Some(format!("depends on {name}, which is for [dev-dependencies] alone")),
        (Number(mine), Some(Number(theirs))) if theirs >= mine => Some(format!(
            "stands on floor {mine} and depends on {name} of floor {theirs}: only lower floors may be used"
        )),
        (Outside, Some(_)) => Some(format!("depends on {name}: chores read the product, and never link it")),
        // A dependency without a floor is reported at its own package.
        (Number(_), Some(Number(_))) | (_, None) => None,
    }
}

fn outer(external: External, dependency: &Dependency, table: &BTreeSet<String>) -> Option<String> {
    let name = dependency.name.as_str();
    let allowed = match external {
        Only(names) => names.contains(&name),
        Any => table.contains(name),
    };
    if allowed || dependency.for_tests {
        return None;
    }
    Some(match external {
        Only([]) => format!("depends on {name}, and may use no outer crate"),
        Only(names) => format!("depends on {name}, and may use only {}", names.join(", ")),
        Any => format!("depends on {name}, which is not in [workspace.dependencies]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME → OURS… | OUTER… | DEV…`
    fn package(name: &str, ours: &[&str], outer: &[&str], dev: &[&str]) -> Package {
        let of = |names: &[&str], ours: bool, for_tests: bool| -> Vec<Dependency> {
            names.iter().map(|name| Dependency { name: (*name).to_owned(), for_tests, ours }).collect()
        };
        let all = [of(ours, true, false), of(outer, false, false), of(dev, true, true)].concat();
        Package { name: name.to_owned(), dependencies: all }
    }

    fn messages(packages: &[Package]) -> Vec<String> {
        let table = ["clap", "tokio"].map(str::to_owned).into();
        check(packages, &table).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_lower_floors() {
        let fine = [
            package("evenkeel-base", &[], &["xxhash-rust"], &["evenkeel-testkit"]),
            package("evenkeel-state", &["evenkeel-config", "evenkeel-base"], &["tokio"], &[]),
            package("evenkeel", &["evenkeel-http", "evenkeel-base"], &["clap"], &["evenkeel-testkit"]),
            package("evenkeel-testkit", &["evenkeel-base"], &["tokio"], &[]),
        ];
        assert_eq!(messages(&fine), Vec::<String>::new());
        let bad = [
            package("evenkeel-balance", &["evenkeel-health"], &[], &[]),
            package("evenkeel-config", &["evenkeel-state"], &[], &[]),
            package("evenkeel-tcp", &["evenkeel-testkit"], &[], &["xtask"]),
            package("evenkeel-magic", &[], &[], &[]),
            package("xtask", &["evenkeel-base"], &[], &[]),
        ];
        assert_eq!(
            messages(&bad),
            [
                "evenkeel-balance: stands on floor 1 and depends on evenkeel-health of floor 1: only lower floors may be used [floor]",
                "evenkeel-config: stands on floor 2 and depends on evenkeel-state of floor 3: only lower floors may be used [floor]",
                "evenkeel-tcp: depends on evenkeel-testkit, which is for [dev-dependencies] alone [floor]",
                "evenkeel-tcp: depends on xtask, which nobody uses [floor]",
                "evenkeel-magic: has no floor: give it one in xtask/src/tidy/floors.rs and ARCHITECTURE.md [floor]",
                "xtask: depends on evenkeel-base: chores read the product, and never link it [floor]",
            ]
        );
    }

    #[test]
    fn outer_crates_are_named_one_by_one() {
        let bad = [
            package("evenkeel-health", &[], &["rand"], &[]),
            package("evenkeel-http", &[], &["tokio"], &[]),
            package("evenkeel-tcp", &[], &["tokio"], &[]),
            package("evenkeel", &[], &["openssl"], &[]),
        ];
        assert_eq!(
            messages(&bad),
            [
                "evenkeel-health: depends on rand, and may use only httparse, xxhash-rust [external]",
                "evenkeel-http: depends on tokio, and may use only h2, h3 [external]",
                "evenkeel-tcp: depends on tokio, and may use no outer crate [external]",
                "evenkeel: depends on openssl, which is not in [workspace.dependencies] [external]",
            ]
        );
    }

    #[test]
    fn cargo_metadata_is_understood() {
        let text = br#"{"packages":[{"name":"evenkeel-net","dependencies":[
            {"name":"evenkeel-base","source":null,"kind":null,"path":"x"},
            {"name":"proptest","source":"registry+x","kind":"dev"},
            {"name":"cc","source":"registry+x","kind":"build"}]}]}"#;
        let expected = |name: &str, for_tests, ours| Dependency { name: name.to_owned(), for_tests, ours };
        assert_eq!(
            parse(text).unwrap()[0].dependencies,
            [
                expected("evenkeel-base", false, true),
                expected("proptest", true, false),
                expected("cc", false, false),
            ]
        );
        assert!(parse(b"{").is_err());
    }

    #[test]
    fn the_dependency_table_ends_at_the_next_table() {
        let manifest = "[workspace]\n[workspace.dependencies]\na = \"1\"\nb = { version = \"2\" }\n\n[profile.dev]\nc = 1\n";
        let names = workspace_dependencies(&Tree::of(&[("Cargo.toml", manifest)]));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}

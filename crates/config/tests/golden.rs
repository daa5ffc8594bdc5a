//! Every feature has a file that loads, every mistake a file with the problems it gives.
//!
//! `tests/golden/NAME.toml` is loaded and what comes of it compared with `NAME.txt`: the problems as a user sees
//! them, or the configuration printed again. `UPDATE_GOLDEN=1` rewrites the expectations.

#![allow(clippy::unwrap_used)] // helpers of tests are outside #[test] functions

use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_config::{Source, load, reference_markdown, to_toml};

/// The files, environment and secrets that golden configurations refer to.
struct Golden;

impl Source for Golden {
    fn include(&self, pattern: &str) -> Result<Vec<(String, String)>, String> {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        match pattern {
            "conf.d/*.toml" => Ok(vec![
                file("conf.d/api.toml", "[pool.api]\ntargets = [\"10.0.1.1:80\"]\n"),
                file("conf.d/web.toml", "[pool.web]\ntargets = [\"10.0.1.2:80\"]\n"),
            ]),
            "empty.toml" => Ok(vec![file("empty.toml", " \n")]),
            "broken.toml" => Ok(vec![file("broken.toml", "[pool.api\n")]),
            "twice.toml" => Ok(vec![file(
                "twice.toml",
                "grace = \"1s\"\ninclude = \"more.toml\"\n[pool.app]\ntargets = []\n",
            )]),
            "locked.toml" => Err("permission denied".into()),
            _ => Ok(Vec::new()),
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        match name {
            "ADMIN_TOKEN" => Some("correct-horse".into()),
            "EMPTY_TOKEN" => Some("  ".into()),
            _ => None,
        }
    }

    fn secret_file(&self, path: &str) -> Result<String, String> {
        if path == "/run/secrets/token" { Ok("battery-staple\n".into()) } else { Err("no such file".into()) }
    }
}

fn compare(path: &Path, actual: &str, failures: &mut Vec<String>) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, actual).unwrap();
    } else if fs::read_to_string(path).unwrap_or_default() != actual {
        failures.push(format!("{} should be:\n{actual}", path.display()));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    files.sort();
    files
}

#[test]
fn golden_files() {
    let files = toml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    assert!(files.len() >= 30);
    let mut failures = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let actual = match load(&text, &name, &Golden) {
            Ok(config) => {
                let printed = to_toml(&config);
                assert_eq!(
                    load(&printed, "printed.toml", &Golden).as_ref(),
                    Ok(&config),
                    "{name}\n{printed}"
                );
                printed
            }
            Err(problems) => problems.render(false),
        };
        compare(&file.with_extension("txt"), &actual, &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_example_loads() {
    let files = toml_files(&root().join("examples"));
    assert!(files.len() >= 14);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let config =
            load(&text, &file.display().to_string(), &Golden).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(load(&to_toml(&config), "printed.toml", &Golden), Ok(config), "{}", file.display());
    }
}

#[test]
fn the_manual_tells_every_key() {
    let mut failures = Vec::new();
    compare(&root().join("docs/configuration.md"), &reference_markdown(), &mut failures);
    assert!(failures.is_empty(), "docs/configuration.md is not what the keys say; run with UPDATE_GOLDEN=1");
}

#[test]
fn every_default_has_its_reason() {
    let reasons = fs::read_to_string(root().join("docs/defaults.md")).unwrap();
    // Rows of the manual: | `key` | value | default | meaning |
    for row in reference_markdown().lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let (key, default) = (cells[0].trim_start_matches("| ").trim_matches('`'), cells[2]);
        let is_told = reasons.lines().any(|line| {
            let first = line.split(" | ").next().unwrap_or_default();
            first == format!("| `{key}`") || first.starts_with("| `") && first.ends_with(&format!(".{key}`"))
        });
        assert!(
            is_told || default == "–" || default == "required",
            "docs/defaults.md says nothing of `{key}`"
        );
    }
}

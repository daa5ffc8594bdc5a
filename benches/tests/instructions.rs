//! A hot function takes the instructions that it took: the guard against a loss of speed that a clock on a busy
//! machine cannot see.
//!
//! `src/bin/guard.rs` runs under valgrind's callgrind, which counts what each function of it executes, and the
//! averages are compared with `instructions.toml`. `UPDATE_GOLDEN=1` rewrites that file: a change of more than the
//! tolerance, up or down, is seen and decided on, and travels with the commit that made it.
//!
//! * The counts are those of the build that `cargo test` makes (the dev profile: opt-level 1, incremental, with
//!   overflow checks and debug assertions), since that is the one CI has. They tell of what is done per call; what
//!   a release build makes of it, tell the bench and `cargo bench`.
//! * Nothing counted depends on time, addresses or the seed of a hash, but for what `slack_percent` names.
//! * They are of the toolchain in `rust-toolchain.toml`: who raises it, writes them anew.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml_edit::{DocumentMut, Item, Table, value};

const GUARD: &str = env!("CARGO_BIN_EXE_guard");
/// The function of the guard that is counted, with all it calls.
const COUNTED: &str = "guard::counted";
/// The baselines of this build.
const PROFILE: &str = if cfg!(debug_assertions) { "dev" } else { "release" };
/// Whatever processor this is, glibc is to choose the same `memcpy`: the one that each of them has.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512VL,-AVX512BW,-BMI2,\
    -SSE4_2,-SSE4_1,-SSSE3,-ERMS,-FSRM";
/// Each makes another build than the one whose counts are written down.
const OTHER_BUILD: &[&str] = &["CARGO_INCREMENTAL", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"];

/// By name, instructions per call.
type Counts = BTreeMap<String, f64>;

#[test]
fn hot_functions_take_the_instructions_they_took() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
    let mut baselines: DocumentMut = fs::read_to_string(&path).unwrap().parse().unwrap();
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    if let Some(reason) = reason_to_skip(&baselines, is_update) {
        println!("skipped: {reason}");
        return;
    }
    let counts = count();
    if is_update {
        rewrite(&mut baselines, &counts);
        fs::write(&path, baselines.to_string()).unwrap();
        return;
    }
    let complaints = compare(&baselines, &counts);
    assert!(
        complaints.is_empty(),
        "instructions per call, {PROFILE} profile:\n  {}\nIf that is as it should be: UPDATE_GOLDEN=1 cargo test -p \
         evenkeel-benches --test instructions",
        complaints.join("\n  ")
    );
}

fn reason_to_skip(baselines: &DocumentMut, is_update: bool) -> Option<String> {
    let is_set = |name: &&&str| std::env::var(name).is_ok_and(|text| !matches!(&*text, "" | "1"));
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        Some("the counts are those of x86_64 with Linux and glibc".to_owned())
    } else if let Some(name) = OTHER_BUILD.iter().find(is_set) {
        Some(format!("{name} makes another build than the one whose counts are known"))
    } else if !is_update && baselines.get(PROFILE).is_none() {
        Some(format!("instructions.toml has no baselines for the {PROFILE} profile"))
    } else if Command::new("valgrind").arg("--version").output().is_err() {
        Some("valgrind is not installed".to_owned())
    } else {
        None
    }
}

/// Runs the guard. Callgrind writes one profile each time that the counted function ends, in the order of the guard's
/// list, and one more at the end.
fn count() -> Counts {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let profiles = folder.join("profile");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", profiles.display()))
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(GUARD)
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let list = Command::new(GUARD).arg("--list").output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    let profile = |part: usize| PathBuf::from(format!("{}.{part}", profiles.display()));
    let mut counts = Counts::new();
    for (index, line) in list.lines().enumerate() {
        let (name, times) = line.split_once(' ').unwrap();
        let average = total(&profile(index + 1)) / times.parse::<f64>().unwrap();
        counts.insert(name.to_owned(), (average * 10.0).round() / 10.0);
    }
    assert!(!profile(counts.len() + 1).exists(), "more profiles than names");
    fs::remove_dir_all(&folder).unwrap();
    counts
}

/// The instructions of one profile.
fn total(profile: &Path) -> f64 {
    let text = fs::read_to_string(profile).unwrap_or_else(|error| {
        panic!("{}: {error}; does the guard still have a function {COUNTED}?", profile.display())
    });
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    total.trim().parse().unwrap()
}

/// What is not as it was.
fn compare(baselines: &DocumentMut, counts: &Counts) -> Vec<String> {
    let number = |item: Option<&Item>| item.and_then(|i| i.as_float().or(i.as_integer().map(|n| n as f64)));
    let of = |table: &str, name: &str| number(baselines.get(table).and_then(|table| table.get(name)));
    let tolerance = number(baselines.get("tolerance_percent")).unwrap();
    let known = baselines.get(PROFILE).and_then(Item::as_table).into_iter().flat_map(Table::iter);
    let gone =
        known.filter(|(name, _)| !counts.contains_key(*name)).map(|(name, _)| format!("{name} is gone"));
    let moved = counts.iter().filter_map(|(name, now)| {
        let Some(before) = of(PROFILE, name) else { return Some(format!("{name} has no baseline: {now}")) };
        let percent = (now / before - 1.0) * 100.0;
        let word = if percent > 0.0 { "more: find out why" } else { "less: take the gain down" };
        let is_moved = percent.abs() > tolerance + of("slack_percent", name).unwrap_or_default();
        is_moved.then(|| format!("{name}: {before} → {now}, {:.1} % {word}", percent.abs()))
    });
    gone.chain(moved).collect()
}

/// Takes the counts for the new baselines; comments and slack stay.
fn rewrite(baselines: &mut DocumentMut, counts: &Counts) {
    let table = baselines.entry(PROFILE).or_insert_with(toml_edit::table).as_table_mut().unwrap();
    table.retain(|name, _| counts.contains_key(name));
    for (name, count) in counts {
        table.insert(name, value(*count));
    }
    table.sort_values();
}

fn counts(of: &[(&str, f64)]) -> Counts {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn written(text: &str) -> DocumentMut {
    format!("tolerance_percent = 3\n{text}\n[{PROFILE}]\na = 100.0\nb = 1000\n").parse().unwrap()
}

#[test]
fn both_ways_beyond_the_tolerance_are_told() {
    let baselines = written("");
    assert!(compare(&baselines, &counts(&[("a", 102.9), ("b", 970.5)])).is_empty());
    let told = compare(&baselines, &counts(&[("a", 103.1), ("b", 960.0)]));
    assert_eq!(
        told,
        ["a: 100 → 103.1, 3.1 % more: find out why", "b: 1000 → 960, 4.0 % less: take the gain down"]
    );
}

#[test]
fn slack_is_added_for_the_one_that_is_named() {
    let baselines = written("[slack_percent]\na = 2");
    let told = compare(&baselines, &counts(&[("a", 104.9), ("b", 1049.0)]));
    assert_eq!(told, ["b: 1000 → 1049, 4.9 % more: find out why"]);
}

#[test]
fn functions_come_and_go_with_their_baselines() {
    let mut baselines = written("# why\n[slack_percent]\na = 2");
    let now = counts(&[("a", 100.0), ("c", 7.5)]);
    assert_eq!(compare(&baselines, &now), ["b is gone", "c has no baseline: 7.5"]);
    rewrite(&mut baselines, &now);
    assert!(compare(&baselines, &now).is_empty());
    assert!(baselines.to_string().contains("# why\n[slack_percent]\na = 2\n"), "{baselines}");
}

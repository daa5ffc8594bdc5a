//! Files that no operator means: seeded mutations of real ones, and the largest and deepest there are.
#![allow(clippy::unwrap_used)] // helpers of tests are outside #[test] functions

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_base::SplitMix64;
use evenkeel_config::{NoSource, fuzzing, limits, load};

fn samples() -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("../../examples"), here.join("tests/golden")];
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One small change: a byte, a line taken out or doubled, a value of another kind.
fn mutate(text: &mut Vec<u8>, random: &mut SplitMix64, words: &[&[u8]]) {
    let mut below = |bound: usize| random.below(bound.max(1) as u64) as usize;
    let at = below(text.len());
    let line = |text: &[u8], at: usize| {
        let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
        let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |p| at + p + 1);
        start..end
    };
    match below(6) {
        0 if at < text.len() => {
            text[at] = [b'"', b'[', b']', b'=', b'{', b'0', 0, 0xff, b'.', b'\n'][below(10)];
        }
        1 => drop(text.drain(line(text, at))),
        2 => {
            let range = line(text, at);
            let copy = text[range.clone()].to_vec();
            drop(text.splice(range.start..range.start, copy));
        }
        3 => {
            let word = words[below(words.len())];
            let range = line(text, at);
            let value =
                text[range.clone()].iter().position(|b| *b == b'=').map_or(at, |p| range.start + p + 1);
            let end = range.end.max(value);
            drop(text.splice(value..end, [word, b"\n"].concat()));
        }
        4 => text.truncate(at),
        _ => drop(text.splice(at..at, words[below(words.len())].iter().copied())),
    }
}

#[test]
fn seeded_mutations_are_problems_or_configurations() {
    let words: [&[u8]; 14] = [
        b"-1",
        b"1e999999999",
        b"\"\"",
        b"[]",
        b"{}",
        b"true",
        b"0x7fffffffffffffffffff",
        b"\"99999999999999999999d\"",
        b"[[[[[[[[[[]]]]]]]]]]",
        b"1979-05-27",
        b"'''",
        b"nan",
        b"\"\\u0000\"",
        b"\"unix:/\"",
    ];
    let samples = samples();
    let (mut random, started) = (SplitMix64::new(0x00e7_e9ee), Instant::now());
    let mut runs = 0;
    // Bounded in time, for a busy machine; the seed makes the first ones the same everywhere.
    while runs < 20_000 && started.elapsed() < Duration::from_secs(2) {
        let mut text = samples[random.below(samples.len() as u64) as usize].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut text, &mut random, &words);
        }
        fuzzing::config(&text);
        runs += 1;
    }
    assert!(runs > 0);
}

/// Far above what a release build needs on an idle machine, far below what anything quadratic would take.
const BOUND: Duration = Duration::from_secs(20);

#[track_caller]
fn refused_in_time(text: &str, expected: &str) {
    let started = Instant::now();
    let problems = load(text, "x.toml", &NoSource).unwrap_err();
    let rendered = problems.render(false);
    assert!(rendered.contains(expected), "{}", &rendered[..rendered.len().min(2_000)]);
    assert!(rendered.len() < 200_000);
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
}

#[test]
fn garbage_is_refused_in_bounded_time() {
    refused_in_time(&"x".repeat(limits::MAX_FILE_BYTES + 1), "the file is too large");
    refused_in_time(&"[".repeat(200_000), "this is not TOML");
    refused_in_time(&format!("a = {}", "[".repeat(200_000)), "this is not TOML");
    refused_in_time(&format!("a = {}", "{b=".repeat(200_000)), "this is not TOML");
    refused_in_time(&format!("{}x = 1", "a.".repeat(100_000)), "");
    refused_in_time(&"\0".repeat(500_000), "this is not TOML");
    refused_in_time(&"\"\n".repeat(200_000), "this is not TOML");
    refused_in_time(&"key = 1\n".repeat(100_000), "this key is written twice");
    refused_in_time("grace = 1e999999999", "must be a duration");
    refused_in_time(&format!("grace = \"{}\"", "x".repeat(1 << 20)), "write a number and a unit");
    refused_in_time(&format!("{} = 1", "x".repeat(1 << 20)), "unknown key");
}

#[test]
fn only_so_many_problems_are_shown_and_the_others_counted() {
    let keys: String = (0..20_000).map(|i| format!("algorithmus{i} = 1\n")).collect();
    let text = format!(
        "[listener.web]\nbind = \":80\"\nprotocol = \"tcp\"\npool = \"app\"\n[pool.app]\ntargets = []\n{keys}"
    );
    let problems = load(&text, "x.toml", &NoSource).unwrap_err();
    assert_eq!(
        (problems.list.len(), problems.omitted),
        (limits::MAX_PROBLEMS, 20_000 - limits::MAX_PROBLEMS)
    );
    assert_eq!(problems.list[0].line, 7);
    assert!(problems.render(true).ends_with("20000 problems; the first 100 are shown\n"));

    // Names that are nearly the same, so that every "did you mean" has all of them to compare.
    let pools: String = (0..5_000).map(|i| format!("[pool.application-pool-{i}]\ntargets = []\n")).collect();
    let routes: String = (0..5_000)
        .map(|i| {
            format!("[[listener.web.route]]\nwhen = {{ path = \"/{i}\" }}\npool = \"aplication-pool-{i}\"\n")
        })
        .collect();
    refused_in_time(
        &format!("[listener.web]\nbind = \":80\"\nprotocol = \"http\"\n{routes}{pools}"),
        "did you mean \"application-pool-",
    );
}

#[test]
fn the_largest_configuration_loads_in_time_and_one_more_is_refused() {
    let started = Instant::now();
    let targets = |count: usize| -> String {
        (0..count).map(|i| format!("\"10.{}.{}.{}:80\",\n", i >> 16, i >> 8 & 255, i & 255)).collect()
    };
    let file = |count| {
        let list = targets(count);
        format!(
            "[listener.web]\nbind = \":80\"\nprotocol = \"tcp\"\npool = \"app\"\n[pool.app]\ntargets = [{list}]\n"
        )
    };
    let config = load(&file(limits::MAX_TARGETS), "x.toml", &NoSource).unwrap();
    assert_eq!(config.pools[0].targets.len(), limits::MAX_TARGETS);
    refused_in_time(&file(limits::MAX_TARGETS + 1), "`targets` has 50001 entries");

    let pools =
        |count: usize| -> String { (0..count).map(|i| format!("[pool.p{i}]\ntargets = []\n")).collect() };
    let listener = "[listener.web]\nbind = \":80\"\nprotocol = \"tcp\"\npool = \"p0\"\n";
    assert!(load(&format!("{listener}{}", pools(limits::MAX_POOLS)), "x.toml", &NoSource).is_ok());
    refused_in_time(&format!("{listener}{}", pools(limits::MAX_POOLS + 1)), "there are 10001 pools");
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
}

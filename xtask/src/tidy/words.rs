//! Rules about what may be written where: `unsafe`, `engine`, `pure`, `marker`, `workplace` and `boundary`.

use super::Violation;
use super::lexer::{is_name_byte, words};
use super::source::{Source, Tree};

/// The one crate whose code may be `unsafe`.
const UNSAFE_CRATE: &str = "net";
/// Data planes name the `rt` of `net`, so the engine stays replaceable.
const PLANES: &[&str] = &["tcp", "udp", "http", "dsr", "dns"];
/// Floors 0 to 2: time, randomness and files are arguments there.
const PURE_CRATES: &[&str] =
    &["base", "balance", "health", "route", "flow", "limit", "wire", "config", "api"];
/// What would make a brain depend on the world around it.
const WORLD: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::env",
    "std::fs",
    "std::process",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "thread::spawn",
];
/// Notes to oneself, which nobody reads again. Spelled in halves, or this file would hold them.
const MARKERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Where somebody's files lie.
const WORKPLACES: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in &tree.sources {
        found.extend(unsafe_outside_net(source));
        found.extend(engine(source));
        found.extend(pure(source));
        found.extend(markers(source));
        found.extend(boundary(source));
    }
    found.extend(tree.files.iter().flat_map(|file| workplaces(&file.path, &file.text)));
    found
}

fn unsafe_outside_net(source: &Source) -> Vec<Violation> {
    if source.crate_name() == Some(UNSAFE_CRATE) {
        return Vec::new();
    }
    let message = "unsafe lives in crates/net alone";
    let at = words(&source.masked.code, "unsafe");
    at.map(|offset| Violation::new("unsafe", source.place(offset), message)).collect()
}

fn engine(source: &Source) -> Vec<Violation> {
    let Some(name) = source.crate_name() else { return Vec::new() };
    let refused = |module: &str| match name {
        "state" => (module != "sync").then_some("state may use tokio::sync alone"),
        _ if PLANES.contains(&name) => {
            matches!(module, "net" | "time").then_some("a data plane names evenkeel_net::rt instead")
        }
        _ => None,
    };
    let outside_tests = tokio_modules(&source.masked.code).into_iter().filter(|(at, _)| !source.is_test(*at));
    outside_tests
        .filter_map(|(at, module)| {
            let message = format!("names tokio::{module}: {}", refused(&module)?);
            Some(Violation::new("engine", source.place(at), message))
        })
        .collect()
}

/// Every `tokio::MODULE`, those of a group (`tokio::{a, b::c}`) included, with its offset.
fn tokio_modules(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, "tokio") {
        let Some(rest) = code[at + "tokio".len()..].trim_start().strip_prefix("::") else { continue };
        let rest = rest.trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            found.push((at, leading_name(rest)));
            continue;
        };
        found.extend(group_members(group).into_iter().map(|member| (at, leading_name(member))));
    }
    found
}

/// The members of a `use` group whose opening brace is already read.
fn group_members(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (i, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                members.push(&group[start..i]);
                break;
            }
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                members.push(&group[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    members.into_iter().map(str::trim).filter(|member| !member.is_empty()).collect()
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii() && is_name_byte(*c as u8)).collect()
}

fn pure(source: &Source) -> Vec<Violation> {
    let is_pure = source.crate_name().is_some_and(|name| PURE_CRATES.contains(&name));
    let world = if is_pure { WORLD } else { &[] };
    let named = world.iter().flat_map(|word| words(&source.masked.code, word).map(move |at| (at, word)));
    named
        .filter(|(at, _)| !source.is_test(*at))
        .map(|(at, word)| {
            let message = format!("names {word}: on floors 0 to 2 the world comes in as an argument");
            Violation::new("pure", source.place(at), message)
        })
        .collect()
}

fn markers(source: &Source) -> Vec<Violation> {
    let text = &source.masked.comments;
    let marked = MARKERS.iter().flat_map(|marker| words(text, marker).map(move |at| (at, marker)));
    marked
        .map(|(at, marker)| {
            let message = format!("{marker} in a comment: do it now, or write it where it is planned");
            Violation::new("marker", source.place(at), message)
        })
        .collect()
}

/// A crate says first what it owns, and what it does not know.
fn boundary(source: &Source) -> Option<Violation> {
    let is_crate_root =
        source.crate_name().is_some_and(|name| source.path == format!("crates/{name}/src/lib.rs"));
    let head: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let message = if !is_crate_root || head.to_lowercase().contains("does not know") {
        return None;
    } else if head.is_empty() {
        "does not open with //!: say what the crate owns, and what it does not know"
    } else {
        "opens without the words \"Does not know\": say what the crate must stay ignorant of"
    };
    Some(Violation::new("boundary", &*source.path, message))
}

fn workplaces(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for place in WORKPLACES {
            // Behind a letter it is the middle of another path, or of an address.
            let starts = line.match_indices(place).any(|(at, _)| {
                !line[..at]
                    .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '*'))
            });
            if starts {
                let message = format!("names {place}…, a path of somebody's own machine");
                found.push(Violation::new("workplace", format!("{path}:{}", number + 1), message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! Owns: a. Does not know: b.\n";

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(&Tree::of(&[(path, text)])).iter().map(|v| v.rule).collect()
    }

    #[test]
    fn unsafe_is_found_in_code_alone() {
        let text = "// unsafe\nfn a() { \"unsafe\"; unsafe { b() } }\n#![deny(unsafe_code)]";
        assert_eq!(
            found("crates/http/src/a.rs", text),
            ["crates/http/src/a.rs:2: unsafe lives in crates/net alone [unsafe]"]
        );
        assert!(found("crates/net/src/a.rs", text).is_empty());
    }

    #[test]
    fn planes_do_not_name_the_engine() {
        for text in [
            "use tokio::net::TcpStream;",
            "use tokio::{sync, time::{sleep, Instant}};",
            "tokio :: time::sleep(x)",
        ] {
            assert_eq!(rules("crates/http/src/a.rs", text), ["engine"], "{text}");
            assert_eq!(rules("crates/probe/src/a.rs", text), Vec::<&str>::new(), "{text}");
        }
        for text in
            ["use tokio::sync::{net, time};", "#[cfg(test)] mod tests { use tokio::net; }", "// tokio::net"]
        {
            assert!(rules("crates/tcp/src/a.rs", text).is_empty(), "{text}");
        }
        assert_eq!(rules("crates/state/src/a.rs", "use tokio::{sync::mpsc, task};"), ["engine"]);
    }

    #[test]
    fn brains_see_no_clock() {
        let text =
            "fn now() -> Instant { Instant::now() }\n#[cfg(test)] mod tests { fn a() { Instant::now(); } }";
        assert_eq!(
            found("crates/health/src/a.rs", text),
            [
                "crates/health/src/a.rs:1: names Instant::now: on floors 0 to 2 the world comes in as an argument [pure]"
            ]
        );
        assert!(found("crates/state/src/a.rs", text).is_empty());
    }

    #[test]
    fn notes_to_oneself_are_found_in_comments() {
        let note = format!("{}/* {}: later */ fn a() {{ \"{}\" }}", "", MARKERS[0], MARKERS[1]);
        assert_eq!(rules("crates/net/src/a.rs", &note), ["marker"]);
    }

    #[test]
    fn a_crate_says_what_it_does_not_know() {
        assert!(found("crates/net/src/lib.rs", HEAD).is_empty());
        assert_eq!(
            rules("crates/net/src/lib.rs", "//! Owns everything.\nfn a() {} // Does not know"),
            ["boundary"]
        );
        assert_eq!(rules("crates/net/src/lib.rs", "fn a() {}"), ["boundary"]);
        assert!(found("crates/net/src/a.rs", "fn a() {}").is_empty());
    }

    #[test]
    fn somebodys_paths_are_found_in_any_file() {
        let [home, ..] = WORKPLACES else { unreachable!() };
        assert_eq!(rules("docs/a.md", &format!("see `{home}me/x`")), ["workplace"]);
        assert!(rules("docs/a.md", &format!("https://example.com{home}x and ./x{home}")).is_empty());
    }
}

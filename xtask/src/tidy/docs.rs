//! Rules about words that point at something: `symbol`, `example` and `command`.

use std::collections::BTreeSet;

use super::Violation;
use super::floors;
use super::lexer::{is_name_byte, words};
use super::source::Tree;

/// What a newcomer types, and what continuous integration runs.
const TEST_COMMAND: &str = "cargo test --workspace";
/// What introduces the name of an item.
const INTRODUCERS: &[&str] =
    &["fn", "struct", "enum", "trait", "mod", "type", "const", "static", "macro_rules!"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = symbols(tree);
    found.extend(examples(tree));
    found.extend(command(tree));
    found
}

/// In `docs/internals`, every `crate::path::item` in backticks and every `[symbol: Name]` stands in the sources.
fn symbols(tree: &Tree) -> Vec<Violation> {
    let house = House::of(tree);
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|f| f.path.starts_with("docs/internals/") && f.path.ends_with(".md"))
    {
        let mut fenced = false;
        for (number, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            let place = format!("{}:{}", file.path, number + 1);
            let wrong = backticked(line).filter_map(|path| house.refuse_path(path));
            let wrong = wrong.chain(marked(line).filter_map(|name| house.refuse_name(name)));
            found.extend(wrong.map(|message| Violation::new("symbol", &*place, message)));
        }
    }
    found
}

/// What exists, for looking symbols up.
struct House<'a> {
    tree: &'a Tree,
    crates: BTreeSet<&'a str>,
    outer: BTreeSet<String>,
}

impl<'a> House<'a> {
    fn of(tree: &'a Tree) -> Self {
        let outer = floors::workspace_dependencies(tree).into_iter().map(|name| name.replace('-', "_"));
        let crates = tree.sources.iter().filter_map(|source| source.crate_name()).collect();
        Self { tree, crates, outer: outer.collect() }
    }

    /// Why `a::b::c` is no path of ours; `None` when it is one, or is no path at all.
    fn refuse_path(&self, text: &str) -> Option<String> {
        let path = text.trim_end_matches("()");
        let parts: Vec<&str> = path.split("::").collect();
        let is_name = |part: &&str| !part.is_empty() && part.bytes().all(is_name_byte);
        let (first, rest) = parts.split_first()?;
        if rest.is_empty() || !parts.iter().all(is_name) {
            return None;
        }
        let name = first.strip_prefix("evenkeel_").unwrap_or(first);
        if !self.crates.contains(name) {
            let known = ["std", "core", "alloc"].contains(first)
                || self.outer.contains(*first)
                || name.contains(char::is_uppercase);
            return (!known).then(|| format!("`{text}`: there is no crate {first}"));
        }
        let missing = rest.iter().find(|part| !self.defines(name, part))?;
        Some(format!("`{text}`: crates/{name} has no {missing}"))
    }

    fn refuse_name(&self, name: &str) -> Option<String> {
        let exists = self.crates.iter().any(|krate| self.defines(krate, name));
        (!exists).then(|| format!("[symbol: {name}]: no crate has it"))
    }

    /// Whether the crate's sources introduce this name: as an item or, when it is written like a type, as a
    /// variant (which nothing introduces) anywhere in its code.
    fn defines(&self, krate: &str, name: &str) -> bool {
        let is_variant = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.contains(|c: char| c.is_ascii_lowercase());
        self.tree.of_crate(krate).any(|source| {
            let code = &source.masked.code;
            words(code, name).any(|at| {
                let before = code[..at].trim_end();
                let introduced = INTRODUCERS.iter().any(|word| {
                    before
                        .strip_suffix(word)
                        .is_some_and(|rest| !rest.ends_with(|c: char| c.is_ascii() && is_name_byte(c as u8)))
                });
                introduced || is_variant && before.ends_with(['{', ',', ']', ')', '}'])
            })
        })
    }
}

fn backticked(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn marked(line: &str) -> impl Iterator<Item = &str> {
    line.split("[symbol: ").skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name.trim())
}

/// There are examples, and each is spoken of by a test or a page.
fn examples(tree: &Tree) -> Vec<Violation> {
    let is_example = |path: &str| path.starts_with("examples/") && path.ends_with(".toml");
    let mut examples = tree.files.iter().filter(|f| is_example(&f.path)).peekable();
    if examples.peek().is_none() {
        return vec![Violation::new("example", "examples", "holds no example configuration")];
    }
    let spoken_of = |name: &str| {
        let page = |path: &str| path.ends_with(".md") || path.ends_with(".rs");
        tree.files.iter().any(|file| page(&file.path) && file.text.contains(name))
    };
    examples
        .filter(|file| !spoken_of(file.path.trim_start_matches("examples/")))
        .map(|file| Violation::new("example", &*file.path, "no test and no page speaks of it"))
        .collect()
}

/// The README's test command is the one that continuous integration runs.
fn command(tree: &Tree) -> Vec<Violation> {
    let lacks = |file: &&super::source::File| {
        matches!(&*file.path, "README.md" | ".ci/run")
            && !file.text.lines().any(|line| line.trim().ends_with(TEST_COMMAND))
    };
    let message = format!("has no line that ends in `{TEST_COMMAND}`");
    tree.files.iter().filter(lacks).map(|file| Violation::new("command", &*file.path, &*message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: &str = "pub mod rt;\nimpl Dial { pub async fn dial(&self) {} }\n// fn gone()\npub enum End { Closed, Reset(u8) }\nconst MAX_WAIT: u8 = 1;";

    fn symbol_messages(page: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace.dependencies]\narc-swap = \"1\"\n"),
            ("crates/net/src/lib.rs", NET),
            ("crates/net/src/rt.rs", "pub struct TcpStream;"),
            ("docs/internals/a.md", page),
            ("docs/other.md", "`net::missing`"),
        ]);
        symbols(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn symbols_that_exist_are_left_alone() {
        let page = "`net::rt::TcpStream`, `evenkeel_net::dial()`, `net::End::Reset`, `net::MAX_WAIT`, `arc_swap::ArcSwap`,\n\
                    `std::fs`, `[listener.web]`, `a b::c`, `ArcSwap::load`, [symbol: End]\n```\n`net::missing`\n```\n";
        assert_eq!(symbol_messages(page), Vec::<String>::new());
    }

    #[test]
    fn symbols_that_are_gone_are_named() {
        assert_eq!(
            symbol_messages("a\n`net::gone()` `evenkeel_met::rt` [symbol: Gone]"),
            [
                "docs/internals/a.md:2: `net::gone()`: crates/net has no gone [symbol]",
                "docs/internals/a.md:2: `evenkeel_met::rt`: there is no crate evenkeel_met [symbol]",
                "docs/internals/a.md:2: [symbol: Gone]: no crate has it [symbol]",
            ]
        );
    }

    #[test]
    fn examples_are_there_and_spoken_of() {
        let messages = |texts: &[(&str, &str)]| {
            examples(&Tree::of(texts)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(messages(&[]), ["examples: holds no example configuration [example]"]);
        assert_eq!(
            messages(&[("examples/a.toml", ""), ("examples/b.toml", ""), ("docs/x.md", "`examples/a.toml`")]),
            ["examples/b.toml: no test and no page speaks of it [example]"]
        );
    }

    #[test]
    fn the_test_command_is_one() {
        let messages = |texts: &[(&str, &str)]| {
            command(&Tree::of(texts)).iter().map(|v| v.place.clone()).collect::<Vec<_>>()
        };
        let good = "step \"tests\" cargo test --workspace\n";
        assert!(messages(&[("README.md", good), (".ci/run", good), ("docs/a.md", "")]).is_empty());
        assert_eq!(
            messages(&[("README.md", "cargo test --workspace --all"), (".ci/run", good)]),
            ["README.md"]
        );
    }
}

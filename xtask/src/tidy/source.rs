//! The workspace's files as the rules see them.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::lexer::{self, Masked};
use crate::shell::Outcome;

/// Folders that hold nothing written by hand.
const NOT_OURS: &[&str] = &[".git", "target", "node_modules", "corpus", "artifacts"];

/// Every text file of the workspace.
#[derive(Debug)]
pub(crate) struct Tree {
    /// All of them, Rust or not, in the order of their paths.
    pub(crate) files: Vec<File>,
    /// The Rust ones, taken apart.
    pub(crate) sources: Vec<Source>,
}

/// One text file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Relative to the workspace, with `/` between its parts.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
}

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the workspace, with `/` between its parts.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// Code and comments told apart.
    pub(crate) masked: Masked,
    /// Byte ranges that are compiled for tests alone; all of it in a test file.
    pub(crate) tests: Vec<Range<usize>>,
}

impl Tree {
    /// Reads the workspace.
    ///
    /// # Errors
    /// When a folder or file cannot be read. Files that are no UTF-8 are left out.
    pub(crate) fn read(root: &Path) -> Outcome<Self> {
        let mut files = Vec::new();
        walk(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self::new(files))
    }

    fn new(files: Vec<File>) -> Self {
        let mut sources: Vec<Source> =
            files.iter().filter(|f| f.path.ends_with(".rs")).map(Source::new).collect();
        let declared: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            let stem = source.path.trim_end_matches(".rs");
            let is_declared = declared.iter().any(|module| {
                stem == module || stem.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
            if is_declared || is_test_path(&source.path) {
                source.tests = std::iter::once(0..source.text.len()).collect();
            }
        }
        Self { files, sources }
    }

    /// The sources of one folder of `crates/`.
    pub(crate) fn of_crate<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Source> + use<'a> {
        let folder = format!("crates/{name}/");
        self.sources.iter().filter(move |s| s.path.starts_with(&folder))
    }

    #[cfg(test)]
    pub(crate) fn of(texts: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self::new(texts.iter().map(file).collect())
    }
}

impl Source {
    fn new(file: &File) -> Self {
        let masked = lexer::mask(&file.text);
        let tests = test_ranges(&masked.code);
        Self { path: file.path.clone(), text: file.text.clone(), masked, tests }
    }

    /// Whether this byte is compiled for tests alone.
    pub(crate) fn is_test(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    /// `path:line` of an offset.
    pub(crate) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, lexer::line_of(&self.text, offset))
    }

    /// The folder of `crates/` it belongs to.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Paths without `.rs` of the modules that this file declares for tests alone (`#[cfg(test)] mod x;`).
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let declared = |range: &Range<usize>| {
            let item = self.masked.code.get(range.clone())?.trim_end().strip_suffix(';')?;
            let (_, name) = item.rsplit_once("mod ")?;
            Some(format!("{folder}/{}", name.trim()))
        };
        self.tests.iter().filter_map(declared).collect()
    }
}

fn walk(root: &Path, below: &str, files: &mut Vec<File>) -> Outcome {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(|e| format!("{path}: {e}"))?;
        if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            walk(root, &path, files)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).map_err(|e| format!("{path}: {e}"))?;
            files.extend(String::from_utf8(bytes).ok().map(|text| File { path, text }));
        }
    }
    Ok(())
}

fn is_test_path(path: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "fuzz"))
        || stem == "tests"
        || stem.ends_with("_tests")
        || stem.ends_with("_test")
}

/// Where code is compiled for tests alone: the items behind `#[cfg(test)]`, `#[test]` and their kin.
fn test_ranges(code: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, _) in code.match_indices("#[").chain(code.match_indices("#![")) {
        let Some(open) = code[at..].find('[').map(|i| at + i) else { continue };
        let close = closing(code, open);
        let inside: String = code[open + 1..close].split_whitespace().collect();
        if !is_test_attribute(&inside) {
            continue;
        }
        let end = if code[at..].starts_with("#!") { code.len() } else { item_end(code, close + 1) };
        if !ranges.iter().any(|r| r.start <= at && end <= r.end) {
            ranges.push(at..end);
        }
    }
    ranges
}

fn is_test_attribute(inside: &str) -> bool {
    let path = inside.split('(').next().unwrap_or_default();
    inside == "cfg(test)"
        || inside.starts_with("cfg(all(test,")
        || path == "test"
        || path == "rstest"
        || path.ends_with("::test")
}

/// The end of the item that begins at `at`, attributes of its own skipped.
fn item_end(code: &str, mut at: usize) -> usize {
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        if !code[at..].starts_with("#[") {
            break;
        }
        at = (closing(code, at + 1) + 1).min(code.len());
    }
    match body_start(code, at) {
        Some(open) if code.as_bytes()[open] == b'{' => {
            let end = (closing(code, open) + 1).min(code.len());
            // `use a::{b, c};` goes on behind its braces.
            if code[at..open].trim_start().starts_with("use ") {
                end + code[end..].find(';').map_or(0, |i| i + 1)
            } else {
                end
            }
        }
        Some(semicolon) => semicolon + 1,
        None => code.len(),
    }
}

/// The first `{` or `;` from `at` on that stands in no bracket or parenthesis: an item's body, or its end.
pub(crate) fn body_start(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' | b';' if depth == 0 => return Some(i),
            _ => {}
        }
    }
    None
}

/// The bracket that closes the one at `open`; the text's length if none does.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_code(text: &str) -> Vec<String> {
        let tree = Tree::of(&[("crates/a/src/lib.rs", text)]);
        let source = &tree.sources[0];
        source.tests.iter().map(|r| source.text[r.clone()].to_owned()).collect()
    }

    #[test]
    fn test_items_are_found_with_their_bodies() {
        assert_eq!(
            test_code("fn a() {}\n#[cfg(test)]\nmod tests { fn b() { '}'; } }\nfn c() {}"),
            ["#[cfg(test)]\nmod tests { fn b() { '}'; } }"]
        );
        assert_eq!(
            test_code("#[test]\n#[ignore]\nfn a() { 1 }\nfn b() {}"),
            ["#[test]\n#[ignore]\nfn a() { 1 }"]
        );
        assert_eq!(
            test_code("#[tokio::test(flavor = \"x\")]\nasync fn a(x: [u8; 2]) {} fn b() {}"),
            ["#[tokio::test(flavor = \"x\")]\nasync fn a(x: [u8; 2]) {}"]
        );
        assert_eq!(test_code("#[cfg(test)] use a::{b, c}; fn d() {}"), ["#[cfg(test)] use a::{b, c};"]);
        assert_eq!(test_code("#![cfg(test)] fn a() {}"), ["#![cfg(test)] fn a() {}"]);
        assert!(test_code("#[cfg(not(test))] fn a() {} // #[test]\n#[testing] fn b() {}").is_empty());
    }

    #[test]
    fn modules_declared_for_tests_make_test_files() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod sim;\nmod real;"),
            ("crates/a/src/real.rs", "#[cfg(test)] mod cases;"),
            ("crates/a/src/real/cases.rs", "fn a() {}"),
            ("crates/a/src/sim.rs", "fn a() {}"),
            ("crates/a/src/sim/link.rs", "fn a() {}"),
            ("crates/a/src/simple.rs", "fn a() {}"),
            ("crates/a/tests/story.rs", "fn a() {}"),
        ]);
        let of_tests: Vec<_> = tree.sources.iter().filter(|s| s.is_test(0)).map(|s| &*s.path).collect();
        assert_eq!(
            of_tests,
            [
                "crates/a/src/lib.rs",
                "crates/a/src/real.rs",
                "crates/a/src/real/cases.rs",
                "crates/a/src/sim.rs",
                "crates/a/src/sim/link.rs",
                "crates/a/tests/story.rs",
            ]
        );
        assert!(!tree.sources[0].is_test(tree.sources[0].text.len() - 1));
    }
}

//! `cargo xtask style`: how large functions and files are, and how much of the text is tests.

use std::collections::BTreeMap;
use std::path::Path;

use super::sizes::{self, MAX_FUNCTION_LINES};
use super::source::{Source, Tree};
use crate::shell::Outcome;

/// What the house aims for (`CONTRIBUTING.md`).
const AIMS: &str = "aims: file median ≤ 200, p90 ≤ 400, none over 800 · functions ≤ 70 · tests/code ≥ 0.8";

#[derive(Debug, Default)]
struct Tally {
    /// Lines of each file outside tests, those of pure test files left out.
    files: Vec<usize>,
    /// Lines of each function outside tests.
    functions: Vec<usize>,
    /// Lines with text on them, outside tests.
    code: usize,
    /// Lines with text on them, in tests.
    tests: usize,
}

/// Prints one line for each crate, and one for the whole.
///
/// # Errors
/// When the workspace cannot be read.
pub(crate) fn run(root: &Path) -> Outcome {
    println!("{}", report(&Tree::read(root)?));
    Ok(())
}

fn report(tree: &Tree) -> String {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut total = Tally::default();
    for source in &tree.sources {
        let part = source.crate_name().or_else(|| source.path.split('/').next()).unwrap_or_default();
        tallies.entry(part).or_default().add(source);
        total.add(source);
    }
    let head = format!(
        "{:<10} {:>6} {:>5} {:>5} {:>5}   {:>6} {:>5} {:>5} {:>5} {:>6}   {:>6} {:>6} {:>6}",
        "", "files", "p50", "p90", "max", "fns", "p50", "p90", "max", "> 70", "code", "tests", "ratio"
    );
    let mut lines = vec![head];
    lines.extend(tallies.iter_mut().map(|(part, tally)| tally.line(part)));
    lines.push(total.line("all"));
    lines.push(AIMS.to_owned());
    lines.join("\n")
}

impl Tally {
    fn add(&mut self, source: &Source) {
        // `testkit` is code, but all of it serves tests.
        let serves_tests = source.crate_name() == Some("testkit");
        let (mut at, mut own) = (0, 0);
        for line in source.text.split_inclusive('\n') {
            let is_test = serves_tests || source.is_test(at);
            at += line.len();
            own += usize::from(!is_test);
            let written = usize::from(!line.trim().is_empty());
            *(if is_test { &mut self.tests } else { &mut self.code }) += written;
        }
        if own > 0 {
            self.files.push(own);
            let functions = sizes::functions(&source.masked.code);
            self.functions.extend(functions.iter().filter(|f| !source.is_test(f.offset)).map(|f| f.lines));
        }
    }

    fn line(&mut self, part: &str) -> String {
        self.files.sort_unstable();
        self.functions.sort_unstable();
        let over = self.functions.iter().filter(|&&lines| lines > MAX_FUNCTION_LINES).count();
        let ratio = if self.code == 0 { 0.0 } else { self.tests as f64 / self.code as f64 };
        let [file_p50, file_p90, file_max] = [50, 90, 100].map(|p| percentile(&self.files, p));
        let [fn_p50, fn_p90, fn_max] = [50, 90, 100].map(|p| percentile(&self.functions, p));
        format!(
            "{part:<10} {:>6} {file_p50:>5} {file_p90:>5} {file_max:>5}   {:>6} {fn_p50:>5} {fn_p90:>5} {fn_max:>5} \
             {over:>6}   {:>6} {:>6} {ratio:>6.2}",
            self.files.len(),
            self.functions.len(),
            self.code,
            self.tests,
        )
    }
}

/// The nearest rank of sorted numbers; 0 of none.
fn percentile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let numbers: Vec<usize> = (1..=10).collect();
        assert_eq!([50, 90, 100].map(|p| percentile(&numbers, p)), [5, 9, 10]);
        assert_eq!([50, 90, 100].map(|p| percentile(&[7], p)), [7, 7, 7]);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn tests_and_code_are_told_apart() {
        let text = "fn a() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        let tree = Tree::of(&[("crates/net/src/a.rs", text), ("crates/testkit/src/b.rs", "fn c() {}\n")]);
        let mut tally = Tally::default();
        tree.sources.iter().for_each(|source| tally.add(source));
        assert_eq!((tally.code, tally.tests), (2, 5));
        assert_eq!((tally.files, tally.functions), (vec![3], vec![2]));
    }
}

//! The house rules, checked over the whole workspace: every violation is listed, not only the first.

mod docs;
mod floors;
mod lexer;
mod sizes;
mod source;
pub(crate) mod style;
mod words;

use std::fmt;
use std::path::Path;

use crate::shell::Outcome;
use source::Tree;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// `path` or `path:line`, relative to the workspace.
    place: String,
    /// The rule's short name; `CONTRIBUTING.md` explains each.
    rule: &'static str,
    /// What is wrong and what to do.
    message: String,
}

impl Violation {
    fn new(rule: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), rule, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.place, self.message, self.rule)
    }
}

/// `cargo xtask tidy`.
///
/// # Errors
/// When a rule is broken, or the workspace cannot be read.
pub(crate) fn run(root: &Path) -> Outcome {
    let violations = check(root)?;
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: all is well");
            Ok(())
        }
        1 => Err("1 violation".to_owned()),
        several => Err(format!("{several} violations")),
    }
}

fn check(root: &Path) -> Outcome<Vec<Violation>> {
    let tree = Tree::read(root)?;
    let mut found = floors::check(&floors::packages(root)?, &floors::workspace_dependencies(&tree));
    found.extend(sizes::check(&tree));
    found.extend(words::check(&tree));
    found.extend(docs::check(&tree));
    found.sort();
    found.dedup();
    Ok(found)
}

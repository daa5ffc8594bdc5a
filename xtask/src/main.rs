//! The chores of the workspace: `cargo xtask CHORE`.
//!
//! Owns: the house rules as a test (`tidy`, `style`), the run that continuous integration makes (`ci`) and
//! the side-by-side measurements (`bench`).
//!
//! Does not know: any crate of the product. It reads their sources and starts their binary, as anyone could.
#![allow(clippy::print_stdout, reason = "a chore's output is its result")]

mod bench;
mod shell;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask CHORE

  tidy                 check the house rules; list every violation
  style                sizes of functions and files, and the share of tests
  ci [--no-install]    what continuous integration runs (.ci/run)
  bench [ROW…]         measure side by side with other proxies; --help for its options

Exit: 0 all is well, 1 it is not, 2 the command line is wrong.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let chore = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    let root = shell::workspace_root();
    let outcome = match chore.as_str() {
        "tidy" if rest.is_empty() => tidy::run(&root),
        "style" if rest.is_empty() => tidy::style::run(&root),
        "ci" => shell::ci(&root, &rest),
        "bench" => bench::run(&root, &rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {chore}: {message}");
            ExitCode::FAILURE
        }
    }
}

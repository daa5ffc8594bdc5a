//! `evenkeel completions`: what a shell needs to complete our words.

use crate::cli::{self, Completions};
use crate::exit::Exit;
use crate::screen::{self, Failure};

/// Prints the script.
pub(crate) fn run(completions: &Completions) -> Result<Exit, Failure> {
    screen::print(&script(completions.shell))
}

fn script(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "evenkeel", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_every_verb() {
        for shell in clap_complete::Shell::value_variants() {
            let script = script(*shell);
            for verb in cli::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
    }
}

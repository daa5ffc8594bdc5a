//! `evenkeel reload`: make the running process read its configuration again.

use evenkeel_api::{PREFIX, Plan};

use crate::cli::Global;
use crate::client::{Change, Client};
use crate::exit::Exit;
use crate::screen::{self, Failure, harmless};

/// Prints what changed. A refusal is a failure that holds every problem.
pub(crate) fn run(global: &Global) -> Result<Exit, Failure> {
    let mut client = Client::new(global)?;
    let answer = client.change(Change::post(&format!("{PREFIX}/reload")))?;
    let plan: Plan = client.decode(&answer)?;
    screen::print(&told(&plan))
}

fn told(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.changes.iter().map(|change| harmless(change)).collect();
    if lines.is_empty() {
        lines.push("nothing changed".to_owned());
    }
    if plan.needs_restart {
        lines.push("some of it takes effect only in a new process: restart evenkeel".to_owned());
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_one_a_line() {
        assert_eq!(told(&Plan::default()), "nothing changed\n");
        let plan = Plan { changes: vec!["pool app: weight".into()], needs_restart: true };
        assert_eq!(
            told(&plan),
            "pool app: weight\nsome of it takes effect only in a new process: restart evenkeel\n"
        );
    }
}

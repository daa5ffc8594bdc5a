//! What the process ends with. Scripts and service managers decide by it, so each number means one thing;
//! `docs/exit-codes.md` is the page for users.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok,
    /// It failed while it ran; trying again may help.
    Failed,
    /// The command line is wrong; nothing was done.
    Usage,
    /// The configuration is missing or has problems; nothing was changed. `EX_CONFIG` of `sysexits.h`, so that
    /// `RestartPreventExitStatus=78` keeps systemd from trying again what cannot work.
    BadConfig,
    /// The grace time of a stop was over before every connection had finished; the rest was cut.
    GraceOver,
    /// A second signal cut a graceful stop short. 128 + SIGINT, as shells count.
    CutShort,
}

impl Exit {
    /// Every way to end, by number.
    pub(crate) const ALL: [Self; 6] =
        [Self::Ok, Self::Failed, Self::Usage, Self::GraceOver, Self::BadConfig, Self::CutShort];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::BadConfig => 78,
            Self::GraceOver => 3,
            Self::CutShort => 130,
        }
    }

    /// One sentence for help and manual.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "It did what was asked; a server stopped in order.",
            Self::Failed => "It failed at run time.",
            Self::Usage => "The command line is wrong.",
            Self::BadConfig => "The configuration is missing or has problems.",
            Self::GraceOver => "The grace time of a stop was over; the connections that were left were cut.",
            Self::CutShort => "A second signal ended a graceful stop at once; connections were cut.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table of exit codes, as `--help` shows it.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {}", exit.code(), exit.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_code_with_its_meaning() {
        let page = include_str!("../../../docs/exit-codes.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(page.contains(&row), "docs/exit-codes.md lacks the row {row}");
        }
    }

    #[test]
    fn codes_are_distinct_and_rise() {
        let codes = Exit::ALL.map(Exit::code);
        assert!(codes.is_sorted_by(|a, b| a < b));
    }
}

//! Whether to colour: decided once by `--color`, for everything that the process says.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;

/// `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

static WISH: OnceLock<Color> = OnceLock::new();

/// Takes the user's wish; the first one counts.
pub(crate) fn choose(wish: Color) {
    let _ = WISH.set(wish);
}

/// Whether standard error is coloured.
pub(crate) fn stderr() -> bool {
    let no_color = std::env::var_os("NO_COLOR");
    decide(WISH.get().copied().unwrap_or_default(), no_color.as_deref(), std::io::stderr().is_terminal())
}

/// `NO_COLOR` counts when it is not empty, whatever its value (no-color.org); the command line outranks it.
fn decide(wish: Color, no_color: Option<&OsStr>, is_terminal: bool) -> bool {
    match wish {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_terminal && no_color.is_none_or(OsStr::is_empty),
    }
}

impl From<Color> for clap::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_rules_unless_the_command_line_speaks() {
        let one = Some(OsStr::new("1"));
        assert!(decide(Color::Auto, None, true));
        assert!(decide(Color::Auto, Some(OsStr::new("")), true));
        assert!(!decide(Color::Auto, one, true));
        assert!(!decide(Color::Auto, None, false));
        assert!(decide(Color::Always, one, false));
        assert!(!decide(Color::Never, None, true));
    }
}

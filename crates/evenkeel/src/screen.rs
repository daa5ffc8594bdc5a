//! What is said to the user: results on standard output, errors on standard error.

use std::io::{self, Write};

use crate::color;
use crate::exit::Exit;

const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Why a verb ended early: what to say, and what to end with. It never holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process ends with.
    pub(crate) exit: Exit,
    /// Cause and remedy, one line without a final dot; more lines only for lists of problems.
    pub(crate) message: String,
}

impl Failure {
    /// It failed while it ran.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }

    /// The command line asks for what makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

/// Runs a verb and tells its failure, if any.
pub(crate) fn tell(outcome: Result<Exit, Failure>) -> Exit {
    outcome.unwrap_or_else(|failure| {
        error(&failure.message);
        failure.exit
    })
}

/// Writes `error: …` to standard error.
pub(crate) fn error(message: &str) {
    let (on, off) = if color::stderr() { (RED, PLAIN) } else { ("", "") };
    complain(&format!("{on}error{off}: {message}\n"));
}

/// Writes text to standard error as it is. When that fails there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a result to standard output, at once.
///
/// # Errors
/// When it cannot be written, as on a full disk. A reader that went away (`| head`) is not an error: it has what
/// it wanted.
pub(crate) fn print(text: &str) -> Result<Exit, Failure> {
    print_more(text).map(|_| Exit::Ok)
}

/// [`print`] for what goes on and on: false once nobody reads any more.
pub(crate) fn print_more(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {}", cause(&error)))),
    }
}

/// An error of the system in the words of a user: without `(os error 2)`, in lower case.
pub(crate) fn cause(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Text from elsewhere, fit for a terminal: control characters would move its cursor or change its title.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_words_without_numbers() {
        let of = |code| cause(&io::Error::from_raw_os_error(code));
        assert_eq!(of(libc::ECONNREFUSED), "connection refused");
        assert_eq!(of(libc::ENOENT), "no such file");
        assert_eq!(of(libc::ENETUNREACH), "network is unreachable");
        assert_eq!(cause(&io::Error::other("Odd")), "odd");
    }

    #[test]
    fn escapes_of_others_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\nc"), "a [2Jb c");
    }
}

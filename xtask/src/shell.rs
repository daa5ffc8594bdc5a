//! Other programs: where the workspace is, and running what it needs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a chore gives: nothing, or one message for the one who called it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The cargo that started us, so that a toolchain override reaches what we start.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs to the end with our own standard streams.
///
/// # Errors
/// When it cannot be started, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|e| format!("cannot start {name}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed ({status})")) }
}

/// Runs to the end and gives its standard output and standard error, one after the other: version texts
/// come on either.
///
/// # Errors
/// When it cannot be started, or ends with anything but success.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|e| format!("cannot start {name}: {e}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    if done.status.success() {
        Ok(text)
    } else {
        Err(format!("{name} failed ({}): {}", done.status, text.trim()))
    }
}

/// Whether a program of that name is on the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// `cargo xtask ci`: the script is the one list of steps, so there is no second one to drift from it.
///
/// # Errors
/// When a step fails.
pub(crate) fn ci(root: &Path, options: &[String]) -> Outcome {
    run(Command::new(root.join(".ci/run")).args(options).current_dir(root))
}

//! Running other people's programs.

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use evenkeel_testkit::have;

/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The first of these programs that is not installed.
pub(crate) fn missing(programs: &[&'static str]) -> Option<&'static str> {
    programs.iter().copied().find(|program| path_of(program).is_none())
}

/// Where a program is, also where Debian keeps those that a user does not call by name.
pub(crate) fn path_of(program: &str) -> Option<String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(["/sbin".into(), "/usr/sbin".into()]);
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let paths = folders.iter().rev().map(|folder| folder.join(program).to_string_lossy().into_owned());
    paths.into_iter().find(|path| have(path))
}

/// Runs a program to its end; panics if that takes longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    run_with(program, args, b"")
}

/// [`run`] with this on its standard input.
#[track_caller]
pub(crate) fn run_with(program: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE.as_secs().to_string()).arg(program).args(args);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        // A program that wants no more of it says so by its own exit status.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    assert_ne!(output.status.code(), Some(124), "{program} {args:?} did not end\n{}", err(&output));
    output
}

/// Runs a program that must succeed; what it printed, without the white space around it.
#[track_caller]
pub(crate) fn ask(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}\n{}{}",
        output.status,
        out(&output),
        err(&output)
    );
    out(&output).trim().to_owned()
}

/// What a program printed.
pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program complained of.
pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

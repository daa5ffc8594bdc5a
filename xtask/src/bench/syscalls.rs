//! System calls of a request, counted by `strace`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use super::measure::Group;
use super::process::{self, Process};
use super::stand::Stand;
use crate::shell::Outcome;

/// For attaching to all threads.
const ATTACH: Duration = Duration::from_millis(500);
/// For detaching and printing.
const DETACH: Duration = Duration::from_secs(10);
/// Calls named in a list.
const NAMED: usize = 8;

/// Calls for each request, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calls(BTreeMap<String, f64>);

/// A running `strace`.
#[derive(Debug)]
pub(crate) struct Tracer {
    process: Process,
    report: PathBuf,
}

/// Attaches to a process group and counts from now on.
pub(crate) fn attach(stand: &Stand<'_>, proxy: &Process) -> Outcome<Tracer> {
    let program = process::installed("strace").ok_or("--syscalls needs strace, which is not installed")?;
    let report = stand.scratch.path("strace.txt");
    let mut arguments = vec!["-c".to_owned(), "-f".to_owned(), "-o".to_owned(), report.display().to_string()];
    for process in Group::of(proxy.group())?.processes {
        arguments.extend(["-p".to_owned(), process.to_string()]);
    }
    let mut process = Process::start("strace", &stand.cores.load, stand.scratch, &program, arguments)?;
    if let Some(status) = process.ends_within(ATTACH) {
        let printed = process.printed();
        return Err(format!(
            "strace cannot attach ({status}; as another user than root it may need kernel.yama.ptrace_scope=0): {}",
            printed.trim()
        ));
    }
    Ok(Tracer { process, report })
}

impl Tracer {
    /// Detaches, and says what each of so many requests cost.
    pub(crate) fn finish(mut self, requests: u64) -> Outcome<Calls> {
        // It prints its summary on its way out.
        self.process.send("INT");
        self.process.ends_within(DETACH).ok_or("strace does not end")?;
        sleep(Duration::from_millis(10));
        let text = fs::read_to_string(&self.report).map_err(|e| format!("strace left no report: {e}"))?;
        if requests == 0 {
            return Err("not one request was answered under strace".to_owned());
        }
        Ok(parse(&text, requests))
    }
}

impl Calls {
    /// Calls of all kinds for each request.
    pub(crate) fn total(&self) -> f64 {
        self.0.values().fold(0.0, |sum, count| sum + count)
    }

    /// The most frequent ones.
    pub(crate) fn list(&self) -> String {
        let mut calls: Vec<(&String, &f64)> = self.0.iter().filter(|(_, count)| **count >= 0.005).collect();
        calls.sort_by(|a, b| b.1.total_cmp(a.1));
        calls
            .iter()
            .take(NAMED)
            .map(|(name, count)| format!("{name} {count:.2}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The table of `strace -c`: `% time  seconds  usecs/call  calls  [errors]  syscall`.
fn parse(text: &str, requests: u64) -> Calls {
    let rows = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, calls) = (fields.last()?, fields.get(3)?.parse::<u64>().ok()?);
        (*name != "total" && fields.len() >= 5).then(|| ((*name).to_owned(), calls as f64 / requests as f64))
    });
    Calls(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.22    0.003000           3       200           writev
 38.78    0.001900           9       101         7 recvfrom
  0.00    0.000000           0         0           brk
------ ----------- ----------- --------- --------- ----------------
100.00    0.004900           8       301         7 total
";
        let calls = parse(text, 100);
        assert_eq!((calls.total(), &*calls.list()), (3.01, "writev 2.00, recvfrom 1.01"));
        assert_eq!(parse("", 1), Calls::default());
    }
}

//! The command line of `cargo xtask bench`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use super::rows::{self, Row};
use crate::shell::Outcome;

pub(super) const USAGE: &str = "\
cargo xtask bench [ROW…] [OPTIONS]        all rows when none is named
cargo xtask bench stress [--minutes N]    the stress test of docs/stress-test.md; --help for its options

  --list               the rows
  --only NAME,…        these peers alone (evenkeel, haproxy, nginx, pen, and those of --peer)
  --peer NAME=PATH     another program; NAME begins with evenkeel, haproxy, nginx or pen
  --runs N             measured runs of each peer (3)
  --seconds N          length of a measured run (5)
  --warmup N           seconds of load before it (1)
  --syscalls           one more run of each peer under strace: system calls per request
  --write              put table and chart into docs/performance.md

Needs two cores, and taskset, setpriv and prlimit (util-linux), nginx (origin) and wrk; for single rows
libnginx-mod-stream (nginx as TCP relay), pen, iperf3 (tcp-bulk) and strace (--syscalls). On Debian:
  apt-get install nginx-light libnginx-mod-stream haproxy pen wrk iperf3 strace
Example:
  cargo xtask bench http1 --only nginx,haproxy --runs 5";

/// Longest run: a slip of the finger must not hold the machine for a day.
const MAX_SECONDS: u32 = 600;
const MAX_RUNS: usize = 100;

#[derive(Debug)]
pub(super) struct Options {
    pub(super) rows: Vec<&'static Row>,
    /// Empty: all.
    pub(super) only: Vec<String>,
    pub(super) extra: Vec<(String, PathBuf)>,
    pub(super) runs: usize,
    pub(super) seconds: u32,
    pub(super) warmup: u32,
    pub(super) syscalls: bool,
    pub(super) write: bool,
    pub(super) list: bool,
    pub(super) help: bool,
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Outcome<Self> {
        let mut options = Self {
            rows: Vec::new(),
            only: Vec::new(),
            extra: Vec::new(),
            runs: 3,
            seconds: 5,
            warmup: 1,
            syscalls: false,
            write: false,
            list: false,
            help: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                "--syscalls" => options.syscalls = true,
                "--write" => options.write = true,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--peer" => options.extra.push(named_path(value()?)?),
                "--runs" => options.runs = number(word, value()?, 1..=MAX_RUNS)?,
                "--seconds" => options.seconds = number(word, value()?, 1..=MAX_SECONDS)?,
                "--warmup" => options.warmup = number(word, value()?, 0..=MAX_SECONDS)?,
                name => options.rows.push(row(name)?),
            }
        }
        if options.rows.is_empty() {
            options.rows.extend(rows::ALL);
        }
        Ok(options)
    }

    /// The command that repeats this measurement, without paths of this machine.
    pub(super) fn command(&self, row: &Row) -> String {
        let mut command = format!("cargo xtask bench {}", row.name);
        if !self.only.is_empty() {
            command += &format!(" --only {}", self.only.join(","));
        }
        for (name, _) in &self.extra {
            command += &format!(" --peer {name}=…");
        }
        command += &format!(" --runs {} --seconds {} --warmup {}", self.runs, self.seconds, self.warmup);
        if self.syscalls { command + " --syscalls" } else { command }
    }
}

fn row(name: &str) -> Outcome<&'static Row> {
    let known = || rows::ALL.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    let row = rows::ALL.iter().find(|row| row.name == name);
    row.ok_or_else(|| format!("there is no row or option {name}; rows: {}", known()))
}

/// `NAME=PATH`.
pub(super) fn named_path(word: &str) -> Outcome<(String, PathBuf)> {
    let (name, path) = word.split_once('=').ok_or_else(|| format!("--peer {word}: write NAME=PATH"))?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

fn number<T>(option: &str, word: &str, range: RangeInclusive<T>) -> Outcome<T>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let number = word.parse().ok().filter(|n| range.contains(n));
    number.ok_or_else(|| format!("{option} {word}: write a number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn all_rows_and_sane_lengths_by_default() {
        let options = parse("").unwrap();
        assert_eq!(options.rows.len(), rows::ALL.len());
        assert_eq!((options.runs, options.seconds, options.warmup, options.write), (3, 5, 1, false));
    }

    #[test]
    fn the_command_is_repeatable_and_hides_paths() {
        let options =
            parse("http1 --only nginx,haproxy-3 --peer haproxy-3=/opt/haproxy --runs 5 --write").unwrap();
        assert_eq!(options.command(options.rows[0]), {
            "cargo xtask bench http1 --only nginx,haproxy-3 --peer haproxy-3=… --runs 5 --seconds 5 --warmup 1"
        });
    }

    #[test]
    fn mistakes_are_named() {
        for (line, message) in [
            ("http9", "there is no row or option http9"),
            ("--runs", "--runs needs a value"),
            ("--runs 0", "--runs 0: write a number from 1 to 100"),
            ("--seconds x", "--seconds x: write a number"),
            ("--peer nginx", "--peer nginx: write NAME=PATH"),
        ] {
            assert!(parse(line).unwrap_err().starts_with(message), "{line}");
        }
    }
}

//! The machine the figures come from.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::Cores;
use super::measure;
use crate::shell::{self, Outcome};

/// How long we listen for others before a row.
const LISTEN: Duration = Duration::from_millis(300);
/// Share of a core beyond which others would show in the figures.
const NOISE: f64 = 0.1;

/// The first two cores that we may use.
pub(super) fn cores() -> Outcome<Cores> {
    let status = fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    match parse_list(list.trim()).as_slice() {
        [proxy, load, ..] => Ok(Cores { proxy: *proxy, load: *load }),
        _ => Err(format!(
            "two cores are needed, one for the proxy and one for the rest; allowed: {}",
            list.trim()
        )),
    }
}

/// Core lists as the kernel writes them: `0-2,5`.
fn parse_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Figures taken beside a compiler are worth little: say so beforehand.
pub(super) fn warn_if_busy(cores: Cores) {
    for core in [cores.proxy, cores.load] {
        let Ok(before) = measure::core_times(core) else { return };
        sleep(LISTEN);
        let Ok(after) = measure::core_times(core) else { return };
        let busy = after.busy_since(&before);
        if busy > NOISE {
            println!("warning: core {core} is {:.0} % busy before anything has started", busy * 100.0);
        }
    }
}

/// One line for the page: processor, cores, memory, kernel.
pub(super) fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let cpuinfo = read("/proc/cpuinfo");
    let count = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kib: u64 =
        field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let virtual_machine = if cpuinfo.contains(" hypervisor") { ", virtual machine" } else { "" };
    format!(
        "{} × {count}{virtual_machine}, {} GiB, Linux {}",
        field(&cpuinfo, "model name"),
        kib.div_ceil(1024 * 1024),
        kernel.trim()
    )
}

/// Today, in UTC.
pub(super) fn date() -> Outcome<String> {
    Ok(shell::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read() {
        assert_eq!(parse_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(parse_list("7"), [7]);
        assert!(parse_list("").is_empty());
    }

    #[test]
    fn today_is_a_date() {
        let date = date().unwrap();
        assert_eq!(date.split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2], "{date}");
    }
}

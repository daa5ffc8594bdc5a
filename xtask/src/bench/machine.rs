//! The machine the figures come from.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::Cores;
use super::{measure, process};
use crate::shell::{self, Outcome};

/// How long we listen for others before a row.
const LISTEN: Duration = Duration::from_millis(300);
/// Share of a core beyond which others would show in the figures.
const NOISE: f64 = 0.1;

/// How the cores are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// One core for the proxy, one for origin and load generator.
    Apart,
    /// Two cores for the proxy; the others for the rest, or the same two when there are no others.
    Shared,
    /// One core for the proxy, all others for the rest.
    Wide,
}

/// The cores that we may use, as dealt out.
pub(super) fn cores(placement: Placement) -> Outcome<Cores> {
    let status = fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    place(&parse_list(list.trim()), placement)
}

fn place(allowed: &[usize], placement: Placement) -> Outcome<Cores> {
    let [first, second, others @ ..] = allowed else {
        return Err(format!(
            "two cores are needed, one for the proxy and one for the rest; allowed: {allowed:?}"
        ));
    };
    let both = vec![*first, *second];
    let (proxy, load) = match placement {
        Placement::Apart => (vec![*first], vec![*second]),
        Placement::Wide => (vec![*first], allowed[1..].to_vec()),
        Placement::Shared if others.is_empty() => (both.clone(), both),
        Placement::Shared => (both, others.to_vec()),
    };
    Ok(Cores { proxy, load })
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
pub(super) fn warn_if_busy(cores: &Cores) {
    for cores in [&cores.proxy, &cores.load] {
        let Ok(before) = measure::core_times(cores) else { return };
        sleep(LISTEN);
        let Ok(after) = measure::core_times(cores) else { return };
        let busy = after.busy_since(&before);
        if busy > NOISE {
            let list = process::core_list(cores);
            println!("warning: core {list} is {:.0} % busy before anything has started", busy * 100.0);
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
    fn cores_are_dealt_out() {
        let placed = |allowed: &[usize], placement| {
            let cores = place(allowed, placement).unwrap();
            (cores.proxy, cores.load)
        };
        assert_eq!(placed(&[0, 1, 2], Placement::Apart), (vec![0], vec![1]));
        assert_eq!(placed(&[0, 1, 2], Placement::Wide), (vec![0], vec![1, 2]));
        assert_eq!(placed(&[0, 1], Placement::Shared), (vec![0, 1], vec![0, 1]));
        assert_eq!(placed(&[4, 5, 6, 7], Placement::Shared), (vec![4, 5], vec![6, 7]));
        assert!(place(&[3], Placement::Apart).unwrap_err().contains("two cores"));
    }

    #[test]
    fn today_is_a_date() {
        let date = date().unwrap();
        assert_eq!(date.split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2], "{date}");
    }
}

//! What a process and a core used, from `/proc`.

use std::fs;
use std::sync::OnceLock;
use std::time::Instant;

use super::Cores;
use super::process::Process;
use crate::shell::{self, Outcome};

/// What was used up to one moment.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    when: Instant,
    group: Group,
    proxy_cores: CoreTimes,
    load_cores: CoreTimes,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// User and system time of the proxy, all its processes and threads.
    pub(super) cpu_us: f64,
    /// The most it ever held in memory.
    pub(super) peak_mib: f64,
    pub(super) busy: Busy,
}

/// How busy the cores were, each as a share from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Busy {
    /// Of its cores, what the proxy itself used.
    pub(super) proxy_share: f64,
    /// The proxy's cores, with whatever.
    pub(super) proxy_cores: f64,
    /// The cores of origin and load generator.
    pub(super) load_cores: f64,
    /// Both are the same cores.
    pub(super) shared: bool,
}

/// What the processes of one group came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// User and system time, in clock ticks.
    ticks: u64,
    /// Memory held now; pages that its processes share count for each.
    pub(super) rss_kib: u64,
    /// Sum of the peaks of its processes.
    pub(super) peak_kib: u64,
    pub(super) processes: Vec<u32>,
}

/// What one run came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// In the order of the row's columns.
    pub(super) values: Vec<f64>,
    /// Where cores were watched.
    pub(super) busy: Option<Busy>,
    /// Connect, read, write and status errors, wrong bodies and timeouts.
    pub(super) errors: u64,
}

/// Times of one core since boot, or of several added up, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CoreTimes {
    busy: u64,
    total: u64,
}

impl CoreTimes {
    /// Share of the time since then that the core was busy.
    pub(super) fn busy_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        if total == 0 { 0.0 } else { self.busy.saturating_sub(before.busy) as f64 / total as f64 }
    }
}

impl Usage {
    pub(super) fn now(process: &Process, cores: &Cores) -> Outcome<Self> {
        let group = Group::of(process.group())?;
        let (proxy_cores, load_cores) = (core_times(&cores.proxy)?, core_times(&cores.load)?);
        Ok(Self { when: Instant::now(), group, proxy_cores, load_cores })
    }

    /// What was used since then.
    pub(super) fn since(&self, before: &Self, cores: &Cores) -> Outcome<Used> {
        let ticks = self.group.ticks.saturating_sub(before.group.ticks);
        let cpu_us = ticks as f64 * 1e6 / ticks_per_second()?;
        let seconds = (self.when - before.when).as_secs_f64();
        let busy = Busy {
            proxy_share: cpu_us / 1e6 / seconds / cores.proxy.len() as f64,
            proxy_cores: self.proxy_cores.busy_since(&before.proxy_cores),
            load_cores: self.load_cores.busy_since(&before.load_cores),
            shared: cores.proxy == cores.load,
        };
        Ok(Used { cpu_us, peak_mib: self.group.peak_kib as f64 / 1024.0, busy })
    }
}

/// The middle of some numbers, or the mean of the two in the middle; 0 of none.
pub(super) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

impl Group {
    /// All processes of a group, as they are now.
    pub(super) fn of(group: u32) -> Outcome<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten() {
            // Not a process, or one that has just ended.
            let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some(stat) = parse_stat(&text).filter(|stat| stat.group == group) else { continue };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            found.ticks += stat.ticks;
            found.rss_kib += parse_kib(&status, "VmRSS:");
            found.peak_kib += parse_kib(&status, "VmHWM:");
            found.processes.extend(entry.file_name().to_string_lossy().parse::<u32>());
        }
        if found.processes.is_empty() { Err("the proxy is gone".to_owned()) } else { Ok(found) }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: u32,
    ticks: u64,
}

/// `/proc/PID/stat` (proc(5)): the name in parentheses may hold anything, so counting begins behind it.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { group: u32::try_from(field(5)?).ok()?, ticks: field(14)?.checked_add(field(15)?)? })
}

fn parse_kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Times of some cores up to now, added up.
pub(super) fn core_times(cores: &[usize]) -> Outcome<CoreTimes> {
    let text = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let mut sum = CoreTimes { busy: 0, total: 0 };
    for core in cores {
        let times = parse_core(&text, *core).ok_or_else(|| format!("/proc/stat has no core {core}"))?;
        sum = CoreTimes { busy: sum.busy + times.busy, total: sum.total + times.total };
    }
    Ok(sum)
}

fn parse_core(text: &str, core: usize) -> Option<CoreTimes> {
    let name = format!("cpu{core}");
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(&name))?;
    // user nice system idle iowait irq softirq steal; guest times are within user's.
    let fields: Vec<u64> = line.split_whitespace().skip(1).take(8).map_while(|f| f.parse().ok()).collect();
    let total: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(CoreTimes { busy: total - idle, total })
}

fn ticks_per_second() -> Outcome<f64> {
    static TICKS: OnceLock<f64> = OnceLock::new();
    if let Some(ticks) = TICKS.get() {
        return Ok(*ticks);
    }
    let text = shell::output(std::process::Command::new("getconf").arg("CLK_TCK"))?;
    let ticks = text.trim().parse().map_err(|_| format!("getconf CLK_TCK says {}", text.trim()))?;
    Ok(*TICKS.get_or_init(|| ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let text = "77 (a ) b) S 1 4242 77 0 -1 4194560 1 0 0 0 250 130 9 9 20 0 1 0 100 1 1";
        assert_eq!(parse_stat(text), Some(Stat { group: 4242, ticks: 380 }));
        assert_eq!(parse_stat("77 (cut) S 1 42"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn peaks_and_cores_are_read() {
        assert_eq!(parse_kib("Name:\tx\nVmHWM:\t   5312 kB\nVmRSS:\t 1 kB\n", "VmHWM:"), 5312);
        assert_eq!(parse_kib("Name:\tkthread\n", "VmHWM:"), 0);
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 40 5 6 7 8 90 90\ncpu10 1 1 1 1 1 1 1 1 0 0\ncpu1 10 0 0 90 0 0 0 0 0 0\n";
        assert_eq!(parse_core(text, 0), Some(CoreTimes { busy: 27, total: 72 }));
        assert_eq!(parse_core(text, 1), Some(CoreTimes { busy: 10, total: 100 }));
        assert_eq!(parse_core(text, 2), None);
    }

    #[test]
    fn medians_take_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn what_was_used_is_a_difference() {
        let core = |busy, total| CoreTimes { busy, total };
        let when = Instant::now();
        let group = |ticks, peak_kib| Group { ticks, peak_kib, ..Group::default() };
        let before = Usage { when, group: group(100, 1), proxy_cores: core(0, 0), load_cores: core(50, 100) };
        let after = Usage {
            when: when + Duration::from_secs(2),
            group: group(200, 2048),
            proxy_cores: core(150, 200),
            load_cores: core(250, 300),
        };
        let used = after.since(&before, &Cores { proxy: vec![0], load: vec![1] }).unwrap();
        let cpu_us = 100.0 * 1e6 / ticks_per_second().unwrap();
        assert_eq!((used.cpu_us, used.peak_mib), (cpu_us, 2.0));
        let share = cpu_us / 2e6;
        assert_eq!(used.busy, Busy { proxy_share: share, proxy_cores: 0.75, load_cores: 1.0, shared: false });
        let both = Cores { proxy: vec![0, 1], load: vec![0, 1] };
        let busy = after.since(&before, &both).unwrap().busy;
        assert_eq!((busy.proxy_share, busy.shared), (share / 2.0, true));
    }

    #[test]
    fn our_own_times_are_found() {
        let stat = parse_stat(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        let group = Group::of(stat.group).unwrap();
        assert!(group.peak_kib >= group.rss_kib && group.rss_kib > 0);
        assert!(group.processes.contains(&std::process::id()));
        assert!(Group::of(u32::MAX).is_err());
    }
}

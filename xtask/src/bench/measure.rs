//! What a process and a core used, from `/proc`.

use std::fs;
use std::sync::OnceLock;
use std::time::Instant;

use super::Cores;
use super::load::Loaded;
use super::process::Process;
use crate::shell::{self, Outcome};

/// What was used up to one moment.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    when: Instant,
    /// User and system time of the whole process group, in clock ticks.
    ticks: u64,
    /// Sum of the peaks of its processes; pages they share count for each.
    peak_kib: u64,
    proxy_core: CoreTimes,
    load_core: CoreTimes,
}

/// What one run came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// CPU microseconds of the proxy for one request.
    pub(super) cost_us: f64,
    pub(super) requests_per_s: f64,
    pub(super) mib_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) peak_mib: f64,
    /// Share of its core that the proxy itself used, 0 to 1.
    pub(super) proxy_share: f64,
    /// Share of the proxy's core that was busy, with whatever.
    pub(super) proxy_core: f64,
    /// Share of the core of origin and load generator that was busy.
    pub(super) load_core: f64,
    /// Connect, read, write and status errors, and timeouts.
    pub(super) errors: u64,
}

/// Times of one core since boot, in ticks.
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
    pub(super) fn now(process: &Process, cores: Cores) -> Outcome<Self> {
        let (ticks, peak_kib) = group_usage(process.group())?;
        let (proxy_core, load_core) = (core_times(cores.proxy)?, core_times(cores.load)?);
        Ok(Self { when: Instant::now(), ticks, peak_kib, proxy_core, load_core })
    }
}

/// Puts together what was used and what was done with it.
pub(super) fn sample(before: &Usage, after: &Usage, loaded: &Loaded) -> Outcome<Sample> {
    if loaded.requests == 0 || loaded.duration_us == 0 {
        return Err("not one request was answered".to_owned());
    }
    let used_us = after.ticks.saturating_sub(before.ticks) as f64 * 1e6 / ticks_per_second()?;
    let seconds = loaded.duration_us as f64 / 1e6;
    Ok(Sample {
        cost_us: used_us / loaded.requests as f64,
        requests_per_s: loaded.requests as f64 / seconds,
        mib_per_s: loaded.bytes as f64 / (1024.0 * 1024.0) / seconds,
        p50_ms: loaded.p50_us as f64 / 1e3,
        p99_ms: loaded.p99_us as f64 / 1e3,
        p999_ms: loaded.p999_us as f64 / 1e3,
        peak_mib: after.peak_kib as f64 / 1024.0,
        proxy_share: used_us / 1e6 / (after.when - before.when).as_secs_f64(),
        proxy_core: after.proxy_core.busy_since(&before.proxy_core),
        load_core: after.load_core.busy_since(&before.load_core),
        errors: loaded.errors,
    })
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

/// Ticks and peak memory (KiB) over all processes of a group.
fn group_usage(group: u32) -> Outcome<(u64, u64)> {
    let (mut ticks, mut peak_kib, mut found) = (0, 0, false);
    for entry in fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten() {
        // Not a process, or one that has just ended.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(stat) = parse_stat(&text).filter(|stat| stat.group == group) else { continue };
        ticks += stat.ticks;
        peak_kib += fs::read_to_string(entry.path().join("status")).map_or(0, |text| parse_peak_kib(&text));
        found = true;
    }
    if found { Ok((ticks, peak_kib)) } else { Err("the proxy is gone".to_owned()) }
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

fn parse_peak_kib(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Times of one core up to now.
pub(super) fn core_times(core: usize) -> Outcome<CoreTimes> {
    let text = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    parse_core(&text, core).ok_or_else(|| format!("/proc/stat has no core {core}"))
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
        assert_eq!(parse_peak_kib("Name:\tx\nVmHWM:\t   5312 kB\nVmRSS:\t 1 kB\n"), 5312);
        assert_eq!(parse_peak_kib("Name:\tkthread\n"), 0);
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
    fn a_sample_is_a_difference() {
        let core = |busy, total| CoreTimes { busy, total };
        let when = Instant::now();
        let before =
            Usage { when, ticks: 100, peak_kib: 1, proxy_core: core(0, 0), load_core: core(50, 100) };
        let after = Usage {
            when: when + Duration::from_secs(2),
            ticks: 200,
            peak_kib: 2048,
            proxy_core: core(150, 200),
            load_core: core(250, 300),
        };
        let loaded = Loaded {
            requests: 100_000,
            duration_us: 2_000_000,
            bytes: 4 << 20,
            p50_us: 700,
            ..Loaded::default()
        };
        let found = sample(&before, &after, &loaded).unwrap();
        let cost = 100.0 * 1e6 / ticks_per_second().unwrap() / 100_000.0;
        assert_eq!((found.cost_us, found.requests_per_s, found.mib_per_s), (cost, 50_000.0, 2.0));
        assert_eq!((found.p50_ms, found.peak_mib, found.proxy_core, found.load_core), (0.7, 2.0, 0.75, 1.0));
        assert!(sample(&before, &after, &Loaded::default()).is_err());
    }

    #[test]
    fn our_own_times_are_found() {
        let stat = parse_stat(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(group_usage(stat.group).unwrap().1 > 0);
        assert!(group_usage(u32::MAX).is_err());
    }
}

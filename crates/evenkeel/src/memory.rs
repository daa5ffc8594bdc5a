//! Whether memory is about to run out. Where a cgroup limits it, the kernel's answer is to end the process, and with
//! it everybody who is being served; refusing new work in time costs only those who come late.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_state::{MEMORY_FULL_PERCENT, Registry};

use crate::logs::tell;
use crate::units::bytes;

/// From this share on, one looks closer.
const BUSY_PERCENT: u8 = 50;
/// How often then: a tenth of a small limit is filled within some 50 ms.
const OFTEN: Duration = Duration::from_millis(20);
/// And when there is room.
const SELDOM: Duration = Duration::from_millis(250);

/// Looks at what is in use, and has the workers refuse new work while it is too much. Returns at once where nothing
/// limits it.
pub(crate) async fn watch(registry: Arc<Registry>) {
    let levels = own_levels();
    let mut was_short = false;
    while let Some(fullest) = levels.iter().filter_map(Level::usage).max_by_key(Usage::percent) {
        registry.published().set_memory_percent(fullest.percent());
        let is_short = fullest.percent() >= MEMORY_FULL_PERCENT;
        if is_short != was_short {
            was_short = is_short;
            let (used, limit) = (bytes(fullest.used), bytes(fullest.limit));
            let then = if is_short { "new work is refused (overloaded)" } else { "new work is taken again" };
            tell(&format!("evenkeel: {used} of {limit} of memory are in use: {then}"));
        }
        if fullest.percent() > BUSY_PERCENT {
            remind_allocator();
            tokio::time::sleep(OFTEN).await;
        } else {
            tokio::time::sleep(SELDOM).await;
        }
    }
}

/// mimalloc gives free pages back after a delay, but only when something else is freed: in a process that has fallen
/// idle after a peak, nothing is. A large block comes from the system and goes there; it is never touched.
fn remind_allocator() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(8 << 20)));
}

/// A memory cgroup that holds this process, of either version (Linux `cgroup-v2.rst`, `cgroup-v1/memory.rst`).
#[derive(Debug, PartialEq, Eq)]
struct Level {
    folder: PathBuf,
    is_v2: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    used: u64,
    limit: u64,
}

impl Usage {
    fn percent(&self) -> u8 {
        let percent = self.used.saturating_mul(100) / self.limit.max(1);
        u8::try_from(percent).unwrap_or(u8::MAX)
    }
}

impl Level {
    /// What is in use, and how much may be; none without a limit.
    fn usage(&self) -> Option<Usage> {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let (used, limit, idle) = if self.is_v2 {
            (number("memory.current")?, number("memory.max")?, "inactive_file ")
        } else {
            (number("memory.usage_in_bytes")?, number("memory.limit_in_bytes")?, "total_inactive_file ")
        };
        // Version 1 writes "none" as a number near the largest one.
        if limit >= 1 << 60 {
            return None;
        }
        // Files that were read or written once, such as logs: the kernel takes that back before it ends anybody.
        let idle = read("memory.stat")?.lines().find_map(|line| line.strip_prefix(idle)?.parse::<u64>().ok());
        Some(Usage { used: used.saturating_sub(idle.unwrap_or(0)), limit })
    }
}

/// Our own cgroup and those around it: each may have the tighter limit.
fn own_levels() -> Vec<Level> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    levels(&text).into_iter().filter(|level| level.usage().is_some()).collect()
}

/// What `/proc/self/cgroup` says: lines of `number:controllers:path` (cgroups(7)).
fn levels(text: &str) -> Vec<Level> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_v2 = number == "0" && controllers.is_empty();
        let root = match is_v2 {
            true => "/sys/fs/cgroup",
            false if controllers.split(',').any(|name| name == "memory") => "/sys/fs/cgroup/memory",
            false => return None,
        };
        Some((is_v2, root, path.trim_start_matches('/').to_owned()))
    };
    let of_cgroup = |(is_v2, root, path): (bool, &str, String)| {
        // In a container the path may be that of the host; the container's own limit then stands at the root.
        let folders = Path::new(&path).ancestors().map(|path| Path::new(root).join(path));
        folders.map(|folder| Level { folder, is_v2 }).collect::<Vec<_>>()
    };
    text.lines().filter_map(of_line).flat_map(of_cgroup).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_testkit::TempDir;

    #[test]
    fn every_level_around_us_is_looked_at() {
        let folders = |text: &str| -> Vec<(String, bool)> {
            levels(text).into_iter().map(|level| (level.folder.display().to_string(), level.is_v2)).collect()
        };
        assert_eq!(
            folders("0::/system.slice/evenkeel.service\n"),
            [
                ("/sys/fs/cgroup/system.slice/evenkeel.service".to_owned(), true),
                ("/sys/fs/cgroup/system.slice".to_owned(), true),
                ("/sys/fs/cgroup/".to_owned(), true),
            ]
        );
        assert_eq!(
            folders("5:cpu,cpuacct:/a\n4:memory:/a\n"),
            [("/sys/fs/cgroup/memory/a".to_owned(), false), ("/sys/fs/cgroup/memory/".to_owned(), false)]
        );
        assert!(folders("").is_empty() && folders("odd\n1:\n").is_empty());
    }

    #[test]
    fn what_the_kernel_can_take_back_is_not_in_use() {
        let dir = TempDir::new();
        let level = |is_v2| Level { folder: dir.path().to_owned(), is_v2 };
        assert_eq!(level(true).usage(), None);
        dir.write("memory.current", "950\n");
        dir.write("memory.max", "1000\n");
        dir.write("memory.stat", "anon 5\ninactive_file 50\ntotal_inactive_file 60\n");
        assert_eq!(level(true).usage(), Some(Usage { used: 900, limit: 1000 }));
        assert_eq!(level(true).usage().map(|usage| usage.percent()), Some(90));
        dir.write("memory.max", "max\n");
        assert_eq!(level(true).usage(), None);
        dir.write("memory.usage_in_bytes", "60\n");
        dir.write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(level(false).usage(), None);
        dir.write("memory.limit_in_bytes", "0\n");
        assert_eq!(level(false).usage().map(|usage| usage.percent()), Some(0), "60 of 60 can be taken back");
    }
}

//! Programs that are started on certain cores and stopped on every way out.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::shell::{self, Outcome};

/// How long a program may take to accept its first connection.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to end once asked; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at something that nothing announces.
const GLANCE: Duration = Duration::from_millis(5);
/// Open files for each program, where the hard limit allows: 10,000 clients, as many targets, and room.
const FILES: u64 = 65_536;
/// Ports that are tried, below those of outgoing connections.
const FIRST_PORT: u16 = 10_000;
const FIRST_OUTGOING: u16 = 32_768;
/// Where distributions put servers, whether or not a user's path names it.
const SERVER_FOLDER: &str = "/usr/sbin";

/// A program and all it started. Dropping it stops them; should we be killed ourselves, the kernel does.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program on some cores, in a process group of its own, with its output in a file of `scratch`, and
    /// with as many open files as it may have. The kernel ends it when the thread that started it ends.
    pub(super) fn start<A: AsRef<OsStr>>(
        name: &str,
        cores: &[usize],
        scratch: &Scratch,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Outcome<Self> {
        let log = scratch.path(&format!("{name}.out"));
        let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", "prlimit", &format!("--nofile={}:", most_files()), "--"])
            .args(["taskset", "--cpu-list", &core_list(cores)])
            .arg(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("cannot start {name} through setpriv: {e}"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// The process group, which is the id of the program itself.
    pub(super) fn group(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program itself, not to its children.
    pub(super) fn send(&self, name: &str) {
        signal(&format!("kill -s {name} {}", self.group()));
    }

    /// Ends it and its children at once, without asking, and waits until they are gone.
    pub(super) fn kill(mut self) {
        signal(&format!("kill -s KILL -- -{}", self.group()));
        self.ends_within(STOP_LIMIT);
    }

    /// What it printed so far.
    pub(super) fn printed(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until something accepts at `address`.
    pub(super) fn accepts(&mut self, address: SocketAddr) -> Outcome {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect_timeout(&address, START_LIMIT).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once ({status}): {}", self.name, self.printed().trim()));
            }
            if Instant::now() > deadline {
                return Err(format!("{} accepts nothing at {address}: {}", self.name, self.printed().trim()));
            }
            sleep(GLANCE);
        }
        Ok(())
    }

    /// Waits until it has printed a line that begins so, and gives the rest of that line.
    pub(super) fn says(&mut self, begin: &str, limit: Duration) -> Outcome<String> {
        let deadline = Instant::now() + limit;
        loop {
            let over = !matches!(self.child.try_wait(), Ok(None)) || Instant::now() > deadline;
            let printed = self.printed();
            if let Some(rest) = printed.lines().find_map(|line| line.strip_prefix(begin)) {
                return Ok(rest.trim().to_owned());
            }
            if over {
                return Err(format!("{} never said {begin:?}: {}", self.name, printed.trim()));
            }
            sleep(GLANCE);
        }
    }

    /// Waits for the end; `None` when it does not come in time.
    pub(super) fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => sleep(GLANCE),
                _ => return None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = self.group();
        if matches!(self.child.try_wait(), Ok(None)) {
            self.send("TERM");
            self.ends_within(STOP_LIMIT);
        }
        // Whatever is left of the group; mostly nothing, which is no error.
        signal(&format!("kill -s KILL -- -{group}"));
        if let Err(e) = self.child.wait() {
            eprintln!("{} cannot be waited for: {e}", self.name);
        }
    }
}

/// This program, for the parts of the harness that run in processes of their own.
pub(super) fn ourselves() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(|e| format!("where is this program? {e}"))
}

/// Where a program is; `None` when it is not installed.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    shell::on_path(name).or_else(|| Some(Path::new(SERVER_FOLDER).join(name)).filter(|file| file.is_file()))
}

/// Core lists as `taskset` reads them.
pub(super) fn core_list(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Open files that a program of ours may have.
pub(super) fn most_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    hard_limit(&limits).unwrap_or(FILES).min(FILES)
}

/// `Max open files  SOFT  HARD  files`; `None` when there is no limit.
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The standard library can only kill; a master process must be asked, or its workers stay.
fn signal(command: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(e) = shell.status() {
        eprintln!("cannot signal ({command}): {e}");
    }
}

/// A folder for configurations, logs and bodies, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
}

const SCRATCH_PREFIX: &str = "evenkeel-bench-";

impl Scratch {
    pub(super) fn new() -> Outcome<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{SCRATCH_PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self { folder })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder itself, as configurations name it.
    pub(super) fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Outcome<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays behind: {e}", self.folder.display());
        }
    }
}

/// Removes what runs left behind that were killed: their process is gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner =
            name.strip_prefix(SCRATCH_PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            // Another sweep may have been faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A port that was free a moment ago, and that the kernel gives to no outgoing connection: the load opens thousands.
pub(super) fn free_address() -> Outcome<SocketAddr> {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(FIRST_OUTGOING);
    let count = u32::from(end.max(FIRST_PORT + 1) - FIRST_PORT);
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..count {
        let turn = TURN.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % count;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + turn as u16));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_children_end_when_dropped() {
        let scratch = Scratch::new().unwrap();
        let script = "sleep 1000 & echo $!; exec sleep 1000";
        let process = Process::start("sleeper", &[0], &scratch, Path::new("sh"), ["-c", script]).unwrap();
        let deadline = Instant::now() + START_LIMIT;
        while process.printed().is_empty() && Instant::now() < deadline {
            sleep(GLANCE);
        }
        let child = process.printed().trim().to_owned();
        let (folder, group) = (scratch.path(""), process.group());
        assert!(is_alive(&child) && is_alive(&group.to_string()), "{child}");
        drop(process);
        drop(scratch);
        while is_alive(&child) && Instant::now() < deadline {
            sleep(GLANCE);
        }
        assert!(!is_alive(&child) && !is_alive(&group.to_string()));
        assert!(!folder.exists());
    }

    #[test]
    fn free_ports_are_told_apart() {
        let (one, other) = (free_address().unwrap(), free_address().unwrap());
        assert!(one != other && one.port() >= FIRST_PORT && one.ip().is_loopback());
    }

    #[test]
    fn what_a_process_says_is_waited_for() {
        let scratch = Scratch::new().unwrap();
        let run =
            |script| Process::start("speaker", &[0], &scratch, Path::new("sh"), ["-c", script]).unwrap();
        assert_eq!(run("echo a; echo held 7; sleep 1000").says("held ", START_LIMIT), Ok("7".to_owned()));
        assert!(run("echo no").says("held ", START_LIMIT).unwrap_err().contains("no"));
    }

    #[test]
    fn limits_are_read() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(hard_limit(text), Some(524_288));
        assert_eq!(hard_limit("Max open files  1024  unlimited  files"), None);
        assert_eq!(core_list(&[0, 2]), "0,2");
    }

    fn is_alive(id: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }
}

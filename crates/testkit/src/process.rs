//! A process that belongs to one test: its output is kept, and nothing of it outlives its handle.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Output kept per stream; what comes later is read and dropped, so that the process never blocks on us.
const MAX_OUTPUT_BYTES: usize = 4 << 20;
/// Marks every descendant, so that those that outlive the first process are found and ended, too.
const MARK: &str = "EVENKEEL_TESTKIT_RUN";

/// A running process and its descendants. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    pid: u32,
    mark: String,
    child: Mutex<Child>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
}

impl Running {
    /// Starts the command in a process group of its own; stdin is empty, stdout and stderr are captured.
    pub fn spawn(mut command: Command) -> std::io::Result<Self> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let mark = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        command.env(MARK, &mark).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        Ok(Self {
            name: command.get_program().to_string_lossy().into_owned(),
            pid: child.id(),
            mark,
            stdout: Output::collect(child.stdout.take().unwrap()),
            stderr: Output::collect(child.stderr.take().unwrap()),
            child: Mutex::new(child),
        })
    }

    /// Process id of the first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal, such as `signal::SIGHUP`, to the first process; none if it was reaped already.
    pub fn signal(&self, signal: i32) {
        if self.exited().is_none() {
            kill(signal, &self.pid.to_string());
        }
    }

    /// The exit status, once it has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits until it ends by itself; panics after `timeout`.
    #[track_caller]
    pub fn wait_exit(&self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} still runs after {timeout:?}\n{}",
                self.name,
                self.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text.lock().unwrap().0.clone()
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text.lock().unwrap().0.clone()
    }

    /// Waits for a whole line with this text on stderr and returns it; `None` after `timeout` or at the end.
    pub fn wait_stderr(&self, text: &str, timeout: Duration) -> Option<String> {
        self.stderr.wait(text, timeout)
    }

    /// Waits for a whole line with this text on stdout and returns it; `None` after `timeout` or at the end.
    pub fn wait_stdout(&self, text: &str, timeout: Duration) -> Option<String> {
        self.stdout.wait(text, timeout)
    }

    /// Resident memory in bytes; 0 when it has ended.
    pub fn rss_bytes(&self) -> u64 {
        self.status_field("VmRSS:") * 1024
    }

    /// Number of threads; 0 when it has ended.
    pub fn threads(&self) -> u64 {
        self.status_field("Threads:")
    }

    /// User and system time in seconds, to a hundredth; 0 when it has ended.
    pub fn cpu_seconds(&self) -> f64 {
        let ticks = stat_field(self.pid, 14).unwrap_or(0) + stat_field(self.pid, 15).unwrap_or(0);
        ticks as f64 / 100.0
    }

    /// Number of open file descriptors; 0 when it has ended.
    pub fn fd_count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// What its open descriptors lead to, in no order.
    pub fn descriptors(&self) -> Vec<String> {
        let links = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        let lead = |link: fs::DirEntry| fs::read_link(link.path()).ok();
        links.filter_map(lead).map(|to| to.to_string_lossy().into_owned()).collect()
    }

    /// Ids of all its processes alive now, descendants included, also those that outlived the first.
    pub fn family(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark);
        // Once the first is reaped, its number may belong to others.
        let group = if self.exited().is_none() { self.pid } else { 0 };
        let ours = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let marked = environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes());
            // Some servers write their titles over the mark; the group has them still.
            is_alive(*pid) && (marked || (group != 0 && stat_field(*pid, 5) == Some(u64::from(group))))
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = self.family();
        if self.exited().is_none() {
            // Not reaped yet, so the group's number is still ours.
            kill(libc::SIGKILL, &format!("-{}", self.pid));
        }
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        for pid in self.family() {
            kill(libc::SIGKILL, &pid.to_string());
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while family.iter().any(|&pid| is_alive(pid)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if thread::panicking() {
            let stderr = self.stderr();
            let tail: Vec<&str> = stderr.lines().rev().take(40).collect();
            eprintln!("--- the end of what {} wrote to stderr:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Field `n` of `/proc/pid/stat`, counted from 1 as in proc(5); only those after the name, from 4 on.
fn stat_field(pid: u32, n: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state, field 3, follows it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(n - 3)?.parse().ok()
}

/// Whether it runs: a zombie waits only for its parent.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z") && !rest.starts_with(" X"))
}

/// Through the shell, whose `kill` is built in: a signal would otherwise be the only `unsafe` line of tests.
fn kill(signal: i32, whom: &str) {
    let script = format!("kill -s {signal} -- {whom}");
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

#[derive(Debug, Default)]
struct Output {
    /// The text, and whether it is at its end.
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

impl Output {
    fn collect(from: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let mine = Arc::clone(&output);
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let mut text = mine.text.lock().unwrap();
                if text.0.len() < MAX_OUTPUT_BYTES {
                    text.0.push_str(&String::from_utf8_lossy(&line));
                }
                drop(text);
                mine.grown.notify_all();
                line.clear();
            }
            mine.text.lock().unwrap().1 = true;
            mine.grown.notify_all();
        });
        output
    }

    fn wait(&self, wanted: &str, timeout: Duration) -> Option<String> {
        let find = |text: &str| text.lines().find(|line| line.contains(wanted)).map(str::to_owned);
        let waits = |text: &mut (String, bool)| !text.1 && find(&text.0).is_none();
        let text = self.grown.wait_timeout_while(self.text.lock().unwrap(), timeout, waits).unwrap().0;
        find(&text.0)
    }
}

/// Whether a path names an executable file.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

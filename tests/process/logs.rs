//! F40: a log that cannot be written – a full disk, a reader that stalls – costs lines, which are counted, and never
//! time of anybody else.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Evenkeel, Hang, Launch, Load, LoadPlan, Origin, TempDir, judge, signal, skip, wait_until,
};

use crate::support::{BIN, http};
use crate::world::{Kept, MOMENT, events, number, tell};

/// Puts a file system of 64 KiB on the folder `log`, seen by the process alone.
const TINY_DISK: [&str; 6] =
    ["unshare", "-m", "sh", "-c", "mkdir -p log && mount -t tmpfs -o size=64k none log && exec \"$@\"", "sh"];

/// Whether `TINY_DISK` works here.
fn have_tiny_disks() -> Result<(), String> {
    let dir = TempDir::new();
    let tried = Command::new(TINY_DISK[0]).args(&TINY_DISK[1..]).arg("true").current_dir(dir.path()).output();
    let tried = tried.map_err(|error| error.to_string())?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
    }
}

/// A pipe with a name, that nobody reads as long as this is only held.
struct Blocked {
    pipe: File,
    dir: TempDir,
}

impl Blocked {
    fn new() -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Open for both, it waits for nobody, and never ends for the other side.
        let pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Self { pipe, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("pipe")
    }

    /// Whoever writes from now on waits; a pipe holds 64 KiB (pipe(7)).
    fn fill(&mut self) {
        self.pipe.write_all(&vec![b'.'; 64 << 10]).unwrap();
    }
}

fn dropped(proxy: &Evenkeel) -> u64 {
    proxy.metric("evenkeel_access_log_dropped_total", &[]) as u64
}

#[test]
fn f40_a_full_disk_costs_lines_and_no_time() {
    if let Err(error) = have_tiny_disks() {
        skip!("no file system can be mounted: {error}");
    }
    let origin = Origin::start("a");
    let logging = format!("[access_log]\npath = \"{{dir}}/log/access.log\"\n{}", http(&[origin.addr()], ""));
    let plain = crate::support::start(&http(&[origin.addr()], ""));
    let proxy = Launch::new(BIN, &logging).wrap(&TINY_DISK).start();
    let pause = Duration::from_millis(2);
    let plan = LoadPlan { connections: 4, pause, requests: Some(2_000), ..LoadPlan::default() };
    let without = judge(&Load::run(plain.listener_addr("web"), plan.clone()), &[origin.journal()]);
    let with = judge(&Load::run(proxy.listener_addr("web"), plan), &[origin.journal()]);
    with.assert_all_answered("F40 full disk");
    println!("F40: p99 {:?} with a full disk, {:?} without a log", with.latency(99.0), without.latency(99.0));
    // Whoever waits for the disk waits again and again; what waits for a core, of which the tests share two, is some.
    let (with, without) = (with.latency(50.0), without.latency(50.0));
    assert!(with < without + Duration::from_millis(20), "p50 {with:?}, and {without:?} without a log");

    let log = format!("/proc/{}/root{}/log/access.log", proxy.pid(), proxy.dir().display());
    let lines = || fs::read(&log).unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
    wait_until("every line to be written or counted", MOMENT, || lines() + dropped(&proxy) == 2_000);
    let lost = dropped(&proxy);
    println!("F40: {} lines written, {lost} dropped", lines());
    assert!(lost > 0 && lines() > 0, "the disk was not full");
    assert_eq!(number(&proxy.admin_json("/api/v1/status")["access_log_dropped"]), lost);

    // When there is room again, lines are written again.
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    let client =
        Load::run(proxy.listener_addr("web"), LoadPlan { requests: Some(20), ..LoadPlan::default() });
    judge(&client, &[origin.journal()]).assert_all_answered("F40 room again");
    wait_until("lines to be written again", MOMENT, || lines() >= 20);
    assert_eq!(dropped(&proxy), lost);
}

#[test]
fn f40_a_reader_that_stalls_costs_lines_and_no_time() {
    let origin = Origin::start("a");
    let mut blocked = Blocked::new();
    let config =
        format!("[access_log]\npath = \"{}\"\n{}", blocked.path().display(), http(&[origin.addr()], ""));
    let proxy = Launch::new(BIN, &config).start();
    blocked.fill();
    // Long lines, so that the queue before the writer, 32 MiB, is soon full.
    let path = format!("/{}", "x".repeat(7_000));
    let plan = LoadPlan { connections: 4, path, requests: Some(7_000), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    let verdict = judge(&client, &[origin.journal()]);
    verdict.assert_all_answered("F40 stalled reader");
    println!("F40: p50 {:?} p99 {:?}", verdict.latency(50.0), verdict.latency(99.0));
    assert!(verdict.latency(50.0) < Duration::from_millis(50), "p50 {:?}", verdict.latency(50.0));
    assert!(dropped(&proxy) > 0, "nothing was dropped: the queue has no limit?");

    // The reader wakes up: what was kept arrives whole, and the rest was counted.
    let reader = Reader::start(&blocked.pipe);
    wait_until("every line to be read or counted", MOMENT, || reader.lines() + dropped(&proxy) == 7_000);
    println!("F40: {} lines read, {} dropped", reader.lines(), dropped(&proxy));
    assert!(reader.lines() > 0);
    assert_eq!(number(&proxy.admin_json("/api/v1/status")["access_log_dropped"]), dropped(&proxy));
    drop(proxy);
    reader.stop(&mut blocked.pipe);
}

/// Counts the lines that come through a pipe.
struct Reader {
    lines: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(pipe: &File) -> Self {
        let mut pipe = pipe.try_clone().unwrap();
        let lines = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            let mut piece = vec![0; 64 << 10];
            loop {
                let read = pipe.read(&mut piece).unwrap();
                let ends = piece[..read].iter().filter(|byte| **byte == b'\n').count();
                count.fetch_add(ends as u64, SeqCst);
                if piece[..read].contains(&0) {
                    return;
                }
            }
        });
        Self { lines, thread }
    }

    fn lines(&self) -> u64 {
        self.lines.load(SeqCst)
    }

    /// A pipe that is held for both ways has no end: a NUL is it.
    fn stop(self, pipe: &mut File) {
        pipe.write_all(b"\0").unwrap();
        self.thread.join().unwrap();
    }
}

#[test]
fn f40_a_stalled_log_does_not_hold_up_the_end() {
    let origin = Origin::start("a");
    let mut blocked = Blocked::new();
    let config =
        format!("[access_log]\npath = \"{}\"\n{}", blocked.path().display(), http(&[origin.addr()], ""));
    let proxy = Launch::new(BIN, &config).start();
    blocked.fill();
    drop(Kept::idle(proxy.listener_addr("web")));
    let asked = Instant::now();
    proxy.signal(signal::SIGTERM);
    assert_eq!(proxy.wait_exit(MOMENT).code(), Some(0), "{}", proxy.stderr());
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

#[test]
fn f40_a_stalled_standard_error_stalls_nothing_else() {
    let origin = Origin::start("a");
    let mut blocked = Blocked::new();
    let redirected = format!("exec \"$@\" 2> {}", blocked.path().display());
    let config = format!("grace = \"300ms\"\n{}", http(&[origin.addr()], ""));
    let launch = Launch::new(BIN, &config).wrap(&["sh", "-c", &redirected, "sh"]);
    let proxy = launch.env("EVENKEEL_FAILPOINTS", "1").start();
    let web = proxy.listener_addr("web");
    let mut kept = Kept::idle(web);
    blocked.fill();
    // All of these are told on standard error: events, the audit log, refusals, a defect.
    for n in 0..50 {
        let address = format!("127.0.0.1:{}", 2_000 + n);
        tell(&proxy, &["target", "add", "app", &address, "--weight", "0"]).fine();
        assert_eq!(kept.get("/").unwrap().status, 200);
    }
    fs::write(proxy.config_path(), "[").unwrap();
    tell(&proxy, &["reload"]).refused(78);
    let count = events(&proxy).len();
    proxy.signal(signal::SIGHUP);
    wait_until("the refusal to be an event", MOMENT, || events(&proxy).len() > count);
    for _ in 0..4 {
        let mut client = Kept::connect(web);
        client.send("GET / HTTP/1.1\r\nhost: a\r\nx-evenkeel-failpoint: panic\r\n\r\n");
        assert_eq!(client.answer().unwrap().status, 500);
        assert_eq!(kept.get("/").unwrap().status, 200);
    }
    let plan = LoadPlan { connections: 4, requests: Some(1_000), ..LoadPlan::default() };
    judge(&Load::run(web, plan), &[origin.journal()]).assert_all_answered("F40 stderr");
    // And the end, which cuts a request and would like to say so.
    origin.set(|behaviour| behaviour.hang = Some(Hang::Answer));
    let before = origin.journal().len();
    kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_requests(before + 1);
    let asked = Instant::now();
    proxy.signal(signal::SIGTERM);
    assert_eq!(proxy.wait_exit(MOMENT).code(), Some(3));
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

#[test]
fn an_access_log_that_cannot_be_opened_is_one_line_with_its_cause() {
    let origin = Origin::start("a");
    let config =
        format!("[access_log]\npath = \"{{dir}}/absent/access.log\"\n{}", http(&[origin.addr()], ""));
    let failed = Launch::new(BIN, &config).try_start().unwrap_err();
    assert_eq!(failed.status.and_then(|status| status.code()), Some(1), "{failed}");
    assert!(failed.stderr.contains("absent/access.log") && failed.stderr.contains("folder"), "{failed}");
    assert_eq!(failed.stderr.lines().count(), 1, "{failed}");
}

#[test]
fn a_line_tells_what_became_of_a_request() {
    let origin = Origin::start("a");
    let config = format!("[access_log]\npath = \"{{dir}}/access.log\"\n{}", http(&[origin.addr()], ""));
    let proxy = Launch::new(BIN, &config).start();
    let mut client = Kept::connect(proxy.listener_addr("web"));
    assert_eq!(client.get("/shop?item=1").unwrap().status, 200);
    client.send("GET /\x01 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 400);
    let path = proxy.dir().join("access.log");
    let lines = || lines_of(&path);
    wait_until("two lines", MOMENT, || lines().len() == 2);
    let [good, bad] = &lines()[..] else { panic!("{:?}", lines()) };
    for (key, value) in [
        ("method", "GET"),
        ("host", "test.example"),
        ("listener", "web"),
        ("pool", "app"),
        ("end", "finished"),
    ] {
        assert_eq!(good[key], value, "{good}");
    }
    assert_eq!(
        (&good["target"], number(&good["status"])),
        (&origin.addr().to_string().into(), 200),
        "{good}"
    );
    assert!(
        number(&good["total_us"]) >= number(&good["first_byte_us"]) && number(&good["bytes_out"]) > 0,
        "{good}"
    );
    assert!(good["path"].as_str().unwrap().starts_with("/shop"), "{good}");
    assert_eq!((number(&bad["status"]), &bad["end"]), (400, &"bad-target".into()), "{bad}");
}

/// The whole lines; the piece of one that is being written is none yet.
fn lines_of(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

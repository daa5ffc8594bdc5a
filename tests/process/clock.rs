//! F41: the wall clock jumps by an hour, forth and back. Nothing that waits may take it for its time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_testkit::{Launch, Load, LoadPlan, Origin, TempDir, WebSocket, have, judge, skip, wait_until};

use crate::support::{BIN, http};
use crate::world::{Kept, MOMENT, events, number, tell};

/// Lies about the wall clock by as many seconds as the file says, at any moment; the steady clock is left alone, as
/// the kernel leaves it when somebody sets the time.
const LIE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile int64_t *offset;
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void) {
  real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int file = open(getenv("EVENKEEL_TEST_CLOCK"), O_RDONLY);
  void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) offset = page;
}
static int64_t lie(void) { return offset ? *offset : 0; }
int clock_gettime(clockid_t id, struct timespec *now) {
  if (!real) begin();
  int failed = real(id, now);
  if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += lie();
  return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now) *now = precise.tv_sec;
  return precise.tv_sec;
}
"#;

/// Compiles the lie; gcc is what Rust links with.
fn compiled(dir: &TempDir) -> Result<String, String> {
    let source = dir.write("lie.c", LIE);
    let library = dir.path().join("lie.so");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl");
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(library.display().to_string())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Seconds between the time of the newest line of the access log and ours; the piece of a line that is being written
/// is none yet.
fn shift_of_last_line(log: &Path) -> i64 {
    let text = fs::read_to_string(log).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let Some(last) = whole.lines().last() else { return i64::MAX };
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    number(&last["time_ms"]) as i64 / 1000 - ours
}

#[test]
fn f41_a_clock_that_jumps_by_an_hour_ends_nothing() {
    if !have("cc") {
        skip!("there is no C compiler to make a clock that lies");
    }
    let dir = TempDir::new();
    let library = match compiled(&dir) {
        Ok(library) => library,
        Err(error) => skip!("the clock that lies cannot be compiled: {error}"),
    };
    let clock = dir.path().join("clock");
    fs::write(&clock, [0; 8]).unwrap();
    let set = File::options().write(true).open(&clock).unwrap();

    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let config = format!(
        "[access_log]\npath = \"{{dir}}/access.log\"\n{}[pool.app.health]\ncheck = \"http\"\npath = \"/healthz\"\n\
         interval = \"100ms\"\ntimeout = \"100ms\"\n[pool.app.affinity]\nttl = \"10m\"\n",
        http(&[a.addr(), b.addr()], "")
    );
    let launch = Launch::new(BIN, &config).env("LD_PRELOAD", &library);
    let proxy = launch.env("EVENKEEL_TEST_CLOCK", clock.to_str().unwrap()).start();
    let (web, log) = (proxy.listener_addr("web"), proxy.dir().join("access.log"));
    wait_until("both targets to be found up", MOMENT, || events(&proxy).len() == 2);
    let told = events(&proxy).len();
    let mut idle = Kept::idle(web);
    let mut socket = WebSocket::connect(web, "/", Duration::from_secs(30)).unwrap();
    let load =
        Load::start(web, LoadPlan { connections: 4, pause: Duration::from_millis(1), ..LoadPlan::default() });
    for hours in [0_i64, 1, -1, 1, 0] {
        set.write_all_at(&(hours * 3600).to_ne_bytes(), 0).unwrap();
        let checks = a.journal().health_checks();
        load.wait_answers(200);
        wait_until("probes to go on", MOMENT, || a.journal().health_checks() >= checks + 3);
        // That the clock did jump: the log is told by the wall clock.
        wait_until("a line by the new clock", MOMENT, || {
            shift_of_last_line(&log).abs_diff(hours * 3600) < 60
        });
        assert_eq!(idle.get("/").unwrap().status, 200, "an idle connection, {hours} h");
        socket.send("x").unwrap();
        assert_eq!(socket.receive().unwrap(), "x", "a WebSocket, {hours} h");
    }
    let client = load.stop();
    assert_eq!(client.connections(), 4, "connections were closed");
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F41");
    assert_eq!(events(&proxy).len(), told, "{:?}", events(&proxy));
    for reason in ["idle-timeout", "header-timeout", "request-timeout", "write-timeout", "queue-timeout"] {
        let ended = proxy.metric("evenkeel_ends_total", &[&format!("reason=\"{reason}\"")]);
        assert_eq!(ended, 0.0, "{reason}");
    }
    assert!(number(&proxy.admin_json("/api/v1/status")["uptime_s"]) < 60, "the uptime jumped");
    // One client, remembered throughout.
    assert!(tell(&proxy, &["status", "clients"]).fine().contains("127.0.0.1"));
}

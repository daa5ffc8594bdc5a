//! What every story needs around it: directories, ports, peers, and a reason to be skipped.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::process::{Running, is_program};
use crate::stream::{Addr, Stream};

/// Prints why a test cannot run here, and returns from it.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        println!("skipped: {}", format_args!($($reason)+));
        return;
    }};
}

/// Whether a program can be run here, by name or path.
pub fn have(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    is_program(Path::new(program)) && program.contains('/')
        || folders.into_iter().any(|folder: PathBuf| is_program(&folder.join(program)))
}

/// Waits until the condition holds; panics with `what` after `timeout`. For states that announce no event.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {timeout:?} in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A new directory, removed with all it holds when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes it in the system's directory for such.
    #[expect(clippy::new_without_default, reason = "it makes a directory; that is no default value")]
    pub fn new() -> Self {
        static DIRS: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = DIRS.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("evenkeel-{}-{n}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it and returns its path; `{dir}` in the text becomes the directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, self.fill_in(text)).unwrap();
        path
    }

    /// The text with `{dir}` replaced by the directory.
    pub fn fill_in(&self, text: &str) -> String {
        text.replace("{dir}", &self.0.to_string_lossy())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A TCP port of 127.0.0.1 that nobody else is given as long as this lives, but that any server which sets
/// `SO_REUSEADDR` may listen on. Connecting to it is refused until one does.
#[derive(Debug)]
pub struct ReservedPort {
    addr: SocketAddr,
    _hold: Socket,
}

impl ReservedPort {
    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Reserves a port for a server that cannot tell which one the kernel gave it.
pub fn reserve_port() -> ReservedPort {
    let hold = crate::origin::bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    ReservedPort { addr: hold.local_addr().unwrap().as_socket().unwrap(), _hold: hold }
}

/// A UDP port of 127.0.0.1 that was free a moment ago. Another process may take it first; prefer port 0.
pub fn free_udp_port() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// By what a peer shows that it serves.
#[derive(Debug, Clone)]
pub enum Ready {
    /// It accepts connections there.
    Accepts(Addr),
    /// A line with this text on its stdout or stderr.
    Says(String),
    /// By nothing.
    Now,
}

/// Another program of the story. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Peer(Running);

impl Peer {
    /// Starts the program and waits at most ten seconds until it is ready; panics with its output if not.
    #[track_caller]
    pub fn start(program: &str, args: &[&str], ready: &Ready) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        Self::spawn(command, ready)
    }

    /// Like `start`, for a command with an environment or directory of its own.
    #[track_caller]
    pub fn spawn(command: Command, ready: &Ready) -> Self {
        let what = format!("{command:?}");
        let running = Running::spawn(command).unwrap_or_else(|error| panic!("{what}: {error}"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_ready(&running, ready) {
            let late = Instant::now() >= deadline;
            if late || running.exited().is_some() {
                let (out, err) = (running.stdout(), running.stderr());
                panic!("{what} is not ready ({:?})\n{out}{err}", running.exited());
            }
            thread::sleep(Duration::from_millis(3));
        }
        Self(running)
    }
}

impl Deref for Peer {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

fn is_ready(running: &Running, ready: &Ready) -> bool {
    match ready {
        Ready::Accepts(addr) => Stream::connect(addr, Duration::from_secs(1)).is_ok(),
        Ready::Says(text) => running.stdout().contains(text) || running.stderr().contains(text),
        Ready::Now => true,
    }
}

/// An nginx with a directory of its own.
#[derive(Debug)]
pub struct Nginx {
    peer: Peer,
    dir: TempDir,
}

impl Nginx {
    /// Starts nginx with this configuration, in which `{dir}` is its directory, and waits until it accepts at
    /// `ready`. The daemon, pid and error-log directives are seen to.
    #[track_caller]
    pub fn start(conf: &str, ready: impl Into<Addr>) -> Self {
        let dir = TempDir::new();
        let conf = dir.write("nginx.conf", conf);
        let log = dir.path().join("error.log");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).arg("-c").arg(conf).arg("-e").arg(log);
        command.arg("-g").arg(dir.fill_in("daemon off; pid {dir}/nginx.pid;"));
        Self { peer: Peer::spawn(command, &Ready::Accepts(ready.into())), dir }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Deref for Nginx {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.peer
    }
}

//! The real binary under test.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{Response, read_response};
use crate::process::Running;
use crate::stream::{Addr, Stream};
use crate::tools::TempDir;

/// A running balancer with a directory and an admin socket of its own. Killed and reaped when dropped.
///
/// In its configuration `{dir}` stands for the directory. A configuration without `[admin]` gets one bound to
/// `unix:{dir}/admin.sock`; one that has it must bind to a fixed address.
#[derive(Debug)]
pub struct Evenkeel {
    running: Running,
    admin: Addr,
    token: Option<String>,
    dir: TempDir,
}

impl Evenkeel {
    /// Starts `bin run -c` with this configuration and waits until `/ready` answers 200; panics with what it
    /// wrote to stderr if that does not happen.
    #[track_caller]
    pub fn start(bin: impl AsRef<Path>, config: &str) -> Self {
        Launch::new(bin, config).start()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of its configuration.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("evenkeel.toml")
    }

    /// Replaces its configuration file, at once for every reader; it still has to be told to reload.
    pub fn write_config(&self, config: &str) {
        let new = self.dir.write("evenkeel.toml.new", &with_admin(config));
        std::fs::rename(new, self.config_path()).unwrap();
    }

    /// Where its admin API listens.
    pub fn admin_addr(&self) -> &Addr {
        &self.admin
    }

    /// Asks the admin API; returns status and body. Panics if there is no answer within ten seconds.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        match self.try_admin(method, path, body) {
            Ok(response) => (response.status, response.text()),
            Err(error) => panic!("{method} {path}: {error}\n{}", self.stderr()),
        }
    }

    /// `admin` with GET.
    #[track_caller]
    pub fn admin_get(&self, path: &str) -> (u16, String) {
        self.admin("GET", path, "")
    }

    /// The JSON at this path; panics unless the status is 200.
    #[track_caller]
    pub fn admin_json(&self, path: &str) -> Value {
        let (status, body) = self.admin_get(path);
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("GET {path}: {error} in {body}"))
    }

    /// The first address a listener is bound to.
    #[track_caller]
    pub fn listener_addr(&self, name: &str) -> SocketAddr {
        self.listener_addrs(name)[0]
    }

    /// All addresses a listener is bound to, with the ports the kernel chose.
    #[track_caller]
    pub fn listener_addrs(&self, name: &str) -> Vec<SocketAddr> {
        let listeners = self.admin_json("/api/v1/listeners");
        let bound = bound_of(&listeners, name);
        assert!(!bound.is_empty(), "no bound address of listener {name} in {listeners}");
        bound
    }

    /// The sum of all samples of a metric whose labels contain every one of `labels`, such as `pool="app"`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.admin_get("/metrics");
        assert_eq!(status, 200, "{text}");
        sum_of(&text, name, labels)
    }

    fn try_admin(&self, method: &str, path: &str, body: &str) -> Result<Response, String> {
        ask(&self.admin, self.token.as_deref(), method, path, body)
    }
}

impl Deref for Evenkeel {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// How to start the binary, where `Evenkeel::start` is not enough.
#[derive(Debug, Clone)]
pub struct Launch {
    bin: PathBuf,
    config: String,
    verb: Vec<String>,
    wrap: Vec<String>,
    env: Vec<(String, String)>,
    token: Option<String>,
    timeout: Duration,
}

impl Launch {
    /// `bin run -c` this configuration.
    pub fn new(bin: impl AsRef<Path>, config: &str) -> Self {
        Self {
            bin: bin.as_ref().to_owned(),
            config: config.to_owned(),
            verb: vec!["run".into(), "-c".into(), "{dir}/evenkeel.toml".into()],
            wrap: Vec::new(),
            env: Vec::new(),
            token: None,
            timeout: Duration::from_secs(15),
        }
    }

    /// These arguments instead of `run -c {dir}/evenkeel.toml`; `{dir}` is replaced in them.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.verb = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// Start it through another program that executes it, such as `prlimit --nofile=64`.
    #[must_use]
    pub fn wrap(mut self, words: &[&str]) -> Self {
        self.wrap = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The token to show to the admin API.
    #[must_use]
    pub fn admin_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// How long it may take to get ready; 15 s unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts it and waits until it is ready; panics if it does not get there.
    #[track_caller]
    pub fn start(self) -> Evenkeel {
        match self.try_start() {
            Ok(evenkeel) => evenkeel,
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Starts it and waits until it is ready, has ended, or is late.
    pub fn try_start(self) -> Result<Evenkeel, Failed> {
        let dir = TempDir::new();
        let config = with_admin(&self.config);
        dir.write("evenkeel.toml", &config);
        let admin = admin_addr(&dir.fill_in(&config));
        let words = self.wrap.into_iter().chain([self.bin.to_string_lossy().into_owned()]);
        let mut words = words.chain(self.verb.iter().map(|word| dir.fill_in(word)));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(dir.path()).envs(self.env);
        let running = match Running::spawn(command) {
            Ok(running) => running,
            Err(error) => {
                let stderr = format!("{}: {error}", self.bin.display());
                return Err(Failed { status: None, stdout: String::new(), stderr });
            }
        };
        let evenkeel = Evenkeel { running, admin, token: self.token, dir };
        let deadline = Instant::now() + self.timeout;
        while !evenkeel.try_admin("GET", "/ready", "").is_ok_and(|response| response.status == 200) {
            let status = evenkeel.exited();
            if status.is_some() || Instant::now() >= deadline {
                // What it wrote last may still be on the way.
                evenkeel.wait_stderr("\0", Duration::from_millis(200));
                return Err(Failed { status, stdout: evenkeel.stdout(), stderr: evenkeel.stderr() });
            }
            thread::sleep(Duration::from_millis(3));
        }
        Ok(evenkeel)
    }
}

/// A start that came to nothing.
#[derive(Debug)]
pub struct Failed {
    /// The exit status; `None` if it ran on without getting ready.
    pub status: Option<ExitStatus>,
    /// All it wrote to stdout.
    pub stdout: String,
    /// All it wrote to stderr.
    pub stderr: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "ended before it was ready ({status})")?,
            None => f.write_str("did not get ready in time")?,
        }
        write!(f, "\n{}{}", self.stdout, self.stderr)
    }
}

fn ask(admin: &Addr, token: Option<&str>, method: &str, path: &str, body: &str) -> Result<Response, String> {
    let timeout = Duration::from_secs(10);
    let mut stream = Stream::connect(admin, timeout).map_err(|error| format!("{admin}: {error}"))?;
    stream.set_deadline(Some(Instant::now() + timeout));
    let authority = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authority}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    read_response(&mut stream, method).map_err(|error| format!("{error:?}"))
}

fn with_admin(config: &str) -> String {
    if config.lines().any(|line| line.trim() == "[admin]") {
        config.to_owned()
    } else {
        format!("{config}\n[admin]\nbind = \"unix:{{dir}}/admin.sock\"\n")
    }
}

/// The `bind` of the `[admin]` section; panics if the test wrote one that cannot be asked.
fn admin_addr(config: &str) -> Addr {
    let section = config.lines().skip_while(|line| line.trim() != "[admin]").skip(1);
    let mut keys = section.take_while(|line| !line.trim_start().starts_with('['));
    let bind = keys.find_map(|line| line.trim().strip_prefix("bind")?.split('"').nth(1).map(str::to_owned));
    let bind = bind.expect("[admin] without bind = \"…\"");
    match bind.strip_prefix("unix:") {
        Some(path) => Addr::Unix(path.into()),
        None => Addr::Tcp(bind.parse().expect("[admin] bind is an address with a fixed port")),
    }
}

fn bound_of(listeners: &Value, name: &str) -> Vec<SocketAddr> {
    let list = listeners.as_array().or_else(|| listeners.get("listeners")?.as_array());
    let mut list = list.into_iter().flatten();
    let listener = list.find(|listener| listener.get("name").and_then(Value::as_str) == Some(name));
    let bound = listener.and_then(|listener| listener.get("bound")?.as_array());
    bound.into_iter().flatten().filter_map(|addr| addr.as_str()?.parse().ok()).collect()
}

fn sum_of(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (set, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let fits = labels.iter().all(|label| set.split(',').any(|have| have.trim() == *label));
        if fits { value.split_whitespace().next()?.parse::<f64>().ok() } else { None }
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_address_is_found_or_added() {
        let added = with_admin("[listener.web]\nbind = \"127.0.0.1:0\"");
        assert_eq!(admin_addr(&added), Addr::Unix("{dir}/admin.sock".into()));
        let given = "[admin]\n# where\nbind  = \"127.0.0.1:99\"\n[pool.a]\nbind = \"x\"";
        assert_eq!(with_admin(given), given);
        assert_eq!(admin_addr(given).to_string(), "127.0.0.1:99");
    }

    #[test]
    fn listeners_and_metrics_are_read() {
        let json =
            r#"[{"name":"a","bound":["127.0.0.1:1"]},{"name":"web","bound":["127.0.0.1:2","[::1]:3"]}]"#;
        let listeners: Value = serde_json::from_str(json).unwrap();
        assert_eq!(bound_of(&listeners, "web"), ["127.0.0.1:2".parse().unwrap(), "[::1]:3".parse().unwrap()]);
        assert!(bound_of(&listeners, "b").is_empty());
        let text = "# TYPE x counter\nx{a=\"1\",b=\"2\"} 3\nx{a=\"1\",b=\"3\"} 4.5\nx_more 9\ny 7\n";
        assert_eq!(sum_of(text, "x", &["a=\"1\""]), 7.5);
        assert_eq!(sum_of(text, "x", &["b=\"3\""]), 4.5);
        assert_eq!(sum_of(text, "y", &[]), 7.0);
    }
}

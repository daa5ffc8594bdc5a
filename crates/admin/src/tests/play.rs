//! The stage: a registry, a played process, a server on loopback, and a small HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use evenkeel_api::{ErrorBody, ErrorDetail, Plan};
use evenkeel_base::{ClientAddr, ListenerName, Reason, WorkerId};
use evenkeel_config::{NoSource, Secret};
use evenkeel_state::{Lease, LogBatch, Pool, Registry, Tried, Turn, Worker};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::{Access, AuditLog, Control, Facts, Listening, Refusal, SavedEdit, router, serve};

pub(super) const CONFIG: &str = r#"
[listener.web]
bind = "127.0.0.1:8081"
protocol = "http"
pool = "app"
[[listener.web.route]]
when = { path = "/db/**" }
pool = "db"
[listener.sql]
bind = "127.0.0.1:8082"
protocol = "tcp"
pool = "db"
[pool.app]
algorithm = "least-connections"
targets = ["10.0.0.1:80", { address = "10.0.0.2:80", weight = 3, max_connections = 7 }]
emergency = "10.0.0.9:80"
[pool.app.affinity]
by = "client-ip"
[pool.app.health]
check = "http"
path = "/healthz"
[pool.db]
targets = ["db.internal:5432", "unix:/run/db \"one\".sock"]
"#;

/// Long enough for any machine; a test that waits so long has failed.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn config(text: &str) -> evenkeel_config::Config {
    evenkeel_config::load(text, "test.toml", &NoSource).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What the played process was asked, and what it is to say.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) saved: Vec<SavedEdit>,
    pub(super) save_fails: bool,
    pub(super) config_file: Option<PathBuf>,
    pub(super) ready: bool,
    pub(super) draining: bool,
    pub(super) file_text: String,
}

#[derive(Debug)]
pub(super) struct Process {
    registry: Arc<Registry>,
    script: Mutex<Script>,
}

impl Process {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn adopt(&self, text: &str, dry_run: bool) -> Result<Plan, Refusal> {
        let config = evenkeel_config::load(text, "config", &NoSource).map_err(|p| Refusal::problems(&p))?;
        let changes = if dry_run {
            evenkeel_config::diff(&self.registry.snapshot().config, &config)
        } else {
            self.registry.apply(config)
        };
        let needs_restart = changes.iter().any(evenkeel_config::Change::needs_restart);
        Ok(Plan { changes: changes.iter().map(ToString::to_string).collect(), needs_restart })
    }
}

impl Control for Process {
    async fn reload(&self) -> Result<Plan, Refusal> {
        let text = self.script().file_text.clone();
        self.adopt(&text, false)
    }

    async fn replace(&self, text: String, if_match: Option<String>, dry_run: bool) -> Result<Plan, Refusal> {
        if if_match.is_some_and(|etag| etag != self.config().1) {
            return Err(Refusal::new(Reason::Conflict, "the configuration changed since it was read"));
        }
        self.adopt(&text, dry_run)
    }

    fn config(&self) -> (String, String) {
        let snapshot = self.registry.snapshot();
        (evenkeel_config::to_toml(&snapshot.config), format!("g{}", snapshot.generation))
    }

    async fn save(&self, edit: SavedEdit) -> Result<(), Refusal> {
        let mut script = self.script();
        if script.save_fails {
            return Err(Refusal::new(Reason::Internal, "the disk is full"));
        }
        script.saved.push(edit);
        Ok(())
    }

    fn bound(&self) -> Vec<(String, Vec<String>)> {
        vec![("web".into(), vec!["127.0.0.1:41001".into()])]
    }

    fn facts(&self) -> Facts {
        let script = self.script();
        Facts {
            version: "9.9.9".into(),
            pid: 4242,
            started: SystemTime::UNIX_EPOCH,
            workers: 2,
            config_file: script.config_file.clone(),
            draining: script.draining,
            ready: script.ready,
        }
    }
}

/// A place where the audit log writes to, and the test reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything, until it is dropped.
pub(super) struct Stage {
    pub(super) registry: Arc<Registry>,
    pub(super) process: Arc<Process>,
    pub(super) address: SocketAddr,
    pub(super) audit: AuditLog,
    pub(super) access: Access,
    paper: Paper,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(CONFIG, None)
    }

    pub(super) fn with(text: &str, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        Self::on(Listening::Tcp(listener), address, text, token)
    }

    pub(super) fn on(listening: Listening, address: SocketAddr, text: &str, token: Option<&str>) -> Self {
        let registry = Arc::new(Registry::new(2, config(text), 7));
        let script = Script {
            saved: Vec::new(),
            save_fails: false,
            config_file: Some("/etc/evenkeel.toml".into()),
            ready: true,
            draining: false,
            file_text: text.to_owned(),
        };
        let process = Arc::new(Process { registry: Arc::clone(&registry), script: Mutex::new(script) });
        let paper = Paper::default();
        let audit = AuditLog::to_writer(paper.clone());
        let access = Access::new(token.map(|token| Secret(token.to_owned())), false);
        let (stop, stopped) = oneshot::channel();
        let parts = (Arc::clone(&registry), Arc::clone(&process), access.clone(), audit.clone());
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let router = router(parts.0, parts.1, parts.2, parts.3);
                let stopped = async { drop(stopped.await) };
                serve(vec![listening], router, stopped).await.unwrap();
            });
        });
        Self { registry, process, address, audit, access, paper, stop: Some(stop), server: Some(server) }
    }

    pub(super) fn get(&self, path: &str) -> Response {
        self.call("GET", path, &[], b"")
    }

    /// The answer to a GET as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.json()
    }

    pub(super) fn json(&self, method: &str, path: &str, body: &str) -> Response {
        self.call(method, path, &[("content-type", "application/json")], body.as_bytes())
    }

    pub(super) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let host = self.address.to_string();
        let mut all = vec![("connection", "close")];
        if !headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host", host.as_str()));
        }
        all.extend_from_slice(headers);
        let mut stream = TcpStream::connect(self.address).unwrap();
        exchange(&mut stream, method, path, &all, body)
    }

    /// A connection on which a request without a body was sent.
    pub(super) fn open(&self, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let host = self.address.to_string();
        let mut all = vec![("host", host.as_str())];
        all.extend_from_slice(headers);
        stream.write_all(&head("GET", path, &all, 0)).unwrap();
        stream
    }

    /// What the audit log holds by now.
    pub(super) fn audited(&self) -> Vec<serde_json::Value> {
        self.audit_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn audit_text(&self) -> String {
        assert!(self.audit.flush(SOON));
        String::from_utf8(self.paper.0.lock().unwrap().clone()).unwrap()
    }

    pub(super) fn worker(&self) -> Rc<Worker> {
        Rc::new(Worker::new(WorkerId(0), &self.registry, 1, LogBatch::new(None)))
    }

    pub(super) fn pool(&self, name: &str) -> Arc<Pool> {
        Arc::clone(&self.registry.snapshot().pools[name])
    }

    /// Stops the server; returns how long that took.
    pub(super) fn stop(&mut self) -> Duration {
        let begun = std::time::Instant::now();
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
        begun.elapsed()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// A lease as a plane takes it.
pub(super) fn lease<'p>(pool: &'p Pool, worker: &Worker, client: &str) -> Lease<'p> {
    let client = ClientAddr::Ip(client.parse().unwrap());
    match pool.lease(&worker.caller(client, std::time::Instant::now()), &Tried::default()).unwrap() {
        Turn::Now(lease) => lease,
        Turn::Wait(_) => panic!("every target is full"),
    }
}

pub(super) fn listener(name: &str) -> ListenerName {
    ListenerName::new(name).unwrap()
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The refusal, which is told in the same way everywhere.
    pub(super) fn refusal(&self) -> ErrorDetail {
        let ErrorBody { error } = self.json();
        assert_eq!(self.header("x-evenkeel-reason"), Some(error.reason.as_str()));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(!error.message.is_empty());
        error
    }
}

pub(super) fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if length > 0 {
        head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// One request and its answer, which ends with the connection.
pub(super) fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    stream.write_all(&head(method, path, headers, body.len())).unwrap();
    // A refusal may come, and the connection be closed, before a long body was sent.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert!(!bytes.is_empty(), "{error}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let mut response = Response { status, head: head.to_owned(), body: body.to_owned() };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = joined(&response.body);
    }
    response
}

/// The content of a chunked body, which must be whole.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, "\r\n");
            return body;
        }
        body.push_str(&rest[..size]);
        chunks = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

//! Serving: everything is wired here, in the order of its dependencies – bind early, serve late.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_base::{BindAddr, WorkerId};
use evenkeel_config::{Config, WorkerCount};
use evenkeel_net::BoundSocket;
use evenkeel_net::rt::mpsc;
use evenkeel_state::{LogBatch, Registry};

use crate::exit::Exit;
use crate::listeners::Listeners;
use crate::process::Process;
use crate::source::{LoadError, load_file};
use crate::worker::{self, Command};
use crate::{control, logs, memory, pid_file, screen, stop, watch};

/// Longest time that start-up waits for names to resolve; what has no answer by then is marked, and served when
/// it has.
const FIRST_RESOLUTION: Duration = Duration::from_secs(1);

/// Serves what a file says, until told to stop.
pub(crate) fn run_file(path: PathBuf) -> Exit {
    match load_file(&path) {
        Ok(config) => run(config, Some(path)),
        Err(LoadError::Problems(problems)) => {
            eprint!("{}", problems.render(crate::color::stderr()));
            Exit::BadConfig
        }
        Err(other) => {
            eprintln!("error: {other}");
            Exit::BadConfig
        }
    }
}

/// Serves a configuration that no file holds, until told to stop.
pub(crate) fn run_config(config: Config) -> Exit {
    run(config, None)
}

fn run(config: Config, path: Option<PathBuf>) -> Exit {
    control::started();
    evenkeel_net::use_small_pages();
    logs::start_telling();
    // Without it the limit that is in force stays; running out of it is handled where it happens.
    let _ = evenkeel_net::raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the control runtime: {error}")),
    };
    let exit = runtime.block_on(serve(config, path));
    // A look-up or a file operation under way must not hold the process up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    logs::finish_telling();
    exit
}

async fn serve(config: Config, path: Option<PathBuf>) -> Exit {
    let (mut asked, hangup) = stop::catch();
    let workers = worker_count(&config);
    let admin = match config.admin.as_ref().map(|admin| bind_admin(&admin.bind)).transpose() {
        Ok(admin) => admin,
        Err(message) => return fail(&message),
    };
    let pid_file = match config.pid_file.as_deref().map(pid_file::write).transpose() {
        Ok(pid_file) => pid_file,
        Err(message) => return fail(&message),
    };
    let access_log = match config.access_log.as_ref().map(logs::access_writer).transpose() {
        Ok(access_log) => access_log,
        Err(message) => return fail(&message),
    };
    let grace_of = |process: &Process| process.registry.snapshot().config.grace;
    let watching = config.watch;
    let seed = seed();
    let registry = Arc::new(Registry::new(workers, config, seed));
    let threads = match start_workers(workers, &registry, seed, access_log.as_ref()) {
        Ok(threads) => threads,
        Err(error) => return fail(&format!("cannot start the data workers: {error}")),
    };
    let (senders, threads): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
    let process = Arc::new(Process::new(Arc::clone(&registry), path, workers, Listeners::new(senders)));

    evenkeel_discover::resolve_once(Arc::clone(&registry), FIRST_RESOLUTION).await;
    if let Err(error) = process.listen().await {
        return fail(&error.to_string());
    }
    tokio::spawn(logs::tell_events(Arc::clone(&registry)));
    tokio::spawn(memory::watch(Arc::clone(&registry)));
    tokio::spawn(evenkeel_probe::run(Arc::clone(&registry), seed));
    tokio::spawn(evenkeel_discover::run(Arc::clone(&registry)));
    let admin_address = admin.as_ref().map(|(_, address)| address.clone());
    if let Some((socket, _)) = admin {
        tokio::spawn(control::serve(Arc::clone(&process), socket));
    }
    if watching {
        watch::start(&process);
    }
    tokio::spawn(stop::reload_on_hangup(Arc::clone(&process), hangup));
    announce(&process, admin_address.as_ref());
    stop::notify_ready();

    asked.wait().await;
    stop::notify_stopping();
    let exit = stop::drain(&process, threads, grace_of(&process), asked).await;
    if let Some(BindAddr::Unix(path)) = admin_address {
        let _ = std::fs::remove_file(path);
    }
    drop(pid_file);
    if let Some(access_log) = access_log {
        access_log.finish();
    }
    exit
}

fn worker_count(config: &Config) -> usize {
    match config.workers {
        WorkerCount::Auto => evenkeel_net::cpu_count(),
        WorkerCount::Fixed(count) => usize::from(count.get()),
    }
}

type WorkerThread = (mpsc::Sender<Command>, std::thread::JoinHandle<()>);

fn start_workers(
    count: usize,
    registry: &Arc<Registry>,
    seed: u64,
    log: Option<&logs::AccessWriter>,
) -> std::io::Result<Vec<WorkerThread>> {
    let ids = (0..count).filter_map(|id| u16::try_from(id).ok()).map(WorkerId);
    ids.map(|id| {
        let sink = log.map(logs::AccessWriter::sink);
        worker::start(id, registry, seed, move || LogBatch::new(sink))
    })
    .collect()
}

fn bind_admin(address: &BindAddr) -> Result<(BoundSocket, BindAddr), String> {
    let (mut sockets, got) = evenkeel_net::bind(address, 128, 1, false).map_err(|error| {
        format!("admin API: {error}; `[admin] bind` (or --admin) says where, \"off\" turns it off")
    })?;
    match sockets.pop() {
        Some(socket) => Ok((socket, got)),
        None => Err("admin API: no socket was bound".to_owned()),
    }
}

/// Three lines: what this is, what listens for which pool, where the API is.
fn announce(process: &Process, admin: Option<&BindAddr>) {
    let snapshot = process.registry.snapshot();
    let mut listening = Vec::new();
    for (name, addresses) in process.bound() {
        let Some(listener) = snapshot.config.listener(&name) else { continue };
        let to = match (&listener.pool, listener.routes.len()) {
            (Some(pool), 0) => format!("pool {pool}"),
            (Some(pool), routes) => format!("{routes} routes, else pool {pool}"),
            (None, routes) => format!("{routes} routes"),
        };
        listening.push(format!("{name} on {} → {to}", addresses.join(", ")));
    }
    let mut out = std::io::stdout().lock();
    let workers = process.workers;
    let plural = if workers == 1 { "" } else { "s" };
    let api = admin.map_or_else(|| "off".to_owned(), url_of);
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "evenkeel {} with {workers} worker{plural}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "listening: {}", listening.join("; "));
    let _ = writeln!(out, "admin API: {api}");
    let _ = out.flush();
}

/// How the admin address is given to `--api`.
pub(crate) fn url_of(address: &BindAddr) -> String {
    match address {
        BindAddr::Ip(addr) => format!("http://{addr}"),
        BindAddr::Any(port) => format!("http://127.0.0.1:{port}"),
        BindAddr::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn fail(message: &str) -> Exit {
    screen::error(message);
    Exit::Failed
}

/// For jitter, sampling and hash tables; no secrets hang on it.
fn seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    time ^ (u64::from(std::process::id()) << 32)
}

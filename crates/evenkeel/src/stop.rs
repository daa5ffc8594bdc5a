//! Signals: reload on SIGHUP, drain on the first SIGTERM or SIGINT, stop at once on the second.

use std::future::pending;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel_base::Reason;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::logs::tell;
use crate::process::Process;
use crate::units::plural;

/// Both ways in which a process is asked to stop.
pub(crate) struct Asked {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Asked {
    /// Waits until the process is asked to stop, for the first time or once more.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => pending().await,
    }
}

/// Signals are caught from here on, before anybody is told that we serve; what comes meanwhile is kept.
pub(crate) fn catch() -> (Asked, Option<Signal>) {
    let asked = Asked {
        terminate: signal(SignalKind::terminate()).ok(),
        interrupt: signal(SignalKind::interrupt()).ok(),
    };
    (asked, signal(SignalKind::hangup()).ok())
}

/// Reloads at every SIGHUP; what changed, or why nothing did, is an event and so a line of the log.
pub(crate) async fn reload_on_hangup(process: Arc<Process>, hangup: Option<Signal>) {
    let Some(mut hangup) = hangup else { return };
    while hangup.recv().await.is_some() {
        if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
        }
        // The outcome has been told as an event by the time this returns.
        let _ = process.reload().await;
        notify_ready();
    }
}

/// Lets connections finish for as long as `grace`, cuts what is left, and tells which of the two it was.
pub(crate) async fn drain(
    process: &Process,
    threads: Vec<JoinHandle<()>>,
    grace: Duration,
    mut asked: Asked,
) -> Exit {
    process.drain().await;
    let mut joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            // A worker that panicked has ended, too.
            let _ = thread.join();
        }
    });
    let exit = tokio::select! {
        _ = &mut joined => return Exit::Ok,
        () = tokio::time::sleep(grace) => Exit::GraceOver,
        () = asked.wait() => Exit::CutShort,
    };
    let exit = if exit == Exit::GraceOver && !has_work(process) { Exit::Ok } else { exit };
    if exit != Exit::Ok {
        let left = plural(process.registry.connections().len(), "connection");
        let why = if exit == Exit::CutShort { "asked twice to stop" } else { "the grace time is over" };
        tell(&format!("evenkeel: {why}: cutting {left} ({})", Reason::Draining));
    }
    process.cut().await;
    // Dropping its tasks is all a worker has left to do.
    let _ = tokio::time::timeout(Duration::from_secs(1), joined).await;
    exit
}

/// Whether there is more than idle clients, whom nobody owes an answer.
fn has_work(process: &Process) -> bool {
    let snapshot = process.registry.snapshot();
    let mut pools = snapshot.pools.values();
    // A pool that is gone from the configuration may have its last ones still.
    process.registry.connections().list().iter().any(|connection| connection.target.is_some())
        || pools.any(|pool| pool.live.waiting() > 0 || pool.targets.iter().any(|t| t.live.in_flight() > 0))
}

/// Tells systemd, if it listens, that we serve.
pub(crate) fn notify_ready() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd, if it listens, that we drain.
pub(crate) fn notify_stopping() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}

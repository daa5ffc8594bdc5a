//! Lines on their way out of the process. Each destination has a thread of its own behind a bounded channel: a
//! full disk or a stalled reader costs lines, which are counted, and never time of anybody else.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel_config::{AccessLog, LogFormat};
use evenkeel_state::{Event, EventKind, Registry};

/// Batches of access log lines that may wait for the disk: 32 MiB.
const WAITING_BATCHES: usize = 1024;
/// Lines about events that may wait for standard error.
const WAITING_LINES: usize = 1024;

/// Writes access log lines.
#[derive(Debug)]
pub(crate) struct AccessWriter {
    sender: SyncSender<Vec<u8>>,
    format: LogFormat,
    thread: JoinHandle<()>,
}

impl AccessWriter {
    /// Where a worker sends its batches.
    pub(crate) fn sink(&self) -> (SyncSender<Vec<u8>>, LogFormat) {
        (self.sender.clone(), self.format)
    }

    /// Lets the writer finish what it has, for a moment.
    pub(crate) fn finish(self) {
        drop(self.sender);
        let end = std::time::Instant::now() + Duration::from_secs(1);
        while !self.thread.is_finished() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Opens the access log.
pub(crate) fn access_writer(config: &AccessLog) -> Result<AccessWriter, String> {
    let out: Box<dyn Write + Send> = match &config.path {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(open(path).map_err(|error| {
            format!("cannot open the access log {}: {error}; does its folder exist?", path.display())
        })?),
    };
    let (sender, receiver) = sync_channel(WAITING_BATCHES);
    let thread = writer("access-log", receiver, out).map_err(|error| format!("access log: {error}"))?;
    Ok(AccessWriter { sender, format: config.format, thread })
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn writer(
    name: &str,
    receiver: Receiver<Vec<u8>>,
    mut out: Box<dyn Write + Send>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        while let Ok(bytes) = receiver.recv() {
            // A disk that is full now may have room for the next batch.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
        }
    })
}

/// Tells every event on standard error, one line each.
pub(crate) async fn tell_events(registry: Arc<Registry>) {
    let (sender, receiver) = sync_channel(WAITING_LINES);
    if writer("event-log", receiver, Box::new(io::stderr())).is_err() {
        return;
    }
    let mut events = registry.events().subscribe();
    loop {
        let line = match events.recv().await {
            Ok(event) => line_of(&event),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(lost)) => {
                format!("evenkeel: {lost} events untold")
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        // Full means that nobody reads standard error; the API still has the events.
        let _ = sender.try_send(format!("{line}\n").into_bytes());
    }
}

fn line_of(event: &Event) -> String {
    let reason = event.reason;
    match &event.kind {
        EventKind::Target { pool, target, from, to } => {
            let (from, to) = (from.unwrap_or("absent"), to.unwrap_or("absent"));
            format!("evenkeel: pool {pool}: target {target} {from} → {to} ({reason})")
        }
        EventKind::Listener { listener, change } => {
            format!("evenkeel: listener {listener}: {change} ({reason})")
        }
        EventKind::Config { lines, adopted: true } if lines.is_empty() => {
            "evenkeel: configuration reloaded, nothing changed".to_owned()
        }
        EventKind::Config { lines, adopted: true } => {
            format!("evenkeel: configuration reloaded: {}", lines.join("; "))
        }
        EventKind::Config { lines, adopted: false } => {
            format!("evenkeel: configuration refused ({reason}), nothing changed:\n  {}", lines.join("\n  "))
        }
    }
}

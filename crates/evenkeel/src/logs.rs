//! Lines on their way out of the process. Each destination has a thread of its own behind a bounded channel: a
//! full disk or a stalled reader costs lines, which are counted, and never time of anybody else.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel_config::{AccessLog, LogFormat};
use evenkeel_state::{Event, EventKind, LogLines, Registry};

use crate::screen::{cause, complain};

/// Batches of access log lines that may wait for the disk: 32 MiB.
const WAITING_BATCHES: usize = 1024;
/// Lines that may wait for standard error.
const WAITING_LINES: usize = 1024;
/// How long the end of the process waits for lines that are on their way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes access log lines.
#[derive(Debug)]
pub(crate) struct AccessWriter {
    sender: SyncSender<LogLines>,
    format: LogFormat,
    thread: JoinHandle<()>,
}

impl AccessWriter {
    /// Where a worker sends its batches.
    pub(crate) fn sink(&self) -> (SyncSender<LogLines>, LogFormat) {
        (self.sender.clone(), self.format)
    }

    /// Lets the writer finish what it has, for a moment.
    pub(crate) fn finish(self) {
        drop(self.sender);
        wait_until(|| self.thread.is_finished());
    }
}

/// Opens the access log.
pub(crate) fn access_writer(config: &AccessLog) -> Result<AccessWriter, String> {
    let failed = |error: io::Error| format!("access log: {}", cause(&error));
    let out = match &config.path {
        // Without the buffer of `io::stdout`: what the kernel does not take is seen at once.
        None => io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(failed)?,
        Some(path) => open(path).map_err(|error| {
            let name = path.display();
            format!("cannot open the access log {name}: {}; does its folder exist?", cause(&error))
        })?,
    };
    let (sender, receiver) = sync_channel(WAITING_BATCHES);
    let thread = std::thread::Builder::new().name("access-log".into());
    let thread = thread.spawn(move || write_access(out, &receiver)).map_err(failed)?;
    Ok(AccessWriter { sender, format: config.format, thread })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_access(out: File, receiver: &Receiver<LogLines>) {
    let mut file = LogFile { out, is_torn: false };
    while let Ok(lines) = receiver.recv() {
        lines.lost(file.write(lines.bytes()));
    }
}

/// A file of lines on a disk that may be full, and have room again.
struct LogFile<W> {
    out: W,
    /// The last line broke off.
    is_torn: bool,
}

impl<W: Write> LogFile<W> {
    /// Writes what goes, and returns how many lines did not.
    fn write(&mut self, bytes: &[u8]) -> u64 {
        // What broke off is ended first, so that it spoils no other line.
        let rest =
            if self.is_torn && self.out.write_all(b"\n").is_err() { bytes } else { self.write_some(bytes) };
        rest.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Returns what could not be written.
    fn write_some<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(written @ 1..) => rest = &rest[written.min(rest.len())..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let written = &bytes[..bytes.len() - rest.len()];
        self.is_torn = written.last().is_some_and(|byte| *byte != b'\n');
        rest
    }
}

/// Lines on their way to standard error, and how many of them are not written yet.
static TOLD: OnceLock<SyncSender<String>> = OnceLock::new();
static ON_THE_WAY: AtomicUsize = AtomicUsize::new(0);

/// From now on [`tell`] waits for nobody. A defect that panics is told in the same way: it is the thread of the defect
/// that tells, and that may be a data worker.
pub(crate) fn start_telling() {
    let (sender, receiver) = sync_channel::<String>(WAITING_LINES);
    let thread = std::thread::Builder::new().name("event-log".into()).spawn(move || {
        while let Ok(line) = receiver.recv() {
            complain(&line);
            ON_THE_WAY.fetch_sub(1, SeqCst);
        }
    });
    if thread.is_err() || TOLD.set(sender).is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|defect| {
        let trace = Backtrace::capture();
        let trace =
            if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        tell(&format!("evenkeel: a defect, please report it: thread {name} {defect}{trace}"));
        if name == "main" {
            finish_telling();
        }
    }));
}

/// Tells a line on standard error. When nobody reads there it costs the line, and nobody's time.
pub(crate) fn tell(line: &str) {
    let line = format!("{line}\n");
    let Some(sender) = TOLD.get() else { return complain(&line) };
    ON_THE_WAY.fetch_add(1, SeqCst);
    if sender.try_send(line).is_err() {
        ON_THE_WAY.fetch_sub(1, SeqCst);
    }
}

/// Lets what was told reach standard error, for a moment.
pub(crate) fn finish_telling() {
    wait_until(|| ON_THE_WAY.load(SeqCst) == 0);
}

fn wait_until(is_done: impl Fn() -> bool) {
    let end = Instant::now() + LAST_WORDS;
    while !is_done() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tells every event on standard error, one line each. What is lost there, the API still has.
pub(crate) async fn tell_events(registry: Arc<Registry>) {
    let mut events = registry.events().subscribe();
    loop {
        match events.recv().await {
            Ok(event) => tell(&line_of(&event)),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(lost)) => {
                tell(&format!("evenkeel: {lost} events untold"));
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        text: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.text.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_broke_off_is_counted_and_ended_before_the_next_one() {
        let mut file = LogFile { out: Disk { room: 5, text: Vec::new() }, is_torn: false };
        assert_eq!(file.write(b"one\ntwo\nthree\n"), 2);
        assert_eq!(file.write(b"four\n"), 1);
        file.out.room = 3;
        assert_eq!(file.write(b"six\n"), 1);
        file.out.room = 100;
        assert_eq!(file.write(b"seven\n"), 0);
        assert_eq!(String::from_utf8(file.out.text).unwrap(), "one\nt\nsi\nseven\n");
    }
}

//! The audit log: who changed what, and whether it was done. One JSON line each.
//!
//! Lines go through a bounded channel to a thread of their own: a full disk costs lines, which are counted, and
//! never a change. Bodies, tokens and configuration texts are not recorded; what changed is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use evenkeel_base::ClientAddr;
use serde::Serialize;

use crate::clock::rfc3339;

/// Lines that may wait for the writer: more changes than an operator makes while a disk hiccups.
const WAITING: usize = 1_024;

/// Lines told of one change of the configuration; a bigger one is told by its count.
const MAX_CHANGES: usize = 50;

/// Where changes are recorded. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl AuditLog {
    /// Appends to this file, which is created when it is missing; `None` is standard error. When the file is
    /// moved away or removed, the next line starts a new one, so no signal is needed to rotate it.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        Ok(match path {
            None => Self::stderr(),
            Some(path) => Self::to_writer(AppendedFile { file: open(path)?, path: path.to_owned() }),
        })
    }

    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self::to_writer(io::stderr())
    }

    /// Writes lines to `out`, from a thread of its own. Each line is one `write_all`. Should the thread not
    /// start, every line counts as lost.
    pub fn to_writer(out: impl Write + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared { sender, dropped: Arc::clone(&dropped) });
        let thread = std::thread::Builder::new().name("audit-log".into());
        // Without the thread the channel is closed, and recording counts what it cannot send.
        let _ = thread.spawn(move || write_all(out, &receiver, &dropped));
        Self { shared }
    }

    /// Lines that were lost, because the writer lagged or failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Waits until what was recorded so far is written, at most `timeout`; false when it was not. For the end of
    /// the process, and for tests.
    pub fn flush(&self, timeout: Duration) -> bool {
        let (sender, receiver) = sync_channel(1);
        let deadline = Instant::now() + timeout;
        let mut message = Message::Flush(sender);
        while let Err(TrySendError::Full(back)) = self.shared.sender.try_send(message) {
            if Instant::now() >= deadline {
                return false;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        // With the writer's thread gone nothing answers, and the sender went with the message.
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }

    /// Records one change, done or refused. Never waits.
    pub(crate) fn record(&self, entry: &Entry<'_>) {
        let Ok(mut line) = serde_json::to_vec(entry) else { return };
        line.push(b'\n');
        if self.shared.sender.try_send(Message::Line(line)).is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'e> {
    time: String,
    who: String,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'e str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    changes: &'e [String],
    #[serde(skip_serializing_if = "is_zero")]
    more_changes: usize,
    /// `done`, or the reason of the refusal.
    outcome: &'static str,
}

impl<'e> Entry<'e> {
    pub(crate) fn new(who: ClientAddr, what: &'static str, outcome: &'static str) -> Self {
        let time = rfc3339(SystemTime::now());
        Self { time, who: who.to_string(), what, subject: None, changes: &[], more_changes: 0, outcome }
    }

    /// What it was done to.
    pub(crate) fn subject(mut self, subject: &'e str) -> Self {
        self.subject = Some(subject);
        self
    }

    pub(crate) fn changes(mut self, changes: &'e [String]) -> Self {
        let told = changes.len().min(MAX_CHANGES);
        self.changes = &changes[..told];
        self.more_changes = changes.len() - told;
        self
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn write_all(mut out: impl Write, receiver: &Receiver<Message>, dropped: &AtomicU64) {
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    dropped.fetch_add(1, Relaxed);
                }
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// A file that is opened anew once its name leads elsewhere.
struct AppendedFile {
    path: PathBuf,
    file: File,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl AppendedFile {
    fn is_current(&self) -> bool {
        let (named, held) = (std::fs::metadata(&self.path), self.file.metadata());
        matches!((named, held), (Ok(named), Ok(held)) if named.ino() == held.ino() && named.dev() == held.dev())
    }
}

impl Write for AppendedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.is_current() {
            // A directory that is gone for a moment is no reason to lose lines: the old file takes them.
            if let Ok(file) = open(&self.path) {
                self.file = file;
            }
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_secs(10);

    fn entry(subject: &str) -> Entry<'_> {
        Entry::new(ClientAddr::Unix, "remove-target", "done").subject(subject)
    }

    #[test]
    fn a_file_that_was_moved_is_started_anew() {
        let directory = std::env::temp_dir().join(format!("evenkeel-audit-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (path, moved) = (directory.join("audit.jsonl"), directory.join("audit.1"));
        let log = AuditLog::open(Some(&path)).unwrap();
        log.record(&entry("first\n\"line\""));
        assert!(log.flush(SOON));
        std::fs::rename(&path, &moved).unwrap();
        log.record(&entry("second"));
        assert!(log.flush(SOON));
        let subject = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap();
            let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
            line["subject"].as_str().unwrap().to_owned()
        };
        assert_eq!((subject(&moved), subject(&path)), ("first\n\"line\"".into(), "second".into()));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_stuck_writer_costs_lines_and_never_time() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, wait) = channel();
        let log = AuditLog::to_writer(Stuck(wait));
        for _ in 0..WAITING + 100 {
            log.record(&entry("x"));
        }
        // One line may be with the writer, all others wait or are lost.
        assert!((99..=100).contains(&log.dropped()), "{}", log.dropped());
        drop(go);
        assert!(log.flush(SOON));
    }

    #[test]
    fn a_failing_writer_is_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = AuditLog::to_writer(Full);
        log.record(&entry("x"));
        assert!(log.flush(SOON));
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn a_large_change_is_told_by_its_count() {
        let changes: Vec<String> = (0..MAX_CHANGES + 7).map(|n| n.to_string()).collect();
        let entry = Entry::new(ClientAddr::Unix, "replace-config", "done").changes(&changes);
        assert_eq!((entry.changes.len(), entry.more_changes), (MAX_CHANGES, 7));
    }
}

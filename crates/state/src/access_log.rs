//! Access log lines on their way out: batched per worker, handed over without waiting.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_config::LogFormat;

use crate::snapshot::ListenerLive;

/// Lines gather until a batch has this size, or until the worker's next tick.
const BATCH_BYTES: usize = 32 * 1024;

/// A worker's lines. When the writer lags – a full disk, a stalled reader – whole batches are dropped and
/// counted; the data path never waits for a log.
#[derive(Debug)]
pub struct LogBatch {
    lines: RefCell<LogLines>,
    writer: Option<(SyncSender<LogLines>, LogFormat)>,
}

/// Lines on their way to the writer.
#[derive(Debug, Default)]
pub struct LogLines {
    bytes: Vec<u8>,
    /// How many are whose, oldest first, so that each listener counts those that were dropped.
    of: Vec<(Arc<ListenerLive>, u64)>,
}

impl LogLines {
    /// The lines, each with its end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The last so many of them will not be written: their listeners count them as dropped.
    pub fn lost(&self, lines: u64) {
        let mut left = lines;
        for (listener, count) in self.of.iter().rev() {
            let lost = left.min(*count);
            listener.drop_log_lines(lost);
            left -= lost;
        }
    }
}

impl LogBatch {
    /// Lines of one worker go to this writer; none means that the access log is off.
    pub fn new(writer: Option<(SyncSender<LogLines>, LogFormat)>) -> Self {
        Self { lines: RefCell::default(), writer }
    }

    /// Whether a line would be kept at all.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Appends one line of a listener in the format asked for; see [`LineWriter`].
    pub fn line(&self, listener: &Arc<ListenerLive>, write: impl FnOnce(&mut Vec<u8>, LogFormat)) {
        let Some((_, format)) = &self.writer else { return };
        let mut batch = self.lines.borrow_mut();
        write(&mut batch.bytes, *format);
        match batch.of.last_mut() {
            Some((last, count)) if Arc::ptr_eq(last, listener) => *count += 1,
            _ => batch.of.push((Arc::clone(listener), 1)),
        }
        if batch.bytes.len() >= BATCH_BYTES {
            drop(batch);
            self.flush();
        }
    }

    /// Hands over what has gathered.
    pub fn flush(&self) {
        let mut batch = self.lines.borrow_mut();
        let Some((writer, _)) = self.writer.as_ref().filter(|_| !batch.bytes.is_empty()) else { return };
        let empty = LogLines { bytes: Vec::with_capacity(BATCH_BYTES + 1024), of: Vec::new() };
        match writer.try_send(std::mem::replace(&mut *batch, empty)) {
            Ok(()) => {}
            Err(TrySendError::Full(mut lines) | TrySendError::Disconnected(mut lines)) => {
                lines.lost(u64::MAX);
                // Keep the memory: the next batch needs it.
                lines.bytes.clear();
                lines.of.clear();
                *batch = lines;
            }
        }
    }
}

/// Writes one line, field by field.
#[derive(Debug)]
pub struct LineWriter<'o> {
    out: &'o mut Vec<u8>,
    format: LogFormat,
}

impl<'o> LineWriter<'o> {
    /// Starts a line with its time: milliseconds since 1970, which needs no look at a time zone.
    pub fn begin(out: &'o mut Vec<u8>, format: LogFormat) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let started = match format {
            LogFormat::Json => write!(out, "{{\"time_ms\":{now}"),
            LogFormat::Text => write!(out, "time_ms={now}"),
        };
        // Writing to memory does not fail.
        let _ = started;
        Self { out, format }
    }

    fn key(&mut self, key: &str) {
        match self.format {
            LogFormat::Json => {
                self.out.extend_from_slice(b",\"");
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            LogFormat::Text => {
                self.out.push(b' ');
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    /// A duration, in microseconds.
    pub fn micros(&mut self, key: &str, value: Duration) {
        self.number(key, u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }

    /// Text from anywhere, hostile text included: quotes, backslashes and control characters are escaped, and
    /// bytes that are not UTF-8 are shown as U+FFFD.
    pub fn bytes(&mut self, key: &str, value: &[u8]) {
        self.text(key, &String::from_utf8_lossy(value));
    }

    /// Text; escaped like [`LineWriter::bytes`].
    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        let plain = |b: u8| b > b' ' && b != b'"' && b != b'\\' && b != 0x7f;
        if self.format == LogFormat::Text && !value.is_empty() && value.bytes().all(plain) {
            self.out.extend_from_slice(value.as_bytes());
            return;
        }
        self.out.push(b'"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.out.extend_from_slice(&[b'\\', c as u8]),
                c if c.is_control() => {
                    let _ = write!(self.out, "\\u{:04x}", c as u32);
                }
                c => {
                    let _ = write!(self.out, "{c}");
                }
            }
        }
        self.out.push(b'"');
    }

    /// Anything that has a text form of ours: no escaping is needed.
    pub fn display(&mut self, key: &str, value: &dyn Display) {
        self.key(key);
        let _ = match self.format {
            LogFormat::Json => write!(self.out, "\"{value}\""),
            LogFormat::Text => write!(self.out, "{value}"),
        };
    }

    /// Ends the line.
    pub fn end(self) {
        self.out.extend_from_slice(if self.format == LogFormat::Json { b"}\n" } else { b"\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lagging_writer_costs_lines_and_never_time() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let log = LogBatch::new(Some((sender, LogFormat::Text)));
        let listener = Arc::new(ListenerLive::new(1));
        for _ in 0..3 {
            log.line(&listener, |out, _| out.extend_from_slice(b"x\n"));
            log.flush();
        }
        assert_eq!(receiver.recv().unwrap().bytes(), b"x\n");
        assert_eq!(listener.log_dropped(), 2);
    }

    #[test]
    fn the_last_lines_are_lost_first_each_by_its_listener() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let log = LogBatch::new(Some((sender, LogFormat::Text)));
        let listeners = [(); 2].map(|()| Arc::new(ListenerLive::new(1)));
        for listener in [0, 0, 1, 0] {
            log.line(&listeners[listener], |out, _| out.extend_from_slice(b"x\n"));
        }
        log.flush();
        let lines = receiver.recv().unwrap();
        lines.lost(3);
        assert_eq!([listeners[0].log_dropped(), listeners[1].log_dropped()], [2, 1]);
        lines.lost(0);
        lines.lost(u64::MAX);
        assert_eq!([listeners[0].log_dropped(), listeners[1].log_dropped()], [5, 2]);
    }

    #[test]
    fn hostile_text_cannot_break_a_line() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let mut out = Vec::new();
            let mut line = LineWriter::begin(&mut out, format);
            line.bytes("path", b"/a\"b\\c\r\n\x00\xff\x7f d");
            line.text("empty", "");
            line.end();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.matches('\n').count(), 1);
            assert!(text.contains(r#"\"b\\c\u000d\u000a\u0000"#), "{text}");
            if format == LogFormat::Json {
                assert!(text.starts_with("{\"time_ms\":") && text.ends_with("\"\"}\n"), "{text}");
            }
        }
    }
}

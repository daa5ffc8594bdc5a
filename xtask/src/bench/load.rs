//! The load: wrk, and one careful request before it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::process::{Process, Scratch};
use super::rows::Row;
use crate::shell::Outcome;

/// What begins the line that `bench/wrk/report.lua` prints.
const MARK: &str = "evenkeel-bench ";
/// A request without an answer for so long counts as an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// What wrk may take beyond its time.
const GRACE: Duration = Duration::from_secs(15);

/// One way of loading a proxy.
#[derive(Debug)]
pub(super) struct Load<'a> {
    pub(super) root: &'a Path,
    pub(super) scratch: &'a Scratch,
    pub(super) core: usize,
    pub(super) address: SocketAddr,
    pub(super) row: &'a Row,
}

/// What the load generator saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) requests: u64,
    pub(super) duration_us: u64,
    /// Read from the proxy, heads included.
    pub(super) bytes: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    /// Of any kind: connect, read, write, status over 399, timeout.
    pub(super) errors: u64,
}

impl Load<'_> {
    /// Loads the proxy for so many seconds.
    pub(super) fn run(&self, seconds: u32) -> Outcome<Loaded> {
        let mut arguments = vec![
            "--threads=1".to_owned(),
            format!("--connections={}", self.row.connections),
            format!("--duration={seconds}s"),
            format!("--timeout={}s", PATIENCE.as_secs()),
            format!("--script={}", self.root.join("bench/wrk/report.lua").display()),
        ];
        if self.row.close {
            arguments.extend(["--header".to_owned(), "Connection: close".to_owned()]);
        }
        arguments.push(format!("http://{}/", self.address));
        let mut wrk = Process::start("wrk", self.core, self.scratch, Path::new("wrk"), &arguments)?;
        let status = wrk.ends_within(Duration::from_secs(seconds.into()) + GRACE);
        let printed = wrk.printed();
        match status {
            Some(status) if status.success() => parse(&printed),
            Some(status) => Err(format!("wrk failed ({status}): {}", printed.trim())),
            None => Err("wrk did not end in time".to_owned()),
        }
    }
}

fn parse(printed: &str) -> Outcome<Loaded> {
    let line = printed.lines().find_map(|line| line.strip_prefix(MARK));
    let value: Value = line
        .and_then(|json| serde_json::from_str(json).ok())
        .ok_or_else(|| format!("wrk printed no report: {}", printed.trim()))?;
    let field = |name: &str| value[name].as_u64().ok_or_else(|| format!("wrk's report lacks {name}"));
    let mut errors = 0;
    for kind in ["connect", "read", "write", "status", "timeout"] {
        errors += field(kind)?;
    }
    Ok(Loaded {
        requests: field("requests")?,
        duration_us: field("duration_us")?,
        bytes: field("bytes")?,
        p50_us: field("p50_us")?,
        p99_us: field("p99_us")?,
        p999_us: field("p999_us")?,
        errors,
    })
}

/// Asks once by hand: a proxy that answers quickly and wrongly is not fast.
pub(super) fn check_answer(address: SocketAddr, body: usize) -> Outcome {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|e: std::io::Error| format!("no answer from {address}: {e}"))?;
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&answer[..split]);
    let line = head.lines().next().unwrap_or_default();
    let length = answer.len() - split;
    if line.starts_with("HTTP/1.1 200") && length == body {
        Ok(())
    } else {
        Err(format!("wrong answer: {line:?} with {length} bytes of body instead of {body}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_report_is_found_among_what_wrk_prints() {
        let printed = "Running 1s test @ http://x\n  1 threads and 64 connections\n\
            evenkeel-bench {\"requests\":10,\"duration_us\":20,\"bytes\":30,\"p50_us\":1,\"p99_us\":2,\"p999_us\":3,\
            \"connect\":1,\"read\":2,\"write\":3,\"status\":4,\"timeout\":5}\n";
        let expected =
            Loaded { requests: 10, duration_us: 20, bytes: 30, p50_us: 1, p99_us: 2, p999_us: 3, errors: 15 };
        assert_eq!(parse(printed), Ok(expected));
        assert!(parse("unable to connect").unwrap_err().contains("unable to connect"));
        assert!(parse("evenkeel-bench {\"requests\":10}").unwrap_err().contains("lacks"));
    }

    fn answered(answer: &'static str, body: usize) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = check_answer(address, body);
        server.join().unwrap();
        outcome
    }

    #[test]
    fn wrong_answers_are_noticed() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 2), Ok(()));
        assert!(answered("HTTP/1.1 200 OK\r\n\r\nab", 3).unwrap_err().contains("2 bytes"));
        assert!(answered("HTTP/1.1 503 Gone\r\n\r\nab", 2).unwrap_err().contains("503 Gone"));
        assert!(answered("", 0).is_err());
    }
}

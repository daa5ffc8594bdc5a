//! The load: wrk, and one careful request before it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::process::{self, Process, Scratch};
use super::rows::Work;
use super::talk::{self, Answer, Connection};
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
    pub(super) cores: &'a [usize],
    pub(super) address: SocketAddr,
    pub(super) work: &'a Work,
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
        let program = process::installed("wrk").ok_or("the load generator is wrk, which is not installed")?;
        let mut wrk = Process::start("wrk", self.cores, self.scratch, &program, self.arguments(seconds))?;
        let status = wrk.ends_within(Duration::from_secs(seconds.into()) + GRACE);
        let printed = wrk.printed();
        match status {
            Some(status) if status.success() => parse(&printed),
            Some(status) => Err(format!("wrk failed ({status}): {}", printed.trim())),
            None => Err("wrk did not end in time".to_owned()),
        }
    }

    fn arguments(&self, seconds: u32) -> Vec<String> {
        let threads = self.cores.len();
        let mut arguments = vec![
            format!("--threads={threads}"),
            format!("--connections={}", self.work.connections),
            format!("--duration={seconds}s"),
            format!("--timeout={}s", PATIENCE.as_secs()),
            format!("--script={}", self.root.join("bench/wrk/report.lua").display()),
        ];
        if self.work.close {
            arguments.extend(["--header".to_owned(), "Connection: close".to_owned()]);
        }
        arguments.push(format!("http://{}/", self.address));
        // What follows the address is for the script.
        arguments.extend([format!("upload={}", self.work.upload), format!("routes={}", self.work.routes)]);
        arguments
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
    let answer = ask_once(address, "/").map_err(|e| format!("no answer from {address}: {e}"))?;
    let Answer { status, length, .. } = answer;
    if status == 200 && length == body as u64 {
        Ok(())
    } else {
        Err(format!("wrong answer: {status} with {length} bytes of body instead of {body}"))
    }
}

/// The body of a good answer.
pub(super) fn ask(address: SocketAddr, path: &str) -> Option<Vec<u8>> {
    ask_once(address, path).ok().filter(|answer| answer.status == 200).map(|answer| answer.body)
}

fn ask_once(address: SocketAddr, path: &str) -> Outcome<Answer> {
    let open = || {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let stream = open().map_err(|e: std::io::Error| e.to_string())?;
    let request = talk::get(address, path, true);
    Connection::new(stream).ask(request.as_bytes(), true).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
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

    #[test]
    fn the_script_is_told_what_to_send() {
        let root = crate::shell::workspace_root();
        let scratch = Scratch::new().unwrap();
        let work = Work { upload: 16, routes: 10, close: true, ..Work::PLAIN };
        let address = "127.0.0.1:80".parse().unwrap();
        let load = Load { root: &root, scratch: &scratch, cores: &[1], address, work: &work };
        let line = load.arguments(3).join(" ");
        assert!(line.starts_with("--threads=1 --connections=64 --duration=3s "), "{line}");
        assert!(
            line.ends_with("--header Connection: close http://127.0.0.1:80/ upload=16 routes=10"),
            "{line}"
        );
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
        assert!(answered("HTTP/1.1 503 Gone\r\n\r\nab", 2).unwrap_err().contains("503 with 2 bytes"));
        assert!(answered("", 0).is_err());
    }
}

//! What stands behind the proxy.

mod serve;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::load;
use super::process::{self, Process, Scratch};
use super::rows::Work;
use super::template::{self, Values};
use crate::shell::Outcome;

pub(crate) use serve::serve;

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers from memory, or from the page cache; reads no bodies.
    Nginx,
    /// Our own: reads and counts every body, and may take its time.
    Counting,
    /// `iperf3 -s`.
    Iperf,
}

/// A started origin.
#[derive(Debug)]
pub(crate) struct Origin {
    process: Process,
    kind: Kind,
    pub(crate) address: SocketAddr,
}

/// What the counting origin has read up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

/// Largest body that nginx takes in a directive; its buffer for one is 4 KiB.
const MAX_DIRECTIVE_BODY: usize = 2048;
/// For those of its files whose names do not tell origins apart.
const TEMPLATE: &str = "bench/peers/origin.conf";

impl Origin {
    /// Starts the origin of a row on a free port; on every address of the machine when the pool needs many.
    pub(crate) fn start(root: &Path, work: &Work, scratch: &Scratch, cores: &[usize]) -> Outcome<Self> {
        let address = process::free_address()?;
        let process = match work.origin {
            Kind::Nginx => nginx(root, work, scratch, cores, address)?,
            Kind::Counting => counting(work.body, Duration::ZERO, scratch, cores, address)?,
            Kind::Iperf => iperf(scratch, cores, address)?,
        };
        Self { process, kind: work.origin, address }.ready()
    }

    /// Starts an nginx at an address; more than one may run.
    pub(crate) fn nginx_at(
        root: &Path,
        work: &Work,
        scratch: &Scratch,
        cores: &[usize],
        address: SocketAddr,
    ) -> Outcome<Self> {
        let process = nginx(root, work, scratch, cores, address)?;
        Self { process, kind: Kind::Nginx, address }.ready()
    }

    /// Starts a counting one at an address, which takes so long for every answer.
    pub(crate) fn slow_at(
        body: usize,
        delay: Duration,
        scratch: &Scratch,
        cores: &[usize],
        address: SocketAddr,
    ) -> Outcome<Self> {
        let process = counting(body, delay, scratch, cores, address)?;
        Self { process, kind: Kind::Counting, address }.ready()
    }

    /// What it has read; `None` when it does not count.
    pub(crate) fn count(&self) -> Outcome<Option<Count>> {
        if self.kind != Kind::Counting {
            return Ok(None);
        }
        let body =
            load::ask(self.address, serve::COUNT_PATH).ok_or("the origin does not say what it counted")?;
        parse_count(&body).map(Some).ok_or_else(|| "the origin counts strangely".to_owned())
    }

    /// Kills it with all its connections, without a word to anybody.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    fn ready(mut self) -> Outcome<Self> {
        self.process.accepts(self.address)?;
        Ok(self)
    }
}

fn parse_count(body: &[u8]) -> Option<Count> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(Count { requests: value["requests"].as_u64()?, bytes: value["bytes"].as_u64()? })
}

fn nginx(
    root: &Path,
    work: &Work,
    scratch: &Scratch,
    cores: &[usize],
    address: SocketAddr,
) -> Outcome<Process> {
    let program = process::installed("nginx").ok_or("the origin is nginx, which is not installed")?;
    let name = format!("origin-{}", address.port());
    let body = "x".repeat(work.body);
    let in_file = work.body > MAX_DIRECTIVE_BODY;
    if in_file {
        scratch.write("body", &body)?;
    }
    let listen = if work.targets > 1 { (Ipv4Addr::UNSPECIFIED, address.port()).into() } else { address };
    let folder = scratch.folder();
    let values = Values {
        flags: if in_file { vec!["file"] } else { Vec::new() },
        words: vec![
            ("listen", listen.to_string()),
            ("dir", folder.clone()),
            ("name", name.clone()),
            ("maxconn", (work.most_connections * 2).to_string()),
            ("body", if in_file { String::new() } else { body }),
        ],
        lists: Vec::new(),
    };
    let text = std::fs::read_to_string(root.join(TEMPLATE)).map_err(|e| format!("{TEMPLATE}: {e}"))?;
    let config = scratch.write(&format!("{name}.conf"), template::fill(&text, &values)?)?;
    let arguments = ["-p", &folder, "-e", "stderr", "-c", &config.display().to_string()].map(str::to_owned);
    Process::start(&name, cores, scratch, &program, arguments)
}

fn counting(
    body: usize,
    delay: Duration,
    scratch: &Scratch,
    cores: &[usize],
    address: SocketAddr,
) -> Outcome<Process> {
    let words = [
        "bench".to_owned(),
        "origin".to_owned(),
        address.to_string(),
        body.to_string(),
        delay.as_micros().to_string(),
    ];
    Process::start(&format!("origin-{}", address.port()), cores, scratch, &process::ourselves()?, words)
}

fn iperf(scratch: &Scratch, cores: &[usize], address: SocketAddr) -> Outcome<Process> {
    let program =
        process::installed("iperf3").ok_or("sender and receiver are iperf3, which is not installed")?;
    let words = ["--server", "--bind", "127.0.0.1", "--port", &address.port().to_string()].map(str::to_owned);
    Process::start("iperf3-server", cores, scratch, &program, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        assert_eq!(parse_count(b"{\"requests\":2,\"bytes\":30}"), Some(Count { requests: 2, bytes: 30 }));
        assert_eq!(parse_count(b"{\"requests\":2}"), None);
        assert_eq!(parse_count(b""), None);
    }
}

//! The bulk load: iperf3 sends through a relay.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::process::{self, Process};
use super::stand::Stand;
use crate::shell::Outcome;

/// Connections that carry bytes.
const STREAMS: u32 = 4;
/// The server serves one client at a time, and needs a moment between two.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// What it may take beyond its time.
const GRACE: Duration = Duration::from_secs(15);

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// Sends as much as will go for so many seconds.
pub(crate) fn send(stand: &Stand<'_>, address: SocketAddr, seconds: u32) -> Outcome<Sent> {
    let program =
        process::installed("iperf3").ok_or("the load generator is iperf3, which is not installed")?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let arguments = [
            "--client".to_owned(),
            address.ip().to_string(),
            format!("--port={}", address.port()),
            format!("--time={seconds}"),
            format!("--parallel={STREAMS}"),
            "--json".to_owned(),
        ];
        let mut iperf = Process::start("iperf3", &stand.cores.load, stand.scratch, &program, arguments)?;
        if iperf.ends_within(Duration::from_secs(seconds.into()) + GRACE).is_none() {
            return Err("iperf3 did not end in time".to_owned());
        }
        match parse(&iperf.printed()) {
            Ok(sent) => return Ok(sent),
            Err(message) => last = message,
        }
        sleep(PAUSE);
    }
    Err(last)
}

fn parse(printed: &str) -> Outcome<Sent> {
    let value: Value =
        serde_json::from_str(printed).map_err(|_| format!("iperf3 printed no report: {}", printed.trim()))?;
    if let Some(error) = value["error"].as_str() {
        return Err(format!("iperf3: {error}"));
    }
    let sum = &value["end"]["sum_received"];
    let sent = sum["bytes"].as_u64().zip(sum["seconds"].as_f64());
    match sent {
        Some((bytes, seconds)) if bytes > 0 && seconds > 0.0 => Ok(Sent { bytes, seconds }),
        _ => Err("iperf3 says that nothing arrived".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read() {
        let text = "{\"end\":{\"sum_received\":{\"bytes\":1000,\"seconds\":2.5}}}";
        assert_eq!(parse(text), Ok(Sent { bytes: 1000, seconds: 2.5 }));
        assert!(parse("{\"error\":\"the server is busy\"}").unwrap_err().contains("busy"));
        assert!(parse("{\"end\":{}}").is_err());
        assert!(parse("").is_err());
    }
}

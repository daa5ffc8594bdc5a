//! Network namespaces and the cables between them, for links that are cut, routed or filtered for real.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// A network namespace of this test, deleted when dropped. Drop what runs inside first.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one with its loopback up; says why that is impossible (it takes `ip` and CAP_SYS_ADMIN).
    pub fn new() -> Result<Self, String> {
        let name = unique('n');
        ip(&["netns", "add", &name])?;
        let netns = Self { name };
        netns.ip(&["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Its name, as in `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lays a cable to another namespace. Addresses carry their prefix length, such as `10.0.0.1/24`.
    /// Returns the names of the devices, mine first.
    pub fn connect(&self, mine: &str, other: &Self, theirs: &str) -> Result<(String, String), String> {
        let (near, far) = (unique('v'), unique('v'));
        ip(&[
            "link",
            "add",
            &near,
            "netns",
            &self.name,
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "netns",
            &other.name,
        ])?;
        self.raise(&near, mine)?;
        other.raise(&far, theirs)?;
        Ok((near, far))
    }

    /// Lays a cable to the namespace this process is in.
    pub fn connect_host(&self, mine: &str, host: &str) -> Result<(String, String), String> {
        let (near, far) = (unique('v'), unique('v'));
        ip(&["link", "add", &near, "netns", &self.name, "type", "veth", "peer", "name", &far])?;
        self.raise(&near, mine)?;
        ip(&["address", "add", host, "dev", &far])?;
        ip(&["link", "set", &far, "up"])?;
        Ok((near, far))
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// The words to put before a command so that it runs inside; see `Launch::wrap`.
    pub fn wrap(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &[&str]) -> Result<String, String> {
        ip(&[&["-n", self.name.as_str()], args].concat())
    }

    fn raise(&self, device: &str, addr: &str) -> Result<(), String> {
        self.ip(&["address", "add", addr, "dev", device, "nodad"])?;
        self.ip(&["link", "set", device, "up"]).map(drop)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Whether this process may make network namespaces.
pub fn have_namespaces() -> bool {
    crate::tools::have("ip") && Netns::new().is_ok()
}

/// Device names have at most 15 bytes; process ids have at most 7 digits.
fn unique(kind: char) -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    format!("ek{}{kind}{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

fn ip(args: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

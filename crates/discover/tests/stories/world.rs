//! A registry with targets that have names.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::{Config, NoSource, load};
use evenkeel_state::{Registry, Standing};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) registry: Arc<Registry>,
    pub(crate) discovery: JoinHandle<()>,
}

impl World {
    /// Follows these names, each the target of a pool of its own, with this name server.
    pub(crate) fn new(server: SocketAddr, settings: &str, hosts: &[&str]) -> Self {
        let registry = registry(server, settings, hosts);
        let discovery = tokio::spawn(evenkeel_discover::run(Arc::clone(&registry)));
        Self { registry, discovery }
    }

    /// What the name's target is dialled at, without the port.
    pub(crate) fn addresses(&self, host: &str) -> Vec<String> {
        addresses(&self.registry, host)
    }

    pub(crate) async fn until(&self, host: &str, expected: &[&str]) {
        let is_so = || self.addresses(host) == expected;
        wait_for(&format!("{host} at {expected:?}, not {:?}", self.addresses(host)), is_so).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.discovery.abort();
    }
}

pub(crate) fn registry(server: SocketAddr, settings: &str, hosts: &[&str]) -> Arc<Registry> {
    Arc::new(Registry::new(1, config(server, settings, hosts), 7))
}

/// Names are asked for every 50 ms, unless the settings say otherwise.
pub(crate) fn config(server: SocketAddr, settings: &str, hosts: &[&str]) -> Config {
    let mut text =
        format!("[listener.l]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"{}\"\n", hosts[0]);
    let preset = |name: &str, value: &str| match settings.contains(name) {
        true => String::new(),
        false => format!("{name} = \"{value}\"\n"),
    };
    let presets = [("timeout", "500ms"), ("min_ttl", "50ms"), ("max_ttl", "50ms")];
    let presets: String = presets.map(|(name, value)| preset(name, value)).concat();
    write!(text, "[resolver]\nnameservers = [\"{server}\"]\n{presets}{settings}\n").unwrap();
    for host in hosts {
        write!(text, "[pool.\"{host}\"]\ntargets = [\"{host}:80\"]\n").unwrap();
    }
    load(&text, "test", &NoSource).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

pub(crate) fn addresses(registry: &Registry, host: &str) -> Vec<String> {
    let snapshot = registry.snapshot();
    snapshot.pools[host].targets[0].resolved.iter().map(|addr| addr.ip().to_string()).collect()
}

pub(crate) fn standing(registry: &Registry, host: &str) -> Standing {
    registry.snapshot().pools[host].targets[0].standing()
}

/// Waits until something is so.
pub(crate) async fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let looked = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("never: {what}"));
}

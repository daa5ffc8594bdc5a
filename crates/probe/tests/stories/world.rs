//! A registry with its prober, and the events that tell what became of targets.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_config::{Config, NoSource, load};
use evenkeel_state::{Event, EventKind, Registry, Target};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) registry: Arc<Registry>,
    pub(crate) events: broadcast::Receiver<Event>,
    pub(crate) prober: JoinHandle<()>,
}

impl World {
    /// Pools as written; each is a table's name and its lines.
    pub(crate) fn new(pools: &[(&str, String)]) -> Self {
        let registry = Arc::new(Registry::new(1, config(pools), 7));
        let events = registry.events().subscribe();
        let prober = tokio::spawn(evenkeel_probe::run(Arc::clone(&registry), 7));
        Self { registry, events, prober }
    }

    /// The next event that a target of this pool became so, and why.
    pub(crate) async fn until(&mut self, pool: &str, word: &str) -> (String, Reason) {
        let awaited = async {
            loop {
                let event = self.events.recv().await.unwrap();
                let EventKind::Target { pool: of, target, to, .. } = event.kind else { continue };
                if of.as_str() == pool && to == Some(word) {
                    return (target.to_string(), event.reason);
                }
            }
        };
        let waited = timeout(PATIENCE, awaited).await;
        waited.unwrap_or_else(|_| panic!("no target of {pool} became {word}"))
    }

    pub(crate) fn target(&self, pool: &str, index: usize) -> Arc<Target> {
        Arc::clone(&self.registry.snapshot().pools[pool].targets[index])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.prober.abort();
    }
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

pub(crate) fn config(pools: &[(&str, String)]) -> Config {
    let first = pools[0].0;
    let mut text = format!("[listener.l]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"{first}\"\n");
    for (name, lines) in pools {
        write!(text, "[pool.{name}]\n{}\n", lines.replace("POOL", name)).unwrap();
    }
    load(&text, "test", &NoSource).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

/// Targets and a TCP probe that decides quickly; `more` are further lines of the probe.
pub(crate) fn probed(targets: &[String], more: &str) -> String {
    format!(
        "targets = {targets:?}\n[pool.POOL.health]\ninterval = \"100ms\"\ntimeout = \"100ms\"\nrise = 1\nfall = 1\n\
         {more}"
    )
}

/// Targets that are asked once by HTTP, with time enough for an answer on a busy machine.
pub(crate) fn probed_by_http(targets: &[String], more: &str) -> String {
    http_each("20s", targets, more)
}

/// Targets that are asked by HTTP again and again, and have so long to answer.
pub(crate) fn http_each(interval: &str, targets: &[String], more: &str) -> String {
    format!(
        "targets = {targets:?}\n[pool.POOL.health]\ncheck = \"http\"\ninterval = \"{interval}\"\n\
         timeout = \"{interval}\"\nrise = 1\nfall = 1\n{more}"
    )
}

//! The look-ups under way, and what becomes of them.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::SplitMix64;
use evenkeel_config::{Config, Resolver as Settings};
use evenkeel_state::Registry;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::answer::Answer;
use crate::ask::Dns;
use crate::names;
use crate::roster::Roster;
use crate::system::System;

/// Names asked for at once, each with two questions under way: enough for 10,000 names a minute from a name
/// server that takes 300 ms, and few enough not to drown a small one when all names are new.
pub const MAX_LOOKUPS: usize = 64;

/// The names of a registry's targets, and who is being asked for.
pub(crate) struct Watch<'r> {
    registry: &'r Registry,
    /// The one whose names and settings are in force; the same `Arc` means that nothing changed.
    config: Option<Arc<Config>>,
    system: System,
    dns: Option<Arc<Dns>>,
    roster: Roster,
    lookups: JoinSet<Answer>,
    under_way: HashMap<Id, (Arc<str>, AbortHandle)>,
}

impl<'r> Watch<'r> {
    pub(crate) fn new(registry: &'r Registry) -> Self {
        // Retries need to differ between processes, not to be repeatable.
        let seed = std::hash::RandomState::new().hash_one(0);
        Self {
            registry,
            config: None,
            system: System::new(),
            dns: None,
            roster: Roster::new(SplitMix64::new(seed)),
            lookups: JoinSet::new(),
            under_way: HashMap::new(),
        }
    }

    /// Follows the registry for ever.
    pub(crate) async fn keep(&mut self) {
        let mut changes = self.registry.subscribe();
        loop {
            // Marked as seen before it is read: what is published in between is seen twice rather than never.
            drop(changes.borrow_and_update());
            self.adopt();
            while !self.step(&mut changes).await {}
        }
    }

    /// Asks for the names of now, once each.
    pub(crate) async fn ask_all_once(&mut self) {
        self.adopt();
        self.roster.hurry(Instant::now());
        let mut left = names(&self.registry.snapshot());
        while !left.is_empty() {
            self.start_due();
            let Some(ended) = self.lookups.join_next_with_id().await else { return };
            if let Some(name) = self.finish(ended) {
                left.remove(&name);
            }
        }
    }

    /// Takes over the names and settings of the current snapshot.
    fn adopt(&mut self) {
        let snapshot = self.registry.snapshot();
        // Verdicts and addresses make snapshots as well; names and settings come from the configuration alone.
        if self.config.as_ref().is_some_and(|config| Arc::ptr_eq(config, &snapshot.config)) {
            return;
        }
        let old = self.config.replace(Arc::clone(&snapshot.config));
        let now = Instant::now();
        let settings = &snapshot.config.resolver;
        let is_first = old.is_none();
        let gone = self.roster.update(&names(&snapshot), |host| {
            // At the start, names that have an address were asked for just now.
            let is_known = is_first && !known(self.registry, host).is_empty();
            if is_known { now + settings.min_ttl } else { now }
        });
        self.cut_short(|name| gone.contains(name));
        if old.is_some_and(|old| old.resolver != *settings) {
            self.dns = None;
            self.cut_short(|_| true);
            self.roster.hurry(now);
        }
    }

    fn cut_short(&mut self, is_meant: impl Fn(&Arc<str>) -> bool) {
        self.under_way.retain(|_, (name, lookup)| {
            let stays = !is_meant(name);
            if !stays {
                lookup.abort();
            }
            stays
        });
    }

    /// Starts what is due and waits for one thing to happen. Whether that is a new snapshot.
    async fn step(&mut self, changes: &mut watch::Receiver<u64>) -> bool {
        self.start_due();
        let due = self.roster.next_due().filter(|_| self.lookups.len() < MAX_LOOKUPS);
        tokio::select! {
            _ = changes.changed() => return true,
            Some(ended) = self.lookups.join_next_with_id() => {
                self.finish(ended);
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        false
    }

    fn start_due(&mut self) {
        while self.lookups.len() < MAX_LOOKUPS {
            let now = Instant::now();
            let Some(name) = self.roster.start(now) else { return };
            let Some(dns) = self.dns(now) else {
                self.roster.failed(&name, now);
                continue;
            };
            let host = Arc::clone(&name);
            // A task of its own: a panic in a library is one look-up that failed.
            let task = self.lookups.spawn(async move { dns.ask(&host).await });
            self.under_way.insert(task.id(), (name, task));
        }
    }

    /// Whom to ask, as the settings and this machine's files say now.
    fn dns(&mut self, now: Instant) -> Option<Arc<Dns>> {
        if self.system.refresh(now) || self.dns.is_none() {
            let settings = &self.config.as_ref()?.resolver;
            self.dns = Dns::new(settings, &self.system).ok().map(Arc::new);
        }
        self.dns.clone()
    }

    /// A look-up ended: by itself, cut short, or (a defect) in a panic. The name, if it is still of interest.
    fn finish(&mut self, ended: Result<(Id, Answer), JoinError>) -> Option<Arc<str>> {
        let (task, answer) = ended.unwrap_or_else(|error| (error.id(), Answer::FAILED));
        let (name, _) = self.under_way.remove(&task)?;
        let settings = &self.config.as_ref()?.resolver;
        let (now, known) = (Instant::now(), known(self.registry, &name));
        match answer.merge(&known, settings.max_addresses) {
            Some(merged) => {
                self.registry.resolved(&name, merged.addresses);
                self.roster.succeeded(&name, now, again(settings, merged.ttl));
            }
            None => {
                if known.is_empty() {
                    self.registry.resolved(&name, Vec::new());
                }
                self.roster.failed(&name, now);
            }
        }
        Some(name)
    }
}

fn known(registry: &Registry, host: &str) -> Arc<[IpAddr]> {
    registry.addresses(host).unwrap_or_default()
}

/// When to ask again for an answer with this TTL.
fn again(settings: &Settings, ttl: Duration) -> Duration {
    ttl.min(settings.max_ttl).max(settings.min_ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_kept_within_its_bounds() {
        let settings = Settings {
            nameservers: Vec::new(),
            timeout: Duration::from_secs(2),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            max_addresses: 256,
        };
        let seconds = |ttl| again(&settings, Duration::from_secs(ttl)).as_secs();
        assert_eq!([0, 1, 60, 300, 86_400, u64::MAX].map(seconds), [1, 1, 60, 300, 300, 300]);
    }
}

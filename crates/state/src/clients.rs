//! The client tables of a pool: one brain per shard, one lock per shard.
//!
//! A client's connections land on any worker, so the table is shared. Sixty-four shards keep two workers from
//! meeting; the lock is held for one look-up and never over an await.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_base::{SplitMix64, TargetId};
use evenkeel_flow::{ClientKey, ClientTable, Entry};

const SHARDS: usize = 64;

/// One remembered client, for the status view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedClient {
    /// Who.
    pub ip: IpAddr,
    /// Where it is sent, since when unseen, and how often.
    pub entry: Entry,
}

/// Which target each client was sent to.
#[derive(Debug)]
pub struct ClientTables {
    shards: Box<[Mutex<ClientTable>]>,
}

impl ClientTables {
    pub(crate) fn new(capacity: u32, ttl: Duration, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let share = shard_capacity(capacity);
        let shard = |_| Mutex::new(ClientTable::new(share, ttl, random.next_u64()));
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    pub(crate) fn set_limits(&self, capacity: u32, ttl: Duration) {
        for shard in &self.shards {
            lock(shard).set_limits(shard_capacity(capacity), ttl);
        }
    }

    fn shard(&self, ip: IpAddr) -> MutexGuard<'_, ClientTable> {
        let index = evenkeel_balance::hash_ip(ip) as usize % SHARDS;
        lock(&self.shards[index])
    }

    pub(crate) fn look_up(&self, ip: IpAddr, now: Duration) -> Option<Entry> {
        self.shard(ip).look_up(ClientKey::from(ip), now)
    }

    pub(crate) fn remember(&self, ip: IpAddr, target: TargetId, now: Duration) {
        self.shard(ip).remember(ClientKey::from(ip), target, now);
    }

    pub(crate) fn remove_target(&self, target: TargetId) {
        for shard in &self.shards {
            lock(shard).remove_target(target);
        }
    }

    /// Lets a bounded number of entries that outlived their time go; called now and then by the control side.
    pub fn expire(&self, now: Duration, at_most_per_shard: usize) -> usize {
        self.shards.iter().map(|shard| lock(shard).expire(now, at_most_per_shard)).sum()
    }

    /// Clients remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of all shards, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).memory_bytes()).sum()
    }

    /// The most recently seen clients, at most `n`.
    pub fn recent(&self, n: usize) -> Vec<RememberedClient> {
        let mut all: Vec<RememberedClient> = Vec::new();
        for shard in &self.shards {
            let table = lock(shard);
            all.extend(table.recent(n).map(|(key, entry)| RememberedClient { ip: IpAddr::from(key), entry }));
        }
        all.sort_by_key(|client| std::cmp::Reverse(client.entry.last_seen));
        all.truncate(n);
        all
    }
}

fn shard_capacity(capacity: u32) -> u32 {
    capacity.div_ceil(SHARDS as u32).max(1)
}

/// A panic inside a shard leaves a table that is still well-formed: each operation completes or has not begun.
fn lock(shard: &Mutex<ClientTable>) -> MutexGuard<'_, ClientTable> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The table of remembered clients.

use std::fmt;
use std::time::Duration;

use evenkeel_base::TargetId;

use crate::index::Index;
use crate::key::ClientKey;
use crate::slots::Slots;

/// What is remembered of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it is sent.
    pub target: TargetId,
    /// Where it was sent at first, before it failed over: for going back. The same as `target` otherwise.
    pub first: TargetId,
    /// When it was last looked up or remembered, on the caller's time line.
    pub last_seen: Duration,
    /// How often it came: 1 for a new client, and 1 more for each time it was found. Ends at `u32::MAX`.
    pub uses: u32,
}

/// Remembers for a bounded number of clients where they were sent. When it is full, a new client takes the
/// place of the one that was not seen for the longest time.
///
/// Every operation takes constant time, except where it says otherwise. Only a new entry allocates: memory
/// grows by half when it is used up, and the index is rebuilt when the entries have doubled. Either stalls
/// that one call by 10 to 30 ns for each entry: some 20 ms at a million. Who minds splits the clients over
/// several tables.
///
/// An entry costs 48 bytes, at most half as much again allocated ahead, and 8 to 16 bytes of index: a million
/// are below 100 MB. While the entries move to a greater place, the old one is held, too.
///
/// `now` is monotonic; one that lies before an earlier one counts as that.
#[derive(Clone)]
pub struct ClientTable {
    slots: Slots,
    index: Index,
    seed: u64,
    capacity: u32,
    /// `None` is for ever.
    ttl_ns: Option<u64>,
    latest_ns: u64,
    evictions: u64,
}

impl ClientTable {
    /// A table for `capacity` clients, each forgotten once it was not seen for longer than `ttl`.
    ///
    /// A capacity of 0 remembers nobody; a `ttl` of 0 never forgets by time (as pen's tracking time).
    /// `seed` must be one that clients cannot guess, and should differ from table to table. It makes the
    /// index hard to attack with chosen addresses; the hash (XXH3) is fast rather than cryptographic.
    pub fn new(capacity: u32, ttl: Duration, seed: u64) -> Self {
        Self {
            slots: Slots::new(),
            index: Index::new(),
            seed,
            capacity,
            ttl_ns: ttl_ns(ttl),
            latest_ns: 0,
            evictions: 0,
        }
    }

    /// Where the client was sent, if that is remembered. Counts as a use: the client is now the most
    /// recently seen one, and the entry returned says so. One that is too old is removed. Never allocates.
    pub fn look_up(&mut self, key: ClientKey, now: Duration) -> Option<Entry> {
        let now_ns = self.advance(now);
        let cell = self.find(key)?;
        let slot = self.index.slot(cell);
        if self.is_expired(slot, now_ns) {
            self.remove_cell(cell);
            return None;
        }
        self.slots.touch(slot);
        let found = self.slots.at_mut(slot);
        found.see(now_ns);
        found.count_use();
        Some(found.entry())
    }

    /// Sends the client to `target` from now on. A new client, or one that is too old, begins with 1 use and
    /// this target as its first; of a known one `first` and `uses` stay.
    pub fn remember(&mut self, key: ClientKey, target: TargetId, now: Duration) {
        let now_ns = self.advance(now);
        if let Some(cell) = self.find(key) {
            let slot = self.index.slot(cell);
            if !self.is_expired(slot, now_ns) {
                self.slots.touch(slot);
                let found = self.slots.at_mut(slot);
                found.see(now_ns);
                found.target = target;
                return;
            }
            self.remove_cell(cell);
        }
        if self.capacity == 0 {
            return;
        }
        self.evict_down_to(self.capacity as usize - 1);
        self.insert(key, target, now_ns);
    }

    /// Other limits from now on, with the meaning they have in [`Self::new`]. Takes time for each client
    /// that no longer finds room (least recently seen first), and gives their memory back.
    pub fn set_limits(&mut self, capacity: u32, ttl: Duration) {
        self.ttl_ns = ttl_ns(ttl);
        self.capacity = capacity;
        self.evict_down_to(capacity as usize);
        self.slots.shrink_to(capacity as usize);
        self.give_back_memory();
    }

    /// Forgets a client. Whether it was there.
    pub fn remove(&mut self, key: ClientKey) -> bool {
        let cell = self.find(key);
        cell.map(|cell| self.remove_cell(cell)).is_some()
    }

    /// Forgets all clients that are sent to this target, and tells how many; others no longer have it as
    /// their first. Takes time for each entry of the table.
    pub fn remove_target(&mut self, target: TargetId) -> usize {
        let before = self.len();
        let mut slot = 0;
        while (slot as usize) < self.len() {
            let seen = self.slots.at_mut(slot);
            if seen.target == target {
                // Another slot takes this number: look at it again.
                self.remove_slot(slot);
            } else {
                if seen.first == target {
                    seen.first = seen.target;
                }
                slot += 1;
            }
        }
        self.give_back_memory();
        before - self.len()
    }

    /// Forgets every client and gives the memory back. Evictions stay counted.
    pub fn clear(&mut self) {
        self.slots = Slots::new();
        self.index = Index::new();
    }

    /// Removes clients that are too old, at most so many, the oldest first; tells how many. Without it they
    /// go when they come back or when room is needed: call it now and then to have their memory back.
    pub fn expire(&mut self, now: Duration, at_most: usize) -> usize {
        let now_ns = self.advance(now);
        let mut removed = 0;
        while removed < at_most
            && let Some(slot) = self.slots.oldest()
            && self.is_expired(slot, now_ns)
        {
            self.remove_slot(slot);
            removed += 1;
        }
        if removed > 0 {
            self.give_back_memory();
        }
        removed
    }

    /// At most `n` clients, the most recently seen first. Some may be too old and not yet removed.
    pub fn recent(&self, n: usize) -> impl Iterator<Item = (ClientKey, Entry)> + '_ {
        self.slots.by_recency().take(n).map(|slot| (slot.key, slot.entry()))
    }

    /// How many clients are remembered, those included that are too old and not yet removed.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many clients may be remembered.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many clients had to go for others, or for a smaller capacity, before they were too old.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The memory allocated, in use or not, and that of the table itself.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.slots.memory_bytes() + self.index.memory_bytes()
    }

    fn advance(&mut self, now: Duration) -> u64 {
        self.latest_ns = self.latest_ns.max(nanos(now));
        self.latest_ns
    }

    fn find(&self, key: ClientKey) -> Option<usize> {
        self.index.find(key.hash(self.seed), |slot| self.slots.at(slot).key == key)
    }

    fn is_expired(&self, slot: u32, now_ns: u64) -> bool {
        let unseen_ns = now_ns.saturating_sub(self.slots.at(slot).last_seen_ns());
        self.ttl_ns.is_some_and(|ttl_ns| unseen_ns > ttl_ns)
    }

    /// Adds a client that is not there.
    fn insert(&mut self, key: ClientKey, target: TargetId, now_ns: u64) {
        let slot = self.slots.push(key, target, now_ns, self.capacity as usize);
        if self.index.has_room_for(self.len()) {
            self.index.insert(key.hash(self.seed), slot);
        } else {
            self.rebuild_index();
        }
    }

    fn rebuild_index(&mut self) {
        let hashes = self.slots.iter().map(|slot| slot.key.hash(self.seed));
        self.index.rebuild(self.slots.len(), hashes);
    }

    fn evict_down_to(&mut self, len: usize) {
        while self.len() > len
            && let Some(slot) = self.slots.oldest()
        {
            if !self.is_expired(slot, self.latest_ns) {
                self.evictions = self.evictions.saturating_add(1);
            }
            self.remove_slot(slot);
        }
    }

    fn remove_slot(&mut self, slot: u32) {
        let hash = self.slots.at(slot).key.hash(self.seed);
        if let Some(cell) = self.index.find(hash, |found| found == slot) {
            self.empty_cell(cell);
        }
        self.take_out(slot);
    }

    fn remove_cell(&mut self, cell: usize) {
        let slot = self.index.slot(cell);
        self.empty_cell(cell);
        self.take_out(slot);
    }

    fn empty_cell(&mut self, cell: usize) {
        let (slots, seed) = (&self.slots, self.seed);
        self.index.remove(cell, |slot| slots.at(slot).key.hash(seed));
    }

    /// Takes a slot out that the index knows no longer, and tells the index which one got its number.
    fn take_out(&mut self, slot: u32) {
        if self.slots.swap_remove(slot) {
            let (moved_from, hash) = (self.len() as u32, self.slots.at(slot).key.hash(self.seed));
            if let Some(cell) = self.index.find(hash, |found| found == moved_from) {
                self.index.renumber(cell, slot);
            }
        }
    }

    /// What this costs is paid for by the removals that made the table sparse.
    fn give_back_memory(&mut self) {
        self.slots.shrink();
        if self.index.is_sparse_for(self.len()) {
            self.rebuild_index();
        }
    }
}

impl fmt::Debug for ClientTable {
    /// Without the entries, which may be a million, and without the seed, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientTable");
        shown.field("len", &self.len()).field("capacity", &self.capacity).field("evictions", &self.evictions);
        shown.finish_non_exhaustive()
    }
}

fn ttl_ns(ttl: Duration) -> Option<u64> {
    (!ttl.is_zero()).then(|| nanos(ttl))
}

/// 2^64 nanoseconds are 584 years; what is longer counts as that.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

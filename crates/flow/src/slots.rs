//! The entries themselves, dense in one vector, and the order in which they were used.

use std::time::Duration;

use evenkeel_base::TargetId;

use crate::key::ClientKey;
use crate::table::Entry;

/// No slot: the end of the order. It is also why there are at most `u32::MAX` slots.
pub(crate) const NONE: u32 = u32::MAX;

/// Capacity below which growing and shrinking is not worth while.
const FEW: usize = 64;

/// One client: 48 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    last_seen_ns: u64,
    pub(crate) key: ClientKey,
    pub(crate) target: TargetId,
    pub(crate) first: TargetId,
    uses: u32,
    /// Used after this one.
    newer: u32,
    /// Used before this one.
    older: u32,
}

impl Slot {
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            target: self.target,
            first: self.first,
            last_seen: Duration::from_nanos(self.last_seen_ns),
            uses: self.uses,
        }
    }

    pub(crate) fn last_seen_ns(&self) -> u64 {
        self.last_seen_ns
    }

    pub(crate) fn see(&mut self, now_ns: u64) {
        self.last_seen_ns = now_ns;
    }

    pub(crate) fn count_use(&mut self) {
        self.uses = self.uses.saturating_add(1);
    }
}

/// All slots, each linked to the one used next before and next after it.
#[derive(Clone)]
pub(crate) struct Slots {
    all: Vec<Slot>,
    newest: u32,
    oldest: u32,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), newest: NONE, oldest: NONE }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.all.capacity() * size_of::<Slot>()
    }

    pub(crate) fn at(&self, slot: u32) -> &Slot {
        &self.all[slot as usize]
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.all[slot as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter()
    }

    /// The slot that was not used for the longest time.
    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The slot used next after this one.
    #[cfg(test)]
    pub(crate) fn newer(&self, slot: u32) -> Option<u32> {
        let newer = self.at(slot).newer;
        (newer != NONE).then_some(newer)
    }

    /// All slots, the most recently used first.
    pub(crate) fn by_recency(&self) -> impl Iterator<Item = &Slot> {
        let slot = |at: u32| (at != NONE).then(|| self.at(at));
        std::iter::successors(slot(self.newest), move |seen| slot(seen.older))
    }

    /// Adds a slot as the newest and returns its number. Memory grows by half of what is in use, and not
    /// beyond `capacity` slots.
    pub(crate) fn push(&mut self, key: ClientKey, target: TargetId, now_ns: u64, capacity: usize) -> u32 {
        let len = self.all.len();
        if len == self.all.capacity() {
            let more = (len / 2).max(FEW).min(capacity.saturating_sub(len)).max(1);
            self.all.reserve_exact(more);
        }
        let slot =
            Slot { last_seen_ns: now_ns, key, target, first: target, uses: 1, newer: NONE, older: NONE };
        self.all.push(slot);
        self.link_newest(len as u32);
        len as u32
    }

    /// Makes this slot the newest.
    pub(crate) fn touch(&mut self, slot: u32) {
        if self.newest != slot {
            self.unlink(slot);
            self.link_newest(slot);
        }
    }

    /// Takes a slot out. The last one moves to its number, so that no holes remain: returns whether one
    /// moved; it did so from the number that is now the length.
    pub(crate) fn swap_remove(&mut self, slot: u32) -> bool {
        self.unlink(slot);
        self.all.swap_remove(slot as usize);
        if slot as usize == self.all.len() {
            return false;
        }
        let Slot { newer, older, .. } = *self.at(slot);
        self.set_older_of(newer, slot);
        self.set_newer_of(older, slot);
        true
    }

    /// Gives memory back when less than a quarter is used.
    pub(crate) fn shrink(&mut self) -> bool {
        let sparse = self.all.capacity() > FEW && self.all.len() < self.all.capacity() / 4;
        if sparse {
            self.all.shrink_to(self.all.len() * 2);
        }
        sparse
    }

    /// Gives memory beyond `capacity` slots back.
    pub(crate) fn shrink_to(&mut self, capacity: usize) {
        if self.all.capacity() > capacity {
            self.all.shrink_to(capacity);
        }
    }

    fn link_newest(&mut self, slot: u32) {
        let second = self.newest;
        let this = self.at_mut(slot);
        (this.newer, this.older) = (NONE, second);
        self.newest = slot;
        self.set_newer_of(second, slot);
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = *self.at(slot);
        self.set_older_of(newer, older);
        self.set_newer_of(older, newer);
    }

    /// What comes before the end of the order is the newest slot.
    fn set_older_of(&mut self, slot: u32, older: u32) {
        match slot {
            NONE => self.newest = older,
            slot => self.at_mut(slot).older = older,
        }
    }

    /// What comes after the end of the order is the oldest slot.
    fn set_newer_of(&mut self, slot: u32, newer: u32) {
        match slot {
            NONE => self.oldest = newer,
            slot => self.at_mut(slot).newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn filled(count: u8) -> Slots {
        let mut slots = Slots::new();
        for n in 0..count {
            let key = ClientKey::from(IpAddr::from([10, 0, 0, n]));
            assert_eq!(slots.push(key, TargetId(u32::from(n)), 0, 255), u32::from(n));
        }
        slots
    }

    fn order(slots: &Slots) -> Vec<u32> {
        slots.by_recency().map(|slot| slot.target.0).collect()
    }

    #[test]
    fn a_slot_stays_compact() {
        assert_eq!(size_of::<Slot>(), 48);
    }

    #[test]
    fn touching_moves_to_the_front_from_anywhere() {
        let mut slots = filled(4);
        assert_eq!((order(&slots), slots.oldest()), (vec![3, 2, 1, 0], Some(0)));
        slots.touch(3);
        assert_eq!(order(&slots), [3, 2, 1, 0]);
        slots.touch(0);
        assert_eq!((order(&slots), slots.oldest()), (vec![0, 3, 2, 1], Some(1)));
        slots.touch(3);
        assert_eq!((order(&slots), slots.oldest()), (vec![3, 0, 2, 1], Some(1)));
    }

    #[test]
    fn removing_keeps_slots_dense_and_the_order_whole() {
        let mut slots = filled(4);
        assert!(slots.swap_remove(1), "3 moves to 1");
        assert_eq!((order(&slots), slots.at(1).target, slots.len()), (vec![3, 2, 0], TargetId(3), 3));
        assert!(!slots.swap_remove(2), "2 is the last one");
        assert_eq!(order(&slots), [3, 0]);
        assert!(slots.swap_remove(0));
        assert!(!slots.swap_remove(0));
        assert_eq!((order(&slots), slots.oldest()), (vec![], None));
        slots.push(ClientKey::from(IpAddr::from([1; 4])), TargetId(9), 0, 1);
        assert_eq!((order(&slots), slots.oldest()), (vec![9], Some(0)));
    }

    #[test]
    fn uses_end_at_their_limit() {
        let mut slots = filled(1);
        slots.at_mut(0).uses = u32::MAX - 1;
        (0..3).for_each(|_| slots.at_mut(0).count_use());
        assert_eq!(slots.at(0).entry().uses, u32::MAX);
    }
}

//! The table against the most naive thing that behaves the same.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// Entries in a map, and their order of use in a queue, the newest first.
struct Model {
    entries: HashMap<ClientKey, Entry>,
    order: VecDeque<ClientKey>,
    capacity: usize,
    ttl: Duration,
    evictions: u64,
}

impl Model {
    fn is_expired(&self, key: ClientKey, now: Duration) -> bool {
        !self.ttl.is_zero() && now - self.entries[&key].last_seen > self.ttl
    }

    fn remove(&mut self, key: ClientKey) -> bool {
        self.order.retain(|seen| *seen != key);
        self.entries.remove(&key).is_some()
    }

    fn touch(&mut self, key: ClientKey, now: Duration) -> &mut Entry {
        self.order.retain(|seen| *seen != key);
        self.order.push_front(key);
        let entry = self.entries.get_mut(&key).unwrap();
        entry.last_seen = now;
        entry
    }

    fn look_up(&mut self, key: ClientKey, now: Duration) -> Option<Entry> {
        if !self.entries.contains_key(&key) {
            return None;
        }
        if self.is_expired(key, now) {
            self.remove(key);
            return None;
        }
        let entry = self.touch(key, now);
        entry.uses += 1;
        Some(*entry)
    }

    fn remember(&mut self, key: ClientKey, target: TargetId, now: Duration) {
        if self.entries.contains_key(&key) && self.is_expired(key, now) {
            self.remove(key);
        }
        if self.entries.contains_key(&key) {
            self.touch(key, now).target = target;
            return;
        }
        if self.capacity == 0 {
            return;
        }
        self.evict(self.capacity - 1, now);
        self.entries.insert(key, Entry { target, first: target, last_seen: now, uses: 1 });
        self.order.push_front(key);
    }

    fn evict(&mut self, len: usize, now: Duration) {
        while self.order.len() > len {
            let key = *self.order.back().unwrap();
            self.evictions += u64::from(!self.is_expired(key, now));
            self.remove(key);
        }
    }

    fn remove_target(&mut self, target: TargetId) -> usize {
        let gone: Vec<_> = self.order.iter().copied().filter(|k| self.entries[k].target == target).collect();
        for entry in self.entries.values_mut().filter(|entry| entry.first == target) {
            entry.first = entry.target;
        }
        gone.iter().filter(|key| self.remove(**key)).count()
    }

    fn expire(&mut self, now: Duration, at_most: usize) -> usize {
        let old: Vec<_> = self.order.iter().rev().copied().filter(|key| self.is_expired(*key, now)).collect();
        old.into_iter().take(at_most).filter(|key| self.remove(*key)).count()
    }

    fn recent(&self, n: usize) -> Vec<(ClientKey, Entry)> {
        self.order.iter().take(n).map(|key| (*key, self.entries[key])).collect()
    }
}

#[derive(Debug, Clone)]
enum Act {
    LookUp(u8),
    Remember(u8, u32),
    Remove(u8),
    RemoveTarget(u32),
    SetLimits(u32, u64),
    Expire(usize),
    Clear,
}

fn acts(clients: u8) -> impl Strategy<Value = Act> {
    let client = 0..clients;
    prop_oneof![
        40 => client.clone().prop_map(Act::LookUp),
        60 => (client.clone(), 0u32..5).prop_map(|(client, target)| Act::Remember(client, target)),
        8 => client.prop_map(Act::Remove),
        1 => (0u32..5).prop_map(Act::RemoveTarget),
        3 => (0u32..100, 0u64..60).prop_map(|(capacity, ttl)| Act::SetLimits(capacity, ttl)),
        4 => (0usize..9).prop_map(Act::Expire),
        1 => Just(Act::Clear),
    ]
}

fn key(client: u8) -> ClientKey {
    ClientKey::from(IpAddr::from([10, 0, 0, client]))
}

fn agree(
    history: Vec<(Act, u64)>,
    capacity: u32,
    ttl: u64,
    seed: u64,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let mut table = ClientTable::new(capacity, Duration::from_secs(ttl), seed);
    let mut model = Model {
        entries: HashMap::new(),
        order: VecDeque::new(),
        capacity: capacity as usize,
        ttl: Duration::from_secs(ttl),
        evictions: 0,
    };
    let mut now = Duration::ZERO;
    for (act, pause) in history {
        // Pauses of whole seconds, most of them none, so that times to live are met exactly.
        now += Duration::from_secs(pause.saturating_sub(10));
        match act {
            Act::LookUp(client) => {
                prop_assert_eq!(table.look_up(key(client), now), model.look_up(key(client), now));
            }
            Act::Remember(client, target) => {
                table.remember(key(client), TargetId(target), now);
                model.remember(key(client), TargetId(target), now);
            }
            Act::Remove(client) => prop_assert_eq!(table.remove(key(client)), model.remove(key(client))),
            Act::RemoveTarget(target) => {
                prop_assert_eq!(table.remove_target(TargetId(target)), model.remove_target(TargetId(target)));
            }
            Act::SetLimits(capacity, ttl) => {
                let ttl = Duration::from_secs(ttl);
                // The table learns the time only with clients and sweeps.
                table.expire(now, 0);
                table.set_limits(capacity, ttl);
                (model.capacity, model.ttl) = (capacity as usize, ttl);
                model.evict(capacity as usize, now);
            }
            Act::Expire(at_most) => {
                prop_assert_eq!(table.expire(now, at_most), model.expire(now, at_most));
            }
            Act::Clear => {
                table.clear();
                (model.entries, model.order) = (HashMap::new(), VecDeque::new());
            }
        }
        prop_assert_eq!(table.recent(usize::MAX).collect::<Vec<_>>(), model.recent(usize::MAX));
        prop_assert_eq!((table.len(), table.evictions()), (model.order.len(), model.evictions));
        let older: Vec<_> =
            std::iter::successors(table.slots.oldest(), |slot| table.slots.newer(*slot)).collect();
        prop_assert_eq!(older.len(), table.len(), "the order is whole from its other end, too");
        for (key, _) in model.recent(usize::MAX) {
            prop_assert!(table.find(key).is_some());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn few_clients_in_a_small_table(
        history in prop::collection::vec((acts(12), 0u64..14), 1..200),
        capacity in 0u32..12, ttl in 0u64..20, seed: u64,
    ) {
        agree(history, capacity, ttl, seed)?;
    }

    #[test]
    fn many_clients_that_make_the_index_grow(
        history in prop::collection::vec((acts(255), 0u64..11), 1..400),
        capacity in 50u32..200, ttl in 0u64..20, seed: u64,
    ) {
        agree(history, capacity, ttl, seed)?;
    }
}

//! Consistent hashing with bounded load (Mirrokni, Thorup, Zadimoghaddam 2016).

use crate::member::{Choose, Member};
use crate::ring::{Ring, Scale};
use crate::table::{Loads, Slot, Ticket};

/// A target takes work up to 5/4 of its fair share: c = 1 + ε with the ε of 1/4 that is the common choice in
/// practice. Closer to 1 moves more keys away from their home, further away lets hot targets run hotter.
const BOUND: (u128, u128) = (5, 4);

pub(crate) struct ConsistentHash {
    ring: Ring,
    total_weight: u128,
}

impl ConsistentHash {
    pub(crate) fn new(members: Vec<Member>, scale: &Scale) -> Self {
        let total_weight = members.iter().map(|member| u128::from(member.weight)).sum();
        Self { ring: Ring::new(members, scale), total_weight }
    }

    /// Whether one more leaves the member at no more than ⌈5/4 × its share of all work by weight⌉.
    fn has_room<L: Loads>(&self, member: &Member, loads: &L) -> bool {
        let in_flight = loads.in_flight(member.slot);
        // The bound is never below one.
        in_flight == 0 || {
            // in_flight + 1 ≤ ⌈share⌉ is in_flight < share, for whole in_flight. Within 32 + 2 + 42 and
            // 3 + 16 + 64 bits.
            let total_after = u128::from(loads.in_flight_in_all()) + 1;
            u128::from(in_flight) * BOUND.1 * self.total_weight
                < BOUND.0 * u128::from(member.weight) * total_after
        }
    }
}

impl Choose for ConsistentHash {
    /// The first on the ring with room below the bound; if the walk meets none, any such one; else the
    /// first that is admitted at all. O(1), unless the walk meets none with room.
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let mut beyond_bound = None;
        for member in self.ring.walk(ticket.hash) {
            if !loads.admits(member.slot) {
                continue;
            }
            if self.has_room(member, loads) {
                return Some(member.slot);
            }
            beyond_bound = beyond_bound.or(Some(member.slot));
        }
        let below_bound = |member: &Member| loads.admits(member.slot) && self.has_room(member, loads);
        let below = self.ring.scan(ticket.hash, below_bound).map(|member| member.slot);
        below
            .or(beyond_bound)
            .or_else(|| self.ring.scan(ticket.hash, |m| loads.admits(m.slot)).map(|m| m.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, cases, members, pool, ticket};
    use proptest::prelude::*;

    fn order(weights: &[u16]) -> ConsistentHash {
        ConsistentHash::new(members(weights), &Scale::of(&pool(weights)))
    }

    #[test]
    fn one_hot_key_fills_targets_to_the_bound_and_not_beyond() {
        let order = order(&[1; 4]);
        let mut stand = Stand::idle(4);
        for n in 1..=400u32 {
            let slot = order.choose(&stand, ticket(7)).unwrap();
            stand.in_flight[slot.0 as usize] += 1;
            let bound = (n * 5).div_ceil(16);
            assert!(stand.in_flight[slot.0 as usize] <= bound, "{:?} at {n}", stand.in_flight);
        }
        let mut held = stand.in_flight.clone();
        held.sort_unstable();
        // Three are filled to 5/4 of a hundred, and the last on the ring has the rest.
        assert_eq!(held, [25, 125, 125, 125]);
    }

    #[test]
    fn nobody_counts_everyone() {
        let order = order(&[1; 100]);
        let mut stand = Stand::idle(100);
        let home = order.choose(&stand, ticket(1)).unwrap();
        assert_eq!(stand.questions(), 2, "an idle home");
        stand.in_flight = vec![9; 100];
        assert_eq!(order.choose(&stand, ticket(1)), Some(home));
        assert_eq!(stand.questions(), 3, "a busy one with room");
        stand.in_flight[home.0 as usize] = 900;
        assert!(order.choose(&stand, ticket(1)).is_some_and(|other| other != home));
        assert_eq!(stand.questions(), 6, "the next one");
    }

    proptest! {
        #![proptest_config(cases(200))]

        /// The pick is within the bound whenever an admitted target is.
        #[test]
        fn the_bound_holds_if_it_can(
            targets in prop::collection::vec(
                (1..=1000u16, prop_oneof![0..9u32, any::<u32>()], any::<bool>()), 2..10),
            hash: u64,
        ) {
            let weights: Vec<u16> = targets.iter().map(|target| target.0).collect();
            let mut stand = Stand::idle(targets.len());
            for (slot, target) in targets.iter().enumerate() {
                stand.in_flight[slot] = target.1;
                if !target.2 {
                    stand.close(slot as u32);
                }
            }
            let picked = order(&weights).choose(&stand, ticket(hash));
            let total: u128 = targets.iter().map(|target| u128::from(target.1)).sum();
            let weight: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
            let within = |target: &(u16, u32, bool)| {
                let bound = (5 * (total + 1) * u128::from(target.0)).div_ceil(4 * weight);
                u128::from(target.1) < bound
            };
            prop_assert_eq!(picked.is_some(), targets.iter().any(|target| target.2));
            if let Some(Slot(slot)) = picked {
                let could = targets.iter().any(|target| target.2 && within(target));
                prop_assert_eq!(within(&targets[slot as usize]), could);
            }
        }
    }
}

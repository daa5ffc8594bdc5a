//! Smooth weighted round robin over a precomputed cycle.

use evenkeel_base::SplitMix64;

use crate::member::{Choose, Member, scan};
use crate::schedule::schedule;
use crate::table::{Loads, Slot, Ticket};

/// Entries of the schedule tried at random places for a turn whose owner and first stand-in are full.
const MAX_PROBES: usize = 8;

pub(crate) struct RoundRobin {
    /// One cycle.
    schedule: Box<[Slot]>,
    members: Box<[Member]>,
}

impl RoundRobin {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        let weights: Vec<u16> = members.iter().map(|member| member.weight).collect();
        let slot_of = |&index: &u32| members.get(index as usize).map(|member| member.slot);
        let schedule = schedule(&weights).iter().filter_map(slot_of).collect();
        Self { schedule, members: members.into_boxed_slice() }
    }

    #[cfg(test)]
    pub(crate) fn cycle_len(&self) -> usize {
        self.schedule.len()
    }
}

impl Choose for RoundRobin {
    /// The turn's owner; else another entry of the schedule. Walking on to the *next* entry would hand
    /// all turns of a full target to its neighbour, and a row of full ones to the poor one behind it.
    /// So the stand-in is one entry further each cycle: over the cycles every other entry inherits
    /// equally often. Where that one is full too, a few entries are probed as random picks would be
    /// (weights hold there as well), and at last every member is asked once.
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let len = self.schedule.len() as u64;
        let admitted = |position: u64| {
            let slot = *self.schedule.get(position.checked_rem(len)? as usize)?;
            loads.admits(slot).then_some(slot)
        };
        let turn = ticket.sequence.checked_rem(len)?;
        if let Some(owner) = admitted(turn) {
            return Some(owner);
        }
        let others = len.saturating_sub(1).max(1);
        let stand_in = turn + 1 + (ticket.sequence / len) % others;
        let mut random = SplitMix64::new(ticket.sequence);
        admitted(stand_in)
            .or_else(|| (0..MAX_PROBES).find_map(|_| admitted(random.next_u64())))
            .or_else(|| scan(&self.members, random.next_u64(), |m| loads.admits(m.slot)).map(|m| m.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, cases, members, shares, ticket};
    use proptest::prelude::*;

    #[test]
    fn equal_weights_alternate_exactly_and_across_the_wrap() {
        let three = RoundRobin::new(members(&[7; 3]));
        let stand = Stand::idle(3);
        for sequence in (0..300).chain(u64::MAX - 300..=u64::MAX) {
            let slot = three.choose(&stand, ticket(sequence)).unwrap();
            assert_eq!(u64::from(slot.0), sequence % 3);
        }
        assert_eq!(stand.questions(), 601);
    }

    #[test]
    fn the_turns_of_a_full_target_go_evenly_to_all_others() {
        let order = RoundRobin::new(members(&[1; 5]));
        let mut stand = Stand::idle(5);
        stand.close(2);
        // Twenty cycles: four others inherit twenty turns.
        let counts = shares(5, 100, |n| order.choose(&stand, ticket(n)));
        assert_eq!(counts, [25, 25, 0, 25, 25]);
    }

    #[test]
    fn a_row_of_full_targets_does_not_bury_the_one_behind_it() {
        let order = RoundRobin::new(members(&[1; 10]));
        let mut stand = Stand::idle(10);
        (2..6).for_each(|slot| stand.close(slot));
        let counts = shares(10, 60_000, |n| order.choose(&stand, ticket(n)));
        for (slot, &count) in counts.iter().enumerate() {
            let fair = if (2..6).contains(&slot) { 0 } else { 10_000 };
            assert!(count.abs_diff(fair) <= 300, "{counts:?}");
        }
    }

    #[test]
    fn the_turns_of_a_full_target_keep_the_weights_of_the_others() {
        let order = RoundRobin::new(members(&[5, 3, 1]));
        let mut stand = Stand::idle(3);
        stand.close(0);
        let counts = shares(3, 40_000, |n| order.choose(&stand, ticket(n)));
        assert!(counts[1].abs_diff(30_000) < 600, "{counts:?}");
    }

    #[test]
    fn the_last_one_standing_is_found_within_one_round_of_questions() {
        let count = 10_000;
        let order = RoundRobin::new(members(&vec![3; count]));
        let mut stand = Stand::idle(count);
        (0..count as u32).filter(|&slot| slot != 4321).for_each(|slot| stand.close(slot));
        assert_eq!(order.choose(&stand, ticket(17)), Some(Slot(4321)));
        assert!(stand.questions() <= (count + 2 + MAX_PROBES) as u64);
    }

    proptest! {
        #![proptest_config(cases(100))]

        #[test]
        fn every_window_of_one_cycle_gives_exact_shares(
            weights in prop::collection::vec(1..50u16, 1..12),
            from in 0..u64::MAX / 2,
        ) {
            let order = RoundRobin::new(members(&weights));
            let stand = Stand::idle(weights.len());
            let len = order.cycle_len() as u64;
            let counts = shares(weights.len(), len, |n| order.choose(&stand, ticket(from + n)));
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (&count, &weight) in counts.iter().zip(&weights) {
                prop_assert_eq!(count * total, u64::from(weight) * len);
            }
        }
    }
}

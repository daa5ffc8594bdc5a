//! Weighted least connections.

use std::cmp::Ordering;

use crate::load::Load;
use crate::member::{Choose, Member};
use crate::table::{Loads, Slot, Ticket};

pub(crate) struct LeastConnections {
    members: Box<[Member]>,
}

impl LeastConnections {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self { members: members.into_boxed_slice() }
    }

    /// One of the admitted members with the load `best`, by turns.
    fn tied<L: Loads>(&self, loads: &L, best: Load, turn: u64) -> Option<Slot> {
        let is_tied = |member: &&Member| {
            Load::of(member, loads).compare(best) == Ordering::Equal && loads.admits(member.slot)
        };
        let turn = usize::try_from(turn).unwrap_or(usize::MAX);
        self.members.iter().filter(is_tied).nth(turn).map(|member| member.slot)
    }
}

impl Choose for LeastConnections {
    /// The exact minimum, so O(members). Tied members take turns by the ticket's sequence: starting the
    /// scan elsewhere each time would be cheaper, but gives a member behind busy ones their turns too.
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let mut best: Option<(Load, Slot)> = None;
        let mut ties = 0u64;
        for member in &self.members {
            let load = Load::of(member, loads);
            let order = best.map_or(Ordering::Less, |(least, _)| load.compare(least));
            if order == Ordering::Greater || !loads.admits(member.slot) {
                continue;
            }
            if order == Ordering::Less {
                best = Some((load, member.slot));
                ties = 0;
            }
            ties += 1;
        }
        let (least, slot) = best?;
        match ticket.sequence % ties.max(1) {
            0 => Some(slot),
            // Loads may have moved on since; then the first of the tied is as good.
            turn => self.tied(loads, least, turn).or(Some(slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, cases, members, shares, ticket};
    use proptest::prelude::*;

    #[test]
    fn idle_equals_alternate_and_busy_neighbours_leave_nobody_better_off() {
        let order = LeastConnections::new(members(&[1; 4]));
        let mut stand = Stand::idle(4);
        assert_eq!(shares(4, 40, |n| order.choose(&stand, ticket(n))), [10; 4]);
        stand.in_flight[0] = 1;
        stand.in_flight[2] = 1;
        assert_eq!(shares(4, 40, |n| order.choose(&stand, ticket(n))), [0, 20, 0, 20]);
    }

    #[test]
    fn weights_divide_the_load() {
        let order = LeastConnections::new(members(&[4, 2, 1]));
        let mut stand = Stand::idle(3);
        for n in 0..70 {
            let slot = order.choose(&stand, ticket(n)).unwrap();
            stand.in_flight[slot.0 as usize] += 1;
        }
        assert_eq!(stand.in_flight, [40, 20, 10]);
    }

    proptest! {
        #![proptest_config(cases(300))]

        /// Against the model in exact fractions.
        #[test]
        fn the_least_loaded_admitted_one_is_picked(
            targets in prop::collection::vec(
                (1..=1000u16, prop_oneof![0..4u32, any::<u32>()], any::<bool>()), 1..20),
            sequence: u64,
        ) {
            let weights: Vec<u16> = targets.iter().map(|target| target.0).collect();
            let mut stand = Stand::idle(targets.len());
            for (slot, target) in targets.iter().enumerate() {
                stand.in_flight[slot] = target.1;
                if !target.2 {
                    stand.close(slot as u32);
                }
            }
            let picked = LeastConnections::new(members(&weights)).choose(&stand, ticket(sequence));
            let load = |&(weight, busy, _): &(u16, u32, bool)| {
                (u128::from(busy) + 1) * (1 << 80) / u128::from(weight)
            };
            let least = targets.iter().filter(|target| target.2).map(load);
            prop_assert_eq!(picked.is_some(), targets.iter().any(|target| target.2));
            if let (Some(Slot(slot)), Some(least)) = (picked, least.min()) {
                prop_assert!(targets[slot as usize].2);
                prop_assert_eq!(load(&targets[slot as usize]), least);
            }
        }
    }
}

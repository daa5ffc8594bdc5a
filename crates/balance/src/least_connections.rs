//! Weighted least connections.

use std::cmp::Ordering;

use crate::load::Load;
use crate::member::{Choose, Member};
use crate::table::{Loads, Slot, Ticket};

/// Up to so many members, who is tied takes turns exactly; beyond it, turns are nearly fair and a pick is cheaper.
const EXACT_TURNS: usize = 64;

pub(crate) struct LeastConnections {
    members: Box<[Member]>,
    /// The load of the heaviest member with nothing to do: nobody has less.
    idlest: Option<Load>,
}

impl LeastConnections {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        let heaviest = members.iter().max_by_key(|member| member.weight);
        let idlest = heaviest.map(|member| Load::idle(member.weight));
        Self { members: members.into_boxed_slice(), idlest }
    }

    /// The exact minimum, looked for from a place that moves on with each pick: in a pool with far more targets than
    /// requests, the first one or two looked at have nothing to do, and no other can have less. Members behind busy
    /// ones get some of their turns; among so many, that shows nowhere.
    fn beginning_at<L: Loads>(&self, loads: &L, turn: u64) -> Option<Slot> {
        let start = usize::try_from(turn % self.members.len() as u64).unwrap_or(0);
        let (before, from) = self.members.split_at_checked(start)?;
        let mut best: Option<(Load, Slot)> = None;
        for member in from.iter().chain(before) {
            let load = Load::of(member, loads);
            let is_less = best.is_none_or(|(least, _)| load.compare(least) == Ordering::Less);
            if !is_less || !loads.admits(member.slot) {
                continue;
            }
            best = Some((load, member.slot));
            if self.idlest.is_some_and(|idlest| load.compare(idlest) != Ordering::Greater) {
                break;
            }
        }
        best.map(|(_, slot)| slot)
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
    /// The exact minimum, so O(members) unless somebody has nothing to do. Tied members take turns by the ticket's
    /// sequence: starting the scan elsewhere each time is cheaper, but gives a member behind busy ones their turns too.
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        if self.members.len() > EXACT_TURNS {
            return self.beginning_at(loads, ticket.sequence);
        }
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

    #[test]
    fn of_very_many_the_first_idle_one_is_taken_by_turns() {
        let order = LeastConnections::new(members(&[1; 100]));
        let mut stand = Stand::idle(100);
        assert_eq!(shares(100, 1000, |n| order.choose(&stand, ticket(n))), [10; 100]);
        (0..100).for_each(|slot| stand.in_flight[slot] = 2);
        stand.in_flight[41] = 1;
        assert!((0..200).all(|n| order.choose(&stand, ticket(n)) == Some(Slot(41))));
    }

    proptest! {
        #![proptest_config(cases(300))]

        /// Against the model in exact fractions.
        #[test]
        fn the_least_loaded_admitted_one_is_picked(
            targets in prop::collection::vec(
                (1..=1000u16, prop_oneof![0..4u32, any::<u32>()], any::<bool>()), 1..90),
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

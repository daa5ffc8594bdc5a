//! Power of two choices.

use std::cmp::Ordering;

use evenkeel_base::SplitMix64;

use crate::load::Load;
use crate::member::{Choose, Member};
use crate::random::Urn;
use crate::table::{Loads, Slot, Ticket};

pub(crate) struct P2c {
    urn: Urn,
}

impl P2c {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self { urn: Urn::new(members) }
    }
}

impl Choose for P2c {
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        better_of_two(&self.urn, loads, ticket, |first, second| {
            Load::of(first, loads).compare(Load::of(second, loads))
        })
    }
}

/// The better (by `order`, the first if they are equal) of two different admitted members, each drawn in
/// proportion to weight; the only one if one alone is admitted.
pub(crate) fn better_of_two<L: Loads>(
    urn: &Urn,
    loads: &L,
    ticket: Ticket,
    order: impl Fn(&Member, &Member) -> Ordering,
) -> Option<Slot> {
    let (first, second) = pair(urn, loads, ticket)?;
    let better = match second {
        Some(second) if order(first, second) == Ordering::Greater => second,
        _ => first,
    };
    Some(better.slot)
}

fn pair<'a, L: Loads>(urn: &'a Urn, loads: &L, ticket: Ticket) -> Option<(&'a Member, Option<&'a Member>)> {
    let mut random = SplitMix64::new(ticket.random);
    let first = urn.draw(&mut random, |member| loads.admits(member.slot))?;
    let second = urn.draw(&mut random, |member| member.slot != first.slot && loads.admits(member.slot));
    Some((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, cases, members, shares, ticket};
    use proptest::prelude::*;

    #[test]
    fn the_busiest_is_never_taken_while_another_has_room() {
        let order = P2c::new(members(&[1; 5]));
        let mut stand = Stand::idle(5);
        stand.in_flight = vec![3, 9, 3, 3, 3];
        let counts = shares(5, 10_000, |n| order.choose(&stand, ticket(n)));
        assert_eq!(counts[1], 0);
        assert!(counts.iter().enumerate().all(|(slot, &count)| slot == 1 || count > 2000), "{counts:?}");
        [0, 2, 3, 4].into_iter().for_each(|slot| stand.close(slot));
        assert_eq!(order.choose(&stand, ticket(1)), Some(Slot(1)));
    }

    #[test]
    fn a_giant_does_not_hide_the_others_from_the_second_draw() {
        let order = P2c::new(members(&[1000, 1, 1]));
        let mut stand = Stand::idle(3);
        stand.in_flight[0] = 5000;
        let counts = shares(3, 10_000, |n| order.choose(&stand, ticket(n)));
        assert_eq!(counts[0], 0);
        assert!(counts[1].abs_diff(counts[2]) < 500, "{counts:?}");
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn the_pick_is_the_lesser_of_an_admitted_pair(
            targets in prop::collection::vec((1..=1000u16, 0..6u32, any::<bool>()), 1..12),
            seed: u64,
        ) {
            let weights: Vec<u16> = targets.iter().map(|target| target.0).collect();
            let mut stand = Stand::idle(targets.len());
            for (slot, target) in targets.iter().enumerate() {
                stand.in_flight[slot] = target.1;
                if !target.2 {
                    stand.close(slot as u32);
                }
            }
            let order = P2c::new(members(&weights));
            let open = targets.iter().filter(|target| target.2).count();
            let drawn = pair(&order.urn, &stand, ticket(seed));
            prop_assert_eq!(drawn.is_some(), open > 0);
            if let Some((first, second)) = drawn {
                prop_assert_eq!(second.is_some(), open > 1, "two different ones whenever there are two");
                let picked = order.choose(&stand, ticket(seed)).unwrap();
                let load = |slot: Slot| {
                    let (weight, busy, _) = targets[slot.0 as usize];
                    f64::from(busy + 1) / f64::from(weight)
                };
                for drawn in [Some(first), second].into_iter().flatten() {
                    prop_assert!(stand.is_open(drawn.slot));
                    prop_assert!(load(picked) <= load(drawn.slot));
                }
                prop_assert!(picked == first.slot || second.is_some_and(|second| second.slot == picked));
                prop_assert!(second.is_none_or(|second| second.slot != first.slot));
            }
        }
    }
}

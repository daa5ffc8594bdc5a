//! Weighted random choice, and the draw that the two-choice algorithms share.

use evenkeel_base::SplitMix64;

use crate::member::{Choose, Member, scan};
use crate::table::{Loads, Slot, Ticket};

/// Draws that may meet a member with no room, before every member is asked once in random order.
pub(crate) const MAX_DRAWS: usize = 8;

pub(crate) struct Random {
    urn: Urn,
}

impl Random {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self { urn: Urn::new(members) }
    }
}

impl Choose for Random {
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let mut random = SplitMix64::new(ticket.random);
        self.urn.draw(&mut random, |member| loads.admits(member.slot)).map(|member| member.slot)
    }
}

/// Members from which to draw in proportion to weight in constant time: Vose's alias method (1991), in
/// whole numbers so that nothing is lost to rounding while building.
pub(crate) struct Urn {
    members: Box<[Member]>,
    columns: Box<[Column]>,
}

/// One column per member, all equally likely: it is the member itself in `keep_below` of 2^32 cases, else
/// the other one.
#[derive(Clone, Copy)]
struct Column {
    keep_below: u32,
    other: u32,
}

impl Urn {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        // A column whose height is never cut is its own other, whatever `keep_below` says.
        let mut columns: Vec<Column> =
            (0..members.len() as u32).map(|other| Column { keep_below: u32::MAX, other }).collect();
        let count = members.len() as u64;
        let mean: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
        let mut heights: Vec<u64> = members.iter().map(|member| u64::from(member.weight) * count).collect();
        let (mut low, mut high): (Vec<usize>, Vec<usize>) =
            (0..heights.len()).partition(|&index| heights.get(index).is_some_and(|&height| height < mean));
        while let (Some(&from), Some(to)) = (high.last(), low.pop()) {
            let Some(&height) = heights.get(to) else { break };
            let keep_below = ((u128::from(height) << 32) / u128::from(mean.max(1))) as u32;
            if let Some(column) = columns.get_mut(to) {
                *column = Column { keep_below, other: from as u32 };
            }
            let Some(rest) = heights.get_mut(from) else { break };
            // Heights sum up to `mean` per column, so the high one has at least the gap to give.
            *rest = rest.saturating_sub(mean - height);
            if *rest < mean {
                high.pop();
                low.push(from);
            }
        }
        Self { members: members.into_boxed_slice(), columns: columns.into_boxed_slice() }
    }

    /// A member that `fits`, in proportion to weight; `None` only when none does.
    pub(crate) fn draw(&self, random: &mut SplitMix64, fits: impl Fn(&Member) -> bool) -> Option<&Member> {
        for _ in 0..MAX_DRAWS {
            let member = self.any(random.next_u64())?;
            if fits(member) {
                return Some(member);
            }
        }
        scan(&self.members, random.next_u64(), fits)
    }

    fn any(&self, random: u64) -> Option<&Member> {
        let (high, low) = (random >> 32, random as u32);
        let index = ((high * self.columns.len() as u64) >> 32) as usize;
        let column = self.columns.get(index)?;
        self.members.get(if low < column.keep_below { index } else { column.other as usize })
    }

    /// The exact share of each member, of 2^32 per member.
    #[cfg(test)]
    fn shares(&self) -> Vec<u64> {
        let mut shares = vec![0u64; self.members.len()];
        for (index, column) in self.columns.iter().enumerate() {
            shares[index] += u64::from(column.keep_below);
            shares[column.other as usize] += (1 << 32) - u64::from(column.keep_below);
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, cases, members, shares, ticket};
    use proptest::prelude::*;

    #[test]
    fn a_full_member_leaves_the_shares_of_the_others_in_proportion() {
        let order = Random::new(members(&[6, 1, 2, 1]));
        let mut stand = Stand::idle(4);
        stand.close(0);
        let counts = shares(4, 40_000, |n| order.choose(&stand, ticket(n)));
        for (count, fair) in counts.into_iter().zip([0u64, 10_000, 20_000, 10_000]) {
            assert!(count.abs_diff(fair) <= 500, "{count} for {fair}");
        }
    }

    #[test]
    fn the_only_one_with_room_is_found_among_many() {
        let order = Random::new(members(&[1; 5000]));
        let mut stand = Stand::idle(5000);
        (1..5000).for_each(|slot| stand.close(slot));
        assert_eq!(order.choose(&stand, ticket(3)), Some(Slot(0)));
        assert!(stand.questions() <= 5000 + MAX_DRAWS as u64);
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn columns_add_up_to_the_weights(weights in prop::collection::vec(1..=1000u16, 1..200)) {
            let urn = Urn::new(members(&weights));
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            for (share, &weight) in urn.shares().into_iter().zip(&weights) {
                let exact = (u64::from(weight) << 32) as f64 * weights.len() as f64 / total as f64;
                // Each of up to `len` columns loses less than one part in 2^32.
                prop_assert!((share as f64 - exact).abs() <= weights.len() as f64, "{share} for {exact}");
            }
        }
    }
}

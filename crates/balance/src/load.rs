//! How busy a member is for its weight.

use std::cmp::Ordering;

use crate::member::Member;
use crate::table::Loads;

/// `(in_flight + 1) / weight`: what the member would carry with one more, per unit of weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    in_flight: u32,
    weight: u16,
}

impl Load {
    pub(crate) fn of<L: Loads>(member: &Member, loads: &L) -> Self {
        Self { in_flight: loads.in_flight(member.slot), weight: member.weight }
    }

    /// Of a member with this weight that has nothing to do.
    pub(crate) fn idle(weight: u16) -> Self {
        Self { in_flight: 0, weight }
    }

    pub(crate) fn is_idle(self) -> bool {
        self.in_flight == 0
    }

    /// Compares the loads, each multiplied by its factor, exactly: fractions are compared crosswise.
    pub(crate) fn compare_scaled(self, factor: u32, other: Self, other_factor: u32) -> Ordering {
        // 32 + 33 + 16 bits at most.
        let side = |factor: u32, load: Self, weight: u16| {
            u128::from(factor) * (u128::from(load.in_flight) + 1) * u128::from(weight)
        };
        side(factor, self, other.weight).cmp(&side(other_factor, other, self.weight))
    }

    /// Compares the loads exactly.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        // 33 + 16 bits at most.
        let side = |load: Self, weight: u16| (u64::from(load.in_flight) + 1) * u64::from(weight);
        side(self, other.weight).cmp(&side(other, self.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_compare_exactly_at_the_edges() {
        let load = |in_flight, weight| Load { in_flight, weight };
        assert_eq!(load(1, 2).compare(load(0, 1)), Ordering::Equal);
        assert_eq!(load(1, 3).compare(load(0, 1)), Ordering::Less);
        assert_eq!(load(u32::MAX, 1000).compare(load(u32::MAX, 999)), Ordering::Less);
        assert_eq!(load(u32::MAX, 1).compare(load(u32::MAX - 1, 1)), Ordering::Greater);
        let most = load(u32::MAX, 1);
        assert_eq!(most.compare_scaled(u32::MAX, load(u32::MAX, u16::MAX), u32::MAX), Ordering::Greater);
        assert_eq!(most.compare_scaled(0, load(0, 1), 1), Ordering::Less);
    }
}

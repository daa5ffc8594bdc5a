//! Two choices by expected waiting time.

use std::cmp::Ordering;

use crate::load::Load;
use crate::member::{Choose, Member};
use crate::p2c::better_of_two;
use crate::random::Urn;
use crate::table::{Loads, Slot, Ticket};

pub(crate) struct PeakEwma {
    urn: Urn,
}

impl PeakEwma {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self { urn: Urn::new(members) }
    }
}

impl Choose for PeakEwma {
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        better_of_two(&self.urn, loads, ticket, |first, second| {
            Expected::of(first, loads).compare(Expected::of(second, loads))
        })
    }
}

/// Answer time × (in flight + 1) / weight.
#[derive(Debug, Clone, Copy)]
struct Expected {
    load: Load,
    latency_us: u32,
}

impl Expected {
    fn of<L: Loads>(member: &Member, loads: &L) -> Self {
        Self { load: Load::of(member, loads), latency_us: loads.latency_us(member.slot) }
    }

    fn compare(self, other: Self) -> Ordering {
        let (mine, theirs) = (self.latency_against(other), other.latency_against(self));
        self.load.compare_scaled(mine, other.load, theirs).then_with(|| self.load.compare(other.load))
    }

    /// A target of unknown latency is tried first while it is idle, so that it becomes known. While its
    /// first answers are on their way it counts as fast as its rival: a new target must not draw
    /// hundreds of requests before the first one tells how slow it is.
    fn latency_against(self, other: Self) -> u32 {
        match self.latency_us {
            0 if self.load.is_idle() => 0,
            0 => other.latency_us.max(1),
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, members, shares, ticket};

    fn picks(latency_us: [u32; 2], in_flight: [u32; 2], weights: [u16; 2]) -> Vec<u64> {
        let mut stand = Stand::idle(2);
        stand.latency_us = latency_us.to_vec();
        stand.in_flight = in_flight.to_vec();
        let order = PeakEwma::new(members(&weights));
        shares(2, 1000, |n| order.choose(&stand, ticket(n)))
    }

    #[test]
    fn latency_times_load_decides() {
        assert_eq!(picks([100, 300], [0, 0], [1, 1]), [1000, 0]);
        assert_eq!(picks([100, 300], [3, 0], [1, 1]), [0, 1000]);
        assert_eq!(picks([100, 300], [3, 0], [2, 1]), [1000, 0]);
        assert_eq!(picks([u32::MAX, u32::MAX - 1], [u32::MAX, u32::MAX], [1000, 1000]), [0, 1000]);
    }

    #[test]
    fn unknown_targets_are_tried_one_request_at_a_time() {
        assert_eq!(picks([0, 1], [0, 0], [1, 1000]), [1000, 0], "idle and unknown wins");
        assert_eq!(picks([0, 1], [1, 0], [1, 1]), [0, 1000], "then load decides");
        assert_eq!(picks([0, 9000], [1, 2], [1, 1]), [1000, 0]);
        assert_eq!(picks([0, 0], [2, 1], [1, 1]), [0, 1000], "two unknown ones compare by load");
        assert_eq!(picks([0, 0], [5, 0], [1000, 1]), [0, 1000], "an untried one comes first");
        assert_eq!(picks([0, 0], [0, 0], [2, 1]), [1000, 0]);
    }
}

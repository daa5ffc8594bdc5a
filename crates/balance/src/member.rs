//! What every algorithm is made of: members of one priority, and the trait that chooses among them.

use crate::hash::mix;
use crate::table::{Loads, Slot, Ticket};

/// Entries of a schedule or hash table that a pick tries in the table's own order before it falls back to
/// asking every member once. With one member in ten admitted, one pick in 700,000 gets that far.
pub(crate) const MAX_WALK: usize = 128;

/// A target that can get work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) slot: Slot,
    pub(crate) key: u64,
    /// 1 to [`evenkeel_base::Weight::MAX`].
    pub(crate) weight: u16,
}

/// One algorithm's order over the members of one priority.
pub(crate) trait Choose {
    /// A member that `loads` admits; `None` only when it admits none.
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot>;
}

/// The first member that `fits`, asking each once, in an order that `random` chooses. What most algorithms
/// end with, so that an admitted member is always found. The order is a walk with an odd stride over the
/// next power of two, which visits every number once: walking straight on would favour those who stand
/// behind the many that are full.
pub(crate) fn scan(members: &[Member], random: u64, fits: impl Fn(&Member) -> bool) -> Option<&Member> {
    let size = (members.len() as u64).next_power_of_two();
    let stride = (random >> 32) | 1;
    let visit = |step: u64| random.wrapping_add(stride.wrapping_mul(step)) & (size - 1);
    (0..size).filter_map(|step| members.get(visit(step) as usize)).find(|&member| fits(member))
}

/// Members with well-mixed keys that are all different, sorted by them: hash tables come out the same on
/// every node, in whatever order it learned of the targets. Of two members with one key (an address
/// listed twice) the second gets a key of its own, or it would never be the best.
pub(crate) fn by_key(mut members: Vec<Member>) -> Box<[Member]> {
    members.sort_by_key(|member| (member.key, member.slot));
    let (mut last, mut repeated) = (None, 0u64);
    for member in &mut members {
        repeated = if last == Some(member.key) { repeated + 1 } else { 0 };
        last = Some(member.key);
        member.key = mix(mix(member.key).wrapping_add(repeated));
    }
    members.sort_by_key(|member| (member.key, member.slot));
    members.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{members, shares};
    use evenkeel_base::SplitMix64;
    use std::cell::RefCell;

    #[test]
    fn a_scan_asks_everyone_once_and_finds_the_only_one() {
        let mut random = SplitMix64::new(1);
        for count in [0, 1, 2, 3, 4, 7, 100] {
            let all = members(&vec![1; count]);
            for _ in 0..50 {
                let (bits, asked) = (random.next_u64(), RefCell::new(Vec::new()));
                let ask = |member: &Member| {
                    asked.borrow_mut().push(member.slot.0);
                    false
                };
                assert_eq!(scan(&all, bits, ask), None);
                let mut asked = asked.into_inner();
                asked.sort_unstable();
                assert!(asked.iter().copied().eq(0..count as u32));
                let only = Slot(random.below(count as u64) as u32);
                assert_eq!(scan(&all, bits, |m| m.slot == only).map(|m| m.slot), all.first().map(|_| only));
            }
        }
    }

    #[test]
    fn a_scan_does_not_bury_the_one_behind_the_full() {
        let all = members(&[1; 10]);
        let mut random = SplitMix64::new(2);
        // Walking straight on, the first of the four would get seven in ten.
        let counts = shares(10, 12_000, |_| scan(&all, random.next_u64(), |m| m.slot.0 >= 6).map(|m| m.slot));
        assert!(counts[6..].iter().all(|count| (2200..4000).contains(count)), "{counts:?}");
    }

    #[test]
    fn repeated_keys_become_different_ones_and_single_keys_stay() {
        let twins: Vec<_> =
            [7, 5, 7, 7].into_iter().zip(members(&[1; 4])).map(|(key, m)| Member { key, ..m }).collect();
        let sorted = by_key(twins.clone());
        assert!(sorted.windows(2).all(|pair| pair[0].key < pair[1].key));
        let alone = by_key(twins[..2].to_vec());
        assert!(alone.iter().all(|one| sorted.iter().any(|m| m.key == one.key)));
    }
}

//! The hash ring (Karger et al. 1997; points in proportion to weight as in libketama).

use evenkeel_base::SplitMix64;

use crate::hash::mix;
use crate::member::{MAX_WALK, Member, by_key, scan};
use crate::table::Candidate;

/// Points of all rings of a table together, if there are not more members: 6 MiB. It leaves ten thousand
/// targets 32 points each.
pub(crate) const MAX_POINTS: u64 = 1 << 19;

/// A unit of weight gets 2^13 points shifted right by the scale.
const UNIT_SHIFT: u32 = 13;

/// With weights up to 16 a unit has 512 points: shares are then even to about 1/√512 = 4 %.
const LEAST_SHIFT: u32 = 4;

/// Points per unit of weight. It follows from the weights of *all* candidates, so that a change of health
/// never rescales the ring, and it changes by powers of two only, when the heaviest weight passes one
/// (beyond 16) or the points would exceed [`MAX_POINTS`]. A member's points at a smaller scale are a
/// part of those at a larger one, so that rescaling moves some of the keys and not nearly all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    shift: u32,
}

impl Scale {
    pub(crate) fn of(candidates: &[Candidate]) -> Self {
        let weights = || candidates.iter().map(|candidate| u64::from(candidate.bounded_weight()));
        let heaviest = weights().max().unwrap_or(0);
        let total: u64 = weights().sum();
        let mut shift = heaviest.next_power_of_two().trailing_zeros().max(LEAST_SHIFT);
        while (total << UNIT_SHIFT) >> shift > MAX_POINTS {
            shift += 1;
        }
        Self { shift }
    }

    /// At least one, so that nobody vanishes.
    fn points(self, weight: u16) -> usize {
        ((usize::from(weight) << UNIT_SHIFT) >> self.shift).max(1)
    }
}

pub(crate) struct Ring {
    /// Ascending, and who owns them: apart, because a search reads hashes only.
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    members: Box<[Member]>,
}

impl Ring {
    pub(crate) fn new(members: Vec<Member>, scale: &Scale) -> Self {
        let members = by_key(members);
        let mut points = Vec::with_capacity(members.iter().map(|m| scale.points(m.weight)).sum());
        for (owner, member) in (0..=u32::MAX).zip(&members) {
            let mut place = SplitMix64::new(member.key);
            points.extend((0..scale.points(member.weight)).map(|_| (place.next_u64(), owner)));
        }
        points.sort_unstable();
        let (hashes, owners): (Vec<u64>, Vec<u32>) = points.into_iter().unzip();
        Self { hashes: hashes.into_boxed_slice(), owners: owners.into_boxed_slice(), members }
    }

    /// The owners of the points from `hash` on, at most [`MAX_WALK`] points; a run of points of one
    /// owner counts once.
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = &Member> {
        let start = self.hashes.partition_point(|&point| point < mix(hash));
        let (before, after) = self.owners.split_at_checked(start).unwrap_or((&[], &self.owners));
        let mut last = None;
        let changes = move |&&owner: &&u32| last.replace(owner) != Some(owner);
        after
            .iter()
            .chain(before)
            .take(MAX_WALK)
            .filter(changes)
            .filter_map(|&owner| self.members.get(owner as usize))
    }

    /// The first member that `fits`, each asked once, in an order that `hash` chooses.
    pub(crate) fn scan(&self, hash: u64, fits: impl Fn(&Member) -> bool) -> Option<&Member> {
        scan(&self.members, mix(hash), fits)
    }

    #[cfg(test)]
    pub(crate) fn points(&self) -> usize {
        self.hashes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{members, pool};

    #[test]
    fn the_scale_ignores_health_and_is_bounded() {
        let points = |weights: &[u16]| Ring::new(members(weights), &Scale::of(&pool(weights))).points();
        assert_eq!(points(&[1]), 512);
        assert_eq!(points(&[1, 2, 3]), 512 * 6);
        assert_eq!(points(&[100, 100]), 64 * 200);
        assert_eq!(points(&[1000, 1]), 8 * 1001);
        assert_eq!(points(&[1; 10_000]), 320_000);
        assert!(points(&[1000; 10_000]) as u64 <= MAX_POINTS);
        let mut down = pool(&[1, 1000]);
        down[1].available = false;
        assert_eq!(Scale::of(&down), Scale::of(&pool(&[1, 1000])));
        assert_eq!(Scale::of(&[]), Scale { shift: LEAST_SHIFT });
        assert_eq!(Scale::of(&pool(&[0, u16::MAX])), Scale::of(&pool(&[1000])));
    }

    #[test]
    fn a_walk_visits_owners_in_ring_order_and_wraps() {
        let weights = [1, 1, 1];
        let ring = Ring::new(members(&weights), &Scale::of(&pool(&weights)));
        for hash in 0..100 {
            let walked: Vec<_> = ring.walk(hash).map(|member| member.slot).collect();
            assert!(walked.windows(2).all(|pair| pair[0] != pair[1]));
            assert!(walked.len() > MAX_WALK / 3 && walked.len() <= MAX_WALK);
            let point = mix(hash);
            let after = ring.hashes.iter().position(|&at| at >= point).unwrap_or(0);
            assert_eq!(walked[0], ring.members[ring.owners[after] as usize].slot);
        }
    }
}

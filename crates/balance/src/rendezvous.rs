//! Weighted rendezvous hashing: every member rolls dice that only key and member decide, and the best
//! roll wins.
//!
//! The roll is −ln(u) / weight with u uniform in (0, 1), an exponential variable of rate `weight`; the
//! least of such variables belongs to a member with probability proportional to its weight (the
//! "logarithmic method" of Schindelhauer and Schomaker, SPAA 2005). So weights are exact, and a change of
//! one member moves keys to or from that member only. The logarithm is computed here from IEEE operations
//! that round the same everywhere: nodes with different math libraries must not disagree.

use crate::hash::mix;
use crate::member::{Choose, Member, by_key};
use crate::table::{Loads, Slot, Ticket};

pub(crate) struct Rendezvous {
    members: Box<[Member]>,
}

impl Rendezvous {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self { members: by_key(members) }
    }
}

impl Choose for Rendezvous {
    /// O(members); the logarithm is taken for the few that could win only.
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let hash = mix(ticket.hash);
        let mut best: Option<(f64, Slot)> = None;
        for member in &self.members {
            let u = unit(mix(hash.wrapping_add(member.key)));
            let weight = f64::from(member.weight);
            let wins = |roll: f64| best.is_none_or(|(least, _)| roll < least);
            // 1 − u ≤ −ln u: a member whose bound does not win need not roll.
            if !wins((1.0 - u) / weight) {
                continue;
            }
            let roll = negative_ln(u) / weight;
            if wins(roll) && loads.admits(member.slot) {
                best = Some((roll, member.slot));
            }
        }
        best.map(|(_, slot)| slot)
    }
}

/// 52 bits of `hash` as a number in (0, 1), both ends excluded.
fn unit(hash: u64) -> f64 {
    // 52 bits and a half: exact in the 53 bits of an f64.
    ((hash >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// −ln(u) for u in (0, 1), to about 13 digits.
fn negative_ln(u: f64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    const EXPONENT_OF_ONE: u64 = 1023;
    // u = m × 2^e with m in [1, 2), then in [√½, √2) so that u near 1 does not cancel.
    let bits = u.to_bits();
    let mut exponent = (bits >> MANTISSA_BITS) as f64 - EXPONENT_OF_ONE as f64;
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let mut m = f64::from_bits(fraction | (EXPONENT_OF_ONE << MANTISSA_BITS));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1.0;
    }
    // ln m = 2 artanh(s) = 2 (s + s³/3 + s⁵/5 + …), |s| < 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..9).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    -(exponent * std::f64::consts::LN_2 + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, members, shares, ticket};
    use evenkeel_base::SplitMix64;

    #[test]
    fn the_logarithm_is_the_logarithm() {
        let mut random = SplitMix64::new(5);
        let edges = [0, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 12, u64::MAX << 12];
        for hash in edges.into_iter().chain((0..50_000).map(|_| random.next_u64() >> random.below(50))) {
            let u = unit(hash);
            assert!(u > 0.0 && u < 1.0);
            let (ours, theirs) = (negative_ln(u), -u.ln());
            assert!((ours - theirs).abs() <= 1e-12 * theirs, "{ours} is not {theirs} at {u}");
            assert!(1.0 - u <= ours);
        }
    }

    #[test]
    fn shares_are_the_weights() {
        let weights = [1, 2, 5, 12];
        let order = Rendezvous::new(members(&weights));
        let counts = shares(4, 40_000, |n| order.choose(&Stand::idle(4), ticket(n)));
        for (&count, &weight) in counts.iter().zip(&weights) {
            assert!(count.abs_diff(2000 * u64::from(weight)) < 500, "{counts:?}");
        }
    }

    #[test]
    fn a_raised_weight_only_attracts() {
        let before = Rendezvous::new(members(&[3, 1, 2, 5]));
        let after = Rendezvous::new(members(&[3, 1, 4, 5]));
        let stand = Stand::idle(4);
        let mut moved = 0;
        for n in 0..11_000 {
            let (old, new) = (before.choose(&stand, ticket(n)), after.choose(&stand, ticket(n)));
            if old != new {
                assert_eq!(new, Some(Slot(2)));
                moved += 1;
            }
        }
        // From 2/11 of the keys to 4/13.
        assert!((1200..1600).contains(&moved), "{moved}");
    }
}

//! Maglev's lookup table (Eisenbud et al., NSDI 2016, section 3.4), with weights.

use evenkeel_base::SplitMix64;

use crate::hash::mix;
use crate::member::{Choose, MAX_WALK, Member, by_key, scan};
use crate::table::{Loads, Slot, Ticket};
use crate::turns::{Start, Turns, classes};

/// Table sizes: primes, so that every skip visits all entries. The paper wants at least 100 entries per
/// target: then shares are even to 1 % and few keys move that need not. Few sizes, because passing from
/// one to the next moves nearly all keys. The largest holds 100 entries for each of 10,485 targets, in
/// 4 MiB; pools beyond that get fewer.
const SIZES: [u64; 3] = [2_039, 65_537, 1_048_573];

/// Entries per candidate.
const ENTRIES_EACH: u64 = 100;

const FREE: u32 = u32::MAX;

pub(crate) struct Maglev {
    /// Indices into `members`.
    table: Box<[u32]>,
    members: Box<[Member]>,
}

impl Maglev {
    /// The size follows from the number of `candidates`, whether they get work or not, so that a change
    /// of health does not change it.
    pub(crate) fn new(members: Vec<Member>, candidates: usize) -> Self {
        let members = by_key(members);
        let (table, _) = fill(&members, size(candidates));
        Self { table, members }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.table.len()
    }
}

impl Choose for Maglev {
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let hash = mix(ticket.hash);
        let start = hash.checked_rem(self.table.len() as u64)? as usize;
        let (before, after) = self.table.split_at_checked(start)?;
        let admits = |member: &Member| loads.admits(member.slot);
        after
            .iter()
            .chain(before)
            .take(MAX_WALK)
            .filter_map(|&index| self.members.get(index as usize))
            .find(|member| admits(member))
            .or_else(|| scan(&self.members, hash, admits))
            .map(|member| member.slot)
    }
}

fn size(candidates: usize) -> u64 {
    let wanted = (candidates as u64).saturating_mul(ENTRIES_EACH);
    let [small, paper, large] = SIZES;
    if wanted <= small {
        small
    } else if wanted <= paper {
        paper
    } else {
        large
    }
}

/// Where a member wants to sit: all entries of the table, in an order of its own.
struct Wishes {
    next: u64,
    skip: u64,
    size: u64,
}

impl Wishes {
    fn new(member: &Member, size: u64) -> Self {
        let mut random = SplitMix64::new(member.key);
        Self { next: random.below(size), skip: 1 + random.below(size - 1), size }
    }

    fn next(&mut self) -> usize {
        let place = self.next;
        self.next = (place + self.skip) % self.size;
        place as usize
    }
}

/// Members take turns in proportion to weight, the first turn of each at once (so even the lightest gets
/// an entry, if there are enough); each takes the first entry of its wishes that is free. Also says how
/// many wishes were looked at: about size × ln size.
fn fill(members: &[Member], size: u64) -> (Box<[u32]>, u64) {
    let mut wishes: Vec<Wishes> = members.iter().map(|member| Wishes::new(member, size)).collect();
    let mut table = vec![FREE; size as usize];
    let (mut free, mut looked) = (size, 0);
    let classes = classes(members.iter().map(|member| u64::from(member.weight)));
    for class in Turns::new(classes.iter().map(|class| class.weight).collect(), Start::AtOnce) {
        for &index in classes.get(class).map_or(&[][..], |class| &class.members) {
            if free == 0 {
                return (table.into_boxed_slice(), looked);
            }
            let Some(wishes) = wishes.get_mut(index as usize) else { continue };
            // Ends: wishes go through every entry, and one is free.
            loop {
                looked += 1;
                match table.get_mut(wishes.next()) {
                    Some(entry) if *entry == FREE => {
                        *entry = index;
                        break;
                    }
                    _ => {}
                }
            }
            free -= 1;
        }
    }
    (table.into_boxed_slice(), looked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, members, ticket};

    fn counts(maglev: &Maglev) -> Vec<u64> {
        let mut counts = vec![0; maglev.members.len()];
        for &index in &maglev.table {
            counts[maglev.members[index as usize].slot.0 as usize] += 1;
        }
        counts
    }

    #[test]
    fn sizes_are_primes_with_a_hundred_entries_each() {
        for size in SIZES {
            assert!((2..).take_while(|d| d * d <= size).all(|divisor| size % divisor != 0), "{size}");
        }
        for candidates in [0, 1, 20, 21, 655, 656, 10_485] {
            assert!(size(candidates) >= 100 * candidates as u64);
        }
        assert_eq!((size(20), size(21), size(655), size(usize::MAX)), (2_039, 65_537, 65_537, 1_048_573));
    }

    #[test]
    fn equal_targets_differ_by_one_entry() {
        let counts = counts(&Maglev::new(members(&[3; 13]), 13));
        assert_eq!(counts.iter().max().unwrap() - counts.iter().min().unwrap(), 1);
    }

    #[test]
    fn entries_follow_the_weights_and_nobody_vanishes() {
        let weights = [1000, 500, 250, 1, 1];
        let found = counts(&Maglev::new(members(&weights), 300));
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (&count, &weight) in found.iter().zip(&weights) {
            let due = 65_537.0 * f64::from(weight) / total;
            assert!((count as f64 - due).abs() <= 2.0, "{count} for {due}");
        }
        let crowd: Vec<u16> = (0..20).map(|index| if index == 0 { 1 } else { 1000 }).collect();
        assert!(counts(&Maglev::new(members(&crowd), 20)).iter().all(|&count| count > 0));
    }

    #[test]
    fn the_lightest_is_found_when_the_walk_meets_giants_only() {
        let maglev = Maglev::new(members(&[1000, 1000, 1]), 3);
        let mut stand = Stand::idle(3);
        stand.close(0);
        stand.close(1);
        assert!((0..200).all(|n| maglev.choose(&stand, ticket(n)) == Some(Slot(2))));
    }

    #[test]
    fn filling_takes_about_n_log_n_looks() {
        for (weights, size) in [(vec![1; 600], 65_537), (vec![1000, 1], 65_537), (vec![7; 20], 2_039)] {
            let (_, looked) = fill(&by_key(members(&weights)), size);
            let expected = size as f64 * (size as f64).ln();
            assert!((looked as f64) < 3.0 * expected, "{looked} looks for {size} entries");
        }
    }
}

//! Maps whose keys are identities of our own making.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by identity. Identities are counted up by us: nobody can choose them to collide, so they need not be hashed as
/// if somebody could.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Leaves a number nearly as it is: identities in a row, which are often used in a row, lie side by side in the table, and
/// the caches know the next one already. Only the highest bits, which a table compares before it looks at a key, are
/// mixed.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The seven bits that `hashbrown` keeps of every entry.
const HIGHEST: u64 = 0x7f << 57;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0.wrapping_mul(SPREAD) & HIGHEST)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(u64::from(id));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = self.0.wrapping_mul(SPREAD) ^ id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_found_again_and_fill_both_ends_of_the_word() {
        let map: IdMap<u64, u64> = (0..10_000).map(|id| (id, id * 2)).collect();
        assert!((0..10_000).all(|id| map[&id] == id * 2));
        let hash = |id| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(id);
            hasher.finish()
        };
        let ends = |shift: u32| {
            (0..1_000).map(|id| hash(id) >> shift & 0x7f).collect::<std::collections::HashSet<_>>()
        };
        assert_eq!((ends(57).len(), ends(0).len()), (128, 128));
        assert!((0..1_000).all(|id| hash(id) & 0xffff == id), "neighbours stay neighbours");
    }
}

//! From a hash to a slot's number: open addressing with linear probing over `u32` cells.
//!
//! At most half of the cells are taken, so a search ends after one or two steps on average. Removal moves
//! followers back (Knuth, The Art of Computer Programming vol. 3, algorithm 6.4 R) instead of leaving
//! tombstones: a table that lives on eviction does not silt up.

/// An empty cell. It is why there are at most `u32::MAX` slots.
const EMPTY: u32 = u32::MAX;

const FEWEST_CELLS: usize = 16;

/// The cells: none at all, or a power of two.
#[derive(Clone)]
pub(crate) struct Index {
    cells: Vec<u32>,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { cells: Vec::new() }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u32>()
    }

    /// Whether there is room for so many slots without a rebuild.
    pub(crate) fn has_room_for(&self, slots: usize) -> bool {
        cells_for(slots) <= self.cells.len()
    }

    /// Whether a rebuild for so many slots would give memory back worth the while.
    pub(crate) fn is_sparse_for(&self, slots: usize) -> bool {
        cells_for(slots) < self.cells.len() / 4
    }

    /// Builds the cells anew with room for `slots`: the hashes are those of the slots 0, 1, 2 and so on.
    ///
    /// It takes time in proportion to the entries, 10 to 30 ns for each, and comes when they have doubled.
    pub(crate) fn rebuild(&mut self, slots: usize, hashes: impl Iterator<Item = u64>) {
        // The old cells go first: both together are never needed.
        self.cells = Vec::new();
        self.cells = vec![EMPTY; cells_for(slots)];
        for (slot, hash) in hashes.enumerate() {
            self.insert(hash, slot as u32);
        }
    }

    /// The cell whose slot is the one sought.
    pub(crate) fn find(&self, hash: u64, is_sought: impl Fn(u32) -> bool) -> Option<usize> {
        if self.cells.is_empty() {
            return None;
        }
        let mut cell = self.home(hash);
        loop {
            match self.cells[cell] {
                EMPTY => return None,
                slot if is_sought(slot) => return Some(cell),
                _ => cell = self.next(cell),
            }
        }
    }

    pub(crate) fn slot(&self, cell: usize) -> u32 {
        self.cells[cell]
    }

    /// The slot in this cell has got another number.
    pub(crate) fn renumber(&mut self, cell: usize, slot: u32) {
        self.cells[cell] = slot;
    }

    /// Adds a slot that is not there yet. There must be room ([`Self::has_room_for`]).
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        let mut cell = self.home(hash);
        while self.cells[cell] != EMPTY {
            cell = self.next(cell);
        }
        self.cells[cell] = slot;
    }

    /// Empties a cell, and moves those back that stand further from their home because of it.
    pub(crate) fn remove(&mut self, cell: usize, hash_of: impl Fn(u32) -> u64) {
        let (mut hole, mut cell) = (cell, self.next(cell));
        while self.cells[cell] != EMPTY {
            let home = self.home(hash_of(self.cells[cell]));
            if self.distance(home, cell) >= self.distance(hole, cell) {
                self.cells[hole] = self.cells[cell];
                hole = cell;
            }
            cell = self.next(cell);
        }
        self.cells[hole] = EMPTY;
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.cells.len() - 1)
    }

    fn next(&self, cell: usize) -> usize {
        (cell + 1) & (self.cells.len() - 1)
    }

    /// Steps from one cell forward to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }

    /// The longest way from home, in steps.
    #[cfg(test)]
    pub(crate) fn longest_way(&self, hash_of: impl Fn(u32) -> u64) -> usize {
        let taken = self.cells.iter().enumerate().filter(|(_, slot)| **slot != EMPTY);
        taken.map(|(cell, &slot)| self.distance(self.home(hash_of(slot)), cell)).max().unwrap_or(0)
    }
}

/// Twice the slots and more, so that a search always meets an empty cell.
fn cells_for(slots: usize) -> usize {
    match slots {
        0 => 0,
        slots => slots.saturating_mul(2).next_power_of_two().max(FEWEST_CELLS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn at_most_half_of_the_cells_are_taken() {
        let counts = [0, 1, 8, 9, 16, 17, 1_000_000];
        assert_eq!(counts.map(cells_for), [0, 16, 16, 32, 32, 64, 1 << 21]);
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(Index::new().find(5, |_| true), None);
        assert!(!Index::new().has_room_for(1));
    }

    proptest! {
        /// Homes of 0 to 3 in 16 or 32 cells, and at their end: runs that meet, wrap around and part.
        #[test]
        fn what_is_in_is_found_and_what_is_out_is_not(
            homes in prop::collection::vec(prop_oneof![0u64..4, 30u64..32], 1..14),
            removals in prop::collection::vec(any::<prop::sample::Index>(), 0..14),
        ) {
            let mut index = Index::new();
            index.rebuild(homes.len(), homes.iter().copied());
            let mut inside: Vec<usize> = (0..homes.len()).collect();
            for removal in removals {
                if inside.is_empty() {
                    break;
                }
                let slot = inside.swap_remove(removal.index(inside.len()));
                let cell = index.find(homes[slot], |found| found as usize == slot).unwrap();
                index.remove(cell, |slot| homes[slot as usize]);
                for (slot, &home) in homes.iter().enumerate() {
                    let found = index.find(home, |found| found as usize == slot);
                    prop_assert_eq!(found.is_some(), inside.contains(&slot), "{}", slot);
                }
            }
        }
    }
}

//! Turns in proportion to weight, by virtual time: an entry of weight w has its turns 1/w apart.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Members of one weight, by index. Members of equal weight take their turns in order, so a schedule
/// needs to weigh classes against each other only: there are far fewer of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) weight: u64,
    pub(crate) members: Vec<u32>,
}

/// The classes of `weights`, the heaviest first.
pub(crate) fn classes(weights: impl Iterator<Item = u64>) -> Vec<Class> {
    let mut by_weight = BTreeMap::<u64, Vec<u32>>::new();
    for (index, weight) in (0..=u32::MAX).zip(weights) {
        by_weight.entry(weight).or_default().push(index);
    }
    by_weight.into_iter().rev().map(|(weight, members)| Class { weight, members }).collect()
}

/// When the first turn of an entry comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// At once, so that even the lightest gets a turn early.
    AtOnce,
    /// After half its period (Webster's method), so that the first turns do not crowd.
    HalfPeriod,
}

/// Endless turns of the entries, earliest first; ties go to the earlier entry.
pub(crate) struct Turns {
    weights: Vec<u64>,
    taken: Vec<u64>,
    start: Start,
    queue: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Turns {
    /// Entries of weight 0 get no turn.
    pub(crate) fn new(weights: Vec<u64>, start: Start) -> Self {
        let mut turns = Self { taken: vec![0; weights.len()], queue: BinaryHeap::new(), weights, start };
        for entry in 0..turns.weights.len() {
            turns.enqueue(entry);
        }
        turns
    }

    fn enqueue(&mut self, entry: usize) {
        let (Some(&weight), Some(&taken)) = (self.weights.get(entry), self.taken.get(entry)) else { return };
        let halves = match self.start {
            Start::AtOnce => taken * 2,
            Start::HalfPeriod => taken * 2 + 1,
        };
        // Fixed point with 32 fractional bits, so that no machine rounds otherwise. No table has 2^31
        // turns, so the shift cannot lose bits.
        if let Some(time) = (halves << 32).checked_div(weight * 2) {
            self.queue.push(Reverse((time, entry)));
        }
    }
}

impl Iterator for Turns {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let Reverse((_, entry)) = self.queue.pop()?;
        *self.taken.get_mut(entry)? += 1;
        self.enqueue(entry);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(weights: &[u64], start: Start, count: usize) -> String {
        let turns = Turns::new(weights.to_vec(), start);
        turns.take(count).map(|entry| char::from(b'a' + entry as u8)).collect()
    }

    #[test]
    fn turns_are_in_proportion_from_either_start() {
        assert_eq!(letters(&[5, 1, 1], Start::HalfPeriod, 14), "aaabcaaaaabcaa");
        assert_eq!(letters(&[5, 1, 1], Start::AtOnce, 14), "abcaaaaabcaaaa");
        assert_eq!(letters(&[1, 1, 1], Start::AtOnce, 6), "abcabc");
        assert_eq!(letters(&[0, 1], Start::AtOnce, 3), "bbb");
        assert_eq!(letters(&[0], Start::HalfPeriod, 3), "");
    }

    #[test]
    fn classes_gather_equal_weights_in_order() {
        let class = |weight, members: &[u32]| Class { weight, members: members.to_vec() };
        let found = classes([2, 7, 2, 1, 7].into_iter());
        assert_eq!(found, [class(7, &[1, 4]), class(2, &[0, 2]), class(1, &[3])]);
    }
}

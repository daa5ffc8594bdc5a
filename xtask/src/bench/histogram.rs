//! Times in buckets that grow with them, as HdrHistogram has them: exact up to 255 µs, and within 0.8 % beyond.

use serde_json::{Value, json};

use crate::shell::Outcome;

/// 128 buckets for each power of two.
const BITS: u32 = 7;
/// Up to here every microsecond has a bucket of its own.
const EXACT: u64 = 1 << (BITS + 1);

/// How often each duration was seen, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl Histogram {
    /// Takes one duration in.
    pub(crate) fn record(&mut self, us: u64) {
        let index = index(us);
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// How many were taken in.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, exactly.
    pub(crate) fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1e3
    }

    /// The time within which `share` (0 to 1) of all lie, in milliseconds; 0 when there is none.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(index).min(self.max_us) as f64 / 1e3;
            }
        }
        self.max_ms()
    }

    /// Takes in what another one has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// For another process: the buckets that hold anything, and the longest.
    pub(crate) fn to_json(&self) -> Value {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let buckets: Vec<Value> = filled.map(|(index, count)| json!([index, count])).collect();
        json!({ "buckets": buckets, "max_us": self.max_us })
    }

    /// The other way round.
    ///
    /// # Errors
    /// When it is not what `to_json` gives.
    pub(crate) fn from_json(value: &Value) -> Outcome<Self> {
        let wrong = || format!("no histogram: {value}");
        let mut histogram = Self { max_us: value["max_us"].as_u64().ok_or_else(wrong)?, ..Self::default() };
        for bucket in value["buckets"].as_array().ok_or_else(wrong)? {
            let index = bucket[0].as_u64().filter(|index| *index <= index_of_most()).ok_or_else(wrong)?;
            let count = bucket[1].as_u64().ok_or_else(wrong)?;
            let index = index as usize;
            if index >= histogram.counts.len() {
                histogram.counts.resize(index + 1, 0);
            }
            histogram.counts[index] += count;
            histogram.total += count;
        }
        Ok(histogram)
    }
}

fn index(us: u64) -> usize {
    if us < EXACT {
        return us as usize;
    }
    let shift = us.ilog2() - BITS;
    ((u64::from(shift) << BITS) + (us >> shift)) as usize
}

fn index_of_most() -> u64 {
    index(u64::MAX) as u64
}

/// The longest time that falls into a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let shift = (index >> BITS) - 1;
    let first = (index - (shift << BITS)) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_near() {
        for us in (0..100_000).chain([1 << 40, u64::MAX]) {
            let bound = upper(index(us));
            assert!(bound >= us && bound - us <= us / 128, "{us} in a bucket up to {bound}");
            assert!(us == 0 || index(us) >= index(us - 1));
        }
        assert_eq!(index(EXACT), index(EXACT - 1) + 1);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut histogram = Histogram::default();
        (1..=100).rev().for_each(|us| histogram.record(us));
        assert_eq!((histogram.percentile_ms(0.5), histogram.percentile_ms(0.99)), (0.05, 0.099));
        assert_eq!((histogram.percentile_ms(1.0), histogram.max_ms(), histogram.total()), (0.1, 0.1, 100));
        assert_eq!(Histogram::default().percentile_ms(0.99), 0.0);
    }

    #[test]
    fn the_longest_is_exact_and_no_percentile_lies_beyond() {
        let mut histogram = Histogram::default();
        histogram.record(100_001);
        assert_eq!((histogram.max_ms(), histogram.percentile_ms(0.5)), (100.001, 100.001));
    }

    #[test]
    fn two_together_are_as_one() {
        let (mut one, mut other, mut both) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for us in [3, 900, 70_000] {
            one.record(us);
            both.record(us);
        }
        for us in [5, 1_000_000] {
            other.record(us);
            both.record(us);
        }
        one.merge(&other);
        assert_eq!(one, both);
        assert_eq!(Histogram::from_json(&both.to_json()), Ok(both));
    }

    #[test]
    fn a_broken_report_is_no_histogram() {
        for value in
            [json!({}), json!({"max_us": 1, "buckets": [[1]]}), json!({"max_us": 1, "buckets": [[1e9, 1]]})]
        {
            assert!(Histogram::from_json(&value).is_err(), "{value}");
        }
    }
}

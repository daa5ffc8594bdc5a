//! One cycle of smooth weighted round robin.

use crate::turns::{Class, Start, Turns, classes};

/// Entries of a schedule, if there are not more members: 1 MiB, which leaves ten thousand targets 26
/// turns each to tell their weights apart.
pub(crate) const MAX_SCHEDULE: u64 = 1 << 18;

/// Comparisons that the exact order of nginx may cost, some milliseconds; a schedule with more entries
/// times distinct weights than this gets the order of virtual deadlines.
const MAX_COMPARISONS: u64 = 1 << 22;

/// Indices into `weights`, each as often as its weight says after dividing all by their greatest common
/// divisor. When the cycle would exceed [`MAX_SCHEDULE`] (or the number of members), weights are scaled
/// down first, and those that would vanish become 1: they then get more than their due.
///
/// The order is nginx's smooth weighted round robin (`ngx_http_upstream_round_robin.c`); for large,
/// many-weighted pools it is that of virtual deadlines, as exact per cycle and nearly as smooth.
pub(crate) fn schedule(weights: &[u16]) -> Box<[u32]> {
    let weights = reduced(weights);
    let total: u64 = weights.iter().sum();
    let classes = classes(weights.into_iter());
    if total.saturating_mul(classes.len() as u64) <= MAX_COMPARISONS {
        smooth(&classes, total)
    } else {
        by_deadline(&classes, total)
    }
}

fn reduced(weights: &[u16]) -> Vec<u64> {
    let mut weights: Vec<u64> = weights.iter().map(|&weight| u64::from(weight)).collect();
    divide(&mut weights);
    let total: u64 = weights.iter().sum();
    let limit = MAX_SCHEDULE.max(weights.len() as u64);
    if total > limit {
        for weight in &mut weights {
            // At most 1000 times 2^32.
            *weight = (*weight * limit / total).max(1);
        }
        divide(&mut weights);
    }
    weights
}

fn divide(weights: &mut [u64]) {
    let divisor = weights.iter().fold(0, |divisor, &weight| greatest_common_divisor(divisor, weight));
    if divisor > 1 {
        weights.iter_mut().for_each(|weight| *weight /= divisor);
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// nginx's order in O(total × distinct weights): each turn every member earns its weight, the richest
/// (of equals the earliest) has the turn and pays the total. Of members with one weight those that were
/// served equally often are equally rich, so a class needs one purse, and serves its members in order.
fn smooth(classes: &[Class], total: u64) -> Box<[u32]> {
    struct Purse<'a> {
        class: &'a Class,
        /// Of the members not yet served in this round of the class.
        credit: i64,
        next: usize,
    }
    let mut purses: Vec<Purse<'_>> =
        classes.iter().map(|class| Purse { class, credit: 0, next: 0 }).collect();
    let mut order = Vec::with_capacity(total as usize);
    for _ in 0..total {
        let mut richest: Option<(i64, u32, usize)> = None;
        for (index, purse) in purses.iter_mut().enumerate() {
            purse.credit += purse.class.weight as i64;
            let Some(&member) = purse.class.members.get(purse.next) else { continue };
            let earlier = |&(credit, other, _): &(i64, u32, usize)| {
                purse.credit > credit || (purse.credit == credit && member < other)
            };
            if richest.as_ref().is_none_or(earlier) {
                richest = Some((purse.credit, member, index));
            }
        }
        let Some((_, member, index)) = richest else { break };
        order.push(member);
        if let Some(purse) = purses.get_mut(index) {
            purse.next += 1;
            if purse.next == purse.class.members.len() {
                purse.next = 0;
                purse.credit -= total as i64;
            }
        }
    }
    order.into_boxed_slice()
}

/// Each class has its turns evenly spaced over the cycle, its members one after the other: O(total × log
/// distinct weights).
fn by_deadline(classes: &[Class], total: u64) -> Box<[u32]> {
    let weights = classes.iter().map(|class| class.weight * class.members.len() as u64).collect();
    let mut members: Vec<_> = classes.iter().map(|class| class.members.iter().cycle()).collect();
    Turns::new(weights, Start::HalfPeriod)
        .take(total as usize)
        .filter_map(|class| members.get_mut(class)?.next().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use evenkeel_base::SplitMix64;
    use proptest::prelude::*;

    fn letters(weights: &[u16]) -> String {
        schedule(weights).iter().map(|&index| char::from(b'a' + index as u8)).collect()
    }

    /// nginx's algorithm, written down as it stands.
    fn nginx(weights: &[u16]) -> Vec<u32> {
        let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let mut current = vec![0; weights.len()];
        let turn = |_| {
            let mut best = 0;
            for (index, &weight) in weights.iter().enumerate() {
                current[index] += i64::from(weight);
                if current[index] > current[best] {
                    best = index;
                }
            }
            current[best] -= total;
            best as u32
        };
        (0..total).map(turn).collect()
    }

    fn counts(order: &[u32], members: usize) -> Vec<u64> {
        let mut counts = vec![0; members];
        order.iter().for_each(|&index| counts[index as usize] += 1);
        counts
    }

    #[test]
    fn known_sequences() {
        assert_eq!(letters(&[5, 1, 1]), "aabacaa");
        assert_eq!(letters(&[500, 100, 100]), "aabacaa");
        assert_eq!(letters(&[1, 1, 1]), "abc");
        assert_eq!(letters(&[1000, 1000]), "ab");
        assert_eq!(letters(&[2, 1]), "aba");
        assert_eq!(letters(&[4, 3, 2]), letters(&[8, 6, 4]));
        assert_eq!(letters(&[7]), "a");
        assert_eq!(letters(&[]), "");
        assert_eq!(letters(&[0, 0]), "");
    }

    #[test]
    fn equal_weights_cost_one_entry_each_however_many() {
        let order = schedule(&[1000; 10_000]);
        assert!(order.iter().copied().eq(0..10_000));
        let beyond = schedule(&vec![3; MAX_SCHEDULE as usize + 7]);
        assert!(beyond.iter().copied().eq(0..MAX_SCHEDULE as u32 + 7));
    }

    #[test]
    fn huge_schedules_are_scaled_down_and_keep_everyone() {
        let mut random = SplitMix64::new(3);
        let weights: Vec<u16> = (0..10_000).map(|_| 1 + random.below(1000) as u16).collect();
        let order = schedule(&weights);
        assert!(order.len() as u64 <= MAX_SCHEDULE + weights.len() as u64, "{}", order.len());
        let counts = counts(&order, weights.len());
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        for (&count, &weight) in counts.iter().zip(&weights) {
            let due = u64::from(weight) * MAX_SCHEDULE / total;
            assert_eq!(count, due.max(1));
        }
    }

    #[test]
    fn a_heavy_target_among_many_light_ones_is_never_kept_waiting() {
        // By naive deadlines all light ones would crowd in the middle of the cycle.
        let mut weights = vec![1; 500];
        weights.push(500);
        for order in [smooth, by_deadline] {
            let order = order(&classes(reduced(&weights).into_iter()), 1000);
            let heavy: Vec<_> = (0..1000).filter(|&turn| order[turn] == 500).collect();
            assert_eq!(heavy.len(), 500);
            assert!(heavy.windows(2).all(|pair| pair[1] - pair[0] <= 3), "{heavy:?}");
        }
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn small_schedules_are_nginx_s(weights in prop::collection::vec(1..30u16, 1..20)) {
            let divisor = weights.iter().fold(0, |d, &w| greatest_common_divisor(d, w.into())) as u16;
            let weights: Vec<u16> = weights.iter().map(|weight| weight / divisor).collect();
            prop_assert_eq!(&schedule(&weights)[..], &nginx(&weights)[..]);
        }

        #[test]
        fn a_cycle_gives_everyone_exactly_its_weight(
            weights in prop::collection::vec(0..=1000u16, 0..40),
            by_deadlines: bool,
        ) {
            let reduced = reduced(&weights);
            let total: u64 = reduced.iter().sum();
            let classes = classes(reduced.iter().copied());
            let order = if by_deadlines { by_deadline(&classes, total) } else { smooth(&classes, total) };
            prop_assert_eq!(order.len() as u64, total);
            prop_assert_eq!(&counts(&order, weights.len()), &reduced);
            // Nothing was scaled down: counts are in proportion to the weights themselves.
            for (&a, &b) in reduced.iter().zip(&reduced[reduced.len().min(1)..]) {
                let (i, j) = (reduced.iter().position(|&w| w == a), reduced.iter().position(|&w| w == b));
                let (wa, wb) = (u64::from(weights[i.unwrap()]), u64::from(weights[j.unwrap()]));
                prop_assert_eq!(a * wb, b * wa);
            }
        }

        /// At every moment everyone has had its due, give or take the ties of the classes.
        #[test]
        fn both_orders_are_smooth(
            weights in prop::collection::vec(1..=60u16, 1..30),
            by_deadlines: bool,
        ) {
            let reduced = reduced(&weights);
            let total: u64 = reduced.iter().sum();
            let classes = classes(reduced.iter().copied());
            let order = if by_deadlines { by_deadline(&classes, total) } else { smooth(&classes, total) };
            let slack = (classes.len() as f64) / 2.0 + 2.0;
            let mut had = vec![0u64; reduced.len()];
            for (turn, &index) in order.iter().enumerate() {
                had[index as usize] += 1;
                for (&had, &weight) in had.iter().zip(&reduced) {
                    let due = (turn as f64 + 1.0) * weight as f64 / total as f64;
                    prop_assert!((had as f64 - due).abs() <= slack, "{had} of {due} at {turn}");
                }
            }
        }
    }
}

//! What a pick costs among so many targets, each busy, and what it costs to build the table.

use divan::{Bencher, black_box};
use evenkeel_balance::{Algorithm, build, pick};
use evenkeel_benches::{Busy, Tickets, candidates};

use crate::size;

const TARGETS: [usize; 3] = [10, 1_000, 10_000];
/// Beyond this, tables of a debug build take seconds.
const TEST: usize = 100;

/// Two draws of random bits included, which is 2 ns.
#[divan::bench(name = "pick", consts = TARGETS, args = Algorithm::ALL)]
fn picks<const N: usize>(bencher: Bencher<'_, '_>, algorithm: &Algorithm) {
    let targets = size(N, TEST);
    let (table, loads) = (build(*algorithm, &candidates(targets)), Busy::new(targets));
    let mut tickets = Tickets::default();
    bencher.bench_local(|| pick(black_box(&table), black_box(&loads), tickets.draw()));
}

#[divan::bench(name = "build", consts = TARGETS, args = Algorithm::ALL, sample_count = 10)]
fn builds<const N: usize>(bencher: Bencher<'_, '_>, algorithm: &Algorithm) {
    let candidates = candidates(size(N, TEST));
    bencher.bench_local(|| build(*algorithm, black_box(&candidates)));
}

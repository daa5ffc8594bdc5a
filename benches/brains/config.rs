//! What it costs to read a large configuration, and to see what changed.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use evenkeel_benches::{config, pools};
use evenkeel_config::{NoSource, diff, load};

use crate::size;

/// A thousand pools of ten targets, and a route to each of them.
const POOLS: usize = 1_000;
const TEST: usize = 20;

#[divan::bench(sample_count = 20)]
fn load_1000_pools(bencher: Bencher<'_, '_>) {
    let text = pools(size(POOLS, TEST));
    config(&text);
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| load(black_box(&text), "bench", &NoSource).is_ok());
}

#[divan::bench(sample_count = 20)]
fn diff_of_1000_pools(bencher: Bencher<'_, '_>) {
    let text = pools(size(POOLS, TEST));
    let (before, after) = (config(&text), config(&text.replace("10.0.0.7:", "10.255.0.7:")));
    assert!(!diff(&before, &after).is_empty());
    bencher.bench_local(|| diff(black_box(&before), black_box(&after)));
}

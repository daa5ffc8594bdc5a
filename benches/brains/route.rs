//! What it costs to find a route among so many, and to bring a path into its one form.

use divan::{Bencher, black_box};
use evenkeel_benches::{Asked, asked, routes};
use evenkeel_route::{RouteTable, canonical_path};

use crate::size;

const ROUTES: [usize; 3] = [1, 100, 10_000];
const TEST: usize = 1_000;

#[divan::bench(consts = ROUTES)]
fn find<const N: usize>(bencher: Bencher<'_, '_>) {
    let routes = routes(size(N, TEST));
    let (table, asked) = (RouteTable::build(&routes), asked(routes.len()));
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 1) % asked.len();
        table.find(black_box(&asked[at]))
    });
}

/// A host that has no route.
#[divan::bench(consts = ROUTES)]
fn find_none<const N: usize>(bencher: Bencher<'_, '_>) {
    let table = RouteTable::build(&routes(size(N, TEST)));
    let stranger = Asked::new("host-unknown.example", "/app-5/v1/items/4711");
    bencher.bench_local(|| table.find(black_box(&stranger)));
}

#[divan::bench(consts = ROUTES, sample_count = 10)]
fn build<const N: usize>(bencher: Bencher<'_, '_>) {
    let routes = routes(size(N, TEST));
    bencher.bench_local(|| RouteTable::build(black_box(&routes)));
}

#[divan::bench(args = ["/", "/static/img/catalogue/2025/autumn-0042.webp", "/a/./b/../%7euser/%e4", "/a/../../etc"])]
fn canonical(path: &str) -> bool {
    canonical_path(black_box(path)).is_ok()
}

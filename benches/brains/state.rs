//! What it costs to choose a target with all that is counted, remembered and limited on the way, and to let it go.

use std::net::IpAddr;
use std::sync::Arc;

use divan::{Bencher, black_box};
use evenkeel_balance::Algorithm;
use evenkeel_base::SplitMix64;
use evenkeel_benches::{caller, clients, registry};
use evenkeel_state::{Pool, Tried, Turn};

use crate::size;

const TARGETS: [usize; 3] = [10, 1_000, 10_000];
const TEST: usize = 100;

fn pool(algorithm: Algorithm, targets: usize, keys: &str) -> Arc<Pool> {
    Arc::clone(&registry(algorithm, targets, keys).snapshot().pools["app"])
}

/// A lease for one client after the other, dropped at once.
fn choose_and_drop(bencher: Bencher<'_, '_>, pool: &Pool, clients: &[IpAddr]) {
    let (mut random, mut at) = (SplitMix64::new(1), 0);
    bencher.bench_local(|| {
        at = (at + 1) % clients.len();
        let turn = pool.lease(&caller(black_box(clients[at]), random.next_u64()), &Tried::default());
        matches!(turn, Ok(Turn::Now(_)))
    });
}

#[divan::bench(consts = TARGETS, args = [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::P2c, Algorithm::Maglev])]
fn lease<const N: usize>(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    choose_and_drop(bencher, &pool(algorithm, size(N, TEST), ""), &clients(1_000));
}

/// Two counts that all workers share.
#[divan::bench(consts = TARGETS)]
fn lease_with_limits<const N: usize>(bencher: Bencher<'_, '_>) {
    let pool = pool(Algorithm::RoundRobin, size(N, TEST), "limits = { connections = 1_000 }");
    choose_and_drop(bencher, &pool, &clients(1_000));
}

/// The client comes back to its target: the table of clients, and one of its locks, twice.
#[divan::bench(consts = TARGETS)]
fn lease_of_a_remembered_client<const N: usize>(bencher: Bencher<'_, '_>) {
    let pool = pool(Algorithm::RoundRobin, size(N, TEST), "affinity = { by = \"client-ip\" }");
    choose_and_drop(bencher, &pool, &clients(1_000));
}

/// What the control side does at every change of a target's standing.
#[divan::bench(consts = TARGETS, sample_count = 10)]
fn new_registry<const N: usize>(bencher: Bencher<'_, '_>) {
    let targets = size(N, TEST);
    bencher.bench_local(|| registry(Algorithm::RoundRobin, targets, "").snapshot().generation);
}

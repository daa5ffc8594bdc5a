//! What the client table costs with so many clients in it.

use std::time::Duration;

use divan::{Bencher, black_box};
use evenkeel_base::TargetId;
use evenkeel_benches::clients;
use evenkeel_flow::{ClientKey, ClientTable};

use crate::size;

const CLIENTS: [usize; 2] = [1_000, 1_000_000];
const TEST: usize = 10_000;
const TTL: Duration = Duration::from_secs(3_600);

/// A full table, the clients that are in it, and as many that are not.
fn full(clients_in: usize) -> (ClientTable, Vec<ClientKey>, Vec<ClientKey>) {
    let mut known: Vec<_> = clients(2 * clients_in as u32).into_iter().map(ClientKey::from).collect();
    let strangers = known.split_off(clients_in);
    let mut table = ClientTable::new(clients_in as u32, TTL, 0x5eed);
    for key in &known {
        table.remember(*key, TargetId(1), Duration::from_secs(1));
    }
    (table, known, strangers)
}

/// One key after the other, over and over.
fn ring(keys: Vec<ClientKey>) -> impl FnMut() -> ClientKey {
    let mut at = 0;
    move || {
        at = (at + 1) % keys.len();
        black_box(keys[at])
    }
}

#[divan::bench(consts = CLIENTS)]
fn look_up_a_known_client<const N: usize>(bencher: Bencher<'_, '_>) {
    let (mut table, known, _) = full(size(N, TEST));
    let mut next = ring(known);
    bencher.bench_local(|| table.look_up(next(), Duration::from_secs(2)));
}

#[divan::bench(consts = CLIENTS)]
fn look_up_a_stranger<const N: usize>(bencher: Bencher<'_, '_>) {
    let (mut table, _, strangers) = full(size(N, TEST));
    let mut next = ring(strangers);
    bencher.bench_local(|| table.look_up(next(), Duration::from_secs(2)));
}

#[divan::bench(consts = CLIENTS)]
fn remember_a_known_client<const N: usize>(bencher: Bencher<'_, '_>) {
    let (mut table, known, _) = full(size(N, TEST));
    let mut next = ring(known);
    bencher.bench_local(|| table.remember(next(), TargetId(2), Duration::from_secs(2)));
}

/// Somebody has to go for each that comes.
#[divan::bench(consts = CLIENTS)]
fn remember_a_stranger<const N: usize>(bencher: Bencher<'_, '_>) {
    let (mut table, known, strangers) = full(size(N, TEST));
    let mut next = ring([strangers, known].concat());
    bencher.bench_local(|| table.remember(next(), TargetId(2), Duration::from_secs(2)));
}

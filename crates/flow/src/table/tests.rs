use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_base::SplitMix64;

use super::*;

const A: TargetId = TargetId(1);
const B: TargetId = TargetId(2);
const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn client(n: u32) -> ClientKey {
    ClientKey::from(IpAddr::from(Ipv4Addr::from(n)))
}

fn clients(table: &ClientTable) -> Vec<ClientKey> {
    table.recent(usize::MAX).map(|(key, _)| key).collect()
}

#[test]
fn a_client_comes_back_to_its_target() {
    let mut table = ClientTable::new(8, HOUR, 1);
    assert_eq!(table.look_up(client(1), at(0)), None);
    table.remember(client(1), A, at(0));
    table.remember(client(2), B, at(0));
    let found = Entry { target: A, first: A, last_seen: at(5), uses: 2 };
    assert_eq!(table.look_up(client(1), at(5)), Some(found));
    assert_eq!(table.look_up(client(2), at(5)).map(|e| e.target), Some(B));
    assert_eq!(table.look_up(client(3), at(5)), None);
}

#[test]
fn failing_over_keeps_the_first_target_and_the_count() {
    let mut table = ClientTable::new(8, HOUR, 1);
    table.remember(client(1), A, at(0));
    table.look_up(client(1), at(1));
    table.remember(client(1), B, at(1));
    let found = Entry { target: B, first: A, last_seen: at(2), uses: 3 };
    assert_eq!(table.look_up(client(1), at(2)), Some(found));
    table.remember(client(1), A, at(3));
    assert_eq!(table.look_up(client(1), at(3)).map(|e| (e.target, e.first)), Some((A, A)));
}

#[test]
fn the_least_recently_seen_leaves() {
    let mut table = ClientTable::new(3, HOUR, 1);
    (1..=3).for_each(|n| table.remember(client(n), A, at(0)));
    table.look_up(client(1), at(0));
    table.remember(client(2), A, at(0));
    table.remember(client(4), A, at(0));
    assert_eq!(clients(&table), [client(4), client(2), client(1)]);
    table.remember(client(5), A, at(0));
    assert_eq!(clients(&table), [client(5), client(4), client(2)]);
    assert_eq!((table.len(), table.evictions()), (3, 2));
}

#[test]
fn an_entry_lives_to_the_end_of_its_time_and_not_beyond() {
    let mut table = ClientTable::new(8, at(10), 1);
    table.remember(client(1), A, at(0));
    assert!(table.look_up(client(1), at(10)).is_some(), "seen again at 10");
    assert!(table.look_up(client(1), at(20)).is_some());
    assert_eq!(table.look_up(client(1), at(30) + Duration::from_nanos(1)), None);
    assert!(table.is_empty());
}

#[test]
fn an_expired_client_is_a_new_one() {
    let mut table = ClientTable::new(8, at(10), 1);
    table.remember(client(1), A, at(0));
    table.look_up(client(1), at(1));
    table.remember(client(1), B, at(12));
    let fresh = Entry { target: B, first: B, last_seen: at(12), uses: 1 };
    assert_eq!(table.recent(9).collect::<Vec<_>>(), [(client(1), fresh)]);
    assert_eq!(table.evictions(), 0);
}

#[test]
fn an_expired_client_that_makes_room_is_no_eviction() {
    let mut table = ClientTable::new(1, at(10), 1);
    table.remember(client(1), A, at(0));
    table.remember(client(2), A, at(11));
    assert_eq!((table.len(), table.evictions()), (1, 0));
    table.remember(client(3), A, at(21));
    assert_eq!((table.len(), table.evictions()), (1, 1));
}

#[test]
fn no_time_to_live_is_for_ever() {
    let mut table = ClientTable::new(8, Duration::ZERO, 1);
    table.remember(client(1), A, at(0));
    assert_eq!(table.expire(Duration::MAX, 9), 0);
    assert!(table.look_up(client(1), Duration::MAX).is_some());
}

#[test]
fn the_sweep_is_bounded_and_stops_at_the_living() {
    let mut table = ClientTable::new(100, at(10), 1);
    (0..50).for_each(|n| table.remember(client(n), A, at(u64::from(n))));
    assert_eq!(table.expire(at(55), 0), 0);
    assert_eq!(table.expire(at(55), 7), 7);
    assert_eq!(table.expire(at(55), 1000), 38, "those seen before 45 are older than 10 s");
    assert_eq!((table.expire(at(55), 1000), table.len(), table.evictions()), (0, 5, 0));
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut table = ClientTable::new(8, at(10), 1);
    table.remember(client(1), A, at(100));
    table.remember(client(2), A, at(50));
    assert_eq!(table.look_up(client(2), at(0)).map(|e| e.last_seen), Some(at(100)));
    assert_eq!(table.expire(at(110), 9), 0);
    assert_eq!(table.expire(at(111), 9), 2);
}

#[test]
fn a_table_without_room_remembers_nobody() {
    let mut table = ClientTable::new(0, HOUR, 1);
    table.remember(client(1), A, at(0));
    assert_eq!((table.look_up(client(1), at(0)), table.len(), table.evictions()), (None, 0, 0));
    table.set_limits(1, HOUR);
    table.remember(client(1), A, at(0));
    assert_eq!(table.len(), 1);
    table.set_limits(0, HOUR);
    assert_eq!((table.len(), table.evictions()), (0, 1));
}

#[test]
fn limits_grow_and_shrink_live() {
    let mut table = ClientTable::new(1000, HOUR, 1);
    (0..2000).for_each(|n| table.remember(client(n), A, at(0)));
    assert_eq!((table.len(), table.evictions()), (1000, 1000));
    table.set_limits(2000, HOUR);
    (2000..3000).for_each(|n| table.remember(client(n), A, at(0)));
    assert_eq!((table.len(), table.evictions(), table.capacity()), (2000, 1000, 2000));
    let before = table.memory_bytes();
    table.set_limits(10, at(5));
    assert_eq!(clients(&table), (2990..3000).rev().map(client).collect::<Vec<_>>());
    assert_eq!(table.evictions(), 2990);
    assert!(table.memory_bytes() < 1_000 && before > 100_000, "{before} to {}", table.memory_bytes());
    assert!(table.look_up(client(2995), at(4)).is_some());
    assert_eq!(table.look_up(client(2996), at(6)), None, "the new time to live holds for old entries");
}

#[test]
fn clients_of_a_removed_target_are_forgotten() {
    let mut table = ClientTable::new(1000, HOUR, 1);
    (0..500).for_each(|n| table.remember(client(n), TargetId(n % 3), at(0)));
    table.remember(client(1), TargetId(2), at(1));
    assert_eq!(table.remove_target(TargetId(1)), 166);
    assert_eq!(table.remove_target(TargetId(1)), 0);
    assert_eq!(table.len(), 334);
    let failed_over = table.look_up(client(1), at(2)).unwrap();
    assert_eq!(failed_over.first, TargetId(2), "there is nothing to go back to");
    assert!((0..500).all(|n| table.look_up(client(n), at(2)).is_some() == (n % 3 != 1 || n == 1)));
}

#[test]
fn removing_and_clearing() {
    let mut table = ClientTable::new(8, HOUR, 1);
    (1..=4).for_each(|n| table.remember(client(n), A, at(0)));
    assert!(table.remove(client(2)) && !table.remove(client(2)));
    assert_eq!(clients(&table), [client(4), client(3), client(1)]);
    table.clear();
    assert!(table.is_empty() && clients(&table).is_empty());
    assert_eq!(table.memory_bytes(), size_of::<ClientTable>());
    table.remember(client(2), A, at(0));
    assert_eq!(table.recent(0).count(), 0);
    assert_eq!(table.recent(1).count(), 1);
}

#[test]
fn memory_comes_with_use_and_goes_with_the_sweep() {
    let mut table = ClientTable::new(u32::MAX, at(10), 1);
    assert_eq!(table.memory_bytes(), size_of::<ClientTable>());
    (0..20_000).for_each(|n| table.remember(client(n), A, at(0)));
    let full = table.memory_bytes();
    assert!(full > 20_000 * 48 && full < 20_000 * 96, "{full}");
    for n in 0..200 {
        table.look_up(client(n), at(11));
        table.remember(client(n), A, at(11));
    }
    while table.expire(at(12), 100) > 0 {}
    assert_eq!(table.len(), 200);
    assert!(table.memory_bytes() < 100_000, "{}", table.memory_bytes());
    assert!((0..200).all(|n| table.look_up(client(n), at(12)).is_some()));
}

#[test]
fn the_greatest_values_are_survived() {
    let mut table = ClientTable::new(u32::MAX, Duration::MAX, u64::MAX);
    let key = ClientKey::from(IpAddr::from(Ipv6Addr::from(u128::MAX)));
    table.remember(key, TargetId(u32::MAX), Duration::MAX);
    table.remember(client(u32::MAX), TargetId(u32::MAX), Duration::MAX);
    let found = table.look_up(key, Duration::MAX).unwrap();
    assert_eq!((found.target, found.last_seen), (TargetId(u32::MAX), Duration::from_nanos(u64::MAX)));
    assert_eq!(table.expire(Duration::MAX, usize::MAX), 0);
    assert_eq!(table.remove_target(TargetId(u32::MAX)), 2);
    table.set_limits(0, Duration::ZERO);
}

#[test]
fn a_million_clients_fit_in_a_hundred_megabytes() {
    const MILLION: u32 = 1_000_000;
    let mut random = SplitMix64::new(7);
    let keys: Vec<ClientKey> = (0..MILLION)
        .map(|n| match n % 2 {
            0 => client(n),
            _ => ClientKey::from(IpAddr::from(Ipv6Addr::from(
                u128::from(random.next_u64()) << 64 | u128::from(n),
            ))),
        })
        .collect();
    let mut table = ClientTable::new(MILLION, HOUR, random.next_u64());
    for (n, key) in keys.iter().enumerate() {
        table.remember(*key, TargetId(n as u32 % 7), at(0));
    }
    assert_eq!((table.len(), table.evictions()), (MILLION as usize, 0));
    assert!(table.memory_bytes() < 100_000_000, "{}", table.memory_bytes());
    let allocated = table.memory_bytes();
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(table.look_up(*key, at(1)).map(|e| e.target), Some(TargetId(n as u32 % 7)));
    }
    assert_eq!(table.memory_bytes(), allocated, "looking up allocates nothing");
    table.remember(client(MILLION + 1), A, at(1));
    assert_eq!((table.len(), table.evictions()), (MILLION as usize, 1));
    assert_eq!(table.look_up(keys[0], at(1)), None, "the first one seen had to go");
}

#[test]
fn neighbouring_addresses_do_not_cluster() {
    for seed in 0..4 {
        let mut table = ClientTable::new(u32::MAX, HOUR, seed);
        // 32 768 of 65 536 cells: the fullest that the index gets.
        (0..1 << 15).for_each(|n| table.remember(client(0x0a00_0000 + n), A, at(0)));
        let longest = table.index.longest_way(|slot| table.slots.at(slot).key.hash(seed));
        // Linear probing at load ½ expects a longest run of some tens here.
        assert!(longest < 120, "seed {seed}: {longest} steps");
    }
}

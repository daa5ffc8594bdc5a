//! What holds for every algorithm, or for every hashing one.

use proptest::prelude::*;

use crate::testing::{Stand, cases, pool, shares, ticket};
use crate::{Algorithm, Candidate, HashKey, Slot, Table, Ticket, build, hash_target, pick};

const HASHING: [Algorithm; 4] =
    [Algorithm::IpHash, Algorithm::ConsistentHash, Algorithm::Maglev, Algorithm::Rendezvous];

/// Of these a target that leaves moves its own keys only; Maglev moves a few more.
const MINIMAL: [Algorithm; 3] = [Algorithm::IpHash, Algorithm::ConsistentHash, Algorithm::Rendezvous];

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let weight = prop_oneof![3 => 0..4u16, 2 => 0..=1000u16, 1 => any::<u16>()];
    // Few different keys, so that some repeat.
    (0..12u64, weight, 0..3u16, any::<bool>()).prop_map(|(key, weight, priority, available)| Candidate {
        key,
        weight,
        priority,
        available,
    })
}

fn any_stand(targets: usize) -> impl Strategy<Value = Stand> {
    let one = (any::<bool>(), prop_oneof![0..5u32, any::<u32>()], prop_oneof![0..9u32, any::<u32>()]);
    prop::collection::vec(one, targets).prop_map(move |answers| {
        let mut stand = Stand::idle(targets);
        for (slot, (open, in_flight, latency_us)) in (0..).zip(answers) {
            if !open {
                stand.close(slot);
            }
            stand.in_flight[slot as usize] = in_flight;
            stand.latency_us[slot as usize] = latency_us;
        }
        stand
    })
}

fn any_pool() -> impl Strategy<Value = (Vec<Candidate>, Stand)> {
    prop::collection::vec(any_candidate(), 0..16)
        .prop_flat_map(|candidates| (any_stand(candidates.len()), Just(candidates)))
        .prop_map(|(stand, candidates)| (candidates, stand))
}

fn any_ticket() -> impl Strategy<Value = Ticket> {
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(sequence, hash, random)| Ticket {
        sequence,
        hash,
        random,
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn an_admitted_target_of_the_lowest_priority_is_picked_and_nothing_else(
        (candidates, stand) in any_pool(),
        tickets in prop::collection::vec(any_ticket(), 1..8),
    ) {
        let can = |slot: usize| {
            let candidate = candidates[slot];
            candidate.available && candidate.weight > 0 && stand.is_open(Slot(slot as u32))
        };
        let admitted = (0..candidates.len()).filter(|&slot| can(slot));
        let lowest = admitted.map(|slot| candidates[slot].priority).min();
        let able = candidates.iter().filter(|candidate| candidate.available && candidate.weight > 0).count();
        for &algorithm in Algorithm::ALL {
            let table = build(algorithm, &candidates);
            prop_assert_eq!(table.len(), able);
            prop_assert_eq!(table.is_empty(), able == 0);
            for &ticket in &tickets {
                let picked = pick(&table, &stand, ticket).map(|slot| slot.0 as usize);
                prop_assert_eq!(picked.is_some(), lowest.is_some(), "{}", algorithm);
                if let Some(slot) = picked {
                    prop_assert!(can(slot), "{} picked {}", algorithm, slot);
                    prop_assert_eq!(Some(candidates[slot].priority), lowest, "{}", algorithm);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Whether it goes down, drains or is deleted.
    #[test]
    fn a_target_that_leaves_moves_its_own_keys_only(
        weights in prop::collection::vec(1..=16u16, 2..12),
        leaving in any::<prop::sample::Index>(),
        seed: u64,
    ) {
        let before = pool(&weights);
        let leaving = leaving.index(before.len());
        let mut down = before.clone();
        down[leaving].available = false;
        let mut drained = before.clone();
        drained[leaving].weight = 0;
        let mut deleted = before.clone();
        deleted.remove(leaving);
        for algorithm in MINIMAL {
            let keys_of = |candidates: &[Candidate]| keys(algorithm, candidates, seed);
            let homes = keys_of(&before);
            for after in [keys_of(&down), keys_of(&drained), keys_of(&deleted)] {
                for (old, new) in homes.iter().zip(after) {
                    prop_assert_ne!(new, leaving as u64);
                    prop_assert!(*old == new || *old == leaving as u64, "{algorithm}: {old} to {new}");
                }
            }
        }
    }

    /// A change of health alone never rescales a table, whatever the weights.
    #[test]
    fn a_target_that_goes_down_moves_its_own_keys_only(
        weights in prop::collection::vec(1..=1000u16, 2..8),
        down in any::<prop::sample::Index>(),
        seed: u64,
    ) {
        let mut candidates = pool(&weights);
        let down = down.index(candidates.len());
        for algorithm in MINIMAL {
            candidates[down].available = true;
            let homes = keys(algorithm, &candidates, seed);
            candidates[down].available = false;
            for (old, new) in homes.into_iter().zip(keys(algorithm, &candidates, seed)) {
                prop_assert!(old == new || old == down as u64, "{algorithm}: {old} to {new}");
            }
        }
    }

    #[test]
    fn nodes_that_learned_of_the_targets_in_another_order_agree(
        candidates in prop::collection::vec(any_candidate(), 1..14),
        rotation in 0..14usize,
        seed: u64,
    ) {
        let mut elsewhere: Vec<_> = candidates.iter().rev().copied().collect();
        elsewhere.rotate_left(rotation % candidates.len());
        // Members of one key are one address: their weights and health agree on every node.
        let uniform = |candidates: &mut [Candidate]| {
            for candidate in candidates {
                candidate.weight = 1 + candidate.key as u16;
                candidate.available = candidate.key % 5 != 0;
                candidate.priority = candidate.key as u16 % 2;
            }
        };
        let mut here = candidates.clone();
        uniform(&mut here);
        uniform(&mut elsewhere);
        prop_assume!(here.iter().any(|candidate| candidate.available));
        for algorithm in HASHING {
            prop_assert_eq!(keys(algorithm, &here, seed), keys(algorithm, &elsewhere, seed), "{}", algorithm);
        }
    }
}

/// The keys of the targets that 200 clients get from idle targets.
fn keys(algorithm: Algorithm, candidates: &[Candidate], seed: u64) -> Vec<u64> {
    let (table, stand) = (build(algorithm, candidates), Stand::idle(candidates.len()));
    let client = |n: u64| {
        let slot = pick(&table, &stand, ticket(seed.wrapping_add(n))).unwrap();
        candidates[slot.0 as usize].key
    };
    (0..200).map(client).collect()
}

/// With a hundred entries per target few keys of the others move: the price of the even table.
#[test]
fn maglev_moves_few_keys_of_the_others() {
    for weights in [vec![1; 20], vec![1; 300], vec![5, 3, 1, 1], (1..=15).collect()] {
        let mut candidates = pool(&weights);
        let stand = Stand::idle(weights.len());
        let before = build(Algorithm::Maglev, &candidates);
        for down in [0, weights.len() / 2, weights.len() - 1] {
            candidates[down].available = false;
            let after = build(Algorithm::Maglev, &candidates);
            candidates[down].available = true;
            let at = |table: &Table, n| pick(table, &stand, ticket(n)).unwrap().0 as usize;
            let others = (0..20_000).filter(|&n| at(&before, n) != down);
            let moved = others.filter(|&n| at(&before, n) != at(&after, n)).count();
            assert!(moved <= 20_000 / 20, "{moved} of 20000 moved without need, {} targets", weights.len());
        }
    }
}

#[test]
fn shares_follow_the_weights() {
    let weights = [1, 2, 3, 4, 10];
    let draws = 40_000;
    // Picks scatter by about 1/√draws; the ring's arcs by about 1/√points on top.
    let tolerances = [
        (Algorithm::RoundRobin, 0.001),
        (Algorithm::Random, 0.06),
        (Algorithm::Maglev, 0.06),
        (Algorithm::Rendezvous, 0.06),
        (Algorithm::IpHash, 0.15),
        (Algorithm::IpPortHash, 0.15),
        (Algorithm::ConsistentHash, 0.15),
    ];
    for (algorithm, tolerance) in tolerances {
        let (table, stand) = (build(algorithm, &pool(&weights)), Stand::idle(5));
        let counts = shares(5, draws, |n| pick(&table, &stand, ticket(n)));
        for (&count, &weight) in counts.iter().zip(&weights) {
            let due = draws as f64 * f64::from(weight) / 20.0;
            assert!((count as f64 / due - 1.0).abs() <= tolerance, "{algorithm}: {counts:?}");
        }
    }
}

#[test]
fn equal_targets_get_equal_shares_of_two_choices() {
    for algorithm in [Algorithm::P2c, Algorithm::PeakEwma, Algorithm::LeastConnections] {
        let (table, stand) = (build(algorithm, &pool(&[9; 8])), Stand::idle(8));
        let counts = shares(8, 16_000, |n| pick(&table, &stand, ticket(n)));
        assert!(counts.iter().all(|count| count.abs_diff(2000) < 200), "{algorithm}: {counts:?}");
    }
}

/// Of one address listed twice both get work.
#[test]
fn twins_share() {
    let mut candidates = pool(&[1; 4]);
    candidates[3].key = candidates[2].key;
    for algorithm in HASHING {
        let (table, stand) = (build(algorithm, &candidates), Stand::idle(4));
        let counts = shares(4, 8000, |n| pick(&table, &stand, ticket(n)));
        assert!(counts.iter().all(|count| count.abs_diff(2000) < 300), "{algorithm}: {counts:?}");
    }
}

/// Nodes of different builds must agree as well: these answers may change with a new major version only.
#[test]
fn the_mapping_is_pinned() {
    let names = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "[2001:db8::1]:80", "db.internal:5432"];
    let candidate = |(key, weight)| Candidate { key, weight, priority: 0, available: true };
    let candidates: Vec<_> = names.map(hash_target).into_iter().zip([1, 1, 2, 3, 1]).map(candidate).collect();
    let pinned = [
        (Algorithm::IpHash, "2330322013012433232143131120032040332434"),
        (Algorithm::ConsistentHash, "2330322013012433232143131120032040332434"),
        (Algorithm::Maglev, "2013343332002003402410233231344313333220"),
        (Algorithm::Rendezvous, "1414230143213122213013221302412203303232"),
    ];
    for (algorithm, expected) in pinned {
        let (table, stand) = (build(algorithm, &candidates), Stand::idle(5));
        let client = |last: u8| {
            let hash = crate::hash_ip([192, 0, 2, last].into());
            pick(&table, &stand, Ticket { sequence: 0, hash, random: 0 }).unwrap().0.to_string()
        };
        assert_eq!((0..40).map(client).collect::<String>(), expected, "{algorithm}");
    }
}

#[test]
fn what_an_algorithm_does_not_hash_does_not_matter() {
    let (candidates, stand) = (pool(&[1; 7]), Stand::idle(7));
    for &algorithm in Algorithm::ALL {
        let table = build(algorithm, &candidates);
        let at = |ticket| pick(&table, &stand, ticket);
        for n in 0..100 {
            let base = ticket(n);
            let same = match algorithm.key() {
                HashKey::None => Ticket { hash: !n, ..base },
                HashKey::ClientIp | HashKey::ClientIpPort => Ticket { sequence: !n, random: !n, ..base },
            };
            assert_eq!(at(base), at(same), "{algorithm}");
        }
    }
}

//! Seeded simulations: what large tables cost, counted in questions and entries, and how load settles.

use std::collections::VecDeque;

use evenkeel_base::SplitMix64;

use crate::maglev::Maglev;
use crate::member::MAX_WALK;
use crate::ring::{MAX_POINTS, Ring, Scale};
use crate::round_robin::RoundRobin;
use crate::schedule::MAX_SCHEDULE;
use crate::testing::{Stand, members, pool, ticket};
use crate::{Algorithm, Slot, build, pick};

const MANY: usize = 10_000;

fn mixed_weights(random: &mut SplitMix64) -> Vec<u16> {
    (0..MANY).map(|_| 1 + random.below(1000) as u16).collect()
}

#[test]
fn tables_of_ten_thousand_targets_stay_within_their_limits() {
    for weights in [vec![1; MANY], mixed_weights(&mut SplitMix64::new(11))] {
        let members = members(&weights);
        let cycle = RoundRobin::new(members.clone()).cycle_len();
        assert!(cycle <= MAX_SCHEDULE as usize + MANY, "{cycle}");
        let points = Ring::new(members.clone(), &Scale::of(&pool(&weights))).points();
        assert!(points <= MAX_POINTS as usize + MANY, "{points}");
        assert_eq!(Maglev::new(members, MANY).entries(), 1_048_573);
    }
}

#[test]
fn picks_from_ten_thousand_targets_ask_a_bounded_number_of_questions() {
    let mut random = SplitMix64::new(12);
    let candidates = pool(&mixed_weights(&mut random));
    for &algorithm in Algorithm::ALL {
        let table = build(algorithm, &candidates);
        // Of a thousand targets so many are full.
        for full in [0, 500, 999, 1000] {
            let mut stand = Stand::idle(MANY);
            for slot in 0..MANY {
                stand.in_flight[slot] = random.below(20) as u32;
                stand.latency_us[slot] = random.below(5000) as u32;
                if random.below(1000) < full {
                    stand.close(slot as u32);
                }
            }
            let all = MANY as u64;
            let most = match algorithm {
                // Each asked twice, and once more for the ties.
                Algorithm::LeastConnections => 4 * all,
                // The sum, then two scans.
                Algorithm::ConsistentHash => 4 * all + 2 * MAX_WALK as u64,
                Algorithm::Rendezvous | Algorithm::First => all,
                _ if full <= 500 => 2 * MAX_WALK as u64,
                Algorithm::P2c | Algorithm::PeakEwma => 2 * all + 20,
                _ => all + MAX_WALK as u64,
            };
            for n in 0..40 {
                let _ = pick(&table, &stand, ticket(random.next_u64() >> (n % 64)));
                let asked = stand.questions();
                assert!(asked <= most, "{algorithm} asked {asked} with {full} of 1000 full");
            }
        }
    }
}

/// Requests of random length arrive at a steady rate; returns the most that one of 50 targets held, past
/// the start, and the requests that each got.
fn settle(algorithm: Algorithm, slow: Option<usize>, seed: u64) -> (u32, Vec<u64>) {
    let targets = 50;
    let mut random = SplitMix64::new(seed);
    let table = build(algorithm, &pool(&vec![1; targets]));
    let mut stand = Stand::idle(targets);
    let mut finishing: VecDeque<Vec<(usize, u32)>> = VecDeque::from(vec![Vec::new(); 3000]);
    let (mut most, mut got) = (0, vec![0; targets]);
    for n in 0..30_000u64 {
        for (slot, took_us) in finishing.pop_front().unwrap() {
            stand.in_flight[slot] -= 1;
            stand.latency_us[slot] = stand.latency_us[slot].midpoint(took_us).max(1);
        }
        finishing.push_back(Vec::new());
        let sequence = ticket(n);
        let Slot(slot) =
            pick(&table, &stand, crate::Ticket { random: random.next_u64(), ..sequence }).unwrap();
        let slot = slot as usize;
        let takes = 1 + random.below(250) * if slow == Some(slot) { 10 } else { 1 };
        finishing[takes as usize].push((slot, takes as u32));
        stand.in_flight[slot] += 1;
        got[slot] += 1;
        if n > 5000 {
            most = most.max(stand.in_flight[slot]);
        }
    }
    (most, got)
}

#[test]
fn looking_at_load_beats_not_looking() {
    let most = |algorithm| settle(algorithm, None, 1).0;
    // 125 requests are in flight, 2.5 per target.
    assert!(most(Algorithm::LeastConnections) <= 4);
    assert!(most(Algorithm::P2c) <= 6);
    assert!(most(Algorithm::Random) > 8);
}

#[test]
fn a_slow_target_gets_less_the_more_an_algorithm_knows() {
    let share = |algorithm| settle(algorithm, Some(7), 2).1[7];
    let (blind, by_load, by_time) =
        (share(Algorithm::RoundRobin), share(Algorithm::P2c), share(Algorithm::PeakEwma));
    assert_eq!(blind, 600);
    assert!(by_load < blind / 2, "{by_load}");
    assert!(by_time < by_load / 2 && by_time > 0, "{by_time} of {by_load}");
}

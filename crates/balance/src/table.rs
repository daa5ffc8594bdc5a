//! The table of one pool, and the pick from it.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_base::Weight;

use crate::Algorithm;
use crate::consistent_hash::ConsistentHash;
use crate::first::First;
use crate::ip_hash::IpHash;
use crate::least_connections::LeastConnections;
use crate::maglev::Maglev;
use crate::member::{Choose, Member};
use crate::p2c::P2c;
use crate::peak_ewma::PeakEwma;
use crate::random::Random;
use crate::rendezvous::Rendezvous;
use crate::ring::Scale;
use crate::round_robin::RoundRobin;

/// Index of a target in the candidates that were given to [`build`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// What balancing needs to know of a target. A target that is down, or drains, stays among the
/// candidates: then tables keep their sizes, and the keys of the others stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Hash of the target's address ([`hash_target`](crate::hash_target)), the same on every node.
    pub key: u64,
    /// Share of the work, 0 to [`Weight::MAX`]; 0 gets nothing, and more than the maximum counts as it.
    pub weight: u16,
    /// Lower is asked first; a higher number gets what the lower ones cannot take.
    pub priority: u16,
    /// Whether it may get work at all.
    pub available: bool,
}

impl Candidate {
    /// The weight within its documented range.
    pub(crate) fn bounded_weight(&self) -> u16 {
        self.weight.min(Weight::MAX)
    }

    fn can_get_work(&self) -> bool {
        self.available && self.weight > 0
    }
}

/// The live side of a pick. Answers may change from one call to the next (other workers count along):
/// then a pick is as good as what it saw.
pub trait Loads {
    /// Whether the target is below its limit and was not tried yet by this request.
    fn admits(&self, slot: Slot) -> bool;
    /// Requests or connections the target has now.
    fn in_flight(&self, slot: Slot) -> u32;
    /// What all targets have now, those that are not in the table included.
    fn in_flight_in_all(&self) -> u64;
    /// Smoothed (EWMA) answer time in microseconds; 0 is unknown.
    fn latency_us(&self, slot: Slot) -> u32;
}

/// What one pick may use of the outside world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Drawn from a counter that all users of the table share: turns and ties go by it.
    pub sequence: u64,
    /// Hash of what the request should stick to; see [`Algorithm::key`].
    pub hash: u64,
    /// Fresh random bits.
    pub random: u64,
}

/// Who gets what, precomputed from the candidates. Immutable: a change of weight or health builds anew.
pub struct Table {
    algorithm: Algorithm,
    /// By ascending priority; none is empty.
    groups: Box<[Order]>,
    len: usize,
}

impl Table {
    /// Whether no candidate can get work, so that every pick is `None`.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Candidates that can get work: available, with a weight above 0.
    pub fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tables themselves may hold a million entries.
        f.debug_struct("Table")
            .field("algorithm", &self.algorithm)
            .field("groups", &self.groups.len())
            .field("len", &self.len)
            .finish()
    }
}

/// The table of `algorithm` over `candidates`. Takes up to some hundred milliseconds for ten thousand
/// candidates (Maglev), so it belongs on the control side. Candidates beyond `u32::MAX` are left out.
pub fn build(algorithm: Algorithm, candidates: &[Candidate]) -> Table {
    let scale = Scale::of(candidates);
    let mut groups = BTreeMap::<u16, Group>::new();
    for (index, candidate) in (0..=u32::MAX).zip(candidates) {
        let group = groups.entry(candidate.priority).or_default();
        group.candidates += 1;
        if candidate.can_get_work() {
            let weight = candidate.bounded_weight();
            group.members.push(Member { slot: Slot(index), key: candidate.key, weight });
        }
    }
    let len = groups.values().map(|group| group.members.len()).sum();
    let groups = groups.into_values().filter(|group| !group.members.is_empty());
    Table { algorithm, groups: groups.map(|group| Order::new(algorithm, group, &scale)).collect(), len }
}

/// A target for the request of `ticket`: of the lowest priority that has one that `loads` admits, and in
/// it by the table's algorithm. `None` only when no target of the table is admitted. Allocates nothing.
pub fn pick<L: Loads>(table: &Table, loads: &L, ticket: Ticket) -> Option<Slot> {
    table.groups.iter().find_map(|order| order.choose(loads, ticket))
}

/// The candidates of one priority.
#[derive(Default)]
struct Group {
    members: Vec<Member>,
    /// Also those that get no work: sizes that depend on them survive a change of health.
    candidates: usize,
}

enum Order {
    RoundRobin(RoundRobin),
    LeastConnections(LeastConnections),
    Random(Random),
    P2c(P2c),
    PeakEwma(PeakEwma),
    IpHash(IpHash),
    ConsistentHash(ConsistentHash),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
    First(First),
}

impl Order {
    fn new(algorithm: Algorithm, group: Group, scale: &Scale) -> Self {
        let Group { members, candidates } = group;
        if members.len() < 2 {
            // Nothing to choose: ten thousand priorities must not cost ten thousand hash tables.
            return Self::First(First::new(members));
        }
        match algorithm {
            Algorithm::RoundRobin => Self::RoundRobin(RoundRobin::new(members)),
            Algorithm::LeastConnections => Self::LeastConnections(LeastConnections::new(members)),
            Algorithm::Random => Self::Random(Random::new(members)),
            Algorithm::P2c => Self::P2c(P2c::new(members)),
            Algorithm::PeakEwma => Self::PeakEwma(PeakEwma::new(members)),
            Algorithm::IpHash | Algorithm::IpPortHash => Self::IpHash(IpHash::new(members, scale)),
            Algorithm::ConsistentHash => Self::ConsistentHash(ConsistentHash::new(members, scale)),
            Algorithm::Maglev => Self::Maglev(Maglev::new(members, candidates)),
            Algorithm::Rendezvous => Self::Rendezvous(Rendezvous::new(members)),
            Algorithm::First => Self::First(First::new(members)),
        }
    }
}

impl Choose for Order {
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        match self {
            Self::RoundRobin(order) => order.choose(loads, ticket),
            Self::LeastConnections(order) => order.choose(loads, ticket),
            Self::Random(order) => order.choose(loads, ticket),
            Self::P2c(order) => order.choose(loads, ticket),
            Self::PeakEwma(order) => order.choose(loads, ticket),
            Self::IpHash(order) => order.choose(loads, ticket),
            Self::ConsistentHash(order) => order.choose(loads, ticket),
            Self::Maglev(order) => order.choose(loads, ticket),
            Self::Rendezvous(order) => order.choose(loads, ticket),
            Self::First(order) => order.choose(loads, ticket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, pool, ticket};

    const fn shared_between_threads<T: Send + Sync>() {}
    const _: () = shared_between_threads::<Table>();

    #[test]
    fn only_available_weight_counts() {
        let mut candidates = pool(&[1, 0, 3]);
        candidates[2].available = false;
        for &algorithm in Algorithm::ALL {
            let table = build(algorithm, &candidates);
            assert_eq!((table.len(), table.is_empty()), (1, false), "{algorithm}");
            assert!(build(algorithm, &[]).is_empty());
            assert!(build(algorithm, &candidates[1..]).is_empty(), "{algorithm}");
            let stand = Stand::idle(3);
            assert_eq!(pick(&build(algorithm, &candidates[1..]), &stand, ticket(0)), None, "{algorithm}");
        }
    }

    #[test]
    fn a_saturated_priority_spills_to_the_next_and_only_then() {
        let mut candidates = pool(&[1; 6]);
        for (candidate, priority) in candidates.iter_mut().zip([9, 2, 5, 2, 5, 9]) {
            candidate.priority = priority;
        }
        for &algorithm in Algorithm::ALL {
            let table = build(algorithm, &candidates);
            let mut stand = Stand::idle(6);
            for group in [[1, 3], [2, 4], [0, 5]] {
                for n in 0..50 {
                    let slot = pick(&table, &stand, ticket(n)).unwrap();
                    assert!(group.contains(&slot.0), "{algorithm} took {slot:?}, not of {group:?}");
                }
                group.iter().for_each(|&slot| stand.close(slot));
            }
            assert_eq!(pick(&table, &stand, ticket(0)), None, "{algorithm}");
        }
    }

    #[test]
    fn an_excessive_weight_counts_as_the_heaviest() {
        let table = build(Algorithm::RoundRobin, &pool(&[u16::MAX, 1000]));
        let stand = Stand::idle(2);
        let picked: Vec<_> = (0..4).map(|n| pick(&table, &stand, ticket(n)).unwrap().0).collect();
        assert_eq!(picked, [0, 1, 0, 1]);
        assert_eq!(format!("{table:?}"), "Table { algorithm: RoundRobin, groups: 1, len: 2 }");
    }
}

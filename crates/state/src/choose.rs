//! From a caller to a lease: affinity first, then the algorithm, tier by tier.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use evenkeel_balance::{Algorithm, HashKey, Loads, Slot, Ticket, hash_ip, hash_ip_port, pick};
use evenkeel_base::{ClientAddr, TargetId, Weight, WorkerId};

use crate::lease::Lease;
use crate::pool::Pool;
use crate::target::Target;

/// Who asks for a target.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// On which worker.
    pub worker: WorkerId,
    /// For hashing and affinity.
    pub client: ClientAddr,
    /// Fresh random bits, for the algorithms that draw.
    pub random: u64,
    /// Time since the process started.
    pub now: Duration,
}

/// Most targets one request may try; the configuration's `retry.attempts` stays below.
pub const MAX_TRIES: usize = 12;

/// The targets that this request has tried already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    slots: [u32; MAX_TRIES],
    len: u8,
}

impl Tried {
    /// Remembers a try. Beyond [`MAX_TRIES`] it is ignored: the caller's own count ends the request long before.
    pub fn add(&mut self, slot: Slot) {
        if let Some(free) = self.slots.get_mut(usize::from(self.len)) {
            *free = slot.0;
            self.len += 1;
        }
    }

    /// Whether this slot was tried.
    pub fn contains(&self, slot: Slot) -> bool {
        self.slots[..usize::from(self.len)].contains(&slot.0)
    }

    /// How many.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether this is the first try.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Why there is no lease now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Waiting does not help.
    NoTarget,
    /// Some target is merely at its limit.
    Saturated,
}

/// What the balancing brain may ask about slots.
struct PoolLoads<'p> {
    pool: &'p Pool,
    tried: &'p Tried,
    now: Duration,
}

impl PoolLoads<'_> {
    fn has_room(&self, slot: Slot) -> bool {
        let Some(seat) = self.pool.seats.get(slot.0 as usize) else { return false };
        !seat.is_limited() || seat.live.limited.load(Relaxed) < seat.most
    }
}

impl Loads for PoolLoads<'_> {
    fn admits(&self, slot: Slot) -> bool {
        !self.tried.contains(slot) && self.has_room(slot)
    }

    fn in_flight(&self, slot: Slot) -> u32 {
        self.pool.seats.get(slot.0 as usize).map_or(0, |seat| seat.live.in_flight())
    }

    fn in_flight_in_all(&self) -> u64 {
        self.pool.live.in_flight()
    }

    fn latency_us(&self, slot: Slot) -> u32 {
        self.pool.seats.get(slot.0 as usize).map_or(0, |seat| seat.live.latency.known_us(self.now))
    }
}

/// Where a client goes.
enum Home {
    /// To a target that it belongs to from now on.
    Here(Slot),
    /// Back to the one that it had first, if that works again.
    Return(Slot),
}

impl Pool {
    /// A lease right now, or why not. Never waits.
    pub(crate) fn choose(&self, caller: &Caller, tried: &Tried) -> Result<Lease<'_>, Refused> {
        if !self.take_pool_place() {
            return Err(Refused::Saturated);
        }
        let chosen = match self.remembered(caller, tried) {
            Some(home) => Ok(home),
            None => self.by_algorithm(caller, tried).map(Home::Here),
        };
        match chosen {
            Ok(Home::Here(slot)) => {
                self.remember(caller, slot);
                Ok(Lease::begin(self, slot, caller.worker))
            }
            // Until it is known to work, the client's place remains where it was: that is where a retry takes it.
            Ok(Home::Return(slot)) => {
                let mut lease = Lease::begin(self, slot, caller.worker);
                lease.returning = caller.client.ip();
                Ok(lease)
            }
            Err(refused) => {
                self.give_pool_place_back();
                Err(refused)
            }
        }
    }

    /// The remembered target's slot, its place taken.
    fn remembered(&self, caller: &Caller, tried: &Tried) -> Option<Home> {
        let (clients, ip) = (self.clients.as_ref()?, caller.client.ip()?);
        let entry = clients.look_up(ip, caller.now)?;
        let fail_back = self.config.affinity.as_ref().is_some_and(|affinity| affinity.fail_back);
        let first = (fail_back && entry.first != entry.target).then_some(entry.first);
        let back = first.and_then(|id| self.take_remembered(id, tried)).map(Home::Return);
        back.or_else(|| self.take_remembered(entry.target, tried).map(Home::Here))
    }

    fn take_remembered(&self, id: TargetId, tried: &Tried) -> Option<Slot> {
        let slot = *self.slots.get(&id)?;
        let target = &self.targets[slot.0 as usize];
        let usable = !target.emergency && target.serves_remembered();
        (usable && !tried.contains(slot) && self.take_place(slot)).then_some(slot)
    }

    fn remember(&self, caller: &Caller, slot: Slot) {
        let Some((clients, ip)) = self.clients.as_ref().zip(caller.client.ip()) else { return };
        let target = &self.targets[slot.0 as usize];
        // The emergency target is nobody's home: its clients go back as soon as a regular one is up.
        if !target.emergency {
            clients.remember(ip, target.id, caller.now);
        }
    }

    fn by_algorithm(&self, caller: &Caller, tried: &Tried) -> Result<Slot, Refused> {
        let ticket = self.ticket(caller, tried);
        for (index, tier) in self.tiers.iter().enumerate() {
            if tier.is_empty() {
                continue;
            }
            let loads = PoolLoads { pool: self, tried, now: caller.now };
            // Another worker may take the last place between the pick and the taking: pick again, a few times.
            for _ in 0..4 {
                match pick(tier, &loads, ticket) {
                    Some(slot) if self.take_place(slot) => return Ok(slot),
                    Some(_) => {}
                    None => break,
                }
            }
            if self.has_untried(index, tried) {
                return Err(Refused::Saturated);
            }
        }
        Err(Refused::NoTarget)
    }

    /// Whether a target of this tier is merely at its limit.
    fn has_untried(&self, tier: usize, tried: &Tried) -> bool {
        let fail_open = self.config.fail_open;
        let untried = |(index, target): (usize, &Arc<Target>)| {
            target.tier(fail_open) == Some(tier)
                && target.weight != Weight::ZERO
                && !tried.contains(Slot(index as u32))
        };
        self.targets.iter().enumerate().any(untried)
    }

    fn ticket(&self, caller: &Caller, tried: &Tried) -> Ticket {
        let hash = match (self.config.algorithm.key(), caller.client) {
            (HashKey::ClientIp, ClientAddr::Ip(addr)) => hash_ip(addr.ip()),
            (HashKey::ClientIpPort, ClientAddr::Ip(addr)) => hash_ip_port(addr),
            _ => 0,
        };
        // The count is shared by all workers; the algorithms that do not look at it need not fight for its line.
        let sequence = match self.config.algorithm {
            // A retry takes no turn: if it did, then of two targets, one of them dead, each request would meet the dead
            // one first. Nor does it get the turn that is next, or the dead one's neighbour would have all of them.
            Algorithm::RoundRobin | Algorithm::LeastConnections if !tried.is_empty() => caller.random,
            Algorithm::RoundRobin | Algorithm::LeastConnections => self.live.sequence.fetch_add(1, Relaxed),
            _ => 0,
        };
        Ticket { sequence, hash, random: caller.random }
    }

    /// Takes one of the target's places, when it has a limit.
    fn take_place(&self, slot: Slot) -> bool {
        let seat = &self.seats[slot.0 as usize];
        !seat.is_limited() || take_below(&seat.live.limited, seat.most)
    }

    fn take_pool_place(&self) -> bool {
        self.config.limits.connections.is_none_or(|max| take_below(&self.live.limited, max))
    }

    pub(crate) fn give_pool_place_back(&self) {
        if self.config.limits.connections.is_some() {
            give_back(&self.live.limited);
        }
    }
}

fn take_below(count: &std::sync::atomic::AtomicU32, max: u32) -> bool {
    count.fetch_update(AcqRel, Acquire, |held| (held < max).then(|| held + 1)).is_ok()
}

/// Never below zero: a limit that a reload introduced did not count the leases that were held before it.
pub(crate) fn give_back(count: &std::sync::atomic::AtomicU32) {
    let _ = count.fetch_update(AcqRel, Acquire, |held| held.checked_sub(1));
}

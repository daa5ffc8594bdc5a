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
        let Some(target) = self.pool.targets.get(slot.0 as usize) else { return false };
        target.max_connections.is_none_or(|max| target.live.limited.load(Relaxed) < max)
    }
}

impl Loads for PoolLoads<'_> {
    fn admits(&self, slot: Slot) -> bool {
        !self.tried.contains(slot) && self.has_room(slot)
    }

    fn in_flight(&self, slot: Slot) -> u32 {
        self.pool.targets.get(slot.0 as usize).map_or(0, |target| target.live.in_flight())
    }

    fn latency_us(&self, slot: Slot) -> u32 {
        self.pool.targets.get(slot.0 as usize).map_or(0, |target| target.live.latency.known_us(self.now))
    }
}

impl Pool {
    /// A lease right now, or why not. Never waits.
    pub(crate) fn choose(&self, caller: &Caller, tried: &Tried) -> Result<Lease<'_>, Refused> {
        if !self.take_pool_place() {
            return Err(Refused::Saturated);
        }
        let chosen = match self.remembered(caller, tried) {
            Some(slot) => Ok(slot),
            None => self.by_algorithm(caller, tried),
        };
        match chosen {
            Ok(slot) => {
                self.remember(caller, slot);
                Ok(Lease::begin(self, slot, caller.worker))
            }
            Err(refused) => {
                self.give_pool_place_back();
                Err(refused)
            }
        }
    }

    /// The remembered target's slot, its place taken.
    fn remembered(&self, caller: &Caller, tried: &Tried) -> Option<Slot> {
        let (clients, ip) = (self.clients.as_ref()?, caller.client.ip()?);
        let entry = clients.look_up(ip, caller.now)?;
        let fail_back = self.config.affinity.as_ref().is_some_and(|affinity| affinity.fail_back);
        let first = (fail_back && entry.first != entry.target).then_some(entry.first);
        first.into_iter().chain([entry.target]).find_map(|id| self.take_remembered(id, tried))
    }

    fn take_remembered(&self, id: TargetId, tried: &Tried) -> Option<Slot> {
        let index = self.targets.iter().position(|target| target.id == id)?;
        let slot = Slot(index as u32);
        let usable = !self.targets[index].emergency && self.targets[index].serves_remembered();
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
        let ticket = self.ticket(caller);
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

    fn ticket(&self, caller: &Caller) -> Ticket {
        let hash = match (self.config.algorithm.key(), caller.client) {
            (HashKey::ClientIp, ClientAddr::Ip(addr)) => hash_ip(addr.ip()),
            (HashKey::ClientIpPort, ClientAddr::Ip(addr)) => hash_ip_port(addr),
            _ => 0,
        };
        // The count is shared by all workers; the algorithms that do not look at it need not fight for its line.
        let sequence = match self.config.algorithm {
            Algorithm::RoundRobin | Algorithm::LeastConnections => self.live.sequence.fetch_add(1, Relaxed),
            _ => 0,
        };
        Ticket { sequence, hash, random: caller.random }
    }

    /// Takes one of the target's places, when it has a limit.
    fn take_place(&self, slot: Slot) -> bool {
        let target = &self.targets[slot.0 as usize];
        match target.max_connections {
            None => true,
            Some(max) => take_below(&target.live.limited, max),
        }
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

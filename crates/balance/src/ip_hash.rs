//! Hashing of clients onto the ring, without regard to load.
//!
//! The ring serves here because its pick costs the same for three targets and for ten thousand, and
//! because a target that leaves moves its own clients only; rendezvous has that too, but looks at every
//! target for every connection.

use crate::member::{Choose, Member};
use crate::ring::{Ring, Scale};
use crate::table::{Loads, Slot, Ticket};

pub(crate) struct IpHash {
    ring: Ring,
}

impl IpHash {
    pub(crate) fn new(members: Vec<Member>, scale: &Scale) -> Self {
        Self { ring: Ring::new(members, scale) }
    }
}

impl Choose for IpHash {
    fn choose<L: Loads>(&self, loads: &L, ticket: Ticket) -> Option<Slot> {
        let admits = |member: &Member| loads.admits(member.slot);
        self.ring
            .walk(ticket.hash)
            .find(|member| admits(member))
            .or_else(|| self.ring.scan(ticket.hash, admits))
            .map(|member| member.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, members, pool, ticket};

    #[test]
    fn a_full_target_sends_its_clients_to_always_the_same_others() {
        let weights = [1; 8];
        let order = IpHash::new(members(&weights), &Scale::of(&pool(&weights)));
        let (idle, mut full) = (Stand::idle(8), Stand::idle(8));
        full.close(5);
        let mut heirs = std::collections::BTreeSet::new();
        for client in 0..2000 {
            let home = order.choose(&idle, ticket(client)).unwrap();
            let away = order.choose(&full, ticket(client)).unwrap();
            if home == Slot(5) {
                assert_ne!(away, home);
                assert_eq!(order.choose(&full, ticket(client)), Some(away));
                heirs.insert(away);
            } else {
                assert_eq!(away, home);
            }
        }
        assert_eq!(heirs.len(), 7, "its clients spread over all others: {heirs:?}");
    }

    #[test]
    fn the_lightest_is_found_when_giants_cover_the_ring() {
        let weights = [1000, 1000, 1];
        let order = IpHash::new(members(&weights), &Scale::of(&pool(&weights)));
        let mut stand = Stand::idle(3);
        stand.close(0);
        stand.close(1);
        assert!((0..100).all(|client| order.choose(&stand, ticket(client)) == Some(Slot(2))));
    }
}

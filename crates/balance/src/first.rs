//! The first member with room, in the order the candidates were given.

use crate::member::{Choose, Member};
use crate::table::{Loads, Slot, Ticket};

pub(crate) struct First {
    members: Box<[Member]>,
}

impl First {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self { members: members.into_boxed_slice() }
    }
}

impl Choose for First {
    fn choose<L: Loads>(&self, loads: &L, _ticket: Ticket) -> Option<Slot> {
        self.members.iter().map(|member| member.slot).find(|&slot| loads.admits(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Stand, members, ticket};

    #[test]
    fn work_moves_on_only_when_the_earlier_are_full() {
        let first = First::new(members(&[1, 1000, 1]));
        let mut stand = Stand::idle(3);
        for expected in 0..3 {
            assert_eq!(first.choose(&stand, ticket(99)), Some(Slot(expected)));
            stand.close(expected);
        }
        assert_eq!(first.choose(&stand, ticket(99)), None);
    }
}

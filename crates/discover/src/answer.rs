//! What an answer means for the addresses of a name.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{Name, RData, Record};

/// Longest chain of aliases that is followed within one answer.
const MAX_ALIASES: usize = 8;

/// What came of asking for one family of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Family {
    /// These; at least one.
    Found { addresses: Vec<IpAddr>, ttl: Duration },
    /// The name has none.
    Nothing,
    /// Nobody knows: no answer, or one that says that something is wrong.
    Failed,
}

/// What came of asking for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) v4: Family,
    pub(crate) v6: Family,
}

/// The addresses to use from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) addresses: Vec<IpAddr>,
    /// As the name server says: how long they may be used.
    pub(crate) ttl: Duration,
}

impl Answer {
    /// Nobody answered.
    pub(crate) const FAILED: Self = Self { v4: Family::Failed, v6: Family::Failed };

    /// Whether there is an address in it.
    pub(crate) fn has_found(&self) -> bool {
        matches!(self.v4, Family::Found { .. }) || matches!(self.v6, Family::Found { .. })
    }

    /// What follows for a name that had these addresses; none when it keeps them.
    pub(crate) fn merge(self, known: &[IpAddr], max_addresses: u16) -> Option<Addresses> {
        if !self.has_found() {
            return None;
        }
        let mut merged = Addresses { addresses: Vec::new(), ttl: Duration::MAX };
        for (family, is_of_it) in
            [(self.v4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool), (self.v6, IpAddr::is_ipv6)]
        {
            match family {
                Family::Found { addresses, ttl } => {
                    merged.addresses.extend(addresses);
                    merged.ttl = merged.ttl.min(ttl);
                }
                Family::Nothing => {}
                Family::Failed => merged.addresses.extend(known.iter().filter(|ip| is_of_it(ip))),
            }
        }
        merged.addresses.sort_unstable();
        merged.addresses.dedup();
        merged.addresses.truncate(usize::from(max_addresses));
        Some(merged)
    }
}

/// The addresses that a reply gives for the name, by way of its aliases; others that it holds are none of ours.
pub(crate) fn read(reply: &Lookup, asked: &Name) -> Family {
    let records = reply.answers();
    // The library follows an alias that leads out of a reply, and then gives the reply to that.
    let replied = reply.message().queries.first().map_or(asked, |query| query.name());
    let (names, mut ttl) = aliases(records, [asked, replied]);
    let mut addresses = Vec::new();
    for record in records.iter().filter(|record| names.contains(&record.name)) {
        let Some(ip) = record.data.ip_addr().map(|ip| ip.to_canonical()).filter(|ip| is_usable(*ip)) else {
            continue;
        };
        ttl = ttl.min(record.ttl);
        addresses.push(ip);
    }
    if addresses.is_empty() {
        return Family::Nothing;
    }
    Family::Found { addresses, ttl: Duration::from_secs(u64::from(ttl)) }
}

/// The names that stand for the first ones, and the shortest TTL on the way.
fn aliases<'r>(records: &'r [Record], first: [&'r Name; 2]) -> (HashSet<&'r Name>, u32) {
    let mut names = HashSet::from(first);
    let mut ttl = u32::MAX;
    // The records of a chain may come in any order (RFC 1034 §4.3.2 demands none).
    for _ in 0..MAX_ALIASES {
        let before = names.len();
        for record in records {
            if let (RData::CNAME(alias), true) = (&record.data, names.contains(&record.name)) {
                ttl = ttl.min(record.ttl);
                names.insert(&alias.0);
            }
        }
        if names.len() == before {
            break;
        }
    }
    (names, ttl)
}

/// Whether a target can be there. Resolvers that block names answer 0.0.0.0, which would dial this machine.
pub(crate) fn is_usable(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::RecordType;
    use hickory_resolver::proto::rr::rdata::CNAME;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn found(addresses: &[&str], seconds: u64) -> Family {
        let addresses = addresses.iter().map(|text| ip(text)).collect();
        Family::Found { addresses, ttl: Duration::from_secs(seconds) }
    }

    fn merged(v4: Family, v6: Family, known: &[&str]) -> Option<Vec<String>> {
        let known: Vec<IpAddr> = known.iter().map(|text| ip(text)).collect();
        let merged = Answer { v4, v6 }.merge(&known, 3)?;
        Some(merged.addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn no_addresses_keep_those_that_are_known() {
        use Family::{Failed, Nothing};
        for (v4, v6) in [(Nothing, Nothing), (Failed, Nothing), (Nothing, Failed), (Failed, Failed)] {
            assert_eq!(merged(v4, v6, &["10.0.0.1"]), None);
        }
    }

    #[test]
    fn a_family_that_fails_keeps_its_own_and_one_that_is_gone_does_not() {
        let known = ["10.0.0.1", "2001:db8::1"];
        let v4 = || found(&["10.0.0.2"], 9);
        assert_eq!(merged(v4(), Family::Failed, &known).unwrap(), ["10.0.0.2", "2001:db8::1"]);
        assert_eq!(merged(v4(), Family::Nothing, &known).unwrap(), ["10.0.0.2"]);
        assert_eq!(merged(Family::Nothing, found(&["2001:db8::2"], 9), &known).unwrap(), ["2001:db8::2"]);
    }

    #[test]
    fn order_and_repetition_mean_nothing_and_the_number_is_bounded() {
        let one = merged(found(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], 9), Family::Nothing, &[]);
        let other = merged(found(&["10.0.0.1", "10.0.0.2"], 9), Family::Nothing, &[]);
        assert_eq!(one, other);
        let many = found(&["10.0.0.4", "10.0.0.3", "10.0.0.2", "10.0.0.1"], 9);
        assert_eq!(merged(many, Family::Nothing, &[]).unwrap(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn address(owner: &str, ttl: u32, text: &str) -> Record {
        Record::from_rdata(name(owner), ttl, RData::from(ip(text)))
    }

    fn reply(records: Vec<Record>) -> Family {
        let query = Query::query(name("app.test."), RecordType::A);
        read(&Lookup::new_with_max_ttl(query, records), &name("app.test."))
    }

    #[test]
    fn aliases_are_followed_in_any_order_and_the_shortest_ttl_counts() {
        let alias = |owner: &str, to: &str| Record::from_rdata(name(owner), 7, RData::CNAME(CNAME(name(to))));
        let chain = vec![
            address("C.test.", 30, "10.0.0.1"),
            alias("b.test.", "c.test."),
            alias("app.test.", "b.test."),
            address("c.test.", 20, "10.0.0.2"),
        ];
        assert_eq!(reply(chain), found(&["10.0.0.1", "10.0.0.2"], 7));
        let circle = vec![alias("app.test.", "b.test."), alias("b.test.", "app.test.")];
        assert_eq!(reply(circle), Family::Nothing);
    }

    #[test]
    fn what_was_not_asked_for_and_what_nobody_can_dial_is_left_out() {
        assert_eq!(reply(vec![address("evil.test.", 9, "10.6.6.6")]), Family::Nothing);
        let unusable = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0"];
        assert_eq!(reply(unusable.map(|text| address("app.test.", 9, text)).to_vec()), Family::Nothing);
        assert_eq!(reply(vec![address("app.test.", 9, "::ffff:10.0.0.1")]), found(&["10.0.0.1"], 9));
    }

    proptest! {
        #[test]
        fn merging_is_bounded_sorted_and_loses_no_name(
            v4 in proptest::collection::vec(any::<u32>(), 0..20),
            v6 in proptest::collection::vec(any::<u128>(), 0..20),
            max: u16,
        ) {
            let family = |addresses: Vec<IpAddr>| match addresses.is_empty() {
                true => Family::Nothing,
                false => Family::Found { addresses, ttl: Duration::ZERO },
            };
            let v4: Vec<IpAddr> = v4.into_iter().map(|bits| IpAddr::V4(bits.into())).collect();
            let v6: Vec<IpAddr> = v6.into_iter().map(|bits| IpAddr::V6(bits.into())).collect();
            let all = v4.len() + v6.len();
            match (Answer { v4: family(v4), v6: family(v6) }).merge(&[], max) {
                None => prop_assert_eq!(all, 0),
                Some(merged) => {
                    prop_assert!(merged.addresses.is_sorted());
                    prop_assert!(merged.addresses.len() <= usize::from(max).min(all));
                }
            }
        }
    }
}

//! The algorithms by name.

use std::fmt;
use std::str::FromStr;

/// How a pool chooses a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Smooth weighted round robin, in nginx's order; equal weights alternate exactly.
    RoundRobin,
    /// The least `(in_flight + 1) / weight`; ties take turns.
    LeastConnections,
    /// Weighted random.
    Random,
    /// The less loaded of two weighted random draws (Mitzenmacher 2001, "The Power of Two Choices").
    P2c,
    /// Two draws as in [`Algorithm::P2c`], compared by load times smoothed answer time (after Finagle's
    /// Peak EWMA).
    PeakEwma,
    /// The client's address always meets the same target; few clients move when targets come and go.
    IpHash,
    /// As [`Algorithm::IpHash`], by address and port: one client's connections spread.
    IpPortHash,
    /// A hash ring with bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): a hot target passes work on.
    ConsistentHash,
    /// Maglev's lookup table (Eisenbud et al., NSDI 2016): the most even shares and the cheapest pick.
    Maglev,
    /// Weighted rendezvous, "highest random weight" (Thaler, Ravishankar 1998): exact weights, and
    /// nothing moves that need not; a pick looks at every target.
    Rendezvous,
    /// The first by priority, then by order, that has room.
    First,
}

/// What [`Ticket::hash`](crate::Ticket::hash) is taken from, unless the pool's affinity says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The algorithm does not look at the hash.
    None,
    /// The client's address: [`hash_ip`](crate::hash_ip).
    ClientIp,
    /// The client's address and port: [`hash_ip_port`](crate::hash_ip_port).
    ClientIpPort,
}

impl Algorithm {
    /// Every algorithm, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::RoundRobin,
        Self::LeastConnections,
        Self::Random,
        Self::P2c,
        Self::PeakEwma,
        Self::IpHash,
        Self::IpPortHash,
        Self::ConsistentHash,
        Self::Maglev,
        Self::Rendezvous,
        Self::First,
    ];

    /// The name as configurations write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
            Self::P2c => "p2c",
            Self::PeakEwma => "peak-ewma",
            Self::IpHash => "ip-hash",
            Self::IpPortHash => "ip-port-hash",
            Self::ConsistentHash => "consistent-hash",
            Self::Maglev => "maglev",
            Self::Rendezvous => "rendezvous",
            Self::First => "first",
        }
    }

    /// What the caller fills [`Ticket::hash`](crate::Ticket::hash) from.
    pub const fn key(self) -> HashKey {
        match self {
            Self::IpHash | Self::ConsistentHash | Self::Maglev | Self::Rendezvous => HashKey::ClientIp,
            Self::IpPortHash => HashKey::ClientIpPort,
            Self::RoundRobin
            | Self::LeastConnections
            | Self::Random
            | Self::P2c
            | Self::PeakEwma
            | Self::First => HashKey::None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// A name that is no [`Algorithm`]; its text lists the names there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAlgorithm(String);

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an algorithm; write one of", self.0)?;
        for (index, algorithm) in Algorithm::ALL.iter().enumerate() {
            write!(f, "{} {algorithm}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownAlgorithm {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for &algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!(Algorithm::ALL.len(), Algorithm::First as usize + 1);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let text = "roundrobin".parse::<Algorithm>().unwrap_err().to_string();
        assert!(text.starts_with("\"roundrobin\" is not an algorithm; write one of round-robin, "), "{text}");
        for algorithm in Algorithm::ALL {
            assert!(text.contains(algorithm.as_str()), "{algorithm} is missing in {text}");
        }
        assert!("".parse::<Algorithm>().is_err());
        assert!("Round-Robin".parse::<Algorithm>().is_err());
    }

    #[test]
    fn only_hashing_algorithms_ask_for_a_hash() {
        let hashing = Algorithm::ALL.iter().filter(|a| a.key() != HashKey::None);
        let names: Vec<_> = hashing.map(|a| a.as_str()).collect();
        assert_eq!(names, ["ip-hash", "ip-port-hash", "consistent-hash", "maglev", "rendezvous"]);
    }
}

//! Values of options that are more than text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, RangedI64ValueParser, TypedValueParser};
use evenkeel_api::TargetState;
use evenkeel_base::{AddrError, BindAddr, Weight};
use evenkeel_config::limits;

/// Most data workers, as a configuration may have.
pub(super) const MAX_WORKERS: u16 = limits::MAX_WORKERS as u16;

/// What `--health` asks of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// That it accepts.
    Tcp,
    /// That it answers a GET of this path.
    Http(String),
}

impl FromStr for Probe {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            path if path.starts_with('/') => Ok(Self::Http(path.to_owned())),
            _ => Err("write tcp, or a path such as /healthz"),
        }
    }
}

/// Where `--admin` has the API listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminBind {
    /// Nowhere.
    Off,
    /// At this address.
    At(BindAddr),
}

impl FromStr for AdminBind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|error: AddrError| format!("{error}; or off"))
    }
}

impl fmt::Display for AdminBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// `--max-connections`: `none` lifts the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u32>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let most = u32::try_from(limits::MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let number = text.parse().ok().filter(|n| (1..=most).contains(n));
        number.map(|n| Self(Some(n))).ok_or_else(|| format!("write a number from 1 to {most}, or none"))
    }
}

pub(super) fn weight() -> RangedI64ValueParser<u16> {
    RangedI64ValueParser::new().range(0..=i64::from(Weight::MAX))
}

pub(super) fn priority() -> RangedI64ValueParser<u16> {
    RangedI64ValueParser::new().range(0..=i64::try_from(limits::MAX_PRIORITY).unwrap_or(i64::MAX))
}

/// The states that a word of `--status` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct States(pub(crate) Vec<TargetState>);

/// People say healthy; the house says up.
pub(super) fn states() -> impl TypedValueParser<Value = States> {
    let words = TargetState::WORDS.iter().copied().chain([HEALTHY, UNHEALTHY]);
    PossibleValuesParser::new(words).map(|word| {
        States(match word.as_str() {
            HEALTHY => vec![TargetState::Up],
            UNHEALTHY => vec![TargetState::Down, TargetState::Ejected, TargetState::Unresolved],
            word => word.parse().into_iter().collect(),
        })
    })
}

const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";

/// A time such as `500ms`, `30s`, `5m` or `1h`; without a unit, seconds.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "write a number and a unit, such as 500ms, 30s, 5m or 1h";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(WRONG),
    };
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    let time = number.checked_mul(millis).map(Duration::from_millis);
    // A deadline beyond that is a slip, and would overflow the clock.
    time.filter(|time| *time <= limits::MAX_KEEP).ok_or("that is too long; write at most 720h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let ms = |text| duration(text).map(|time| time.as_millis());
        assert_eq!(
            (ms("500ms"), ms("30s"), ms("30"), ms("5m")),
            (Ok(500), Ok(30_000), Ok(30_000), Ok(300_000))
        );
        assert_eq!(ms("720h"), Ok(2_592_000_000));
        for wrong in
            ["", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "721h", "18446744073709551615h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_are_numbers_or_none() {
        assert_eq!("none".parse(), Ok(Limit(None)));
        assert_eq!("200".parse(), Ok(Limit(Some(200))));
        for wrong in ["0", "-1", "10000001", "many", ""] {
            assert!(wrong.parse::<Limit>().unwrap_err().ends_with("or none"), "{wrong}");
        }
    }

    #[test]
    fn probes_are_paths_or_tcp() {
        assert_eq!("tcp".parse(), Ok(Probe::Tcp));
        assert_eq!("/up?x=1".parse(), Ok(Probe::Http("/up?x=1".into())));
        assert!("healthz".parse::<Probe>().is_err());
    }
}

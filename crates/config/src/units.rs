//! Durations, sizes and status codes as an operator writes them.

use std::time::Duration;

/// What is wrong with a value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) advice: Option<String>,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: Some(advice.into()) }
    }
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `500ms`, `2s`, `1h30m`, or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, Complaint> {
    let advice = "write a number and a unit: \"500ms\", \"2s\", \"5m\", \"1h\" or \"1d\"";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if number.is_empty() {
            return Err(Complaint::new(format!("{text:?} is not a duration"), advice));
        }
        let Some((_, millis)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            let message = match unit {
                "" if after.is_empty() => format!("{text:?} has no unit"),
                "" => format!("{text:?} is not a duration"),
                unit => format!("{unit:?} is not a unit of time"),
            };
            return Err(Complaint::new(message, advice));
        };
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*millis));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| Complaint::new(format!("{text:?} is too long a time"), advice))?;
        rest = after;
    }
    if text.is_empty() {
        return Err(Complaint::new("a duration is empty", advice));
    }
    Ok(Duration::from_millis(total))
}

/// The shortest form that [`duration`] reads back; below a millisecond nothing is kept.
pub(crate) fn duration_text(value: Duration) -> String {
    let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0".into();
    }
    let fits = DURATION_UNITS.iter().rev().find(|(_, unit)| millis.is_multiple_of(*unit));
    let (name, unit) = fits.copied().unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit)
}

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `16KiB`, `1MiB`, or plain bytes.
pub(crate) fn size(text: &str) -> Result<u64, Complaint> {
    let (number, unit) = split_number(text);
    let advice = "write bytes, or a number with KiB, MiB or GiB";
    if number.is_empty() {
        return Err(Complaint::new(format!("{text:?} is not a size"), advice));
    }
    let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => {
            let known = SIZE_UNITS
                .iter()
                .find(|(name, _)| name[..1].eq_ignore_ascii_case(unit.get(..1).unwrap_or("")));
            let advice = known.map_or(advice.into(), |(name, _)| format!("write \"{number}{name}\""));
            return Err(Complaint::new(format!("{unit:?} is not a unit of size"), advice));
        }
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    bytes.ok_or_else(|| Complaint::new(format!("{text:?} is too large"), advice))
}

/// The shortest form that [`size`] reads back.
pub(crate) fn size_text(bytes: u64) -> String {
    let fits = SIZE_UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    match fits {
        Some((name, unit)) if *unit > 1 => format!("{}{name}", bytes / unit),
        _ => bytes.to_string(),
    }
}

/// Inclusive ranges of `200`, `200-299` or `200-204,301`.
pub(crate) fn statuses(text: &str) -> Result<Vec<(u16, u16)>, Complaint> {
    text.split(',').map(|part| status_range(part.trim())).collect()
}

fn status_range(text: &str) -> Result<(u16, u16), Complaint> {
    let advice = "status codes are 100 to 599: \"200\", \"200-299\" or \"200-204,301\"";
    let one = |part: &str| {
        let digits = part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
        let code = part.parse::<u16>().ok().filter(|code| digits && (100..=599).contains(code));
        code.ok_or_else(|| Complaint::new(format!("{part:?} is not a status code"), advice))
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = (one(from.trim())?, one(to.trim())?);
    if range.0 > range.1 {
        return Err(Complaint::new(format!("{text:?} ends before it begins"), advice));
    }
    Ok(range)
}

/// The form that [`statuses`] reads back.
pub(crate) fn statuses_text(ranges: &[(u16, u16)]) -> String {
    let one = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

/// `50_000`, as TOML reads it.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_written() {
        let ms = |text: &str| duration(text).unwrap().as_millis();
        assert_eq!(
            (ms("500ms"), ms("2s"), ms("5m"), ms("1h"), ms("1d")),
            (500, 2_000, 300_000, 3_600_000, 86_400_000)
        );
        assert_eq!((ms("1h30m"), ms("0"), ms("0s")), (5_400_000, 0, 0));
        for wrong in
            ["", "2", "s", "-1s", "1.5s", "2 s", "2sec", "2S", "99999999999999999999s", "213503982335d", "é"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        assert_eq!(
            (size("16KiB"), size("1MiB"), size("7"), size("7B")),
            (Ok(16384), Ok(1 << 20), Ok(7), Ok(7))
        );
        assert_eq!(size("16kb").unwrap_err().advice.as_deref(), Some("write \"16KiB\""));
        for wrong in ["", "KiB", "-1", "1.5MiB", "99999999999GiB", "1 KiB", "1é"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn statuses_read_as_written() {
        assert_eq!(statuses("200-204, 301"), Ok(vec![(200, 204), (301, 301)]));
        for wrong in ["", "20", "600", "299-200", "2xx", "200-", "+200", "200,,201"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
        assert_eq!(statuses_text(&[(200, 204), (301, 301)]), "200-204,301");
    }

    proptest! {
        #[test]
        fn texts_read_back(millis in 0_u64..1 << 50, bytes in 0_u64..1 << 60) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&duration_text(time)), Ok(time));
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = (duration(&text), size(&text), statuses(&text));
        }
    }
}

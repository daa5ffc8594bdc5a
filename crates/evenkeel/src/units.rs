//! Amounts as people read them. Programs get plain numbers with `--json`.

/// `7`, `1.2 k`, `35 M`.
pub(crate) fn count(n: u64) -> String {
    scaled(n, 1000.0, &["", " k", " M", " G", " T", " P", " E"])
}

/// `7 B`, `3.4 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    scaled(n, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// `850 µs`, `1.2 ms`, `3.4 s`; a dash when nothing was measured.
pub(crate) fn latency(us: u64, measured: u64) -> String {
    if measured == 0 { "-".to_owned() } else { scaled(us, 1000.0, &[" µs", " ms", " s"]) }
}

/// `42s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub(crate) fn age(seconds: u64) -> String {
    const STEPS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = STEPS.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let (size, unit) = STEPS[first];
    let rest = seconds % size;
    match STEPS.get(first + 1) {
        Some((next, next_unit)) if rest >= *next => {
            format!("{}{unit} {}{next_unit}", seconds / size, rest / next)
        }
        _ => format!("{}{unit}", seconds / size),
    }
}

/// `1 target`, `2 targets`.
pub(crate) fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// Two digits at least once a unit is passed; the next unit as soon as rounding would show its first number.
fn scaled(n: u64, step: f64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut index = 0;
    while value >= step - 0.5 && index + 1 < units.len() {
        value /= step;
        index += 1;
    }
    let unit = units.get(index).copied().unwrap_or_default();
    if index == 0 || value >= 99.95 { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bytes_have_units() {
        let counts = [0, 999, 1000, 1234, 99_949, 99_950, 999_499, 999_500, 1_250_000, u64::MAX];
        let shown = ["0", "999", "1.0 k", "1.2 k", "99.9 k", "100 k", "999 k", "1.0 M", "1.2 M", "18.4 E"];
        assert_eq!(counts.map(count), shown);
        let amounts = [0, 1023, 1024, 3_565_158, 1 << 40, u64::MAX];
        assert_eq!(amounts.map(bytes), ["0 B", "1023 B", "1.0 KiB", "3.4 MiB", "1.0 TiB", "16.0 EiB"]);
    }

    #[test]
    fn latencies_and_ages_are_short() {
        let shown = |us| latency(us, 1);
        assert_eq!([850, 1_200, 999_499, 3_400_000].map(shown), ["850 µs", "1.2 ms", "999 ms", "3.4 s"]);
        assert_eq!(latency(0, 0), "-");
        let ages = [0, 42, 60, 200, 7_500, 273_600, 86_401];
        assert_eq!(ages.map(age), ["0s", "42s", "1m", "3m 20s", "2h 5m", "3d 4h", "1d"]);
        assert_eq!((plural(1, "pool"), plural(0, "pool")), ("1 pool".into(), "0 pools".into()));
    }
}

//! "Did you mean …?"

/// Only so many candidates are compared: ten thousand pools and a hundred slips must not take seconds.
const MAX_CANDIDATES: usize = 2_000;
const MAX_WORD_CHARS: usize = 64;

/// The candidate that is nearest to `word`, when it is near enough to be what was meant.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().take(MAX_WORD_CHARS + 1).collect();
    if word.len() > MAX_WORD_CHARS {
        return None;
    }
    let most = 1 + word.len() / 4;
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= most)
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= most && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits from one word to the other, without regard to case: inserting, removing, changing a character, or
/// swapping two neighbours (optimal string alignment).
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = a[i - 1].eq_ignore_ascii_case(&b[j - 1])
                || matches!((a[i - 1], b[j - 1]), ('-', '_') | ('_', '-'));
            row[j] = (above[j - 1] + usize::from(!same)).min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["algorithm", "targets", "connect_timeout", "max_idle", "on"];
        assert_eq!(nearest("algoritm", keys), Some("algorithm"));
        assert_eq!(nearest("tragets", keys), Some("targets"));
        assert_eq!(nearest("connect-timeout", keys), Some("connect_timeout"));
        assert_eq!(nearest("Max_Idle", keys), Some("max_idle"));
        assert_eq!(nearest("servers", keys), None);
        assert_eq!(nearest("x", keys), None);
        assert_eq!(nearest(&"x".repeat(10_000), keys), None);
    }
}

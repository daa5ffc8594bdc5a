//! Character classes, and the two searches that every byte of a head passes through.

/// RFC 9110 §5.6.2 `tchar`: method and field name characters.
pub(crate) const TOKEN: u8 = 1;
/// Allowed in a request target before its `?`.
pub(crate) const PATH: u8 = 2;
/// Allowed in a request target from its `?` on.
pub(crate) const QUERY: u8 = 4;
/// Allowed in a host name or an IPv4 address.
pub(crate) const HOST: u8 = 8;

/// Whether every byte is in `class`. Branch-free on purpose: the answer is almost always yes.
#[inline]
pub(crate) fn all_in(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |so_far, &b| so_far & CLASSES[b as usize]) != 0
}

/// Index of the first byte at or behind `from` that may not stand in a line (a control character other than HTAB,
/// RFC 9110 §5.5), or the length of `buf`. Eight bytes per step.
#[inline]
pub(crate) fn first_control(buf: &[u8], from: usize) -> usize {
    let mut rest = buf.get(from..).unwrap_or_default();
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let mut hits = maybe_control(u64::from_le_bytes(*word));
        while hits != 0 {
            let index = (hits.trailing_zeros() / 8) as usize;
            if is_control(word[index & 7]) {
                return buf.len() - rest.len() + index;
            }
            hits &= hits - 1;
        }
        rest = tail;
    }
    let tail = rest.iter().position(|&b| is_control(b)).unwrap_or(rest.len());
    buf.len() - rest.len() + tail
}

/// Index of the first colon.
#[inline]
pub(crate) fn first_colon(line: &[u8]) -> Option<usize> {
    let mut rest = line;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let hits = zero_bytes(u64::from_le_bytes(*word) ^ (ONES * b':' as u64));
        if hits != 0 {
            return Some(line.len() - rest.len() + (hits.trailing_zeros() / 8) as usize);
        }
        rest = tail;
    }
    rest.iter().position(|&b| b == b':').map(|index| line.len() - rest.len() + index)
}

/// Without the white space (SP, HTAB) on either side.
#[inline]
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = ONES * 0x80;

/// High bits of the bytes that may be control characters. The lowest one that is not HTAB's, and all below it, are
/// right; a borrow can add false ones above a true one, so the caller looks at the byte itself.
#[inline]
fn maybe_control(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    below_space | zero_bytes(word ^ (ONES * 0x7f))
}

/// High bits of the bytes that are zero; false ones only above a true one.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

#[inline]
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        let mut class = 0;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        {
            class |= TOKEN;
        }
        // Browsers leave most punctuation as it is, so only what two parsers are known to read differently is
        // refused: a fragment (CVE-2023-45539), and a backslash in the path, which some origins take for a slash.
        if byte.is_ascii_graphic() && byte != b'#' {
            class |= QUERY;
            if byte != b'\\' {
                class |= PATH;
            }
        }
        // Narrower than RFC 3986 reg-name: no percent-encoding and no sub-delims, which no DNS name has and which
        // split into two hosts at the next parser that takes a list (`a,b`).
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_those_of_rfc_9110() {
        for byte in 0..=255_u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(all_in(&[byte], TOKEN), expected, "{byte:#x}");
            assert_eq!(all_in(&[byte], QUERY), (0x21..=0x7e).contains(&byte) && byte != b'#', "{byte:#x}");
        }
        assert!(all_in(b"", TOKEN));
    }

    #[test]
    fn every_byte_is_found_at_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..20 {
                let mut text = [b' '; 20];
                text[0] = b'\t';
                text[place] = byte;
                let expected = if is_control(byte) { place } else { 20 };
                assert_eq!(first_control(&text, 0), expected, "{byte:#x} at {place}");
            }
        }
        assert_eq!(first_control(b"", 0), 0);
        assert_eq!(first_control(b"abc", 9), 3);
    }

    proptest! {
        #[test]
        fn searches_agree_with_plain_loops(
            text in prop::collection::vec(prop_oneof![Just(b'\t'), Just(b' '), Just(b':'), Just(0x7f), any::<u8>()], 0..60),
            from in 0_usize..60,
        ) {
            let from = from.min(text.len());
            let plain = text.iter().skip(from).position(|&b| is_control(b)).map_or(text.len(), |i| from + i);
            prop_assert_eq!(first_control(&text, from), plain);
            prop_assert_eq!(first_colon(&text), text.iter().position(|&b| b == b':'));
        }
    }
}

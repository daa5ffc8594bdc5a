//! A text looked for in bytes that come in pieces.

/// Knuth, Morris, Pratt (1977): every byte is looked at once, whatever the target sends, and nothing of what has
/// passed is kept.
#[derive(Debug)]
pub(crate) struct Finder<'t> {
    text: &'t [u8],
    /// For each length of a matched part: how much of the text still matches when the next byte does not.
    fall_back: Vec<usize>,
    matched: usize,
}

impl<'t> Finder<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        let mut fall_back = Vec::with_capacity(text.len());
        let mut length = 0;
        for (index, byte) in text.iter().enumerate() {
            while length > 0 && *byte != text[length] {
                length = fall_back[length - 1];
            }
            length += usize::from(index > 0 && *byte == text[length]);
            fall_back.push(length);
        }
        Self { text, fall_back, matched: 0 }
    }

    /// Takes the next bytes. Whether the text has come whole by now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.is_found() {
                break;
            }
            while self.matched > 0 && *byte != self.text[self.matched] {
                self.matched = self.fall_back[self.matched - 1];
            }
            self.matched += usize::from(*byte == self.text[self.matched]);
        }
        self.is_found()
    }

    /// Whether the text has come.
    fn is_found(&self) -> bool {
        self.matched == self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_found_across_pieces_and_false_starts() {
        let mut finder = Finder::new(b"aab");
        assert!(!finder.feed(b"a"));
        assert!(!finder.feed(b"aaa"));
        assert!(finder.feed(b"b"));
        assert!(finder.feed(b""), "what was found stays found");
        assert!(Finder::new(b"").feed(b""));
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            text in "[ab]{1,5}",
            pieces in proptest::collection::vec("[ab]{0,4}", 0..12),
        ) {
            let mut finder = Finder::new(text.as_bytes());
            let mut whole = String::new();
            for piece in pieces {
                whole.push_str(&piece);
                prop_assert_eq!(finder.feed(piece.as_bytes()), whole.contains(&text));
            }
        }
    }
}

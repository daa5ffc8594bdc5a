//! The fields that decide something: gathered while the lines are read, judged when all are there.

use evenkeel_base::Reason;

use crate::fields::{Entry, FieldKind, Kinds};
use crate::tables::{TOKEN, all_in, trim};
use crate::{Framing, MAX_NOMINATIONS, Version};

/// What the fields of one head said, as far as it decides something.
#[derive(Debug, Default)]
pub(crate) struct Seen<'b> {
    once: Kinds,
    twice: Kinds,
    pub(crate) host: &'b [u8],
    length: &'b [u8],
    length_index: usize,
    coding: &'b [u8],
    pub(crate) expect: &'b [u8],
    upgrade: &'b [u8],
    /// `Connection` lists `close`.
    pub(crate) close: bool,
    /// `Connection` lists `keep-alive`.
    pub(crate) keep_alive: bool,
    /// `Connection` lists `upgrade`.
    pub(crate) upgrade_listed: bool,
    nominations: usize,
}

impl<'b> Seen<'b> {
    /// Remembers the `index`th field.
    #[inline]
    pub(crate) fn note(&mut self, window: &'b [u8], entry: &Entry, index: usize) {
        if entry.kind == FieldKind::Other {
            return;
        }
        if self.once.has(entry.kind) {
            self.twice = self.twice.with(entry.kind);
        }
        self.once = self.once.with(entry.kind);
        let value = entry.value(window);
        match entry.kind {
            FieldKind::Host => self.host = value,
            FieldKind::Connection => self.connection(value),
            FieldKind::ContentLength => (self.length, self.length_index) = (value, index),
            FieldKind::TransferEncoding => self.coding = value,
            FieldKind::Expect => self.expect = value,
            FieldKind::Upgrade => self.upgrade = value,
            _ => {}
        }
    }

    pub(crate) fn has(&self, kind: FieldKind) -> bool {
        self.once.has(kind)
    }

    pub(crate) fn has_twice(&self, kind: FieldKind) -> bool {
        self.twice.has(kind)
    }

    /// Where the body ends as far as the fields tell (RFC 9112 §6.3); `None` when they tell nothing.
    pub(crate) fn framing(&self, version: Version) -> Result<Option<Framing>, Reason> {
        let (length, coding) = (self.has(FieldKind::ContentLength), self.has(FieldKind::TransferEncoding));
        match (length, coding) {
            (false, false) => Ok(None),
            (true, true) => Err(Reason::ConflictingFraming),
            (true, false) => {
                let length =
                    if self.has_twice(FieldKind::ContentLength) { None } else { read_length(self.length) };
                length.map(|n| Some(Framing::Length(n))).ok_or(Reason::BadContentLength)
            }
            (false, true) => {
                let sound = version == Version::Http11
                    && !self.has_twice(FieldKind::TransferEncoding)
                    && self.coding.eq_ignore_ascii_case(b"chunked");
                if sound { Ok(Some(Framing::Chunked)) } else { Err(Reason::BadTransferEncoding) }
            }
        }
    }

    /// The protocols in `Upgrade`, if `Connection` lists it (RFC 9110 §7.8) and a proxy may pass it on.
    ///
    /// `h2c`, `HTTP/…` and `TLS/…` change how *this* connection is framed, so a proxy that passed them on would not
    /// see the requests that follow; a server may ignore any `Upgrade`, and these it ignores.
    pub(crate) fn upgrade(&self) -> Result<Option<&'b [u8]>, Reason> {
        if !self.upgrade_listed || !self.has(FieldKind::Upgrade) {
            return Ok(None);
        }
        let mut protocols = 0;
        for protocol in tokens(self.upgrade) {
            let (name, version) = match protocol.iter().position(|&b| b == b'/') {
                Some(slash) => (&protocol[..slash], &protocol[slash + 1..]),
                None => (protocol, &b"-"[..]),
            };
            if name.is_empty() || version.is_empty() || !all_in(name, TOKEN) || !all_in(version, TOKEN) {
                return Err(Reason::BadUpgrade);
            }
            if [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Ok(None);
            }
            protocols += 1;
        }
        if protocols == 0 || self.has_twice(FieldKind::Upgrade) {
            return Err(Reason::BadUpgrade);
        }
        Ok(Some(self.upgrade))
    }

    /// Marks the fields that `Connection` nominates (RFC 9110 §7.6.1). Only fields without a meaning to proxies can
    /// be nominated: otherwise a client could strip `Host`, or what a proxy before us added (CVE-2024-45410).
    ///
    /// # Errors
    /// [`Reason::BadHeaderValue`] above [`MAX_NOMINATIONS`].
    #[inline]
    pub(crate) fn mark_nominated(&self, window: &[u8], entries: &mut [Entry]) -> Result<(), Reason> {
        if self.nominations == 0 { Ok(()) } else { self.mark_each(window, entries) }
    }

    /// Takes leading zeros off `Content-Length`, so that what is forwarded is what was understood, by everyone.
    #[inline]
    pub(crate) fn tidy_length(&self, entries: &mut [Entry]) {
        if let [b'0', _, ..] = self.length
            && let Some(entry) = entries.get_mut(self.length_index)
        {
            let zeros = self.length.iter().take_while(|&&b| b == b'0').count().min(self.length.len() - 1);
            entry.value_at += zeros as u32;
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in tokens(value) {
            match known_option(option) {
                Some(Known::Close) => self.close = true,
                Some(Known::KeepAlive) => self.keep_alive = true,
                Some(Known::Upgrade) => self.upgrade_listed = true,
                None => self.nominations += 1,
            }
        }
    }

    #[cold]
    fn mark_each(&self, window: &[u8], entries: &mut [Entry]) -> Result<(), Reason> {
        if self.nominations > MAX_NOMINATIONS {
            return Err(Reason::BadHeaderValue);
        }
        for index in 0..entries.len() {
            let entry = entries[index];
            if entry.kind != FieldKind::Connection {
                continue;
            }
            for option in tokens(entry.value(window)).filter(|option| known_option(option).is_none()) {
                for other in entries.iter_mut().filter(|other| other.kind == FieldKind::Other) {
                    other.hop |= other.name(window).eq_ignore_ascii_case(option);
                }
            }
        }
        Ok(())
    }
}

enum Known {
    Close,
    KeepAlive,
    Upgrade,
}

#[inline]
fn known_option(option: &[u8]) -> Option<Known> {
    match option.len() {
        5 if option.eq_ignore_ascii_case(b"close") => Some(Known::Close),
        10 if option.eq_ignore_ascii_case(b"keep-alive") => Some(Known::KeepAlive),
        7 if option.eq_ignore_ascii_case(b"upgrade") => Some(Known::Upgrade),
        _ => None,
    }
}

/// The elements of a list (RFC 9110 §5.6.1), empty ones left out.
fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

/// Digits only (RFC 9110 §8.6), at most 19 of them, at most 2^63 - 1: no sign, list or white space survives.
fn read_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0_u64, |number, &b| number * 10 + u64::from(b - b'0'));
    (number <= i64::MAX as u64).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_their_edges() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("00", Some(0)),
            ("0012", Some(12)),
            ("2147483648", Some(1 << 31)),
            ("4294967296", Some(1 << 32)),
            ("4611686018427387904", Some(1 << 62)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("9999999999999999999", None),
            ("18446744073709551616", None),
            ("00000000000000000001", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1,1", None),
            ("1 1", None),
            ("0x10", None),
            ("1.0", None),
            ("1e3", None),
            ("\u{661}", None),
        ] {
            assert_eq!(read_length(text.as_bytes()), expected, "{text:?}");
        }
    }
}

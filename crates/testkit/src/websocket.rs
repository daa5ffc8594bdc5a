//! WebSocket (RFC 6455): just enough to prove that an upgraded connection carries both ways.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::http::{Cause, Response, Wire};
use crate::stream::{Addr, Stream};

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;

/// A client whose handshake was accepted with the right key.
#[derive(Debug)]
pub struct WebSocket {
    wire: Wire<Stream>,
    /// The 101 response.
    pub response: Response,
}

impl WebSocket {
    /// Shakes hands for `path`; says what was wrong if that fails. All waiting ends after `timeout`.
    pub fn connect(addr: impl Into<Addr>, path: &str, timeout: Duration) -> Result<Self, String> {
        let key = base64(b"sixteen bytes ab");
        let mut stream = Stream::connect(&addr.into(), timeout).map_err(|error| error.to_string())?;
        stream.set_deadline(Some(Instant::now() + timeout));
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut wire = Wire::new(stream);
        let response = wire.response("GET").map_err(|error| format!("{error:?}"))?;
        let accepted = response.header("sec-websocket-accept") == Some(accept_key(&key).as_str());
        if response.status == 101 && accepted {
            Ok(Self { wire, response })
        } else {
            Err(format!("status {}, headers {:?}", response.status, response.headers))
        }
    }

    /// Sends one text message, masked as a client must.
    pub fn send(&mut self, text: &str) -> Result<(), Cause> {
        self.write(TEXT, text.as_bytes())
    }

    /// The next message. A close frame is `Closed`.
    pub fn receive(&mut self) -> Result<String, Cause> {
        let frame = read_frame(&mut self.wire)?;
        if frame.opcode == CLOSE {
            return Err(Cause::Closed);
        }
        Ok(String::from_utf8_lossy(&frame.payload).into_owned())
    }

    /// Sends a close frame and waits for its answer.
    pub fn close(mut self) -> Result<(), Cause> {
        self.write(CLOSE, &[])?;
        match self.receive() {
            Err(Cause::Closed) => Ok(()),
            Err(cause) => Err(cause),
            Ok(text) => Err(Cause::Malformed(format!("{text:?} instead of a close frame"))),
        }
    }

    /// All further waiting ends at this instant instead.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.wire.stream().set_deadline(Some(deadline));
    }

    fn write(&mut self, opcode: u8, payload: &[u8]) -> Result<(), Cause> {
        let frame = Frame { opcode, payload: payload.to_vec() }.encode(Some([1, 2, 3, 4]));
        self.wire.stream().write_all(&frame).map_err(|error| Cause::of(&error))
    }
}

pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn encode(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let bit = if mask.is_some() { 0x80 } else { 0 };
        let mut out = vec![0x80 | self.opcode];
        match self.payload.len() {
            n @ 0..126 => out.push(bit | n as u8),
            n @ 126..=0xffff => {
                out.push(bit | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(bit | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend(mask.iter().flatten());
        let mask = mask.unwrap_or_default();
        out.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        out
    }
}

/// The next frame, unmasked. Fragments count as frames of their own.
pub(crate) fn read_frame<S: Read>(wire: &mut Wire<S>) -> Result<Frame, Cause> {
    let head = wire.bytes(2)?;
    let length = match head[1] & 0x7f {
        126 => u64::from(u16::from_be_bytes(wire.bytes(2)?.try_into().unwrap())),
        127 => u64::from_be_bytes(wire.bytes(8)?.try_into().unwrap()),
        n => u64::from(n),
    };
    if length > 1 << 24 {
        return Err(Cause::Malformed(format!("frame of {length} bytes")));
    }
    let mask = if head[1] & 0x80 != 0 { wire.bytes(4)? } else { vec![0; 4] };
    let mut payload = wire.bytes(length as usize)?;
    payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= mask[i % 4]);
    Ok(Frame { opcode: head[0] & 0x0f, payload })
}

/// What a server answers to a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub(crate) fn accept_key(key: &str) -> String {
    base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

/// SHA-1 (FIPS 180-4), which the handshake asks for; broken for every other purpose.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut w: Vec<u32> =
            block.chunks_exact(4).map(|b| u32::from_be_bytes(b.try_into().unwrap())).collect();
        for t in 16..80 {
            w.push((w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in w.iter().enumerate() {
            let (f, k) = match t {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    digest.chunks_exact_mut(4).zip(state).for_each(|(out, word)| out.copy_from_slice(&word.to_be_bytes()));
    digest
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for n in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_match_the_published_vectors() {
        let hex = |text: &[u8]| sha1(text).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(two_blocks), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        // FIPS vectors do not cross every padding length; each of these was made with sha1sum.
        assert_eq!(hex(&[b'a'; 55]), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
        assert_eq!(hex(&[b'a'; 64]), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455 1.3
        assert_eq!([base64(b"f"), base64(b"fo"), base64(b"foo")], ["Zg==", "Zm8=", "Zm9v"]); // RFC 4648 10
    }

    #[test]
    fn frames_of_every_length_form_come_back() {
        for bytes in [0, 1, 125, 126, 65_535, 65_536] {
            for mask in [None, Some([9, 8, 7, 6])] {
                let payload: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
                let encoded = Frame { opcode: 2, payload: payload.clone() }.encode(mask);
                let frame = read_frame(&mut Wire::new(encoded.as_slice())).unwrap();
                assert_eq!((frame.opcode, frame.payload), (2, payload));
            }
        }
    }
}

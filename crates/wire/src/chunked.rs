//! The chunked coding (RFC 9112 §7.1), one byte of framing at a time and payload by the run.
//!
//! ```text
//! Size ─;─▶ Ext ─┐                      ┌──────────── Payload ─▶ PayloadCr ─▶ PayloadLf ─▶ Size
//!   └────CR──────┴─▶ SizeLf ─ size > 0 ─┘
//!                       └──── size = 0 ──▶ LineStart ─▶ Name ─:─▶ Value ─CR─▶ ValueLf ─▶ LineStart
//!                                              └────CR─▶ EndLf ─▶ Done
//! ```

use std::ops::Range;

use evenkeel_base::Reason;

use crate::fields::{FieldKind, Kinds, classify};
use crate::tables::{TOKEN, all_in};

/// What a chunked body may spend on things that are not payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Extensions of one chunk, in bytes, from the first byte behind the size to the CR.
    pub ext_bytes: usize,
    /// The whole trailer section, in bytes, its blank line included.
    pub trailer_bytes: usize,
    /// Trailer fields.
    pub trailers: usize,
}

/// What [`ChunkDecoder::advance`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken from the front, payload included.
    pub consumed: usize,
    /// Payload among them, as a range of the bytes given; never empty, and it ends at `consumed`.
    pub data: Option<Range<usize>>,
    /// The body is over; the bytes behind `consumed` are another message.
    pub done: bool,
}

/// What [`ChunkDecoder::scan`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes that are valid and may be passed on as they are.
    pub consumed: usize,
    /// Payload bytes among them.
    pub payload_bytes: u64,
    /// The body is over; the bytes behind `consumed` are another message.
    pub done: bool,
}

/// Reads a chunked body that arrives in pieces of any size, and keeps nothing but its place in it.
///
/// Refused beyond the grammar: control characters and bytes from 0x80 up in extensions, sizes above 2^63 - 1 or of
/// more than 16 digits, and trailer fields that decide framing, routing, authentication or the meaning of the
/// content (RFC 9110 §6.5.1).
#[derive(Debug, Clone)]
pub struct ChunkDecoder {
    limits: ChunkLimits,
    state: State,
    /// Of the current chunk: its size while that is read, then what is left of its payload.
    left: u64,
    /// Of the current chunk: digits of its size, then bytes of its extensions.
    count: usize,
    trailers: usize,
    trailer_bytes: usize,
    /// The current trailer's name, as much of it as a special name can have.
    name: [u8; NAME_BYTES],
    name_len: usize,
}

impl ChunkDecoder {
    /// At the start of a body.
    pub fn new(limits: ChunkLimits) -> Self {
        let name = [0; NAME_BYTES];
        Self {
            limits,
            state: State::Size,
            left: 0,
            count: 0,
            trailers: 0,
            trailer_bytes: 0,
            name,
            name_len: 0,
        }
    }

    /// Takes bytes up to and including one run of payload. Call again with the rest until all is consumed or done;
    /// when done, nothing more is consumed.
    ///
    /// # Errors
    /// [`Reason::BadChunk`] or [`Reason::BadTrailer`], and the same again ever after.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Step, Reason> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Payload => {
                    let run = &bytes[at..];
                    let taken = usize::try_from(self.left).map_or(run.len(), |left| left.min(run.len()));
                    self.left -= taken as u64;
                    if self.left == 0 {
                        self.state = State::PayloadCr;
                    }
                    let consumed = at + taken;
                    return Ok(Step { consumed, data: Some(at..consumed), done: false });
                }
                State::Done => break,
                _ => {
                    self.state = self.frame(byte).unwrap_or_else(State::Failed);
                    at += 1;
                }
            }
            if let State::Failed(reason) = self.state {
                return Err(reason);
            }
        }
        match self.state {
            State::Failed(reason) => Err(reason),
            state => Ok(Step { consumed: at, data: None, done: state == State::Done }),
        }
    }

    /// Takes all bytes that are there, or those up to the body's end, to pass them through unchanged.
    ///
    /// # Errors
    /// As [`ChunkDecoder::advance`]. None of `bytes` may be passed on then.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, Reason> {
        let mut scanned = Scanned { consumed: 0, payload_bytes: 0, done: self.is_done() };
        loop {
            let step = self.advance(&bytes[scanned.consumed..])?;
            scanned.consumed += step.consumed;
            scanned.payload_bytes += step.data.map_or(0, |run| run.len() as u64);
            scanned.done = step.done;
            if step.done || scanned.consumed == bytes.len() {
                return Ok(scanned);
            }
        }
    }

    /// The body is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Payload bytes still to come of the chunk whose payload is being read; 0 elsewhere.
    pub fn payload_left(&self) -> u64 {
        if self.state == State::Payload { self.left } else { 0 }
    }

    /// The state behind one byte that is not payload.
    fn frame(&mut self, byte: u8) -> Result<State, Reason> {
        match (self.state, byte) {
            (State::Size, _) => self.size(byte),
            (State::Gap | State::Ext, _) => self.extension(byte),
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::LineStart),
            (State::SizeLf, b'\n') => Ok(State::Payload),
            (State::PayloadCr, b'\r') => Ok(State::PayloadLf),
            (State::PayloadLf, b'\n') => {
                (self.left, self.count) = (0, 0);
                Ok(State::Size)
            }
            (State::Failed(reason), _) => Err(reason),
            (State::LineStart | State::Name | State::Value | State::ValueLf | State::EndLf, _) => {
                self.trailer(byte)
            }
            _ => Err(Reason::BadChunk),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Reason> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if self.count == 0 => return Err(Reason::BadChunk),
            b'\r' => return Ok(State::SizeLf),
            _ => {
                self.count = 0;
                self.state = State::Gap;
                return self.extension(byte);
            }
        };
        self.count += 1;
        // Checked before the shift, so that 16 digits cannot lose any.
        if self.count > MAX_SIZE_DIGITS || self.left > (i64::MAX as u64) >> 4 {
            return Err(Reason::BadChunk);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension(&mut self, byte: u8) -> Result<State, Reason> {
        if byte == b'\r' && self.state == State::Ext {
            return Ok(State::SizeLf);
        }
        self.count += 1;
        if self.count > self.limits.ext_bytes {
            return Err(Reason::BadChunk);
        }
        match byte {
            b' ' | b'\t' => Ok(self.state),
            b';' => Ok(State::Ext),
            0x21..=0x7e if self.state == State::Ext => Ok(State::Ext),
            _ => Err(Reason::BadChunk),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Reason> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > self.limits.trailer_bytes.max(BLANK_LINE_BYTES) {
            return Err(Reason::BadTrailer);
        }
        match (self.state, byte) {
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::LineStart, _) if all_in(&[byte], TOKEN) => {
                self.trailers += 1;
                self.name_len = 0;
                self.name_byte(byte);
                if self.trailers > self.limits.trailers { Err(Reason::BadTrailer) } else { Ok(State::Name) }
            }
            (State::Name, b':') if self.name_is_allowed() => Ok(State::Value),
            (State::Name, _) if all_in(&[byte], TOKEN) => {
                self.name_byte(byte);
                Ok(State::Name)
            }
            (State::Value, b'\r') => Ok(State::ValueLf),
            (State::Value, b'\t' | 0x20..=0x7e | 0x80..) => Ok(State::Value),
            (State::ValueLf, b'\n') => Ok(State::LineStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(Reason::BadTrailer),
        }
    }

    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_len) {
            *place = byte;
            self.name_len += 1;
        }
    }

    fn name_is_allowed(&self) -> bool {
        // A longer name is cut here: that it is not special by its full text is sure, and its prefix is whole.
        TRAILERS.has(classify(&self.name[..self.name_len]))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// White space between the size and the `;` of an extension.
    Gap,
    Ext,
    SizeLf,
    Payload,
    PayloadCr,
    PayloadLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
    Failed(Reason),
}

/// Enough for 2^63 - 1; more could only be leading zeros.
const MAX_SIZE_DIGITS: usize = 16;
/// Longer than every special name and prefix.
const NAME_BYTES: usize = 32;
const BLANK_LINE_BYTES: usize = 2;

/// What may stand in a trailer section.
const TRAILERS: Kinds = Kinds::NONE.with(FieldKind::Other).with(FieldKind::Date).with(FieldKind::Server);

#[cfg(test)]
mod tests;

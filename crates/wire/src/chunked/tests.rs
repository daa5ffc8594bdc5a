use super::*;
use crate::samples::{MALFORMED_CHUNKED, VALID_CHUNKED};
use crate::{LAST_CHUNK, write_chunk_size};
use proptest::prelude::*;

const LIMITS: ChunkLimits = ChunkLimits { ext_bytes: 64, trailer_bytes: 256, trailers: 4 };

/// Everything `advance` gives in pieces of `cut` bytes: consumed, payload, done.
fn advance_all(bytes: &[u8], cut: usize, limits: ChunkLimits) -> Result<(usize, Vec<u8>, bool), Reason> {
    let mut decoder = ChunkDecoder::new(limits);
    let (mut at, mut payload) = (0, Vec::new());
    while at < bytes.len() && !decoder.is_done() {
        let piece = &bytes[at..bytes.len().min(at + cut)];
        let step = decoder.advance(piece)?;
        payload.extend_from_slice(&piece[step.data.unwrap_or_default()]);
        at += step.consumed;
        assert_eq!(step.done, decoder.is_done());
    }
    Ok((at, payload, decoder.is_done()))
}

fn scan_all(bytes: &[u8], cut: usize, limits: ChunkLimits) -> Result<(usize, u64, bool), Reason> {
    let mut decoder = ChunkDecoder::new(limits);
    let (mut at, mut payload) = (0, 0);
    while at < bytes.len() && !decoder.is_done() {
        let scanned = decoder.scan(&bytes[at..bytes.len().min(at + cut)])?;
        at += scanned.consumed;
        payload += scanned.payload_bytes;
    }
    Ok((at, payload, decoder.is_done()))
}

#[test]
fn malformed_bodies_are_refused_however_cut() {
    for (name, bytes, reason) in MALFORMED_CHUNKED {
        for cut in 1..=bytes.len() {
            assert_eq!(advance_all(bytes, cut, LIMITS), Err(*reason), "{name} in {cut}");
            assert_eq!(scan_all(bytes, cut, LIMITS), Err(*reason), "{name} in {cut}");
        }
    }
}

#[test]
fn valid_bodies_are_read_however_cut() {
    for (name, bytes, payload) in VALID_CHUNKED {
        let len = bytes.len() - if *name == "pipelined" { 16 } else { 0 };
        for cut in 1..=bytes.len() {
            assert_eq!(advance_all(bytes, cut, LIMITS), Ok((len, payload.to_vec(), true)), "{name} in {cut}");
            assert_eq!(
                scan_all(bytes, cut, LIMITS),
                Ok((len, payload.len() as u64, true)),
                "{name} in {cut}"
            );
        }
        for end in 0..len {
            assert!(
                matches!(scan_all(&bytes[..end], 3, LIMITS), Ok((n, _, false)) if n == end),
                "{name} up to {end}"
            );
        }
    }
}

#[test]
fn sizes_at_their_edges() {
    for (size, expected) in [
        ("1", Some(1)),
        ("7fffffff", Some((1 << 31) - 1)),
        ("80000000", Some(1 << 31)),
        ("FFFFFFFF", Some((1 << 32) - 1)),
        ("100000000", Some(1 << 32)),
        ("4000000000000000", Some(1 << 62)),
        ("7fffffffffffffff", Some(i64::MAX as u64)),
        ("8000000000000000", None),
        ("ffffffffffffffff", None),
        ("10000000000000000", None),
        ("0000000000000001", Some(1)),
        ("00000000000000001", None),
        ("0ffffffffffffffff", None),
    ] {
        let mut decoder = ChunkDecoder::new(LIMITS);
        let bytes = format!("{size}\r\nab");
        match expected {
            None => assert_eq!(decoder.scan(bytes.as_bytes()), Err(Reason::BadChunk), "{size}"),
            Some(1) => {
                assert_eq!(decoder.scan(bytes.as_bytes()), Err(Reason::BadChunk), "{size}: b is no CR");
            }
            Some(expected) => {
                let taken = decoder.scan(bytes.as_bytes()).map(|scanned| scanned.payload_bytes);
                assert_eq!((taken, decoder.payload_left()), (Ok(2), expected - 2), "{size}");
            }
        }
    }
}

#[test]
fn limits_at_their_edges() {
    let with_ext = |len: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(len - 1)).into_bytes();
    assert!(scan_all(&with_ext(64), 9, LIMITS).is_ok());
    assert_eq!(scan_all(&with_ext(65), 9, LIMITS), Err(Reason::BadChunk));
    // Per chunk, not per body.
    let twice =
        [b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n".repeat(2), b"0\r\n\r\n".to_vec()]
            .concat();
    assert!(scan_all(&twice, 9, LIMITS).is_ok());
    let trailers = |count: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(count)).into_bytes();
    assert!(scan_all(&trailers(4), 9, LIMITS).is_ok());
    assert_eq!(scan_all(&trailers(5), 9, LIMITS), Err(Reason::BadTrailer));
    let trailer = |len: usize| format!("0\r\nA:{}\r\n\r\n", "x".repeat(len - 6)).into_bytes();
    assert!(scan_all(&trailer(256), 9, LIMITS).is_ok());
    assert_eq!(scan_all(&trailer(257), 9, LIMITS), Err(Reason::BadTrailer));
    let none = ChunkLimits { ext_bytes: 0, trailer_bytes: 0, trailers: 0 };
    assert!(scan_all(b"1\r\na\r\n0\r\n\r\n", 9, none).is_ok());
    assert_eq!(scan_all(b"1;\r\na\r\n0\r\n\r\n", 9, none), Err(Reason::BadChunk));
    assert_eq!(scan_all(b"0\r\nA: b\r\n\r\n", 9, none), Err(Reason::BadTrailer));
}

#[test]
fn an_error_stays_and_the_end_is_the_end() {
    let mut decoder = ChunkDecoder::new(LIMITS);
    assert_eq!(decoder.scan(b"x"), Err(Reason::BadChunk));
    for bytes in [&b"0\r\n\r\n"[..], b""] {
        assert_eq!(decoder.scan(bytes), Err(Reason::BadChunk));
        assert_eq!(decoder.advance(bytes), Err(Reason::BadChunk));
    }
    assert!(!decoder.is_done());
    let mut decoder = ChunkDecoder::new(LIMITS);
    assert_eq!(decoder.scan(b""), Ok(Scanned { consumed: 0, payload_bytes: 0, done: false }));
    assert_eq!(decoder.scan(b"0\r\n\r\nx"), Ok(Scanned { consumed: 5, payload_bytes: 0, done: true }));
    assert_eq!(decoder.scan(b"x"), Ok(Scanned { consumed: 0, payload_bytes: 0, done: true }));
    assert_eq!(decoder.advance(b"x"), Ok(Step { consumed: 0, data: None, done: true }));
}

#[test]
fn a_decoder_is_small() {
    // One lives in every connection with a chunked body.
    assert!(size_of::<ChunkDecoder>() <= 128, "{}", size_of::<ChunkDecoder>());
}

proptest! {
    #[test]
    fn any_payload_in_any_chunks_and_cuts_survives(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10),
        cut in 1_usize..40,
        ext in "(;[a-z]{1,5}(=[!-~]{1,5})?)?",
    ) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            write_chunk_size(&mut coded, chunk.len() as u64);
            coded.truncate(coded.len() - 2);
            coded.extend_from_slice(ext.as_bytes());
            coded.extend_from_slice(b"\r\n");
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(LAST_CHUNK);
        let payload = chunks.concat();
        prop_assert_eq!(scan_all(&coded, cut, LIMITS), Ok((coded.len(), payload.len() as u64, true)));
        prop_assert_eq!(advance_all(&coded, cut, LIMITS), Ok((coded.len(), payload, true)));
    }

    #[test]
    fn any_size_is_written_as_it_is_read(size in 1..=i64::MAX as u64) {
        let mut coded = Vec::new();
        write_chunk_size(&mut coded, size);
        let mut decoder = ChunkDecoder::new(LIMITS);
        prop_assert!(decoder.scan(&coded).is_ok());
        prop_assert_eq!(decoder.payload_left(), size);
    }
}

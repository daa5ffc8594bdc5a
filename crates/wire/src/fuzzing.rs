//! What must hold of any bytes, as functions that panic when it does not: bodies of the fuzz targets in `fuzz/`, and
//! of a smaller run among the tests.
//!
//! The oracle is `httparse`: more lenient than we are, so whatever we accept it must accept, and read the same.

use evenkeel_base::Reason;

use crate::fields::FieldKind;
use crate::{
    Asked, ChunkDecoder, ChunkLimits, Fields, Framing, Kinds, LAST_CHUNK, Limits, MAX_HEADERS, Method,
    Parsed, Progress, RequestHead, ResponseHead, Scratch, Version, end_head, parse_request, parse_response,
    write_chunk_size, write_chunked, write_field, write_request_head, write_response_head,
};

/// Small, so that short inputs reach them.
const LIMITS: Limits = Limits { head_bytes: 1_000, headers: 12, target_bytes: 100 };
/// For what was written from a head within [`LIMITS`], which may be a little longer.
const WIDER: Limits = Limits { head_bytes: 4_000, headers: 40, target_bytes: 400 };
const CHUNK_LIMITS: ChunkLimits = ChunkLimits { ext_bytes: 40, trailer_bytes: 200, trailers: 5 };

/// Whole or in pieces, a request head is read the same; what is accepted is so by the oracle, and survives writing.
pub fn request(data: &[u8]) {
    let outcome = |ends: &mut dyn Iterator<Item = usize>| {
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        for end in ends {
            match parse_request(&data[..end], &LIMITS, &mut progress, &mut scratch) {
                Ok(Parsed::Partial) => {}
                Ok(Parsed::Complete(head)) => return Ok(Some(format!("{head:?}"))),
                Err(reason) => return Err(reason),
            }
        }
        Ok(None)
    };
    assert_same(&outcome, data.len());
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    if let Ok(Parsed::Complete(head)) = parse_request(data, &LIMITS, &mut progress, &mut scratch) {
        assert_eq!(progress, Progress::new());
        assert_strict(&data[..head.head_len]);
        assert_request_as_oracle(data, &head);
        assert_request_survives(&head);
    }
}

/// As [`request`], for answers to `GET`, `HEAD` and an offer to upgrade.
pub fn response(data: &[u8]) {
    for (method, upgrade) in [(Method::Get, false), (Method::Head, false), (Method::Get, true)] {
        let asked = Asked { method, upgrade };
        let outcome = |ends: &mut dyn Iterator<Item = usize>| {
            let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
            for end in ends {
                match parse_response(&data[..end], &LIMITS, asked, &mut progress, &mut scratch) {
                    Ok(Parsed::Partial) => {}
                    Ok(Parsed::Complete(head)) => return Ok(Some(format!("{head:?}"))),
                    Err(reason) => return Err(reason),
                }
            }
            Ok(None)
        };
        assert_same(&outcome, data.len());
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        if let Ok(Parsed::Complete(head)) = parse_response(data, &LIMITS, asked, &mut progress, &mut scratch)
        {
            assert_strict(&data[..head.head_len]);
            assert_response_as_oracle(data, &head);
            assert_response_survives(&head, asked);
        }
    }
}

/// However it is cut, by either function, a chunked body is read the same, and as the oracle reads it; and any
/// payload survives the coding.
pub fn chunked(data: &[u8]) {
    let whole = scan_in_pieces(data, |_| data.len());
    for cut in [1, 2, 3, 7] {
        assert_eq!(scan_in_pieces(data, |_| cut), whole, "in pieces of {cut}");
    }
    assert_eq!(scan_in_pieces(data, |at| 1 + usize::from(data[at] % 9)), whole, "in odd pieces");
    let (consumed, done, payload) = advance_all(data, data.len());
    for cut in [1, 2, 5] {
        assert_eq!(advance_all(data, cut), (consumed, done, payload.clone()), "in steps of {cut}");
    }
    match whole {
        Ok(scanned) => {
            assert_eq!((scanned.0, scanned.2, scanned.1), (consumed, done == Ok(true), payload.len() as u64));
        }
        Err(reason) => assert_eq!(done, Err(reason)),
    }
    if done == Ok(true) {
        assert_eq!(oracle_chunked(data), Some((consumed, payload)));
    }
    assert_coding_survives(data);
}

type Outcome<'a> = dyn Fn(&mut dyn Iterator<Item = usize>) -> Result<Option<String>, Reason> + 'a;

fn assert_same(outcome: &Outcome<'_>, len: usize) {
    let whole = outcome(&mut std::iter::once(len));
    assert_eq!(outcome(&mut (0..=len)), whole, "byte by byte");
    assert_eq!(outcome(&mut (0..len).step_by(5).chain([len])), whole, "five by five");
    assert_eq!(outcome(&mut [len / 2, len].into_iter()), whole, "in halves");
}

/// What the grammar says of the bytes of an accepted head, in another way than the parser says it.
fn assert_strict(head: &[u8]) {
    assert!(head.ends_with(b"\r\n\r\n"));
    let body = head.strip_prefix(b"\r\n").unwrap_or(head);
    let lines = body.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r"));
    let mut blank = 0;
    for line in lines.take(body.iter().filter(|&&b| b == b'\n').count()) {
        assert!(line.is_some(), "a line without CRLF was accepted in {}", head.escape_ascii());
        let line = line.unwrap_or_default();
        assert!(line.iter().all(|&b| b == b'\t' || (b >= 0x20 && b != 0x7f)));
        assert!(!matches!(line.first(), Some(b' ' | b'\t')));
        blank += usize::from(line.is_empty());
    }
    assert_eq!(blank, 1, "one blank line, at the end");
}

fn assert_request_as_oracle(data: &[u8], head: &RequestHead<'_>) {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut oracle = httparse::Request::new(&mut headers);
    assert_eq!(oracle.parse(data), Ok(httparse::Status::Complete(head.head_len)));
    assert_eq!(oracle.method, Some(head.method_text));
    let path = oracle.path.unwrap_or_default();
    let reduced = !path.starts_with('/') && path != "*";
    assert!(path == head.target || (reduced && (path.ends_with(head.target) || "/*".contains(head.target))));
    assert_eq!(oracle.version, Some(u8::from(head.version == Version::Http11)));
    assert_fields_as_oracle(&head.fields, oracle.headers);
    assert_ne!(head.framing, Framing::UntilClose);
    assert!(head.version == Version::Http11 || (head.framing != Framing::Chunked && head.upgrade.is_none()));
}

fn assert_response_as_oracle(data: &[u8], head: &ResponseHead<'_>) {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut oracle = httparse::Response::new(&mut headers);
    assert_eq!(oracle.parse(data), Ok(httparse::Status::Complete(head.head_len)));
    assert_eq!(oracle.code, Some(head.status));
    assert_fields_as_oracle(&head.fields, oracle.headers);
    assert!(head.framing != Framing::UntilClose || !head.keep_alive);
    assert_eq!(head.upgrade.is_some(), head.status == 101);
}

fn assert_fields_as_oracle(fields: &Fields<'_>, oracle: &[httparse::Header<'_>]) {
    assert_eq!(fields.len(), oracle.len());
    for (ours, theirs) in fields.iter().zip(oracle) {
        assert_eq!(ours.name, theirs.name.as_bytes());
        let same = ours.value == theirs.value;
        let tidied = ours.kind == FieldKind::ContentLength && theirs.value.ends_with(ours.value);
        assert!(same || tidied);
    }
}

/// What is written from a head is read as the same message, and writing it again changes nothing.
fn assert_request_survives(head: &RequestHead<'_>) {
    let first = written_request(head);
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    let again = parse_request(&first, &WIDER, &mut progress, &mut scratch);
    assert!(matches!(again, Ok(Parsed::Complete(_))), "{again:?} of {}", first.escape_ascii());
    if let Ok(Parsed::Complete(again)) = again {
        assert_eq!(
            (again.method_text, again.target, again.framing),
            (head.method_text, head.target, head.framing)
        );
        assert_eq!(again.head_len, first.len());
        assert!(head.host.is_empty() || head.host.eq_ignore_ascii_case(again.host));
        let kept =
            |fields: &Fields<'_>| fields.iter().filter(|f| !f.hop && f.kind != FieldKind::Host).count();
        assert_eq!(kept(&again.fields), kept(&head.fields));
        assert_eq!(written_request(&again).escape_ascii().to_string(), first.escape_ascii().to_string());
    }
}

fn written_request(head: &RequestHead<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_request_head(
        &mut out,
        head.method_text,
        head.target,
        &head.fields,
        Kinds::NONE.with(FieldKind::Host),
    );
    write_field(&mut out, "host", if head.host.is_empty() { b"none" } else { head.host.as_bytes() });
    if head.framing == Framing::Chunked {
        write_chunked(&mut out);
    }
    end_head(&mut out);
    out
}

fn assert_response_survives(head: &ResponseHead<'_>, asked: Asked) {
    if head.status == 101 {
        return;
    }
    let mut out = Vec::new();
    write_response_head(&mut out, head.status, head.reason, &head.fields, Kinds::NONE);
    if head.framing == Framing::Chunked {
        write_chunked(&mut out);
    }
    end_head(&mut out);
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    let again = parse_response(&out, &WIDER, asked, &mut progress, &mut scratch);
    assert!(matches!(again, Ok(Parsed::Complete(_))), "{again:?} of {}", out.escape_ascii());
    if let Ok(Parsed::Complete(again)) = again {
        assert_eq!((again.status, again.reason, again.framing), (head.status, head.reason, head.framing));
        assert_eq!(again.head_len, out.len());
    }
}

/// Consumed bytes, payload bytes, and whether the body is over.
type Scan = Result<(usize, u64, bool), Reason>;

fn scan_in_pieces(data: &[u8], piece: impl Fn(usize) -> usize) -> Scan {
    let mut decoder = ChunkDecoder::new(CHUNK_LIMITS);
    let (mut at, mut payload) = (0, 0);
    while at < data.len() && !decoder.is_done() {
        let end = data.len().min(at + piece(at));
        let scanned = decoder.scan(&data[at..end])?;
        assert!(scanned.consumed == end - at || scanned.done);
        at += scanned.consumed;
        payload += scanned.payload_bytes;
    }
    Ok((at, payload, decoder.is_done()))
}

fn advance_all(data: &[u8], cut: usize) -> (usize, Result<bool, Reason>, Vec<u8>) {
    let mut decoder = ChunkDecoder::new(CHUNK_LIMITS);
    let (mut at, mut payload) = (0, Vec::new());
    while at < data.len() && !decoder.is_done() {
        let bytes = &data[at..data.len().min(at + cut)];
        let step = match decoder.advance(bytes) {
            Ok(step) => step,
            Err(reason) => {
                assert_eq!(decoder.advance(b"0"), Err(reason), "an error stays");
                assert_eq!(decoder.advance(b""), Err(reason), "an error stays");
                // How far it came before depends on the cut.
                return (0, Err(reason), Vec::new());
            }
        };
        if let Some(run) = step.data {
            assert!(run.end == step.consumed && run.start < run.end);
            payload.extend_from_slice(&bytes[run]);
        }
        at += step.consumed;
    }
    (at, Ok(decoder.is_done()), payload)
}

fn oracle_chunked(data: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut payload) = (0, Vec::new());
    loop {
        let Ok(httparse::Status::Complete((len, size))) = httparse::parse_chunk_size(&data[at..]) else {
            return None;
        };
        at += len;
        if size == 0 {
            break;
        }
        let end = at + usize::try_from(size).ok()?;
        payload.extend_from_slice(data.get(at..end)?);
        assert_eq!(data.get(end..end + 2), Some(&b"\r\n"[..]));
        at = end + 2;
    }
    let mut headers = [httparse::EMPTY_HEADER; 16];
    match httparse::parse_headers(&data[at..], &mut headers) {
        Ok(httparse::Status::Complete((len, _))) => Some((at + len, payload)),
        _ => None,
    }
}

fn assert_coding_survives(payload: &[u8]) {
    let mut coded = Vec::new();
    for chunk in payload.chunks(1 + payload.len() / 3) {
        write_chunk_size(&mut coded, chunk.len() as u64);
        coded.extend_from_slice(chunk);
        end_head(&mut coded);
    }
    coded.extend_from_slice(LAST_CHUNK);
    assert_eq!(advance_all(&coded, 11), (coded.len(), Ok(true), payload.to_vec()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use evenkeel_base::SplitMix64;

    const ROUNDS: usize = 60_000;

    /// Some changes of one sample: a byte replaced, removed, doubled or swapped in from another sample.
    fn mutated(samples: &[&[u8]], random: &mut SplitMix64) -> Vec<u8> {
        const SPICES: &[u8] = b"\r\n \t:;,\0/#?*\x0b\x7f\x80\xff0159afghGPH-+_[]@%\\\"";
        let pick = |random: &mut SplitMix64, len: usize| random.below(len as u64) as usize;
        let mut bytes = samples[pick(random, samples.len())].to_vec();
        for _ in 0..=random.below(4) {
            let at = pick(random, bytes.len() + 1);
            match random.below(6) {
                0 => bytes.insert(at, SPICES[pick(random, SPICES.len())]),
                1 if at < bytes.len() => bytes[at] = SPICES[pick(random, SPICES.len())],
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.truncate(at.max(1)),
                4 => {
                    let other = samples[pick(random, samples.len())];
                    let from = pick(random, other.len());
                    let to = other.len().min(from + 24);
                    drop(bytes.splice(at..at, other[from..to].iter().copied()));
                }
                _ => {
                    let line =
                        bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |end| at + end + 1);
                    let copy = bytes[at..line].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
        bytes
    }

    fn run(samples: &[&[u8]], seed: u64, target: fn(&[u8])) {
        samples.iter().for_each(|sample| target(sample));
        let mut random = SplitMix64::new(seed);
        for round in 0..ROUNDS {
            let bytes = mutated(samples, &mut random);
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("round {round} of seed {seed}: {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn mutated_requests() {
        let bad = samples::MALFORMED_REQUESTS.iter().map(|sample| sample.1);
        let all: Vec<_> = samples::VALID_REQUESTS.iter().map(|sample| sample.1).chain(bad).collect();
        run(&all, 1, request);
    }

    #[test]
    fn mutated_responses() {
        let bad = samples::MALFORMED_RESPONSES.iter().map(|sample| sample.1);
        let all: Vec<_> = samples::VALID_RESPONSES.iter().map(|sample| sample.1).chain(bad).collect();
        run(&all, 2, response);
    }

    #[test]
    fn mutated_chunked_bodies() {
        let bad = samples::MALFORMED_CHUNKED.iter().map(|sample| sample.1);
        let all: Vec<_> = samples::VALID_CHUNKED.iter().map(|sample| sample.1).chain(bad).collect();
        run(&all, 3, chunked);
    }
}

//! What reading and writing HTTP/1 costs.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use evenkeel_benches::{ANSWER, BROWSER_GET, CHUNK_LIMITS, FORWARDING, LIMITS, chunks};
use evenkeel_wire::{
    Asked, ChunkDecoder, Kinds, Method, Parsed, Progress, Scratch, end_head, forwarded, parse_request,
    parse_response, write_fields, write_request_line, write_response_head,
};

const SMALLEST_GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const OF_A_GET: Asked = Asked { method: Method::Get, upgrade: false };

fn parse(bencher: Bencher<'_, '_>, bytes: &[u8]) {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let parsed = parse_request(black_box(bytes), &LIMITS, &mut progress, &mut scratch);
        matches!(parsed, Ok(Parsed::Complete(_)))
    });
}

#[divan::bench]
fn parse_a_browsers_get(bencher: Bencher<'_, '_>) {
    parse(bencher, BROWSER_GET);
}

#[divan::bench]
fn parse_the_smallest_get(bencher: Bencher<'_, '_>) {
    parse(bencher, SMALLEST_GET);
}

/// As a client that drips sends it: a hundred pieces, each looked at as it comes.
#[divan::bench]
fn parse_a_browsers_get_in_100_pieces(bencher: Bencher<'_, '_>) {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    bencher.counter(BytesCount::new(BROWSER_GET.len())).bench_local(|| {
        (1..=100).fold(false, |_, piece| {
            let come = &black_box(BROWSER_GET)[..BROWSER_GET.len() * piece / 100];
            let parsed = parse_request(come, &LIMITS, &mut progress, &mut scratch);
            matches!(parsed, Ok(Parsed::Complete(_)))
        })
    });
}

#[divan::bench]
fn parse_an_answer(bencher: Bencher<'_, '_>) {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    bencher.counter(BytesCount::new(ANSWER.len())).bench_local(|| {
        let parsed = parse_response(black_box(ANSWER), &LIMITS, OF_A_GET, &mut progress, &mut scratch);
        matches!(parsed, Ok(Parsed::Complete(_)))
    });
}

/// The head that goes to the target, with what is told of the client.
#[divan::bench]
fn write_the_forwarded_head(bencher: Bencher<'_, '_>) {
    let mut scratch = Scratch::new();
    let parsed = parse_request(BROWSER_GET, &LIMITS, &mut Progress::new(), &mut scratch);
    let Ok(Parsed::Complete(head)) = parsed else { return };
    let mut out = Vec::with_capacity(4096);
    bencher.counter(BytesCount::new(BROWSER_GET.len())).bench_local(|| {
        out.clear();
        write_request_line(&mut out, head.method_text, head.target);
        write_fields(&mut out, &black_box(head).fields, FORWARDING.skip());
        forwarded(&mut out, &head.fields, &FORWARDING);
        end_head(&mut out);
        black_box(out.len())
    });
}

#[divan::bench]
fn write_the_answers_head(bencher: Bencher<'_, '_>) {
    let mut scratch = Scratch::new();
    let parsed = parse_response(ANSWER, &LIMITS, OF_A_GET, &mut Progress::new(), &mut scratch);
    let Ok(Parsed::Complete(head)) = parsed else { return };
    let mut out = Vec::with_capacity(4096);
    bencher.counter(BytesCount::new(ANSWER.len())).bench_local(|| {
        out.clear();
        write_response_head(&mut out, head.status, head.reason, &black_box(head).fields, Kinds::NONE);
        end_head(&mut out);
        black_box(out.len())
    });
}

/// Chunks of 1,000 bytes, passed on as they are.
#[divan::bench(args = [1_024, 16_384, 1_048_576])]
fn scan_chunks(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = chunks(bytes);
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let scanned = ChunkDecoder::new(CHUNK_LIMITS).scan(black_box(&body));
        scanned.is_ok_and(|scanned| scanned.consumed == body.len())
    });
}

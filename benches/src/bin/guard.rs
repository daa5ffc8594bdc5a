//! Hot functions, each doing the same work over and over, for `tests/instructions.rs` to count their instructions.
//!
//! `guard` does all of them, in order; `guard --list` tells their names and how often each is done.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "the list is its result; what fails here is a mistake here"
)]

use std::hint::black_box;
use std::time::Duration;

use evenkeel_balance::{Algorithm, build, pick};
use evenkeel_base::TargetId;
use evenkeel_benches::{
    ANSWER, BROWSER_GET, Busy, CHUNK_LIMITS, FORWARDING, LIMITS, Tickets, asked, caller, candidates, chunks,
    clients, registry, routes,
};
use evenkeel_flow::{ClientKey, ClientTable};
use evenkeel_route::{RouteTable, canonical_path};
use evenkeel_state::{Tried, Turn};
use evenkeel_wire::{
    Asked, ChunkDecoder, Method, Parsed, Progress, Scratch, end_head, forwarded, parse_request,
    parse_response, write_fields, write_request_line,
};

/// How often each is done: enough for its average to have a digit, few enough for a simulated processor.
const TIMES: u32 = 1_000;

/// A name, and what makes the work of that name.
type Hot = (&'static str, fn() -> Box<dyn FnMut()>);

const HOT: &[Hot] = &[
    ("parse_a_browsers_get", parse_a_browsers_get),
    ("write_the_forwarded_head", write_the_forwarded_head),
    ("parse_an_answer", parse_an_answer),
    ("scan_16_kib_of_chunks", scan_16_kib_of_chunks),
    ("canonical_path", canonical),
    ("find_among_1000_routes", find_among_1000_routes),
    ("pick_round_robin_of_100", || pick_of_100(Algorithm::RoundRobin)),
    ("pick_least_connections_of_100", || pick_of_100(Algorithm::LeastConnections)),
    ("pick_p2c_of_100", || pick_of_100(Algorithm::P2c)),
    ("look_up_one_of_1000_clients", look_up_one_of_1000_clients),
    ("choose_and_drop_a_lease", choose_and_drop_a_lease),
];

fn main() {
    let is_list = std::env::args().nth(1).is_some_and(|word| word == "--list");
    for (name, make) in HOT {
        if is_list {
            println!("{name} {TIMES}");
        } else {
            let mut work = make();
            // What is done once only, such as the first growth of a buffer, is not what is counted.
            work();
            counted(&mut *work);
        }
    }
}

/// The one function that is counted, with all it calls; see `tests/instructions.rs`.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        work();
    }
}

fn parse_a_browsers_get() -> Box<dyn FnMut()> {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    Box::new(move || {
        let parsed = parse_request(black_box(BROWSER_GET), &LIMITS, &mut progress, &mut scratch);
        assert!(matches!(black_box(parsed), Ok(Parsed::Complete(_))));
    })
}

fn write_the_forwarded_head() -> Box<dyn FnMut()> {
    let scratch = Box::leak(Box::new(Scratch::new()));
    let Ok(Parsed::Complete(head)) = parse_request(BROWSER_GET, &LIMITS, &mut Progress::new(), scratch)
    else {
        return Box::new(|| unreachable!("a whole head"));
    };
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        write_request_line(&mut out, head.method_text, head.target);
        write_fields(&mut out, &head.fields, FORWARDING.skip());
        forwarded(&mut out, &head.fields, &FORWARDING);
        end_head(&mut out);
        black_box(&out);
    })
}

fn parse_an_answer() -> Box<dyn FnMut()> {
    let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
    let asked = Asked { method: Method::Get, upgrade: false };
    Box::new(move || {
        let parsed = parse_response(black_box(ANSWER), &LIMITS, asked, &mut progress, &mut scratch);
        assert!(matches!(black_box(parsed), Ok(Parsed::Complete(_))));
    })
}

fn scan_16_kib_of_chunks() -> Box<dyn FnMut()> {
    let body = chunks(16 * 1024);
    Box::new(move || {
        let scanned = ChunkDecoder::new(CHUNK_LIMITS).scan(black_box(&body));
        assert!(black_box(scanned).is_ok_and(|scanned| scanned.consumed == body.len()));
    })
}

fn canonical() -> Box<dyn FnMut()> {
    Box::new(|| {
        let path = black_box("/static/img/catalogue/2025/autumn-0042.webp");
        assert!(black_box(canonical_path(path)).is_ok());
    })
}

fn find_among_1000_routes() -> Box<dyn FnMut()> {
    let (table, asked) = (RouteTable::build(&routes(1_000)), asked(1_000));
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % asked.len();
        assert!(black_box(table.find(black_box(&asked[at]))).is_some());
    })
}

fn pick_of_100(algorithm: Algorithm) -> Box<dyn FnMut()> {
    let (table, loads) = (build(algorithm, &candidates(100)), Busy::new(100));
    let mut tickets = Tickets::default();
    Box::new(move || assert!(black_box(pick(&table, &loads, tickets.draw())).is_some()))
}

fn look_up_one_of_1000_clients() -> Box<dyn FnMut()> {
    let mut table = ClientTable::new(2_048, Duration::from_secs(3600), 6);
    let keys: Vec<ClientKey> = clients(1_000).into_iter().map(ClientKey::from).collect();
    for key in &keys {
        table.remember(*key, TargetId(7), Duration::from_secs(1));
    }
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % keys.len();
        assert!(black_box(table.look_up(black_box(keys[at]), Duration::from_secs(2))).is_some());
    })
}

fn choose_and_drop_a_lease() -> Box<dyn FnMut()> {
    let snapshot = registry(Algorithm::RoundRobin, 100, "").snapshot();
    let pool = snapshot.pools.get("app").map(std::sync::Arc::clone).expect("the pool");
    let caller = caller(clients(1)[0], 1);
    Box::new(move || {
        let turn = pool.lease(black_box(&caller), &Tried::default());
        assert!(matches!(black_box(turn), Ok(Turn::Now(_))));
    })
}

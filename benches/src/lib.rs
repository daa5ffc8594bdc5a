//! What the micro benches and the guard of instruction counts work on: the same things in each run, drawn from seeds.
//!
//! Owns: requests, targets, clients, routes and configurations of a wanted size.
//!
//! Does not know: how anything is measured (`brains/` by the clock, `src/bin/guard.rs` in instructions).
// What does not read is a mistake of these very lines.
#![allow(clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use evenkeel_balance::{Algorithm, Candidate, Loads, Slot, Ticket, hash_target};
use evenkeel_base::{ClientAddr, SplitMix64, WorkerId};
use evenkeel_config::{Config, NoSource, load};
use evenkeel_route::{Request, When};
use evenkeel_state::{Caller, Registry};
use evenkeel_wire::{ChunkLimits, Forwarding, Limits};

/// What a browser asks for with every picture of a page.
pub const BROWSER_GET: &[u8] =
    b"GET /static/img/catalogue/2025/11/autumn-0042.webp?v=8c1f&w=640 HTTP/1.1\r\n\
    Host: www.shop.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\
    Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
    Accept-Language: de,en-US;q=0.7,en;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Referer: https://www.shop.example/catalogue/autumn?page=4\r\n\
    Cookie: session=6f1d2a4c9b7e4f0d8a3b5c7d9e1f2a4b; consent=essential; theme=dark\r\n\
    Sec-Fetch-Dest: image\r\n\
    Sec-Fetch-Mode: no-cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=5, i\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\r\n";

/// What a server answers.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.31.0\r\n\
    Date: Thu, 20 Nov 2025 05:46:00 GMT\r\n\
    Content-Type: image/webp\r\n\
    Content-Length: 18432\r\n\
    Connection: keep-alive\r\n\
    Last-Modified: Mon, 03 Nov 2025 11:12:13 GMT\r\n\
    ETag: \"6908e11d-4800\"\r\n\
    Cache-Control: max-age=31536000, immutable\r\n\
    Accept-Ranges: bytes\r\n\r\n";

/// The defaults of a listener.
pub const LIMITS: Limits = Limits { head_bytes: 16 * 1024, headers: 100, target_bytes: 8 * 1024 };

/// What the HTTP plane allows.
pub const CHUNK_LIMITS: ChunkLimits = ChunkLimits { ext_bytes: 256, trailer_bytes: 8 * 1024, trailers: 64 };

/// What is told of the client of [`BROWSER_GET`].
pub const FORWARDING: Forwarding<'static> = Forwarding {
    client: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77))),
    proto: "http",
    host: "www.shop.example",
    trust: false,
};

/// The middle of a chunked body: chunks of 1,000 bytes, and no last one, so that a decoder can go on for ever.
pub fn chunks(bytes: usize) -> Vec<u8> {
    let one = [b"3e8\r\n".as_slice(), &[b'x'; 1_000], b"\r\n"].concat();
    one.repeat(bytes.div_ceil(one.len()))
}

/// So many targets, of three weights.
pub fn candidates(targets: usize) -> Vec<Candidate> {
    let candidate = |index: usize| Candidate {
        key: hash_target(&target_address(index)),
        weight: [1, 2, 5][index % 3],
        priority: 0,
        available: true,
    };
    (0..targets).map(candidate).collect()
}

/// Targets that are busy, each with its load, and admit everybody.
#[derive(Debug)]
pub struct Busy {
    in_flight: Vec<u32>,
    latency_us: Vec<u32>,
    in_all: u64,
}

impl Busy {
    /// So many targets.
    pub fn new(targets: usize) -> Self {
        let mut random = SplitMix64::new(2);
        let mut below = |most: u64| (0..targets).map(|_| random.below(most) as u32).collect();
        let (in_flight, latency_us): (Vec<u32>, _) = (below(64), below(20_000));
        Self { in_all: in_flight.iter().copied().map(u64::from).sum(), in_flight, latency_us }
    }
}

impl Loads for Busy {
    fn admits(&self, _: Slot) -> bool {
        true
    }

    fn in_flight(&self, slot: Slot) -> u32 {
        self.in_flight[slot.0 as usize]
    }

    fn in_flight_in_all(&self) -> u64 {
        self.in_all
    }

    fn latency_us(&self, slot: Slot) -> u32 {
        self.latency_us[slot.0 as usize]
    }
}

/// Tickets without end.
#[derive(Debug)]
pub struct Tickets {
    sequence: u64,
    random: SplitMix64,
}

impl Default for Tickets {
    fn default() -> Self {
        Self { sequence: 0, random: SplitMix64::new(3) }
    }
}

impl Tickets {
    /// Another one.
    #[inline]
    pub fn draw(&mut self) -> Ticket {
        self.sequence += 1;
        Ticket { sequence: self.sequence, hash: self.random.next_u64(), random: self.random.next_u64() }
    }
}

/// So many clients, each with its own address.
pub fn clients(count: u32) -> Vec<IpAddr> {
    // An odd factor permutes: no address comes twice, and neighbours do not follow each other.
    (0..count).map(|n| IpAddr::V4(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b1)))).collect()
}

/// A caller on the first worker.
pub fn caller(client: IpAddr, random: u64) -> Caller {
    let client = ClientAddr::Ip(SocketAddr::new(client, 40_000));
    Caller { worker: WorkerId(0), client, random, now: Duration::from_secs(1) }
}

/// So many routes: ten paths for each host, one of them exact and one with a further condition.
pub fn routes(count: usize) -> Vec<When> {
    let route = |index: usize| {
        let (host, path) = (index / 10, index % 10);
        let path = if path == 0 { "/exact/page".to_owned() } else { format!("/app-{path}/v1/**") };
        When {
            host: Some(format!("host-{host}.example").parse().expect("a host pattern")),
            path: Some(path.parse().expect("a path pattern")),
            methods: if index % 10 == 1 { vec!["GET".to_owned()] } else { Vec::new() },
            ..When::default()
        }
    };
    (0..count).map(route).collect()
}

/// What routes are asked of.
#[derive(Debug, Clone)]
pub struct Asked {
    host: String,
    path: String,
}

impl Asked {
    /// A plain `GET`.
    pub fn new(host: &str, path: &str) -> Self {
        Self { host: host.to_owned(), path: path.to_owned() }
    }
}

impl Request for Asked {
    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        ""
    }

    fn method(&self) -> &str {
        "GET"
    }

    fn has_header(&self, _: &str, _: &[u8]) -> bool {
        false
    }

    fn client(&self) -> Option<IpAddr> {
        None
    }
}

/// A request for each of [`routes`], in an order of chance.
pub fn asked(routes: usize) -> Vec<Asked> {
    let mut random = SplitMix64::new(4);
    let ask = |index: usize| {
        let (host, path) = (index / 10, index % 10);
        let path = if path == 0 { "/exact/page".to_owned() } else { format!("/app-{path}/v1/items/4711") };
        Asked::new(&format!("host-{host}.example"), &path)
    };
    let mut all: Vec<Asked> = (0..routes).map(ask).collect();
    for index in (1..all.len()).rev() {
        all.swap(index, random.below(index as u64 + 1) as usize);
    }
    all
}

/// A configuration of so many pools of ten targets each, with a route to each of them.
pub fn pools(count: usize) -> String {
    let mut text = String::from("[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\n");
    for pool in 0..count {
        let targets: Vec<String> =
            (0..10).map(|n| format!("\"{}\"", target_address(pool * 10 + n))).collect();
        // Writing to memory does not fail.
        let _ = write!(
            text,
            "[[listener.web.route]]\nwhen = {{ host = \"host-{pool}.example\", path = \"/app/**\" }}\npool = \"app-{pool}\"\n\
             [pool.app-{pool}]\nalgorithm = \"least-connections\"\ntargets = [{}]\n\
             health = {{ check = \"http\", path = \"/health\", interval = \"2s\" }}\n",
            targets.join(", ")
        );
    }
    text
}

/// A registry with one pool, `app`, of so many targets and with these further keys.
pub fn registry(algorithm: Algorithm, targets: usize, keys: &str) -> Registry {
    let targets: Vec<String> = (0..targets).map(|index| format!("\"{}\"", target_address(index))).collect();
    let text = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n\
         [pool.app]\nalgorithm = \"{algorithm}\"\ntargets = [{}]\n{keys}\n",
        targets.join(", ")
    );
    Registry::new(1, config(&text), 5)
}

/// The configuration that this text says.
pub fn config(text: &str) -> Config {
    load(text, "bench", &NoSource).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn target_address(index: usize) -> String {
    let [_, high, middle, low] = (index as u32).to_be_bytes();
    format!("10.{high}.{middle}.{low}:8080")
}

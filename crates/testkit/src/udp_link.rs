//! A UDP link that drops, doubles, swaps, corrupts and delays datagrams, reproducibly.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_base::SplitMix64;
use socket2::SockRef;

/// How often a receiver looks whether it is to end, and for how long a swapped datagram waits for another.
const TICK: Duration = Duration::from_millis(10);

/// What befalls datagrams, each direction alike. `one_in` counts are averages; `None` is never.
#[derive(Debug, Clone, Default)]
pub struct UdpPlan {
    /// Everything random follows from it and the datagram's number in its direction.
    pub seed: u64,
    /// Lose one in so many.
    pub drop_one_in: Option<u64>,
    /// Deliver one in so many twice.
    pub duplicate_one_in: Option<u64>,
    /// Deliver one in so many after the one that follows it.
    pub swap_one_in: Option<u64>,
    /// Flip a bit in one of so many.
    pub corrupt_one_in: Option<u64>,
    /// Added to each datagram's travel.
    pub delay: Duration,
    /// At most so much more, at random, which reorders, too.
    pub jitter: Duration,
}

/// What befalls one datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// It is lost.
    pub dropped: bool,
    /// It comes twice.
    pub duplicated: bool,
    /// It comes after the next one.
    pub swapped: bool,
    /// Flip this bit, counted modulo the datagram's bits.
    pub flip: Option<u64>,
    /// Share of the jitter, in 1/2^32.
    pub jitter: u64,
}

/// The fates of one direction's datagrams, in order.
#[derive(Debug, Clone)]
pub struct Fates(SplitMix64);

impl Fates {
    /// The whole sequence follows from `seed` and the plans.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// The next datagram's fate. Takes the same number of random bits whatever the plan.
    pub fn next(&mut self, plan: &UdpPlan) -> Fate {
        let mut one_in = |n: Option<u64>| self.0.below(n.unwrap_or(u64::MAX)) == 0 && n.is_some();
        let dropped = one_in(plan.drop_one_in);
        let duplicated = one_in(plan.duplicate_one_in);
        let swapped = one_in(plan.swap_one_in);
        let flipped = one_in(plan.corrupt_one_in);
        let bit = self.0.next_u64();
        Fate { dropped, duplicated, swapped, flip: flipped.then_some(bit), jitter: self.0.next_u64() >> 32 }
    }
}

/// A running link: one socket in front, and one per client behind, as a NAT has them.
#[derive(Debug)]
pub struct UdpLink {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl UdpLink {
    /// Listens on a port of 127.0.0.1 that the kernel chooses, and passes datagrams on to `to`.
    pub fn start(to: SocketAddr, plan: UdpPlan) -> Self {
        let front = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let shared = Arc::new(Shared {
            front,
            to,
            line: Mutex::new(Line {
                up: Lane { fates: Fates::new(plan.seed), held: None },
                down: Lane { fates: Fates::new(!plan.seed), held: None },
                plan,
                under_way: BinaryHeap::new(),
                number: 0,
            }),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
        });
        let (receiver, sender) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads =
            vec![thread::spawn(move || receive_up(&receiver)), thread::spawn(move || sender.send_all())];
        Self { shared, threads }
    }

    /// Where to send to.
    pub fn addr(&self) -> SocketAddr {
        self.shared.front.local_addr().unwrap()
    }

    /// Changes the plan for the datagrams to come.
    pub fn set(&self, change: impl FnOnce(&mut UdpPlan)) {
        change(&mut self.shared.lock().plan);
    }
}

impl Drop for UdpLink {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    front: Arc<UdpSocket>,
    to: SocketAddr,
    line: Mutex<Line>,
    changed: Condvar,
    closing: AtomicBool,
}

#[derive(Debug)]
struct Line {
    plan: UdpPlan,
    up: Lane,
    down: Lane,
    under_way: BinaryHeap<Reverse<Datagram>>,
    number: u64,
}

#[derive(Debug)]
struct Lane {
    fates: Fates,
    held: Option<Datagram>,
}

/// Ordered by when it is due, then by its number.
#[derive(Debug, Clone)]
struct Datagram {
    due: Instant,
    number: u64,
    from: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn take(&self, up: bool, from: &Arc<UdpSocket>, to: SocketAddr, bytes: &[u8]) {
        let mut line = self.lock();
        let line = &mut *line;
        let lane = if up { &mut line.up } else { &mut line.down };
        let fate = lane.fates.next(&line.plan);
        let jitter = line.plan.jitter.mul_f64(fate.jitter as f64 / 4_294_967_296.0);
        let mut bytes = bytes.to_vec();
        if let Some(bit) = fate.flip.filter(|_| !bytes.is_empty()) {
            let bit = bit % (bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        let due = Instant::now() + line.plan.delay + jitter;
        let datagram = Datagram { due, number: 0, from: Arc::clone(from), to, bytes };
        let copies = if fate.dropped { 0 } else { 1 + usize::from(fate.duplicated) };
        let mut out = vec![datagram; copies];
        if fate.swapped && lane.held.is_none() {
            lane.held = out.pop();
        } else if let Some(held) = lane.held.take() {
            out.push(Datagram { due: held.due.max(due), ..held });
        }
        for datagram in out {
            line.number += 1;
            line.under_way.push(Reverse(Datagram { number: line.number, ..datagram }));
        }
        self.changed.notify_all();
    }

    /// Lets a swapped datagram go when no other came to overtake it.
    fn release(&self, up: bool) {
        let mut line = self.lock();
        let lane = if up { &mut line.up } else { &mut line.down };
        if let Some(held) = lane.held.take() {
            line.number += 1;
            let number = line.number;
            line.under_way.push(Reverse(Datagram { number, ..held }));
            self.changed.notify_all();
        }
    }

    fn send_all(&self) {
        let mut line = self.lock();
        while !self.closing() {
            let wait = match line.under_way.peek() {
                None => TICK,
                Some(Reverse(next)) => next.due.saturating_duration_since(Instant::now()).min(TICK),
            };
            if wait.is_zero() {
                if let Some(Reverse(datagram)) = line.under_way.pop() {
                    let _ = datagram.from.send_to(&datagram.bytes, datagram.to);
                }
            } else {
                line = self.changed.wait_timeout(line, wait).unwrap().0;
            }
        }
    }
}

fn receive_up(shared: &Arc<Shared>) {
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, JoinHandle<()>)> = HashMap::new();
    let mut bytes = vec![0; 65_536];
    while !shared.closing() {
        match shared.front.recv_from(&mut bytes) {
            Ok((n, client)) => {
                let (behind, _) = clients.entry(client).or_insert_with(|| behind(shared, client));
                shared.take(true, behind, shared.to, &bytes[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => shared.release(true),
            Err(_) => {}
        }
    }
    for (_, thread) in clients.into_values() {
        let _ = thread.join();
    }
}

/// The socket that stands for `client`, and the thread for what comes back to it.
fn behind(shared: &Arc<Shared>, client: SocketAddr) -> (Arc<UdpSocket>, JoinHandle<()>) {
    let any: IpAddr =
        if shared.to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = socket(SocketAddr::from((any, 0)));
    let (mine, shared) = (Arc::clone(&socket), Arc::clone(shared));
    let thread = thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while !shared.closing() {
            match mine.recv(&mut bytes) {
                Ok(n) => shared.take(false, &shared.front, client, &bytes[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => shared.release(false),
                Err(_) => {}
            }
        }
    });
    (socket, thread)
}

/// With as large a buffer as the kernel grants: what overflows it is a loss nobody planned.
fn socket(addr: SocketAddr) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind(addr).unwrap();
    socket.set_read_timeout(Some(TICK)).unwrap();
    let _ = SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    Arc::new(socket)
}

impl PartialEq for Datagram {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Datagram {}

impl PartialOrd for Datagram {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Datagram {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

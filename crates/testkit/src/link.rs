//! A TCP link that delays, throttles, corrupts, stalls and cuts: the faults a kernel without netem cannot make.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_base::SplitMix64;
use socket2::SockRef;

use crate::stream::{Addr, Stream};

const TICK: Duration = Duration::from_millis(20);
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces on the way in one direction: what a delay can hold before the sender is held back.
const PIECES: usize = 256;

/// What a link does. The default passes everything on at once.
#[derive(Debug, Clone, Default)]
pub struct LinkPlan {
    /// Everything random follows from it, the number of the connection, and the direction.
    pub seed: u64,
    /// From the one who connects to the one who listens.
    pub up: Way,
    /// The way back.
    pub down: Way,
}

/// What happens in one direction. All byte counts are per connection.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Added to every byte's travel.
    pub delay: Duration,
    /// At most so much more, at random; order is kept.
    pub jitter: Duration,
    /// Cut the connection, both directions, after exactly so many bytes.
    pub cut_after_bytes: Option<u64>,
    /// A cut is an RST to both ends instead of a FIN.
    pub rst_instead_of_fin: bool,
    /// Pass exactly so many bytes and then none, without closing.
    pub stall_after_bytes: Option<u64>,
    /// Flip one bit in one byte of so many, on average.
    pub corrupt_one_in: Option<u64>,
    /// Bytes per second.
    pub bandwidth: Option<u64>,
}

/// A running link. Dropped, it resets what it carries.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Listens on a port of 127.0.0.1 that the kernel chooses, and passes each connection on to `to`.
    pub fn start(to: impl Into<Addr>, plan: LinkPlan) -> Self {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to: to.into(),
            state: Mutex::new(State { plan, pairs: HashMap::new(), accepted: 0 }),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
        });
        let (mine, its) = (Arc::clone(&listener), Arc::clone(&shared));
        let thread = thread::spawn(move || {
            while !its.closing.load(Ordering::SeqCst) {
                match mine.accept() {
                    Ok((stream, _)) => its.take(stream.into()),
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Self { addr, listener, shared, thread: Some(thread) }
    }

    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the plan for what is not yet passed on, on all connections.
    pub fn set(&self, change: impl FnOnce(&mut LinkPlan)) {
        change(&mut self.shared.lock().plan);
        self.shared.changed.notify_all();
    }

    /// Cuts all connections now, by RST or FIN.
    pub fn cut(&self, reset: bool) {
        let pairs: Vec<_> = self.shared.lock().pairs.values().cloned().collect();
        pairs.iter().for_each(|pair| self.shared.end(pair, reset));
    }

    /// Number of connections carried now.
    pub fn connections(&self) -> usize {
        self.shared.lock().pairs.len()
    }

    /// Number of connections ever accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.cut(true);
        let some_left = |state: &mut State| !state.pairs.is_empty();
        let all =
            self.shared.changed.wait_timeout_while(self.shared.lock(), Duration::from_secs(5), some_left);
        drop(all);
    }
}

#[derive(Debug)]
struct Shared {
    to: Addr,
    state: Mutex<State>,
    changed: Condvar,
    closing: AtomicBool,
}

#[derive(Debug)]
struct State {
    plan: LinkPlan,
    pairs: HashMap<u64, Arc<Pair>>,
    accepted: u64,
}

#[derive(Debug)]
struct Pair {
    number: u64,
    near: Stream,
    far: Stream,
    ended: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

enum Event {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// The pair was cut, or one end is gone.
struct Ended;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn take(self: &Arc<Self>, near: Stream) {
        let mut state = self.lock();
        state.accepted += 1;
        let number = state.accepted;
        drop(state);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let Ok(far) = Stream::connect(&shared.to, Duration::from_secs(5)) else {
                near.reset_on_close();
                return;
            };
            let pair = Arc::new(Pair { number, near, far, ended: AtomicBool::new(false) });
            shared.lock().pairs.insert(number, Arc::clone(&pair));
            if shared.closing.load(Ordering::SeqCst) {
                shared.end(&pair, true);
            }
            let _ = shared.carry(&pair);
            drop(pair);
            shared.lock().pairs.remove(&number);
            shared.changed.notify_all();
        });
    }

    fn carry(&self, pair: &Pair) -> io::Result<()> {
        let (near, far) = (pair.near.try_clone()?, pair.far.try_clone()?);
        let (up, down) = (pair.far.try_clone()?, pair.near.try_clone()?);
        let (send_up, at_far) = sync_channel(PIECES);
        let (send_down, at_near) = sync_channel(PIECES);
        thread::scope(|scope| {
            scope.spawn(move || listen(near, &send_up));
            scope.spawn(move || listen(far, &send_down));
            scope.spawn(|| self.pass_all(pair, Direction::Up, up, at_far));
            self.pass_all(pair, Direction::Down, down, at_near);
        });
        Ok(())
    }

    fn pass_all(&self, pair: &Pair, direction: Direction, to: Stream, events: Receiver<(Instant, Event)>) {
        to.set_write_timeout(Some(TICK));
        let seed = self.lock().plan.seed ^ pair.number.rotate_left(32) ^ (direction as u64) << 63;
        let mut flow = Flow {
            shared: self,
            pair,
            direction,
            to,
            passed: 0,
            jitter: SplitMix64::new(seed.wrapping_add(1)),
            corruption: Corruption { random: SplitMix64::new(seed), next: None },
        };
        for (read_at, event) in events {
            if flow.take(read_at, event).is_err() {
                // The other direction cannot go on alone when this one was refused half-way.
                self.end(pair, true);
                return;
            }
        }
    }

    /// Ends the pair; the first to do so decides how.
    fn end(&self, pair: &Pair, reset: bool) {
        let state = self.lock();
        if pair.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        drop(state);
        for stream in [&pair.near, &pair.far] {
            if reset {
                stream.reset_on_close();
                stream.shutdown(Shutdown::Read);
            } else {
                stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }
}

fn listen(mut from: Stream, events: &SyncSender<(Instant, Event)>) {
    loop {
        let mut bytes = vec![0; PIECE_BYTES];
        let event = match from.read(&mut bytes) {
            Ok(0) => Event::Fin,
            Ok(n) => {
                bytes.truncate(n);
                Event::Bytes(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Event::Reset,
        };
        let last = !matches!(event, Event::Bytes(_));
        if events.send((Instant::now(), event)).is_err() || last {
            return;
        }
    }
}

/// One direction of one connection, where it leaves the link.
struct Flow<'a> {
    shared: &'a Shared,
    pair: &'a Pair,
    direction: Direction,
    to: Stream,
    passed: u64,
    jitter: SplitMix64,
    corruption: Corruption,
}

impl Flow<'_> {
    fn way(&self) -> Way {
        self.way_of(&self.shared.lock().plan).clone()
    }

    fn way_of<'p>(&self, plan: &'p LinkPlan) -> &'p Way {
        if self.direction == Direction::Up { &plan.up } else { &plan.down }
    }

    fn take(&mut self, read_at: Instant, event: Event) -> Result<(), Ended> {
        let way = self.way();
        let extra = Duration::from_micros(self.jitter.below(way.jitter.as_micros() as u64 + 1));
        self.sleep_until(read_at + way.delay + extra)?;
        match event {
            Event::Bytes(bytes) => self.pass(bytes),
            Event::Fin => {
                self.to.shutdown(Shutdown::Write);
                Ok(())
            }
            Event::Reset => Err(Ended),
        }
    }

    fn pass(&mut self, mut bytes: Vec<u8>) -> Result<(), Ended> {
        let one_in = self.way().corrupt_one_in;
        self.corruption.apply(one_in, self.passed, &mut bytes);
        let mut rest = bytes.as_slice();
        loop {
            let way = self.way();
            let until =
                |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.passed));
            if until(way.cut_after_bytes) == 0 {
                self.shared.end(self.pair, way.rst_instead_of_fin);
                return Err(Ended);
            }
            if rest.is_empty() {
                return Ok(());
            }
            if until(way.stall_after_bytes) == 0 {
                self.stall()?;
                continue;
            }
            // A fiftieth of a second's worth at a time keeps a slow link smooth.
            let pace = way.bandwidth.map_or(u64::MAX, |bandwidth| (bandwidth / 50).max(1));
            let n = pace.min(until(way.cut_after_bytes)).min(until(way.stall_after_bytes));
            let (now, later) = rest.split_at(rest.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
            self.write(now)?;
            rest = later;
            if let Some(bandwidth) = way.bandwidth {
                let time = Duration::from_secs_f64(now.len() as f64 / bandwidth.max(1) as f64);
                self.sleep_until(Instant::now() + time)?;
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    self.passed += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.ended() => {}
                Err(_) => return Err(Ended),
            }
        }
        Ok(())
    }

    fn stall(&self) -> Result<(), Ended> {
        let stalled = |state: &mut State| {
            let limit = self.way_of(&state.plan).stall_after_bytes;
            limit.is_some_and(|limit| limit <= self.passed) && !self.ended()
        };
        drop(self.shared.changed.wait_while(self.shared.lock(), stalled).unwrap());
        if self.ended() { Err(Ended) } else { Ok(()) }
    }

    fn sleep_until(&self, due: Instant) -> Result<(), Ended> {
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            let waits = |_: &mut State| !self.ended();
            drop(self.shared.changed.wait_timeout_while(self.shared.lock(), left, waits).unwrap());
        }
        if self.ended() { Err(Ended) } else { Ok(()) }
    }

    fn ended(&self) -> bool {
        self.pair.ended.load(Ordering::SeqCst)
    }
}

/// Which bytes change: by their place in the stream, so that it does not matter how the stream is read.
struct Corruption {
    random: SplitMix64,
    next: Option<u64>,
}

impl Corruption {
    fn apply(&mut self, one_in: Option<u64>, offset: u64, bytes: &mut [u8]) {
        let Some(one_in) = one_in else { return };
        let mut next = match self.next {
            Some(next) => next.max(offset),
            None => offset + self.gap(one_in) - 1,
        };
        while let Some(byte) = bytes.get_mut((next - offset) as usize) {
            *byte ^= 1 << self.random.below(8);
            next += self.gap(one_in);
        }
        self.next = Some(next);
    }

    /// Evenly from 1 to 2n - 1: n on average.
    fn gap(&mut self, one_in: u64) -> u64 {
        1 + self.random.below((2 * one_in).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrupted(seed: u64, one_in: u64, step: usize) -> Vec<u8> {
        let mut corruption = Corruption { random: SplitMix64::new(seed), next: None };
        let mut bytes = vec![0; 10_000];
        let mut offset = 0;
        for piece in bytes.chunks_mut(step) {
            corruption.apply(Some(one_in), offset, piece);
            offset += piece.len() as u64;
        }
        bytes
    }

    #[test]
    fn corruption_follows_from_the_seed_alone() {
        let whole = corrupted(1, 100, 10_000);
        for step in [1, 7, 100, 4096] {
            assert_eq!(corrupted(1, 100, step), whole, "pieces of {step}");
        }
        assert_ne!(corrupted(2, 100, 10_000), whole);
        let changed = whole.iter().filter(|&&byte| byte != 0).count();
        assert!((60..160).contains(&changed), "{changed} of 10000");
        assert!(corrupted(1, 1, 64).iter().all(|byte| byte.count_ones() == 1));
    }
}

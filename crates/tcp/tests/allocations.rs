//! In the steady state a relayed message costs no allocation and no task.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::future::Future;
use std::io::{Read, Write};
use std::rc::Rc;

use evenkeel_net::{Buffers, Direct, DrainSignal, Stream};
use evenkeel_state::{Admitted, LogBatch};

use steady::{Outside, Spent};

#[path = "../../../tests/steady.rs"]
mod steady;

const WARM_UP: usize = 1_000;
const MEASURED: usize = 10_000;
/// What a run may allocate more than another one by chance, however many messages it relays.
const BY_CHANCE: u64 = 10;

struct Tcp(Rc<evenkeel_tcp::Plane<Direct>>);

impl steady::Plane for Tcp {
    const PROTOCOL: &'static str = "tcp";

    fn new(buffers: Buffers) -> Self {
        Self(evenkeel_tcp::Plane::new(buffers, Direct))
    }

    fn serve(&self, open: Admitted, client: Stream, _: DrainSignal) -> impl Future<Output = ()> + 'static {
        Rc::clone(&self.0).serve(open, client)
    }
}

/// So many messages there, and so many back.
fn relay(messages: usize, message: &[u8]) -> Spent {
    steady::run::<Tcp>(LogBatch::new(None), |outside: &mut Outside| {
        let mut target = outside.accept();
        let mut came = vec![0; message.len()];
        for _ in 0..messages {
            outside.client.write_all(message).unwrap();
            target.read_exact(&mut came).unwrap();
            assert!(came == message);
            outside.look();
            target.write_all(message).unwrap();
            outside.client.read_exact(&mut came).unwrap();
            assert!(came == message);
        }
    })
}

#[track_caller]
fn assert_free(message: &[u8]) {
    let (short, long) = (relay(WARM_UP, message), relay(WARM_UP + MEASURED, message));
    let extra = long.beyond(&short);
    println!("{extra} allocations, {} ticks, {MEASURED} messages of {} bytes", long.ticks, message.len());
    assert!(extra <= BY_CHANCE, "{extra} allocations for {MEASURED} messages of {} bytes", message.len());
    long.assert_no_further_task();
}

#[test]
fn a_small_message_allocates_nothing() {
    assert_free(b"PING\r\n");
}

#[test]
fn a_message_larger_than_a_buffer_allocates_nothing() {
    assert_free(&[b'x'; 40_000]);
}

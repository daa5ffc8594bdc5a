//! The relay over real sockets: every byte, both ends, both kinds of socket, copied and spliced.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use evenkeel_base::Reason;

use crate::rt;
use crate::{Buffers, Direction, RelayEnd, Stream, relay};

/// A connected pair: a blocking end for the test, the other one for the relay.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (far, near)
}

fn run(client: TcpStream, target: TcpStream, idle: Option<Duration>) -> RelayEnd {
    rt::run_worker(async {
        let client = Stream::new(client.into()).unwrap();
        let target = Stream::new(target.into()).unwrap();
        let buffers = Buffers::default();
        let up = Direction::new(&buffers, buffers.buffer(), None, true);
        let down = Direction::new(&buffers, buffers.buffer(), None, true);
        let mut told = (0, 0);
        let end = relay(&client, &target, up, down, idle, |up, down| {
            told.0 += up;
            told.1 += down;
        })
        .await;
        assert_eq!(told, (end.to_target, end.to_client), "progress tells every byte once");
        end
    })
    .unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    let mut random = evenkeel_base::SplitMix64::new(len as u64);
    (0..len).map(|_| random.next_u64() as u8).collect()
}

fn exchange(len: usize) -> RelayEnd {
    let ((mut client, near_client), (mut target, near_target)) = (pair(), pair());
    let relay = std::thread::spawn(move || run(near_client, near_target, None));
    let sent = pattern(len);
    let expected = sent.clone();
    let mut sender = client.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    target.read_to_end(&mut got).unwrap();
    assert!(got == expected, "{} of {len} bytes came", got.len());
    // The client has finished sending; the answer still arrives whole.
    target.write_all(&got).unwrap();
    drop(target);
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert!(back == expected);
    writer.join().unwrap();
    relay.join().unwrap()
}

#[test]
fn every_byte_arrives_at_every_size_and_half_close_is_passed_on() {
    for len in [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 5_000_000] {
        let end = exchange(len);
        assert_eq!((end.to_target, end.to_client), (len as u64, len as u64));
        assert_eq!(end.reason, Reason::ClientClosed);
    }
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let ((client, near_client), (mut target, near_target)) = (pair(), pair());
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    let relay = std::thread::spawn(move || run(near_client, near_target, None));
    drop(client);
    let error = target.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(relay.join().unwrap().reason, Reason::ClientReset);
}

#[test]
fn silence_ends_after_the_idle_timeout() {
    let ((_client, near_client), (_target, near_target)) = (pair(), pair());
    let started = std::time::Instant::now();
    let end = run(near_client, near_target, Some(Duration::from_millis(50)));
    assert_eq!(end.reason, Reason::IdleTimeout);
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_limited_direction_takes_no_byte_beyond_its_limit() {
    for (len, limit) in [(1000usize, 10u64), (500_000, 400_000), (500_000, 499_999)] {
        let ((mut client, near_client), (mut target, near_target)) = (pair(), pair());
        let sent = pattern(len);
        let expected = sent[..limit as usize].to_vec();
        let writer = std::thread::spawn(move || {
            client.write_all(&sent).unwrap();
            client
        });
        let relay = std::thread::spawn(move || {
            rt::run_worker(async move {
                let from = Stream::new(near_client.into()).unwrap();
                let to = Stream::new(near_target.into()).unwrap();
                let buffers = Buffers::default();
                let mut one = Direction::new(&buffers, buffers.buffer(), Some(limit), true);
                std::future::poll_fn(|cx| one.poll(cx, &from, &to)).await.unwrap();
                (one.moved(), one.missing(), from)
            })
            .unwrap()
        });
        let mut got = Vec::new();
        target.read_to_end(&mut got).unwrap();
        assert!(got == expected, "{} of {limit}", got.len());
        let (moved, missing, _from) = relay.join().unwrap();
        assert_eq!((moved, missing), (limit, 0));
        drop(writer.join());
    }
}

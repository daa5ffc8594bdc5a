//! F10, F11: one side finishes sending and still wants to hear the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{AnswerStyle, Origin, hash};

use crate::kit::{Caller, ms, who};
use crate::support::{http, start, tcp};

#[test]
fn f10_a_client_that_has_finished_sending_gets_its_whole_answer() {
    let a = Origin::start("a");
    let proxy = start(&http(&[a.addr()], ""));
    let trials = 120;
    for trial in 0..trials {
        // The answer begins, and goes on, long after the client's FIN.
        let slow = trial % 10 == 0;
        a.set(|o| {
            o.delay_head = if slow { ms(60) } else { Duration::ZERO };
            o.delay_body = if slow { ms(60) } else { Duration::ZERO };
            let styles = [AnswerStyle::Length, AnswerStyle::Chunked, AnswerStyle::UntilClose];
            o.answer = styles[trial % 3].clone();
        });
        let method = ["GET", "POST"][trial % 2];
        let (id, body) = (format!("f10-{trial}"), vec![b'x'; if method == "POST" { 5000 } else { 0 }]);
        let mut client = Caller::to(proxy.listener_addr("web"));
        let length = body.len();
        let head = format!(
            "{method} / HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nx-answer-bytes: 200000\r\n\
             content-length: {length}\r\n\r\n"
        );
        client.write(&[head.as_bytes(), &body].concat());
        client.stream().shutdown(Shutdown::Write);
        let answer = client.try_receive().unwrap_or_else(|error| panic!("trial {trial}: {error:?}"));
        assert_eq!((answer.status, who(&answer), answer.body.len()), (200, "a", 200_000), "trial {trial}");
        let entry = a.journal().of(&id).pop().unwrap();
        assert!(entry.complete && entry.body_hash == hash(&body), "trial {trial}: {entry:?}");
    }
    println!("F10: N={trials} lost=0");
}

/// A server that says something, finishes sending, and then reads to the end; tells when, and what it heard.
fn says_and_listens(greeting: &'static [u8]) -> (SocketAddr, Receiver<(Instant, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(greeting).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let finished = Instant::now();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            if tell.send((finished, heard)).is_err() {
                return;
            }
        }
    });
    (addr, told)
}

#[test]
fn f11_a_server_that_has_finished_sending_is_passed_on_and_still_heard() {
    let (server, told) = says_and_listens(b"hello and goodbye");
    let proxy = start(&tcp(&[server], ""));
    let trials = 100;
    let mut took = Vec::new();
    for trial in 0..trials {
        let mut client = TcpStream::connect(proxy.listener_addr("web")).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        let ended = Instant::now();
        assert_eq!(heard, b"hello and goodbye", "trial {trial}");
        // The other direction stays open, and ends in its own time.
        for _ in 0..4 {
            client.write_all(&[b'y'; 1000]).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        let (finished, heard) = told.recv().unwrap();
        assert_eq!(heard, vec![b'y'; 4000], "trial {trial}");
        took.push(ended.saturating_duration_since(finished));
    }
    took.sort_unstable();
    let (most, slowest) = (took[trials * 95 / 100], took[trials - 1]);
    println!("F11: N={trials}, the end was passed on within {most:?} in 95 %, within {slowest:?} in all");
    // A few trials are left to the scheduler of a busy machine.
    assert!(most < ms(100) && slowest < ms(1000), "the end took {most:?} and more, up to {slowest:?}");
}

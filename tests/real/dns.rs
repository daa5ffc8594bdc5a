//! DNS over TCP: dig asks a small server through the TCP plane.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use evenkeel_testkit::{reserve_port, skip};

use crate::support::{start, tcp};
use crate::world::{ask, missing};

/// Answers questions with this address, and questions for `big.example` with 400 texts; ends with the process.
fn name_server(last: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, last));
        }
    });
    addr
}

/// A connection may carry many questions, each with its length before it (RFC 1035 section 4.2.2).
fn serve(mut stream: TcpStream, last: u8) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let answer = answer(&question, last);
        let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        if stream.write_all(&framed).is_err() {
            return;
        }
    }
}

fn answer(question: &[u8], last: u8) -> Vec<u8> {
    // Header, then the name as labels up to an empty one, type and class.
    let name = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let is_big = question[12..name].starts_with(b"\x03big");
    let count: u16 = if is_big { 400 } else { 1 };
    let mut out = question[..2].to_vec();
    out.extend([0x84, 0x00, 0, 1]);
    out.extend(count.to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend_from_slice(&question[12..name + 4]);
    for n in 0..count {
        out.extend([0xc0, 12]);
        if is_big {
            let text = format!("text number {n} {}", "x".repeat(100));
            out.extend([0, 16, 0, 1, 0, 0, 0, 60]);
            out.extend((text.len() as u16 + 1).to_be_bytes());
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        } else {
            out.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
        }
    }
    out
}

#[test]
fn dig_gets_its_answers_over_tcp() {
    if let Some(program) = missing(&["dig"]) {
        skip!("{program} is not installed");
    }
    let dead = reserve_port();
    let proxy = start(&tcp(&[name_server(1), dead.addr(), name_server(2)], ""));
    let port = proxy.listener_addr("web").port().to_string();
    let dig = |words: &[&str]| {
        let args = ["@127.0.0.1", "-p", &port, "+tcp", "+tries=1", "+time=10", "+short", "+noedns"];
        ask("dig", &[&args[..], words].concat())
    };
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(dig(&["www.example", "A"]));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["192.0.2.1", "192.0.2.2"], "a server that is dead costs no answer");
    // 47 KB in one answer.
    let texts = dig(&["big.example", "TXT"]);
    assert_eq!(texts.lines().count(), 400);
    assert!(
        texts.lines().enumerate().all(|(n, line)| line.starts_with(&format!("\"text number {n} "))),
        "{texts}"
    );
    // Several questions over one connection.
    let names = ["+keepopen", "a.example", "A", "+keepopen", "b.example", "A", "+keepopen", "c.example", "A"];
    let answers = dig(&names);
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 3, "{answers}");
    assert!(lines.iter().all(|line| *line == lines[0]), "one connection, one server: {answers}");
}

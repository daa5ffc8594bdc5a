//! The server on its sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::play::{CONFIG, SOON, Stage, exchange, head};
use crate::Listening;

#[test]
fn a_unix_socket_serves_whatever_host_is_asked_for() {
    let directory = std::env::temp_dir().join(format!("evenkeel-admin-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let stage = Stage::on(Listening::Unix(listener), nowhere, CONFIG, None);
    for host in ["localhost", "evenkeel", "x:1"] {
        let mut stream = UnixStream::connect(&path).unwrap();
        let answer =
            exchange(&mut stream, "GET", "/api/v1/status", &[("host", host), ("connection", "close")], b"");
        assert_eq!(answer.status, 200, "{host}: {}", answer.body);
    }
    let mut stream = UnixStream::connect(&path).unwrap();
    let headers = [("host", "x"), ("connection", "close")];
    let drain = "/api/v1/pools/app/targets/10.0.0.1:80/drain";
    assert_eq!(exchange(&mut stream, "POST", drain, &headers, b"").status, 200);
    assert_eq!(stage.audited()[0]["who"], "unix");
    let mut stream = UnixStream::connect(&path).unwrap();
    let foreign = [("host", "x"), ("connection", "close"), ("origin", "http://evil.example")];
    assert_eq!(exchange(&mut stream, "GET", "/api/v1/status", &foreign, b"").status, 403);
    drop(stage);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn connections_are_kept_and_idle_ones_do_not_hold_up_a_stop() {
    let mut stage = Stage::new();
    let host = stage.address.to_string();
    let mut stream = TcpStream::connect(stage.address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    for _ in 0..3 {
        stream.write_all(&head("GET", "/health", &[("host", &host)], 0)).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\"alive\"}") {
            let mut bytes = [0; 512];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0);
            seen.extend_from_slice(&bytes[..read]);
        }
    }
    let took = stage.stop();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    assert!(TcpStream::connect(stage.address).is_err());
}

#[test]
fn a_stop_waits_for_no_one_for_long() {
    let mut stage = Stage::new();
    let mut stream = TcpStream::connect(stage.address).unwrap();
    stream.write_all(b"PUT /api/v1/config HTTP/1.1\r\nhost: localhost\r\ncontent-le").unwrap();
    assert_eq!(stage.get("/health").status, 200);
    let took = stage.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    let stage = Stage::new();
    let endless = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'y'; 100_000]].concat();
    let samples: [&[u8]; 5] =
        [b"\0\0\0\0\r\n\r\n", b"GET", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", &endless];
    for bytes in samples {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(stage.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        assert!(begun.elapsed() < SOON);
    }
    assert_eq!(stage.get("/health").status, 200);
}

#[test]
fn two_hosts_are_no_host() {
    let stage = Stage::new();
    let mut stream = TcpStream::connect(stage.address).unwrap();
    let headers = [("host", "localhost"), ("host", "localhost"), ("connection", "close")];
    assert_eq!(exchange(&mut stream, "GET", "/api/v1/status", &headers, b"").status, 403);
    let mut stream = TcpStream::connect(stage.address).unwrap();
    assert_eq!(exchange(&mut stream, "GET", "/api/v1/status", &[("connection", "close")], b"").status, 403);
    let mut stream = TcpStream::connect(stage.address).unwrap();
    let headers = [("host", "localhost"), ("connection", "close")];
    assert_eq!(exchange(&mut stream, "GET", "http://evil.example/api/v1/status", &headers, b"").status, 403);
}

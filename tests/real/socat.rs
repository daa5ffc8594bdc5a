//! socat as client and server: half-close, and unix sockets.

use evenkeel_testkit::{Peer, Ready, TempDir, reserve_port, skip};

use crate::support::{start, tcp};
use crate::world::{err, missing, run_with};

#[test]
fn f10_socat_sends_ends_and_gets_the_whole_answer() {
    if let Some(program) = missing(&["socat", "sh", "sort"]) {
        skip!("{program} is not installed");
    }
    // `sort` says nothing before its input has ended: without the half-close both would wait for ever.
    let port = reserve_port();
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr,fork", port.addr().port());
    let _server = Peer::start("socat", &[&listen, "EXEC:sort -n"], &Ready::Accepts(port.addr().into()));
    let proxy = start(&tcp(&[port.addr()], ""));
    let to = format!("TCP:{}", proxy.listener_addr("web"));
    let numbers: String =
        (0..100_000_u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761) % 1_000_003)).collect();
    let mut sorted: Vec<u32> = numbers.lines().map(|line| line.parse().unwrap()).collect();
    sorted.sort_unstable();
    let sorted: String = sorted.iter().map(|n| format!("{n}\n")).collect();
    for _ in 0..3 {
        // Waits up to 20 s for the answer after its own end.
        let said = run_with("socat", &["-t", "20", "-", &to], numbers.as_bytes());
        assert!(said.status.success(), "{}", err(&said));
        assert!(said.stdout == sorted.as_bytes(), "{} bytes of {}", said.stdout.len(), sorted.len());
    }
}

#[test]
fn socat_comes_by_a_unix_socket() {
    if let Some(program) = missing(&["socat", "cat"]) {
        skip!("{program} is not installed");
    }
    let dir = TempDir::new();
    let path = dir.path().join("cat.sock");
    let target = evenkeel_testkit::Addr::Unix(path.clone());
    let listen = format!("UNIX-LISTEN:{},fork", path.display());
    let _server = Peer::start("socat", &[&listen, "EXEC:cat"], &Ready::Accepts(target.clone()));
    let config = tcp(&[&target], "").replace("bind = \"127.0.0.1:0\"", "bind = \"unix:{dir}/web.sock\"");
    let proxy = start(&config);
    let to = format!("UNIX-CONNECT:{}", proxy.dir().join("web.sock").display());
    let words: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let said = run_with("socat", &["-t", "20", "-", &to], &words);
    assert!(said.status.success(), "{}", err(&said));
    assert!(said.stdout == words, "{} bytes of {} came back, or other ones", said.stdout.len(), words.len());
}

//! redis through the TCP plane.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

use evenkeel_testkit::{
    Addr, Evenkeel, Peer, Ready, ReservedPort, Stream, TempDir, Wire, reserve_port, signal, skip, wait_until,
};

use crate::support::{start, tcp};
use crate::world::{PATIENCE, ask, missing};

/// A redis with a directory of its own.
struct Redis {
    peer: Peer,
    addr: Addr,
    _dir: TempDir,
}

impl Redis {
    fn on(port: &ReservedPort) -> Self {
        let number = port.addr().port().to_string();
        Self::with(&["--bind", "127.0.0.1", "--port", &number], port.addr().into())
    }

    fn with(args: &[&str], addr: Addr) -> Self {
        let dir = TempDir::new();
        let path = dir.path().to_str().unwrap();
        let common = ["--dir", path, "--save", "", "--appendonly", "no", "--daemonize", "no"];
        let peer = Peer::start("redis-server", &[args, &common].concat(), &Ready::Accepts(addr.clone()));
        Self { peer, addr, _dir: dir }
    }
}

/// What redis answers (RESP 2).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Text(String),
    Failed(String),
    Number(i64),
    Bytes(Option<Vec<u8>>),
    List(Option<Vec<Self>>),
}

fn bytes(text: &str) -> Reply {
    Reply::Bytes(Some(text.as_bytes().to_vec()))
}

fn text(text: &str) -> Reply {
    Reply::Text(text.to_owned())
}

/// A client that speaks the protocol by itself, so that it can pipeline as it likes.
struct Client(Wire<Stream>);

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let mut stream = Stream::connect(&addr.into(), PATIENCE).unwrap();
        stream.set_deadline(Some(Instant::now() + PATIENCE));
        Self(Wire::new(stream))
    }

    fn send(&mut self, words: &[&[u8]]) {
        self.0.stream().write_all(&command(words)).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.0.bytes(1).unwrap());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    fn reply(&mut self) -> Reply {
        let line = self.line();
        let (kind, rest) = line.split_at(1);
        match kind {
            "+" => text(rest),
            "-" => Reply::Failed(rest.to_owned()),
            ":" => Reply::Number(rest.parse().unwrap()),
            "$" => Reply::Bytes(rest.parse().ok().map(|n| {
                let mut bytes = self.0.bytes(n).unwrap();
                assert_eq!(self.0.bytes(2).unwrap(), b"\r\n");
                bytes.truncate(n);
                bytes
            })),
            "*" => Reply::List(rest.parse::<usize>().ok().map(|n| (0..n).map(|_| self.reply()).collect())),
            _ => panic!("not a reply: {line:?}"),
        }
    }

    fn ask(&mut self, words: &[&str]) -> Reply {
        self.send(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        self.reply()
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn proxied(redis: &Redis) -> (Evenkeel, SocketAddr) {
    let proxy = start(&tcp(&[&redis.addr], ""));
    let addr = proxy.listener_addr("web");
    (proxy, addr)
}

#[test]
fn redis_sets_gets_and_runs_transactions() {
    if let Some(program) = missing(&["redis-server"]) {
        skip!("{program} is not installed");
    }
    let port = reserve_port();
    let redis = Redis::on(&port);
    let (_proxy, addr) = proxied(&redis);
    let mut client = Client::connect(addr);
    assert_eq!(client.ask(&["PING"]), text("PONG"));
    assert_eq!(client.ask(&["SET", "greeting", "hello"]), text("OK"));
    assert_eq!(client.ask(&["GET", "greeting"]), bytes("hello"));
    assert_eq!(client.ask(&["GET", "nothing"]), Reply::Bytes(None));
    assert!(matches!(client.ask(&["INCR", "greeting"]), Reply::Failed(_)));
    assert_eq!(client.ask(&["MULTI"]), text("OK"));
    assert_eq!(client.ask(&["INCR", "n"]), text("QUEUED"));
    assert_eq!(client.ask(&["INCRBY", "n", "41"]), text("QUEUED"));
    assert_eq!(client.ask(&["EXEC"]), Reply::List(Some(vec![Reply::Number(1), Reply::Number(42)])));
    // Optimistic locking holds over two connections.
    let mut other = Client::connect(addr);
    assert_eq!(client.ask(&["WATCH", "n"]), text("OK"));
    assert_eq!(other.ask(&["INCR", "n"]), Reply::Number(43));
    assert_eq!(client.ask(&["MULTI"]), text("OK"));
    assert_eq!(client.ask(&["SET", "n", "0"]), text("QUEUED"));
    assert_eq!(client.ask(&["EXEC"]), Reply::List(None));
    assert_eq!(client.ask(&["QUIT"]), text("OK"));
}

#[test]
fn redis_answers_ten_thousand_pipelined_commands_in_order() {
    if let Some(program) = missing(&["redis-server"]) {
        skip!("{program} is not installed");
    }
    let port = reserve_port();
    let redis = Redis::on(&port);
    let (_proxy, addr) = proxied(&redis);
    let mut client = Client::connect(addr);
    let value = |n: u32| format!("value {n} {}", "x".repeat(n as usize % 100));
    let mut pipeline = Vec::new();
    for n in 0..10_000 {
        pipeline.extend(command(&[b"SET", format!("key {n}").as_bytes(), value(n).as_bytes()]));
        pipeline.extend(command(&[b"GET", format!("key {}", n / 2).as_bytes()]));
    }
    // Written and read at once: neither side could hold all of it.
    let mut writer = client.0.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&pipeline).unwrap());
    for n in 0..10_000 {
        assert_eq!(client.reply(), text("OK"), "SET {n}");
        assert_eq!(client.reply(), bytes(&value(n / 2)), "GET {}", n / 2);
    }
    writing.join().unwrap();
    println!("redis: 20000 pipelined commands, 0 wrong");
}

#[test]
fn redis_publishes_to_its_subscribers_in_order() {
    if let Some(program) = missing(&["redis-server"]) {
        skip!("{program} is not installed");
    }
    let port = reserve_port();
    let redis = Redis::on(&port);
    let (_proxy, addr) = proxied(&redis);
    let mut subscribers: Vec<Client> = (0..3).map(|_| Client::connect(addr)).collect();
    for subscriber in &mut subscribers {
        let wanted = vec![bytes("subscribe"), bytes("news"), Reply::Number(1)];
        assert_eq!(subscriber.ask(&["SUBSCRIBE", "news"]), Reply::List(Some(wanted)));
    }
    let mut publisher = Client::connect(addr);
    for n in 0..500 {
        assert_eq!(publisher.ask(&["PUBLISH", "news", &n.to_string()]), Reply::Number(3));
    }
    for subscriber in &mut subscribers {
        for n in 0..500 {
            let wanted = vec![bytes("message"), bytes("news"), bytes(&n.to_string())];
            assert_eq!(subscriber.reply(), Reply::List(Some(wanted)));
        }
    }
}

#[test]
fn redis_takes_and_gives_twenty_megabytes() {
    if let Some(program) = missing(&["redis-server"]) {
        skip!("{program} is not installed");
    }
    let dir = TempDir::new();
    // Through a unix socket on the far side.
    let path = dir.path().join("redis.sock");
    let redis =
        Redis::with(&["--port", "0", "--unixsocket", path.to_str().unwrap()], Addr::Unix(path.clone()));
    let (_proxy, addr) = proxied(&redis);
    let mut client = Client::connect(addr);
    let big: Vec<u8> = (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    client.send(&[b"SET", b"big", &big]);
    assert_eq!(client.reply(), text("OK"));
    client.send(&[b"GET", b"big"]);
    assert!(client.reply() == Reply::Bytes(Some(big)), "what came back differs");
}

#[test]
fn redis_tools_find_nothing_unusual() {
    if let Some(program) = missing(&["redis-server", "redis-cli", "redis-benchmark"]) {
        skip!("{program} is not installed");
    }
    let port = reserve_port();
    let redis = Redis::on(&port);
    let (proxy, addr) = proxied(&redis);
    let at = addr.port().to_string();
    let cli = |words: &[&str]| ask("redis-cli", &[&["-h", "127.0.0.1", "-p", &at], words].concat());
    assert_eq!(cli(&["SET", "greeting", "hello"]), "OK");
    assert_eq!(cli(&["GET", "greeting"]), "hello");
    let args = [
        "-h",
        "127.0.0.1",
        "-p",
        &at,
        "-n",
        "10000",
        "-c",
        "20",
        "-P",
        "8",
        "-t",
        "set,get,lpush,lrange_100",
    ];
    let said = ask("redis-benchmark", &[&args[..], &["-q"]].concat());
    println!(
        "redis-benchmark: {}",
        said.replace('\r', "\n").lines().filter(|line| line.contains("p50")).count()
    );
    assert!(said.contains("LRANGE_100"), "{said}");
    assert!(!said.to_lowercase().contains("error"), "{said}");
    wait_until("all to have left", PATIENCE, || proxy.admin_json("/api/v1/listeners")[0]["open"] == 0);
}

#[test]
fn redis_clients_find_the_other_server_when_one_dies_and_returns() {
    if let Some(program) = missing(&["redis-server"]) {
        skip!("{program} is not installed");
    }
    let ports = [reserve_port(), reserve_port()];
    let (first, second) = (Redis::on(&ports[0]), Redis::on(&ports[1]));
    // As in examples/redis.toml: one serves, the other waits.
    let more = "algorithm = \"first\"\nhealth = { check = \"tcp\", interval = \"100ms\", timeout = \"100ms\" }\n\
                passive = { eject_for = \"100ms\", max_eject_for = \"100ms\" }";
    let proxy = start(&tcp(&[&first.addr, &second.addr], more));
    let addr = proxy.listener_addr("web");
    let who = || {
        let Reply::Bytes(Some(info)) = Client::connect(addr).ask(&["INFO", "server"]) else {
            panic!("no info")
        };
        let info = String::from_utf8(info).unwrap();
        info.lines().find_map(|line| line.strip_prefix("tcp_port:")).unwrap().parse::<u16>().unwrap()
    };
    let [one, two] = ports.each_ref().map(|port| port.addr().port());
    assert_eq!((0..10).map(|_| who()).collect::<Vec<_>>(), [one; 10]);
    first.peer.signal(signal::SIGKILL);
    first.peer.wait_exit(PATIENCE);
    // Not one of them fails, from the first moment on.
    assert_eq!((0..100).map(|_| who()).collect::<Vec<_>>(), [two; 100]);
    println!("redis: 100 connections after the death of a server, 0 failed");
    let _first = Redis::on(&ports[0]);
    wait_until("the first to serve again", PATIENCE, || who() == one);
}

//! F36: bodies far larger than our memory go through it, and nothing of them stays.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Evenkeel, Launch, Running, have, skip, wait_until};

use crate::support::{BIN, http};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// An origin that reads a body of any length, and answers `GET /N` with N bytes. It is here and not the kit's, which
/// makes every byte tell its request and is no match for a gigabyte in a debug build.
fn start_origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client));
        }
    });
    addr
}

fn serve(mut client: TcpStream) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut client)?;
        let received = drain(&mut client, length(&head))?;
        let asked = head.split(' ').nth(1).and_then(|path| path[1..].parse().ok()).unwrap_or(0);
        let head = format!("HTTP/1.1 200 OK\r\nx-received: {received}\r\ncontent-length: {asked}\r\n\r\n");
        client.write_all(head.as_bytes())?;
        pour(&mut client, asked)?;
    }
}

/// Byte by byte: what follows it is for somebody else.
fn read_head(stream: &mut impl Read) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

fn length(head: &str) -> u64 {
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Every 64 KiB begin with their number, so that a part that is lost, repeated or moved shows.
fn pour(out: &mut impl Write, bytes: u64) -> std::io::Result<()> {
    let mut piece = vec![b'x'; 64 << 10];
    for number in 0..bytes.div_ceil(piece.len() as u64) {
        let left = bytes - number * piece.len() as u64;
        piece[..8].copy_from_slice(&number.to_be_bytes());
        out.write_all(&piece[..left.min(piece.len() as u64) as usize])?;
    }
    Ok(())
}

/// Reads what `pour` wrote; returns how much was right.
fn drain(from: &mut impl Read, bytes: u64) -> std::io::Result<u64> {
    let (mut piece, mut wanted) = (vec![0; 64 << 10], vec![b'x'; 64 << 10]);
    let mut right = 0;
    for number in 0..bytes.div_ceil(piece.len() as u64) {
        let left = (bytes - number * piece.len() as u64).min(piece.len() as u64) as usize;
        from.read_exact(&mut piece[..left])?;
        wanted[..8].copy_from_slice(&number.to_be_bytes());
        right += if piece[..left] == wanted[..left] { left as u64 } else { 0 };
    }
    Ok(right)
}

fn client(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn download(addr: SocketAddr, bytes: u64) {
    let mut stream = client(addr);
    write!(stream, "GET /{bytes} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let head = read_head(&mut stream).unwrap();
    assert_eq!((&head[..12], length(&head)), ("http/1.1 200", bytes));
    assert_eq!(drain(&mut stream, bytes).unwrap(), bytes, "bytes that arrived as they were sent");
}

fn upload(addr: SocketAddr, bytes: u64) {
    let mut stream = client(addr);
    write!(stream, "PUT /0 HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n").unwrap();
    pour(&mut stream, bytes).unwrap();
    let head = read_head(&mut stream).unwrap();
    assert!(head.starts_with("http/1.1 200") && head.contains(&format!("x-received: {bytes}\r\n")), "{head}");
}

/// The most memory that was ever resident.
fn peak_bytes(proxy: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn both_ways(addr: SocketAddr, bytes: u64) {
    let up = thread::spawn(move || upload(addr, bytes));
    download(addr, bytes);
    up.join().unwrap();
}

#[test]
fn f36_a_gibibyte_each_way_goes_through_64_mebibytes_and_nothing_stays() {
    let origin = start_origin();
    let proxy = crate::support::start(&http(&[origin], ""));
    let web = proxy.listener_addr("web");
    both_ways(web, 8 * MIB);
    let small = proxy.rss_bytes();
    let begun = Instant::now();
    both_ways(web, GIB);
    let peak = peak_bytes(&proxy);
    println!("F36: 2 GiB in {:?}, at most {} MiB resident", begun.elapsed(), peak / MIB);
    assert!(peak < 64 * MIB, "{} MiB were resident", peak / MIB);
    let after = proxy.rss_bytes();
    assert!(after < small + 8 * MIB, "{} MiB before, {} MiB after", small / MIB, after / MIB);
}

#[test]
fn f36_a_hundred_clients_that_read_nothing_hold_no_memory_of_ours() {
    let origin = start_origin();
    let proxy = crate::support::start(&http(&[origin], ""));
    let web = proxy.listener_addr("web");
    both_ways(web, MIB);
    let before = proxy.rss_bytes();
    let asleep: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = client(web);
            write!(stream, "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", 100 * MIB).unwrap();
            read_head(&mut stream).unwrap();
            stream
        })
        .collect();
    // The others go on while those sleep.
    both_ways(web, 64 * MIB);
    let peak = peak_bytes(&proxy);
    println!("F36: {} sleeping readers, {} MiB more at most", asleep.len(), (peak - before.min(peak)) / MIB);
    // Two buffers of 16 KiB and a state each would be 4 MiB; a body held would be 100.
    assert!(peak < before + 24 * MIB, "{} MiB before, {} MiB at most", before / MIB, peak / MIB);
}

#[test]
fn f36_many_short_connections_leave_nothing_behind() {
    let origin = start_origin();
    let proxy = crate::support::start(&http(&[origin], ""));
    let web = proxy.listener_addr("web");
    let round = || {
        for _ in 0..4 {
            let threads: Vec<_> = (0..50).map(|_| thread::spawn(move || both_ways_small(web))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    };
    round();
    let first = proxy.rss_bytes();
    for _ in 0..4 {
        round();
    }
    let last = proxy.rss_bytes();
    println!("F36: {} MiB after 200 connections, {} MiB after 1,000", first / MIB, last / MIB);
    assert!(last < first + 4 * MIB, "{first} bytes after 200 connections, {last} after 1,000");
}

fn both_ways_small(addr: SocketAddr) {
    download(addr, 300_000);
    upload(addr, 300_000);
}

/// A memory cgroup of 64 MiB; removed when dropped, after its process.
struct Cgroup(PathBuf);

impl Cgroup {
    /// In the unified hierarchy, or in the older one of its own; a process enters it by way of a shell.
    fn new() -> Result<Self, String> {
        if !have("sh") {
            return Err("there is no sh".to_owned());
        }
        let (root, limit) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            ("/sys/fs/cgroup", "memory.max")
        } else {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        };
        static CGROUPS: AtomicU32 = AtomicU32::new(0);
        let number = CGROUPS.fetch_add(1, SeqCst);
        let path = Path::new(root).join(format!("evenkeel-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let cgroup = Self(path);
        let file = cgroup.0.join(limit);
        fs::write(&file, (64 * MIB).to_string()).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(cgroup)
    }

    fn start(&self, config: &str) -> Evenkeel {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        Launch::new(BIN, config).wrap(&["sh", "-c", &enter, "sh"]).start()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn f36_a_cgroup_of_64_mebibytes_is_enough() {
    let cgroup = match Cgroup::new() {
        Ok(cgroup) => cgroup,
        Err(error) => skip!("no memory cgroup can be made: {error}"),
    };
    let origin = start_origin();
    let proxy = cgroup.start(&http(&[origin], ""));
    let procs = fs::read_to_string(cgroup.0.join("cgroup.procs")).unwrap();
    assert!(procs.lines().any(|pid| pid == proxy.pid().to_string()), "it is not in there: {procs}");
    let web = proxy.listener_addr("web");
    let threads: Vec<_> = (0..20).map(|_| thread::spawn(move || both_ways(web, 16 * MIB))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(proxy.exited().is_none(), "the kernel ended it");
    println!(
        "F36: 640 MiB over 40 connections within 64 MiB, at most {} MiB resident",
        peak_bytes(&proxy) / MIB
    );
}

#[test]
fn f36_clients_beyond_the_memory_are_refused_before_the_kernel_ends_us() {
    let cgroup = match Cgroup::new() {
        Ok(cgroup) => cgroup,
        Err(error) => skip!("no memory cgroup can be made: {error}"),
    };
    let origin = start_origin();
    let proxy = cgroup.start(&http(&[origin], ""));
    let web = proxy.listener_addr("web");
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..1_500 {
        let mut stream = client(web);
        write!(stream, "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", 100 * MIB).unwrap();
        let head = read_head(&mut stream).unwrap_or_else(|error| {
            panic!(
                "{error} with {} clients held and {refused} refused; ended: {:?}",
                held.len(),
                proxy.exited()
            )
        });
        if head.starts_with("http/1.1 200") {
            held.push(stream);
        } else {
            assert!(
                head.starts_with("http/1.1 503") && head.contains("x-evenkeel-reason: overloaded"),
                "{head}"
            );
            refused += 1;
        }
    }
    println!("F36: {} clients held in 64 MiB, {refused} refused", held.len());
    assert!(refused > 0 && proxy.exited().is_none());
    let line = proxy.wait_stderr("new work is refused (overloaded)", Duration::from_secs(5));
    assert!(line.is_some_and(|line| line.contains("of 64.0 MiB")), "{}", proxy.stderr());
    drop(held);
    assert!(
        proxy.wait_stderr("new work is taken again", Duration::from_secs(10)).is_some(),
        "{}",
        proxy.stderr()
    );
    // What was held for them goes back to the system, not only to a store of ours that nobody else can use.
    wait_until("the memory to be given back", Duration::from_secs(10), || proxy.rss_bytes() < 48 * MIB);
    println!("F36: {} MiB resident afterwards", proxy.rss_bytes() / MIB);
    both_ways(web, MIB);
}

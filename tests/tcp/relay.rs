//! Every byte arrives, once and in order: any size, both ways at once, copied and spliced, in bounded memory.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_base::SplitMix64;
use evenkeel_testkit::{Evenkeel, Stream, wait_until};

use crate::peers::{
    End, Noise, PATIENCE, Server, ask, connect, ended, in_flight, line, listener, read_to_end, receive,
    receive_all, send,
};
use crate::support::{start, tcp};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The verdict of a server, told when its connection is over.
type Verdict = Receiver<Result<(), String>>;

/// Sends and receives so much at once, each way to its end.
fn both_ways(mut stream: Stream, mine: u64, theirs: u64, bytes: u64) -> Result<(), String> {
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    let sending = thread::spawn(move || {
        let sent = send(&mut writer, mine, bytes);
        writer.shutdown(Shutdown::Write);
        sent
    });
    let received = receive_all(&mut stream, theirs, bytes);
    let sent = sending.join().unwrap();
    received.and(sent.map_err(|error| format!("sending: {error}")))
}

fn exchanging(bytes: u64) -> (Server, Verdict) {
    let (tell, verdict) = channel();
    let server = Server::start(move |call| drop(tell.send(both_ways(call.stream, 2, 1, bytes))));
    (server, verdict)
}

#[test]
fn random_bytes_cross_both_ways_at_once_at_every_size() {
    // Around a buffer, around the fourth full buffer where splicing begins, around a pipe.
    let sizes = [0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 80 * KIB];
    for bytes in sizes.into_iter().chain([80 * KIB + 1, 128 * KIB + 1, MIB - 1, MIB, MIB + 1, 64 * MIB]) {
        let (server, verdict) = exchanging(bytes);
        let proxy = start(&tcp(&[server.addr()], ""));
        let client = connect(proxy.listener_addr("web"));
        assert_eq!(both_ways(client, 1, 2, bytes), Ok(()), "the client, {bytes} bytes");
        assert_eq!(verdict.recv_timeout(PATIENCE), Ok(Ok(())), "the server, {bytes} bytes");
        wait_until("the end of the connection", PATIENCE, || listener(&proxy)["open"] == 0);
        let counted = listener(&proxy);
        assert_eq!((counted["bytes_in"].as_u64(), counted["bytes_out"].as_u64()), (Some(bytes), Some(bytes)));
        assert_eq!(in_flight(&proxy), 0);
    }
}

#[test]
fn forty_flows_at_once_do_not_mix() {
    let flows = 40;
    let (tell, verdict) = channel();
    // The client says which flow it is, so that each has bytes of its own.
    let server = Server::start(move |mut call| {
        let flow: u64 = line(&mut call.stream).parse().unwrap();
        let _ = tell.send(both_ways(call.stream, 1000 + flow, flow, MIB));
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let addr = proxy.listener_addr("web");
    let clients: Vec<_> = (0..flows)
        .map(|flow| {
            thread::spawn(move || {
                let mut client = connect(addr);
                writeln!(client, "{flow}").unwrap();
                both_ways(client, flow, 1000 + flow, MIB)
            })
        })
        .collect();
    for (flow, client) in clients.into_iter().enumerate() {
        assert_eq!(client.join().unwrap(), Ok(()), "client {flow}");
        assert_eq!(verdict.recv_timeout(PATIENCE), Ok(Ok(())));
    }
    println!("relay: {flows} flows of {MIB} bytes each way, 0 bytes wrong");
}

#[test]
fn the_server_may_speak_first() {
    let server = Server::start(|mut call| {
        let mut say = |text: &str| writeln!(call.stream, "{text}").unwrap();
        say("220 mail.example ready");
        loop {
            let answer = match line(&mut call.stream).as_str() {
                "EHLO client" => "250 mail.example",
                "MAIL FROM:<a@example>" | "RCPT TO:<b@example>" => "250 ok",
                "DATA" => "354 go on",
                "." => "250 queued",
                "QUIT" => break,
                // A line of the message.
                _ => continue,
            };
            writeln!(call.stream, "{answer}").unwrap();
        }
        writeln!(call.stream, "221 bye").unwrap();
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(line(&mut client), "220 mail.example ready");
    assert_eq!(ask(&mut client, "EHLO client"), "250 mail.example");
    assert_eq!(ask(&mut client, "MAIL FROM:<a@example>"), "250 ok");
    assert_eq!(ask(&mut client, "RCPT TO:<b@example>"), "250 ok");
    assert_eq!(ask(&mut client, "DATA"), "354 go on");
    writeln!(client, "Subject: hello\n\nhow are you").unwrap();
    assert_eq!(ask(&mut client, "."), "250 queued");
    writeln!(client, "QUIT").unwrap();
    assert_eq!(read_to_end(&mut client), (b"221 bye\n".to_vec(), End::Fin));
}

#[test]
fn small_messages_interleave_in_both_directions() {
    let server = Server::echo("a");
    let proxy = start(&tcp(&[server.addr()], ""));
    let addr = proxy.listener_addr("web");
    let clients: Vec<_> = (0..8)
        .map(|number| {
            thread::spawn(move || {
                let mut client = connect(addr);
                assert_eq!(line(&mut client), "a");
                let mut random = SplitMix64::new(number);
                // Up to four messages on the way, each to be answered in turn.
                for round in 0..150 {
                    let sizes: Vec<u64> = (0..=random.below(4)).map(|_| 1 + random.below(3000)).collect();
                    for (n, bytes) in sizes.iter().enumerate() {
                        send(&mut client, round * 10 + n as u64, *bytes).unwrap();
                    }
                    for (n, bytes) in sizes.iter().enumerate() {
                        assert_eq!(receive(&mut client, round * 10 + n as u64, *bytes), Ok(()));
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_long_flow_is_spliced_and_gives_its_pipe_back() {
    let ((tell, verdict), (go, may_go)) = (channel(), channel::<()>());
    let may_go = std::sync::Mutex::new(may_go);
    let server = Server::start(move |mut call| {
        let half = receive(&mut call.stream, 1, 8 * MIB);
        let _ = may_go.lock().unwrap().recv();
        let _ = tell.send(half.and_then(|()| receive_all(&mut call.stream, 2, 32 * MIB)));
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let before = pipes(&proxy);
    let mut client = connect(proxy.listener_addr("web"));
    let sending = thread::spawn(move || {
        send(&mut client, 1, 8 * MIB)?;
        send(&mut client, 2, 32 * MIB)
    });
    wait_until("a pipe for the long flow", PATIENCE, || pipes(&proxy) > before);
    go.send(()).unwrap();
    sending.join().unwrap().unwrap();
    assert_eq!(verdict.recv_timeout(PATIENCE), Ok(Ok(())));
    wait_until("the pipe to be closed", PATIENCE, || pipes(&proxy) == before);
}

#[test]
fn short_talk_is_not_spliced() {
    let server = Server::echo("a");
    let proxy = start(&tcp(&[server.addr()], ""));
    let before = pipes(&proxy);
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(line(&mut client), "a");
    for round in 0..50 {
        send(&mut client, round, 2 * KIB).unwrap();
        assert_eq!(receive(&mut client, round, 2 * KIB), Ok(()));
        assert_eq!(pipes(&proxy), before);
    }
}

#[test]
fn a_gibibyte_needs_less_than_64_mib_of_memory() {
    let bytes = 1024 * MIB;
    let server = Server::start(move |mut call| drop(send(&mut call.stream, 1, bytes)));
    let proxy = start(&tcp(&[server.addr()], ""));
    let started = Instant::now();
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(receive_all(&mut client, 1, bytes), Ok(()));
    let peak = peak_memory_bytes(&proxy);
    println!("relay: {bytes} bytes in {:?}, peak memory {} KiB", started.elapsed(), peak / KIB);
    assert!(peak < 64 * MIB, "{peak} bytes of memory");
}

#[test]
fn clients_that_do_not_read_hold_the_server_back_in_bounded_memory() {
    let server = Server::start(move |mut call| drop(send(&mut call.stream, 1, 64 * MIB)));
    let proxy = start(&tcp(&[server.addr()], ""));
    let addr = proxy.listener_addr("web");
    // Twenty times what we may hold; more would fill what the kernel has for all sockets of the machine.
    let mut clients: Vec<Stream> = (0..20).map(|_| connect(addr)).collect();
    for client in &mut clients {
        assert_eq!(receive(client, 1, 64 * KIB), Ok(()));
    }
    let moved = || listener(&proxy)["bytes_out"].as_u64();
    wait_until("the flows to stand still", PATIENCE, || {
        let before = moved();
        thread::sleep(Duration::from_millis(200));
        moved() == before
    });
    assert!(moved() < Some(20 * 64 * MIB), "nobody was held back");
    let peak = peak_memory_bytes(&proxy);
    assert!(peak < 64 * MIB, "{peak} bytes of memory for {} clients that do not read", clients.len());
    // One of them reads on, and gets all the rest.
    let mut reader = clients.swap_remove(10);
    let rest = Noise::new(1, 64 * MIB).bytes().split_off((64 * KIB) as usize);
    let mut came = vec![0; rest.len()];
    reader.read_exact(&mut came).unwrap();
    assert!(came == rest, "a byte differs");
    drop(clients);
    wait_until("the others to end", PATIENCE, || {
        ended(&proxy, "client-reset") + ended(&proxy, "client-closed") == 19
    });
}

/// Open ends of pipes.
fn pipes(proxy: &Evenkeel) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap();
    let targets = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
}

/// The most memory it ever held.
fn peak_memory_bytes(proxy: &Evenkeel) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * KIB
}

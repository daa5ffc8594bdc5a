//! Clients that ask once and then keep their connection: `bench hold ADDRESS COUNT BODY`, a process of its own since
//! it needs many open files.

use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use super::process::{self, Process};
use super::stand::Stand;
use super::talk::{self, Connection};
use crate::shell::Outcome;

/// What the process says when all are there, and when some have gone.
const HELD: &str = "held ";
const LOST: &str = "lost ";
/// For opening all of them.
const LIMIT: Duration = Duration::from_secs(60);
/// A single answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one look at all connections to the next.
const GLANCE: Duration = Duration::from_millis(500);

/// The connections, open until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(Process);

/// Opens so many and waits until each has had its answer.
pub(crate) fn start(stand: &Stand<'_>, address: SocketAddr, count: u32) -> Outcome<Held> {
    let words = ["bench", "hold", &address.to_string(), &count.to_string(), &stand.work.body.to_string()];
    let words = words.map(str::to_owned);
    let mut process =
        Process::start("hold", &stand.cores.load, stand.scratch, &process::ourselves()?, words)?;
    process.says(HELD, LIMIT)?;
    Ok(Held(process))
}

impl Held {
    /// How many the proxy has closed meanwhile.
    pub(crate) fn lost(&self) -> Outcome<u64> {
        let printed = self.0.printed();
        let last = printed.lines().rev().find_map(|line| line.strip_prefix(LOST));
        last.map_or(Ok(0), |count| count.parse().map_err(|_| format!("the holder says {printed}")))
    }
}

/// The process: opens, says so, and watches.
///
/// # Errors
/// When the words are wrong, or a connection or its answer is not to be had.
pub(crate) fn hold(words: &[String]) -> Outcome {
    let usage = || "hold needs ADDRESS COUNT BODY".to_owned();
    let [address, count, body] = words else { return Err(usage()) };
    let address: SocketAddr = address.parse().map_err(|_| usage())?;
    let count: u32 = count.parse().map_err(|_| usage())?;
    let body: u64 = body.parse().map_err(|_| usage())?;
    let streams = (0..count)
        .map(|number| open(address, body).map_err(|e| format!("connection {number}: {e}")))
        .collect::<Outcome<Vec<_>>>()?;
    println!("{HELD}{count}");
    let mut known = 0;
    loop {
        sleep(GLANCE);
        let lost = streams.iter().filter(|stream| is_lost(stream.stream())).count();
        if lost > known {
            println!("{LOST}{lost}");
            known = lost;
        }
    }
}

fn open(address: SocketAddr, body: u64) -> Outcome<Connection<TcpStream>> {
    let connect = || {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let stream = connect().map_err(|e: std::io::Error| e.to_string())?;
    let mut connection = Connection::new(stream);
    let answer =
        connection.ask(talk::get(address, "/", false).as_bytes(), false).map_err(|e| e.to_string())?;
    if answer.status != 200 || answer.length != body || !answer.keeps {
        return Err(format!("wrong answer: {answer:?}"));
    }
    connection.stream().set_nonblocking(true).map_err(|e| e.to_string())?;
    connection.forget();
    Ok(connection)
}

/// Closed, reset, or with something to say that nobody asked for.
fn is_lost(stream: &TcpStream) -> bool {
    !matches!(stream.peek(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_connection_is_held_until_the_other_side_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").unwrap();
            stream
        });
        let connection = open(address, 1).unwrap();
        let other_side = server.join().unwrap();
        assert!(!is_lost(connection.stream()));
        drop(other_side);
        connection.stream().set_nonblocking(false).unwrap();
        assert_eq!(connection.stream().peek(&mut [0]).unwrap(), 0);
        assert!(is_lost(connection.stream()));
    }

    #[test]
    fn what_cannot_be_opened_is_said() {
        let free = process::free_address().unwrap().to_string();
        assert!(hold(&[free, "1".to_owned(), "1".to_owned()]).unwrap_err().contains("connection 0"));
        assert!(hold(&[]).is_err());
    }
}

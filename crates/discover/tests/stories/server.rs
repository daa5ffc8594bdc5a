//! A name server in raw packets (RFC 1035), over UDP and TCP on one port.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
pub(crate) const CNAME: u16 = 5;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) record_type: u16,
    pub(crate) over_tcp: bool,
    /// Header and question.
    packet: Vec<u8>,
}

/// A record of the name that was asked for.
pub(crate) struct Record {
    pub(crate) record_type: u16,
    pub(crate) ttl: u32,
    pub(crate) value: Vec<u8>,
}

pub(crate) fn a(ttl: u32, ip: &str) -> Record {
    let ip: Ipv4Addr = ip.parse().unwrap();
    Record { record_type: A, ttl, value: ip.octets().to_vec() }
}

pub(crate) fn aaaa(ttl: u32, ip: &str) -> Record {
    let ip: std::net::Ipv6Addr = ip.parse().unwrap();
    Record { record_type: AAAA, ttl, value: ip.octets().to_vec() }
}

impl Query {
    fn parse(packet: &[u8], over_tcp: bool) -> Self {
        let mut labels = Vec::new();
        let mut at = 12;
        while packet[at] != 0 {
            let end = at + 1 + usize::from(packet[at]);
            labels.push(String::from_utf8(packet[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let record_type = u16::from_be_bytes([packet[at + 1], packet[at + 2]]);
        Self { name: labels.join("."), record_type, over_tcp, packet: packet[..at + 5].to_vec() }
    }

    /// An answer with those of the records that were asked for, and aliases.
    pub(crate) fn reply(&self, records: &[Record]) -> Vec<u8> {
        let mut packet = self.refusal(0);
        let fitting: Vec<_> =
            records.iter().filter(|r| r.record_type == self.record_type || r.record_type == CNAME).collect();
        packet[6..8].copy_from_slice(&u16::try_from(fitting.len()).unwrap().to_be_bytes());
        for record in fitting {
            packet.extend([0xc0, 12]);
            packet.extend(record.record_type.to_be_bytes());
            packet.extend([0, 1]);
            packet.extend(record.ttl.to_be_bytes());
            packet.extend(u16::try_from(record.value.len()).unwrap().to_be_bytes());
            packet.extend(&record.value);
        }
        packet
    }

    /// An answer without records: 0 empty, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    pub(crate) fn refusal(&self, code: u8) -> Vec<u8> {
        let mut packet = self.packet.clone();
        packet[2] = 0x81;
        packet[3] = 0x80 | code;
        packet[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        packet
    }

    /// An answer that says that the whole one did not fit.
    pub(crate) fn truncated(&self) -> Vec<u8> {
        let mut packet = self.refusal(0);
        packet[2] |= 2;
        packet
    }
}

/// Packets to send in answer, in order; none is silence.
type Answer = Arc<dyn Fn(&Query) -> Vec<Vec<u8>> + Send + Sync>;

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Query>>>,
    answer: Arc<Mutex<Answer>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Query) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets();
        let server = Self {
            addr: udp.local_addr().unwrap(),
            asked: Arc::default(),
            answer: Arc::new(Mutex::new(Arc::new(answer))),
            stop: Arc::default(),
        };
        let respond = |over_tcp| {
            let (asked, answer) = (Arc::clone(&server.asked), Arc::clone(&server.answer));
            move |packet: &[u8]| {
                let query = Query::parse(packet, over_tcp);
                asked.lock().unwrap().push(query.clone());
                let answer = Arc::clone(&answer.lock().unwrap());
                answer(&query)
            }
        };
        serve_udp(udp, Arc::clone(&server.stop), respond(false));
        serve_tcp(tcp, Arc::clone(&server.stop), respond(true));
        server
    }

    /// Answers with these addresses.
    pub(crate) fn good(records: fn() -> Vec<Record>) -> Self {
        Self::new(move |query| vec![query.reply(&records())])
    }

    /// Answers like that from now on.
    pub(crate) fn change(&self, answer: impl Fn(&Query) -> Vec<Vec<u8>> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    /// How often the name was asked for, A and AAAA together.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|query| query.name == name).count()
    }

    pub(crate) fn asked(&self) -> Vec<Query> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

/// One port in both protocols.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn serve_udp(
    udp: UdpSocket,
    stop: Arc<AtomicBool>,
    respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) {
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    thread::spawn(move || {
        let mut space = [0; 1500];
        while !stop.load(SeqCst) {
            let Ok((len, from)) = udp.recv_from(&mut space) else { continue };
            for packet in respond(&space[..len]) {
                let _ = udp.send_to(&packet, from);
            }
        }
    });
}

fn serve_tcp(
    tcp: TcpListener,
    stop: Arc<AtomicBool>,
    respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
) {
    let respond = Arc::new(respond);
    thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            if stop.load(SeqCst) {
                return;
            }
            let respond = Arc::clone(&respond);
            thread::spawn(move || {
                let mut len = [0; 2];
                while stream.read_exact(&mut len).is_ok() {
                    let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
                    stream.read_exact(&mut packet).unwrap();
                    for packet in respond(&packet) {
                        let _ = stream.write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes());
                        let _ = stream.write_all(&packet);
                    }
                }
            });
        }
    });
}

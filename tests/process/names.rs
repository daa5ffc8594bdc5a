//! F42, end to end: a target by a name that has no address yet, and then has one.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_testkit::{Addr, Evenkeel, Load, LoadPlan, Origin, judge, wait_until};

use crate::support::start;
use crate::world::{MOMENT, target, tell, wait_event};

/// What the server says of every name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    /// There is no such name (NXDOMAIN).
    Nothing,
    /// This address, for one second.
    Address(Ipv4Addr),
    /// Not a word.
    Silence,
}

/// A name server on loopback (RFC 1035), that answers one question at a time.
struct NameServer {
    addr: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(says: Says) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let addr = socket.local_addr().unwrap();
        let (says, stop) = (Arc::new(Mutex::new(says)), Arc::new(AtomicBool::new(false)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (now, end, count) = (Arc::clone(&says), Arc::clone(&stop), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            let mut query = [0; 1500];
            while !end.load(SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                count.fetch_add(1, SeqCst);
                let answer = answer(&query[..length], *now.lock().unwrap());
                answer.map(|answer| socket.send_to(&answer, from));
            }
        });
        Self { addr, says, asked, stop, thread: Some(thread) }
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(query: &[u8], says: Says) -> Option<Vec<u8>> {
    let name_end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(12..name_end + 4)?;
    let asks_v4 = question.ends_with(&[0, 1, 0, 1]);
    let (code, found) = match says {
        Says::Silence => return None,
        Says::Nothing => (3, None),
        Says::Address(address) => (0, Some(address).filter(|_| asks_v4)),
    };
    let mut out = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0];
    out.extend_from_slice(question);
    if let Some(address) = found {
        // The name of the question, A, IN, one second, four bytes.
        out.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        out.extend_from_slice(&address.octets());
    }
    Some(out)
}

fn port(origin: &Origin) -> u16 {
    match origin.addr() {
        Addr::Tcp(addr) => addr.port(),
        Addr::Unix(path) => panic!("{}", path.display()),
    }
}

fn config(server: &NameServer, targets: &str) -> String {
    format!(
        "[resolver]\nnameservers = \"{}\"\ntimeout = \"200ms\"\nmin_ttl = \"100ms\"\n\
         [listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n[pool.app]\ntargets = [{targets}]\n",
        server.addr
    )
}

fn ask(proxy: &Evenkeel, a: &Origin, b: &Origin, name: &str) -> [usize; 2] {
    let plan = LoadPlan { connections: 2, requests: Some(100), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered(name);
    ["a", "b"].map(|origin| client.answers_of(origin))
}

#[test]
fn f42_a_name_without_an_address_marks_its_target_until_it_has_one() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let server = NameServer::start(Says::Nothing);
    let name = format!("app.evenkeel.internal:{}", port(&a));
    let begun = Instant::now();
    let proxy = start(&config(&server, &format!("\"{name}\", \"{}\"", b.addr())));
    println!("F42: started in {:?} with a name that does not resolve", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(4), "the start was held up");
    let seen = target(&proxy, "app", &name);
    assert_eq!((&seen["state"], &seen["reason"]), (&"unresolved".into(), &"not-resolved".into()), "{seen}");
    assert_eq!(target(&proxy, "app", &b.addr().to_string())["state"], "up");
    assert_eq!(ask(&proxy, &a, &b, "F42 unresolved"), [0, 100]);
    assert!(tell(&proxy, &["status"]).fine().contains("not-resolved"));

    server.say(Says::Address(Ipv4Addr::LOCALHOST));
    wait_until("the name to resolve", MOMENT, || target(&proxy, "app", &name)["state"] == "up");
    let resolved = target(&proxy, "app", &name)["resolved"].clone();
    assert_eq!(resolved, serde_json::json!([format!("127.0.0.1:{}", port(&a))]));
    let event = wait_event(&proxy, "the event", |event| event["reason"] == "resolved");
    assert_eq!((&event["target"], &event["to"]), (&name.as_str().into(), &"up".into()), "{event}");
    assert_eq!(ask(&proxy, &a, &b, "F42 resolved"), [50, 50]);

    // A server that falls silent takes nothing away.
    server.say(Says::Silence);
    let asked = server.asked();
    wait_until("several look-ups in vain", MOMENT, || server.asked() >= asked + 6);
    assert_eq!(target(&proxy, "app", &name)["state"], "up");
    assert_eq!(ask(&proxy, &a, &b, "F42 silence"), [50, 50]);
}

#[test]
fn f42_a_name_server_that_is_silent_does_not_hold_up_the_start() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let server = NameServer::start(Says::Silence);
    let begun = Instant::now();
    let proxy = start(&config(&server, &format!("\"app.evenkeel.internal:{}\", \"{}\"", port(&a), b.addr())));
    println!("F42: started in {:?} with a silent name server", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(4), "the start was held up");
    assert_eq!(ask(&proxy, &a, &b, "F42 silent server"), [0, 100]);
}

#[test]
fn f42_a_pool_of_names_alone_answers_503_until_one_resolves() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let server = NameServer::start(Says::Nothing);
    let proxy = start(&config(&server, &format!("\"app.evenkeel.internal:{}\"", port(&a))));
    let answer = crate::world::Kept::connect(proxy.listener_addr("web")).get("/").unwrap();
    assert_eq!((answer.status, answer.header("x-evenkeel-reason")), (503, Some("no-target")), "{answer:?}");
    server.say(Says::Address(Ipv4Addr::LOCALHOST));
    wait_until("the name to resolve", MOMENT, || proxy.admin_json("/api/v1/status")["targets_up"] == 1);
    assert_eq!(ask(&proxy, &a, &b, "F42 names alone"), [100, 0]);
}

//! What a new user tries first: two `python3 -m http.server` behind one line.

use std::net::SocketAddr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use evenkeel_testkit::{Evenkeel, Launch, Peer, Ready, TempDir, raw_exchange, signal, skip, wait_until};

use crate::support::BIN;
use crate::world::{PATIENCE, ask, missing};

/// Serves a folder with one page, which tells its name.
struct Site {
    peer: Peer,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Site {
    fn start(name: &str) -> Self {
        let dir = TempDir::new();
        dir.write("index.html", &format!("this is {name}, whole"));
        let args = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"];
        let args = [&args[..], &[dir.path().to_str().unwrap()]].concat();
        let peer = Peer::start("python3", &args, &Ready::Says("Serving HTTP".to_owned()));
        // "Serving HTTP on 127.0.0.1 port 40001 (http://127.0.0.1:40001/) ..."
        let said = peer.stdout();
        let port = said.split_whitespace().skip_while(|word| *word != "port").nth(1).unwrap();
        Self { addr: SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())), peer, _dir: dir }
    }
}

/// The page, if it came whole and well.
fn page(addr: SocketAddr) -> Result<String, String> {
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = raw_exchange(addr, request, PATIENCE).map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let name = answer.split("this is ").nth(1).and_then(|rest| rest.strip_suffix(", whole"));
    match name {
        Some(name) if answer.starts_with("HTTP/1.1 200 ") => Ok(name.to_owned()),
        _ => Err(answer),
    }
}

fn status(proxy: &Evenkeel, words: &[&str]) -> String {
    let api = proxy.admin_addr().to_string();
    ask(BIN, &[&["status"], words, &["--api", &api]].concat())
}

#[test]
fn one_line_balances_two_python_servers_and_survives_one() {
    if let Some(program) = missing(&["python3"]) {
        skip!("{program} is not installed");
    }
    let (one, two) = (Site::start("one"), Site::start("two"));
    let targets = [one.addr.to_string(), two.addr.to_string()];
    let args = ["http", "127.0.0.1:0", &targets[0], &targets[1], "--admin", "unix:{dir}/admin.sock"];
    let proxy = Launch::new(BIN, "").args(&args).start();
    let web = proxy.listener_addr("main");
    assert_eq!((0..4).map(|_| page(web).unwrap()).collect::<Vec<_>>(), ["one", "two", "one", "two"]);
    let (stop, asked, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    // An answer that is half-way to its client when its server dies is beyond our help; nobody is on the way then.
    let dying = RwLock::new(());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let _nobody_dies = dying.read().unwrap();
                    if let Err(answer) = page(web) {
                        println!("failed: {answer:?}");
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let so_far = || asked.load(Ordering::SeqCst);
        wait_until("requests", PATIENCE, || so_far() > 100);
        let all_quiet = dying.write().unwrap();
        one.peer.signal(signal::SIGKILL);
        one.peer.wait_exit(PATIENCE);
        drop(all_quiet);
        let then = so_far();
        wait_until("requests after the death of one", PATIENCE, || so_far() > then + 200);
        stop.store(true, Ordering::SeqCst);
    });
    println!("python: N = {asked:?}, {failed:?} failed while a server died");
    assert_eq!(failed.into_inner(), 0);
    assert_eq!((0..4).map(|_| page(web).unwrap()).collect::<Vec<_>>(), ["two"; 4]);

    let all = status(&proxy, &["targets"]);
    let row = |addr: &str| {
        all.lines().find(|line| line.contains(addr)).unwrap_or_else(|| panic!("no {addr} in\n{all}"))
    };
    assert!(row(&targets[0]).contains("ejected") && row(&targets[0]).contains("connect-errors"), "{all}");
    assert!(row(&targets[1]).contains(" up"), "{all}");
    let healthy = status(&proxy, &["targets", "--status", "healthy"]);
    assert!(healthy.contains(&targets[1]) && !healthy.contains(&targets[0]), "{healthy}");
}

#[test]
fn a_probed_python_server_is_shown_down_and_up_again() {
    if let Some(program) = missing(&["python3"]) {
        skip!("{program} is not installed");
    }
    let (one, two) = (Site::start("one"), Site::start("two"));
    let config = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n\
         [pool.app]\ntargets = [\"{}\", \"{}\"]\n\
         health = {{ check = \"http\", path = \"/index.html\", interval = \"50ms\", timeout = \"50ms\" }}\n",
        one.addr, two.addr
    );
    let proxy = crate::support::start(&config);
    let unhealthy = || status(&proxy, &["targets", "--status", "unhealthy", "--json"]);
    wait_until("both to be up", PATIENCE, || !unhealthy().contains(&one.addr.to_string()));
    one.peer.signal(signal::SIGSTOP);
    wait_until("the stopped one to be down", PATIENCE, || unhealthy().contains(&one.addr.to_string()));
    assert!(unhealthy().contains("probe-timeout"), "{}", unhealthy());
    assert_eq!((0..4).map(|_| page(proxy.listener_addr("web")).unwrap()).collect::<Vec<_>>(), ["two"; 4]);
    one.peer.signal(signal::SIGCONT);
    wait_until("it to be up again", PATIENCE, || !unhealthy().contains(&one.addr.to_string()));
    thread::sleep(Duration::from_millis(100));
    let names: Vec<String> = (0..4).map(|_| page(proxy.listener_addr("web")).unwrap()).collect();
    assert!(names.contains(&"one".to_owned()) && names.contains(&"two".to_owned()), "{names:?}");
}

//! PostgreSQL through the TCP plane.

use std::net::SocketAddr;
use std::process::Command;

use evenkeel_testkit::{Peer, Ready, ReservedPort, TempDir, have, reserve_port, signal, skip, wait_until};

use crate::support::{start, tcp};
use crate::world::{PATIENCE, ask, err, missing, out, path_of, run, run_with};

/// The words before a command that make it run as somebody: PostgreSQL refuses to be run by root.
fn as_nobody() -> Option<Vec<&'static str>> {
    if ask("id", &["-u"]) != "0" {
        return Some(vec![]);
    }
    let user = ["postgres", "nobody"].into_iter().find(|user| run("id", &[user]).status.success())?;
    have("setpriv").then(|| vec!["setpriv", "--reuid", user, "--regid", group(user), "--clear-groups"])
}

fn group(user: &str) -> &'static str {
    if user == "postgres" { "postgres" } else { "nogroup" }
}

/// A directory that a server can start from, or why there is none.
fn cluster() -> Result<(TempDir, Vec<&'static str>), String> {
    if let Some(program) = missing(&["postgres", "initdb", "psql"]) {
        return Err(format!("{program} is not installed"));
    }
    let Some(before) = as_nobody() else {
        return Err("PostgreSQL refuses root, and setpriv is not installed".to_owned());
    };
    let dir = TempDir::new();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap();
    if let Some(user) = before.get(2) {
        ask("chown", &["-R", user, data]);
    }
    let initdb = path_of("initdb").unwrap();
    let initdb =
        [initdb.as_str(), "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"];
    let words = [&before[..], &initdb[..]].concat();
    ask(words[0], &words[1..]);
    Ok((dir, before))
}

/// A running server.
struct Postgres {
    peer: Peer,
    addr: SocketAddr,
}

impl Postgres {
    /// Starts from this directory; `name` is what `show cluster_name` answers.
    fn start(dir: &TempDir, before: &[&str], port: &ReservedPort, data: &str, name: &str) -> Self {
        let addr = port.addr();
        let data = dir.path().join(data);
        let settings = [
            format!("port={}", addr.port()),
            format!("cluster_name={name}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
        ];
        let postgres = path_of("postgres").unwrap();
        let mut words: Vec<&str> = [before, &[postgres.as_str(), "-D", data.to_str().unwrap()]].concat();
        settings.iter().for_each(|setting| words.extend(["-c", setting.as_str()]));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir("/");
        let peer = Peer::spawn(command, &Ready::Says("ready to accept connections".to_owned()));
        Self { peer, addr }
    }

    /// Dies at once, and with it all its processes.
    fn kill(self) {
        self.peer.signal(signal::SIGQUIT);
        self.peer.wait_exit(PATIENCE);
    }
}

const OPTIONS: [&str; 11] =
    ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "test", "-d"];

/// The words of psql for this port, to which `-c SQL` or the like is added.
fn psql<'a>(port: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&OPTIONS[..], &["postgres", "-p", port], more].concat()
}

#[test]
fn postgres_answers_queries_and_copies_ten_megabytes_each_way() {
    let (dir, before) = match cluster() {
        Ok(cluster) => cluster,
        Err(reason) => skip!("{reason}"),
    };
    let port = reserve_port();
    let server = Postgres::start(&dir, &before, &port, "data", "a");
    let proxy = start(&tcp(&[server.addr], ""));
    let web = proxy.listener_addr("web").port().to_string();
    let sql = |text: &str| ask("psql", &psql(&web, &["-c", text]));
    assert_eq!(sql("select 6 * 7"), "42");
    sql("create table line (n int primary key, words text not null)");
    // Rows of 100 bytes: 10 MB up, and the same 10 MB down again.
    let row = |n: u32| format!("{n:08}\t{:x>90}\n", n.wrapping_mul(2_654_435_761));
    let table: String = (0..100_000).map(row).collect();
    assert_eq!(table.len(), 10_000_000);
    let copied = run_with("psql", &psql(&web, &["-c", "copy line from stdin"]), table.as_bytes());
    assert!(copied.status.success(), "{}", err(&copied));
    assert_eq!(sql("select count(*), sum(n), sum(length(words)) from line"), "100000|4999950000|9000000");
    let back = run(
        "psql",
        &psql(&web, &["-c", "copy (select lpad(n::text, 8, '0'), words from line order by n) to stdout"]),
    );
    assert!(back.status.success(), "{}", err(&back));
    assert!(out(&back) == table, "{} bytes came back, or other ones", back.stdout.len());
    // What a transaction did is seen by others once it ends, over connections of their own.
    sql("begin; delete from line where n % 2 = 0; commit");
    assert_eq!(sql("select count(*) from line"), "50000");
    let wrong = run("psql", &psql(&web, &["-c", "select * from nowhere"]));
    assert!(!wrong.status.success() && err(&wrong).contains("nowhere"), "{}", err(&wrong));
}

#[test]
fn postgres_connections_find_the_second_server_when_the_first_dies() {
    let (dir, before) = match cluster() {
        Ok(cluster) => cluster,
        Err(reason) => skip!("{reason}"),
    };
    let data = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    ask("cp", &["-a", &data("data"), &data("other")]);
    let ports = [reserve_port(), reserve_port()];
    let first = Postgres::start(&dir, &before, &ports[0], "data", "first");
    let second = Postgres::start(&dir, &before, &ports[1], "other", "second");
    let more = "algorithm = \"first\"\npassive = { eject_for = \"200ms\", max_eject_for = \"200ms\" }\n\
                health = { check = \"tcp\", interval = \"200ms\", timeout = \"200ms\" }";
    let proxy = start(&tcp(&[first.addr, second.addr], more));
    let web = proxy.listener_addr("web").port().to_string();
    let who = || ask("psql", &psql(&web, &["-c", "show cluster_name"]));
    assert_eq!((0..3).map(|_| who()).collect::<Vec<_>>(), ["first"; 3]);
    // A session that is open when its server dies is told so, and does not hang.
    let open = std::thread::scope(|scope| {
        let open = scope.spawn(|| run("psql", &psql(&web, &["-c", "select pg_sleep(20)"])));
        wait_until("the session", PATIENCE, || {
            let waiting = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
            ask("psql", &psql(&web, &["-c", waiting])) == "1"
        });
        first.kill();
        open.join().unwrap()
    });
    assert!(!open.status.success(), "{}", out(&open));
    assert_eq!((0..20).map(|_| who()).collect::<Vec<_>>(), ["second"; 20]);
    println!("postgres: 20 connections after the death of a server, 0 failed");
    let _first = Postgres::start(&dir, &before, &ports[0], "data", "first");
    wait_until("the first to serve again", PATIENCE, || who() == "first");
}

//! Unix sockets, IPv4 and IPv6: any mix of them, and what becomes of a socket's file.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use evenkeel_testkit::{Addr, Evenkeel, Launch, TempDir, signal};

use crate::peers::{End, PATIENCE, Server, ask, connect, line, listener, read_to_end, receive_all, send};
use crate::support::{BIN, start};

/// A listener `web` on `bind` before one target.
fn bound_to(bind: &str, target: &Addr) -> String {
    format!(
        "[workers]\ncount = 2\n[listener.web]\nbind = \"{bind}\"\nprotocol = \"tcp\"\npool = \"app\"\n\
         [pool.app]\ntargets = [\"{target}\"]\n"
    )
}

/// The addresses of the listener `web`, as the API shows them.
fn bound(proxy: &Evenkeel) -> Vec<String> {
    let bound = listener(proxy)["bound"].clone();
    bound.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn address(text: &str) -> Addr {
    match text.strip_prefix("unix:") {
        Some(path) => Addr::Unix(path.into()),
        None => Addr::Tcp(text.parse().unwrap()),
    }
}

#[test]
fn every_kind_of_listener_reaches_every_kind_of_target() {
    let dir = TempDir::new();
    let tcp = |text: &str| Addr::Tcp(text.parse::<SocketAddr>().unwrap());
    let targets = [tcp("127.0.0.1:0"), tcp("[::1]:0"), Addr::Unix(dir.path().join("target.sock"))];
    for target in &targets {
        // Both directions at once end in order, however large: 3 MiB is spliced where it can be.
        let server = Server::start_on(target, |mut call| {
            let (request, end) = read_to_end(&mut call.stream);
            assert_eq!(end, End::Fin);
            send(&mut call.stream, request.len() as u64, 3 << 20).unwrap();
        });
        for bind in ["127.0.0.1:0", "[::1]:0", "unix:{dir}/web.sock"] {
            let proxy = start(&bound_to(bind, server.addr()));
            for request in [0, 10, 2 << 20] {
                let mut client = connect(address(&bound(&proxy)[0]));
                send(&mut client, 1, request).unwrap();
                client.shutdown(Shutdown::Write);
                let answer = receive_all(&mut client, request, 3 << 20);
                assert_eq!(answer, Ok(()), "{bind} to {}, {request} bytes", server.addr());
            }
        }
    }
}

#[test]
fn one_listener_has_addresses_of_every_kind() {
    let server = Server::echo("a");
    let config = bound_to("", server.addr()).replace(
        "bind = \"\"",
        "bind = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:{dir}/web.sock\", \"127.0.0.2:0\"]",
    );
    let proxy = start(&config);
    let bound = bound(&proxy);
    assert_eq!(bound.len(), 4, "{bound:?}");
    for addr in &bound {
        assert_eq!(line(&mut connect(address(addr))), "a", "{addr}");
    }
}

#[test]
fn one_pool_has_targets_of_every_kind() {
    let dir = TempDir::new();
    let six: SocketAddr = "[::1]:0".parse().unwrap();
    let servers = [
        Server::echo("four"),
        Server::echo_on(&six.into(), "six"),
        Server::echo_on(&Addr::Unix(dir.path().join("target.sock")), "unix"),
    ];
    let proxy = start(&crate::support::tcp(&servers.each_ref().map(Server::addr), ""));
    let names: Vec<_> = (0..6).map(|_| line(&mut connect(proxy.listener_addr("web")))).collect();
    assert_eq!(names, ["four", "six", "unix", "four", "six", "unix"]);
}

#[test]
fn a_port_alone_is_every_address_of_both_families() {
    let server = Server::echo("a");
    let proxy = start(&bound_to(":0", server.addr()));
    let bound = bound(&proxy);
    let port = bound[0].strip_prefix(':').unwrap_or_else(|| panic!("{bound:?}"));
    for host in ["127.0.0.1", "127.0.0.5", "[::1]"] {
        let addr = address(&format!("{host}:{port}"));
        assert_eq!(line(&mut connect(addr)), "a", "{host}");
    }
    // An IPv4 client is one, though the socket is of the other family.
    let mut client = connect(address(&format!("127.0.0.1:{port}")));
    assert_eq!(line(&mut client), "a");
    let all = proxy.admin_json("/api/v1/connections");
    let shown =
        all.as_array().unwrap().iter().any(|one| one["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(shown, "{all}");
}

#[test]
fn a_client_of_a_unix_socket_can_half_close() {
    let server = Server::start(|mut call| {
        let words = read_to_end(&mut call.stream).0;
        call.stream.write_all(&words).unwrap();
    });
    let proxy = start(&bound_to("unix:{dir}/web.sock", server.addr()));
    let mut client = connect(Addr::Unix(proxy.dir().join("web.sock")));
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write);
    assert_eq!(read_to_end(&mut client), (b"hello".to_vec(), End::Fin));
}

#[test]
fn f30_the_socket_of_a_crashed_process_is_taken_over() {
    let (dir, server) = (TempDir::new(), Server::echo("a"));
    let path = dir.path().join("web.sock");
    let config = bound_to(&format!("unix:{}", path.display()), server.addr());
    let crashed = start(&config);
    assert_eq!(line(&mut connect(Addr::Unix(path.clone()))), "a");
    crashed.signal(signal::SIGKILL);
    crashed.wait_exit(PATIENCE);
    assert!(is_socket(&path), "a killed process cannot clean up");
    let _next = start(&config);
    let mut client = connect(Addr::Unix(path));
    assert_eq!(line(&mut client), "a");
    assert_eq!(ask(&mut client, "x"), "x");
}

#[test]
fn the_socket_of_a_living_process_is_left_alone() {
    let (dir, server) = (TempDir::new(), Server::echo("a"));
    let path = dir.path().join("web.sock");
    let config = bound_to(&format!("unix:{}", path.display()), server.addr());
    let _first = start(&config);
    let failed = Launch::new(BIN, &config).try_start().err().unwrap();
    assert_eq!(failed.status.and_then(|status| status.code()), Some(1), "{failed}");
    let wanted = format!("cannot listen on unix:{}: ", path.display());
    assert!(failed.stderr.contains(&wanted), "{failed}");
    assert!(failed.stderr.contains("another process listens there"), "{failed}");
    // The one that lives has lost nothing.
    assert_eq!(line(&mut connect(Addr::Unix(path))), "a");
}

#[test]
fn a_socket_of_some_other_server_is_left_alone() {
    let (dir, server) = (TempDir::new(), Server::echo("a"));
    let path = dir.path().join("other.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let config = bound_to(&format!("unix:{}", path.display()), server.addr());
    let failed = Launch::new(BIN, &config).try_start().err().unwrap();
    assert!(failed.stderr.contains("another process listens there"), "{failed}");
    assert!(is_socket(&path));
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let (dir, server) = (TempDir::new(), Server::echo("a"));
    let path = dir.write("precious", "do not delete");
    let failed = Launch::new(BIN, &bound_to(&format!("unix:{}", path.display()), server.addr())).try_start();
    let failed = failed.err().unwrap();
    assert!(failed.stderr.contains("not a socket"), "{failed}");
    assert_eq!(fs::read_to_string(path).unwrap(), "do not delete");
}

#[test]
fn the_file_is_removed_at_exit() {
    let server = Server::echo("a");
    let proxy = start(&bound_to("unix:{dir}/web.sock", server.addr()));
    let path = proxy.dir().join("web.sock");
    assert!(is_socket(&path));
    proxy.signal(signal::SIGTERM);
    assert!(proxy.wait_exit(Duration::from_secs(10)).success());
    assert!(!path.exists());
    assert!(!proxy.dir().join("admin.sock").exists());
}

#[test]
fn the_file_is_removed_with_its_listener_and_moves_with_it() {
    let server = Server::echo("a");
    let proxy = start(&bound_to("unix:{dir}/one.sock", server.addr()));
    let (one, two) = (proxy.dir().join("one.sock"), proxy.dir().join("two.sock"));
    let mut flow = connect(Addr::Unix(one.clone()));
    assert_eq!(line(&mut flow), "a");
    proxy.write_config(&bound_to("unix:{dir}/two.sock", server.addr()));
    assert_eq!(proxy.admin("POST", "/api/v1/reload", "").0, 200);
    assert!(!one.exists() && is_socket(&two));
    assert_eq!(line(&mut connect(Addr::Unix(two))), "a");
    assert_eq!(ask(&mut flow, "I came by the first one"), "I came by the first one");
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

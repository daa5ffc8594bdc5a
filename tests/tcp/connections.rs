//! The list of connections, and closing one of them.

use std::process::Command;
use std::time::Duration;

use evenkeel_testkit::{Evenkeel, Stream, wait_until};
use serde_json::Value;

use crate::peers::{
    End, PATIENCE, Server, ask, connect, ended, in_flight, line, listener, read_to_end, receive, send,
};
use crate::support::{BIN, start, tcp};

fn list(proxy: &Evenkeel) -> Vec<Value> {
    proxy.admin_json("/api/v1/connections").as_array().unwrap().clone()
}

#[test]
fn a_connection_is_listed_with_its_target_and_its_bytes() {
    let server = Server::echo("a");
    let proxy = start(&tcp(&[server.addr()], ""));
    assert_eq!(list(&proxy), Vec::<Value>::new());
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(line(&mut client), "a");
    send(&mut client, 1, 100_000).unwrap();
    assert_eq!(receive(&mut client, 1, 100_000), Ok(()));
    let all = list(&proxy);
    assert_eq!(all.len(), 1);
    let one = &all[0];
    assert_eq!(one["listener"], "web");
    assert_eq!(one["target"], server.addr().to_string());
    assert!(one["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{one}");
    wait_until("all bytes to be counted", PATIENCE, || {
        let one = &list(&proxy)[0];
        one["bytes_in"] == 100_000 && one["bytes_out"] == 100_002
    });
    drop(client);
    wait_until("an empty list", PATIENCE, || list(&proxy).is_empty());
}

#[test]
fn bytes_are_shown_while_a_long_flow_runs() {
    let server = Server::start(|mut call| while send(&mut call.stream, 1, 1 << 20).is_ok() {});
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    for received in (4..=20_u64).step_by(4).map(|mib| mib << 20) {
        for _ in 0..4 {
            assert_eq!(receive(&mut client, 1, 1 << 20), Ok(()));
        }
        wait_until("what was received to be shown", PATIENCE, || {
            list(&proxy)[0]["bytes_out"].as_u64().unwrap() >= received
        });
    }
}

/// The connection that `close` closes ends on both sides, and no other one.
fn closing(close: impl Fn(&Evenkeel, &str)) {
    let server = Server::echo("a");
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut clients: Vec<Stream> = (0..3).map(|_| connect(proxy.listener_addr("web"))).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(line(client), "a");
        // The second is known by what it sent.
        for _ in 0..n {
            assert_eq!(ask(client, "x"), "x");
        }
    }
    let second = list(&proxy).into_iter().find(|one| one["bytes_in"] == 2).unwrap();
    close(&proxy, second["id"].as_str().unwrap());
    // Not an end in order: neither side can take its part for the whole.
    assert_eq!(read_to_end(&mut clients[1]), (vec![], End::Reset));
    wait_until("the server to see it", PATIENCE, || server.open() == 2);
    wait_until("the reason", PATIENCE, || ended(&proxy, "closed-by-admin") == 1);
    assert_eq!((list(&proxy).len(), in_flight(&proxy), listener(&proxy)["open"].as_u64()), (2, 2, Some(2)));
    assert!(list(&proxy).iter().all(|one| one["id"] != second["id"]));
    assert_eq!(ask(&mut clients[0], "still here"), "still here");
    assert_eq!(ask(&mut clients[2], "still here"), "still here");
}

#[test]
fn the_api_closes_one_connection() {
    closing(|proxy, id| {
        let path = format!("/api/v1/connections/{id}");
        assert_eq!(proxy.admin("DELETE", &path, "").0, 204);
        wait_until("it to be gone", PATIENCE, || proxy.admin("DELETE", &path, "").0 == 404);
    });
}

#[test]
fn the_command_line_closes_one_connection() {
    closing(|proxy, id| {
        let api = proxy.admin_addr().to_string();
        let said = Command::new(BIN).args(["connection", "close", id, "--api", &api]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    });
}

#[test]
fn a_connection_that_waits_or_dials_can_be_closed() {
    let deaf = crate::peers::Blackhole::start();
    let proxy = start(&tcp(&[deaf.addr()], "connect_timeout = \"15s\""));
    let mut client = connect(proxy.listener_addr("web"));
    wait_until("the connection", PATIENCE, || list(&proxy).len() == 1);
    let one = &list(&proxy)[0];
    assert_eq!((one["target"].clone(), one["bytes_in"].as_u64()), (Value::Null, Some(0)));
    let path = format!("/api/v1/connections/{}", one["id"].as_str().unwrap());
    assert_eq!(proxy.admin("DELETE", &path, "").0, 204);
    let started = std::time::Instant::now();
    assert_ne!(read_to_end(&mut client).1, End::Late);
    assert!(started.elapsed() < Duration::from_secs(5));
    wait_until("no place taken", PATIENCE, || in_flight(&proxy) == 0 && list(&proxy).is_empty());
}

#[test]
fn an_id_that_is_none_is_refused() {
    let server = Server::echo("a");
    let proxy = start(&tcp(&[server.addr()], ""));
    for (id, status) in [("0-999999", 404), ("999-1", 404), ("x", 400), ("0-", 400), ("-1", 400)] {
        assert_eq!(proxy.admin("DELETE", &format!("/api/v1/connections/{id}"), "").0, status, "{id}");
    }
}

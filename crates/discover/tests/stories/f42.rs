//! F42: DNS that says no, nothing, too much, or something that is not true.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use evenkeel_state::Standing;

use crate::server::{CNAME, Query, Record, Server, a, aaaa};
use crate::world::{World, standing, wait_for};

/// Names that are asked for twice more (A and AAAA, at least) have met what the server now does.
async fn asked_twice_more(server: &Server, hosts: &[&str]) {
    let before: Vec<usize> = hosts.iter().map(|host| server.count(host)).collect();
    for (host, before) in hosts.iter().zip(before) {
        wait_for("the name is asked for again", || server.count(host) >= before + 4).await;
    }
}

#[tokio::test]
async fn f42_both_families_are_found_and_sorted() {
    let server = Server::good(|| {
        vec![a(60, "10.0.0.2"), aaaa(60, "2001:db8::1"), a(60, "10.0.0.1"), a(60, "10.0.0.2")]
    });
    let world = World::new(server.addr, "", &["app.test"]);
    world.until("app.test", &["10.0.0.1", "10.0.0.2", "2001:db8::1"]).await;
    assert_eq!(standing(&world.registry, "app.test"), Standing::Available);
}

#[tokio::test]
async fn f42_aliases_lead_to_addresses() {
    // app.test is an alias of x.app.test, whose address is in the same answer.
    let server = Server::new(|query| {
        let mut packet =
            query.reply(&[Record { record_type: CNAME, ttl: 60, value: b"\x01x\xc0\x0c".to_vec() }]);
        if query.record_type == 1 {
            packet[7] = 2;
            packet.extend(b"\x01x\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x09");
        }
        vec![packet]
    });
    let world = World::new(server.addr, "timeout = \"2s\"", &["app.test"]);
    world.until("app.test", &["10.0.0.9"]).await;
}

/// Every way to say no, each under a name of its own.
fn refused_by_name(query: &Query) -> Vec<Vec<u8>> {
    match query.name.as_str() {
        "nxdomain.test" => vec![query.refusal(3)],
        "servfail.test" => vec![query.refusal(2)],
        "refused.test" => vec![query.refusal(5)],
        "empty.test" => vec![query.reply(&[])],
        "blocked.test" => vec![query.reply(&[a(60, "0.0.0.0"), aaaa(60, "::")])],
        _ => vec![],
    }
}

#[tokio::test]
async fn f42_a_bad_answer_never_replaces_a_good_one() {
    let hosts =
        ["nxdomain.test", "servfail.test", "refused.test", "empty.test", "blocked.test", "silent.test"];
    let server = Server::good(|| vec![a(1, "10.0.0.1"), aaaa(1, "2001:db8::1")]);
    let world = World::new(server.addr, "timeout = \"100ms\"", &hosts);
    for host in hosts {
        world.until(host, &["10.0.0.1", "2001:db8::1"]).await;
    }
    server.change(refused_by_name);
    let generation = world.registry.snapshot().generation;
    asked_twice_more(&server, &hosts).await;
    for host in hosts {
        assert_eq!(world.addresses(host), ["10.0.0.1", "2001:db8::1"], "{host}");
    }
    assert_eq!(world.registry.snapshot().generation, generation, "nothing changed, nothing was published");
    server.change(|query| vec![query.reply(&[a(1, "10.0.0.2")])]);
    for host in hosts {
        world.until(host, &["10.0.0.2"]).await;
    }
}

#[tokio::test]
async fn f42_a_name_that_never_resolved_blocks_nobody() {
    let server = Server::new(|query| match query.name.as_str() {
        "good.test" => vec![query.reply(&[a(60, "10.0.0.1")])],
        _ => refused_by_name(query),
    });
    let hosts = ["silent.test", "nxdomain.test", "blocked.test", "good.test"];
    let world = World::new(server.addr, "timeout = \"5s\"", &hosts);
    world.until("good.test", &["10.0.0.1"]).await;
    for host in &hosts[..3] {
        assert_eq!(standing(&world.registry, host), Standing::Unresolved, "{host}");
    }
    wait_for("an answer without addresses is known", || {
        world.registry.addresses("nxdomain.test").is_some_and(|known| known.is_empty())
    })
    .await;
}

#[tokio::test]
async fn f42_a_family_that_fails_keeps_its_addresses_and_does_not_hold_back_the_other() {
    let server = Server::good(|| vec![a(1, "10.0.0.1"), aaaa(1, "2001:db8::1")]);
    let world = World::new(server.addr, "timeout = \"100ms\"", &["app.test"]);
    world.until("app.test", &["10.0.0.1", "2001:db8::1"]).await;
    server.change(|query| match query.record_type {
        1 => vec![query.reply(&[a(1, "10.0.0.2")])],
        _ => vec![],
    });
    world.until("app.test", &["10.0.0.2", "2001:db8::1"]).await;
    server.change(|query| vec![query.reply(&[a(1, "10.0.0.2")])]);
    world.until("app.test", &["10.0.0.2"]).await;
}

#[tokio::test]
async fn f42_a_ttl_of_zero_does_not_mean_all_the_time() {
    let server = Server::good(|| vec![a(0, "10.0.0.1")]);
    let settings = "min_ttl = \"100ms\"\nmax_ttl = \"5m\"";
    let world = World::new(server.addr, settings, &["app.test"]);
    world.until("app.test", &["10.0.0.1"]).await;
    let (began, before) = (Instant::now(), server.count("app.test"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = server.count("app.test") - before;
    // A and AAAA each 100 ms; twice that, should a machine that is busy make us ask again.
    let most = 4 * (began.elapsed().as_millis() as usize / 100 + 1);
    assert!((2..=most).contains(&count), "{count} of {most}");
}

#[tokio::test]
async fn f42_a_long_ttl_is_cut() {
    let server = Server::good(|| vec![a(86_400, "10.0.0.1")]);
    let world = World::new(server.addr, "max_ttl = \"100ms\"", &["app.test"]);
    world.until("app.test", &["10.0.0.1"]).await;
    server.change(|query| vec![query.reply(&[a(86_400, "10.0.0.2")])]);
    world.until("app.test", &["10.0.0.2"]).await;
}

#[tokio::test]
async fn f42_a_rotation_is_no_change() {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(move |query| {
        let mut records = vec![a(0, "10.0.0.1"), a(0, "10.0.0.2"), a(0, "10.0.0.3")];
        records.rotate_left(turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3);
        vec![query.reply(&records)]
    });
    let world = World::new(server.addr, "", &["app.test"]);
    world.until("app.test", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    let generation = world.registry.snapshot().generation;
    asked_twice_more(&server, &["app.test"]).await;
    asked_twice_more(&server, &["app.test"]).await;
    assert_eq!(world.registry.snapshot().generation, generation);
}

/// `10.0.0.0`, `10.0.0.1`, … backwards.
fn thousand(query: &Query) -> Vec<u8> {
    let record = |n: u32| a(60, &Ipv4Addr::from_bits(0x0a00_0000 + n).to_string());
    query.reply(&(0..1000).rev().map(record).collect::<Vec<_>>())
}

#[tokio::test]
async fn f42_a_thousand_answers_come_over_tcp_and_are_bounded() {
    let server = Server::new(|query| match query.over_tcp {
        true => vec![thousand(query)],
        false => vec![query.truncated()],
    });
    let world = World::new(server.addr, "timeout = \"5s\"\nmax_addresses = 3", &["app.test"]);
    world.until("app.test", &["10.0.0.0", "10.0.0.1", "10.0.0.2"]).await;
    assert!(server.asked().iter().any(|query| query.over_tcp));
}

#[tokio::test]
async fn f42_a_thousand_answers_in_one_packet_do_no_harm() {
    // Larger than any reader expects: cut by the receiver, which must see that it is no answer.
    let server = Server::new(|query| match query.name.as_str() {
        "huge.test" => vec![thousand(query)],
        _ => vec![query.reply(&[a(60, "10.0.0.1")])],
    });
    let world = World::new(server.addr, "timeout = \"200ms\"", &["huge.test", "app.test"]);
    asked_twice_more(&server, &["huge.test"]).await;
    world.until("app.test", &["10.0.0.1"]).await;
    assert_eq!(standing(&world.registry, "huge.test"), Standing::Unresolved);
}

#[tokio::test]
async fn f42_answers_with_a_wrong_id_or_a_wrong_question_are_ignored() {
    let server = Server::new(|query| {
        let spoofed = || query.reply(&[a(60, "10.6.6.6"), aaaa(60, "2001:db8::666")]);
        let (mut id, mut question) = (spoofed(), spoofed());
        id[1] ^= 1;
        question[13] ^= 1;
        vec![id, question, query.reply(&[a(60, "10.0.0.1")])]
    });
    let world = World::new(server.addr, "timeout = \"5s\"", &["app.test"]);
    world.until("app.test", &["10.0.0.1"]).await;
    asked_twice_more(&server, &["app.test"]).await;
    assert_eq!(world.addresses("app.test"), ["10.0.0.1"]);
}

#[tokio::test]
async fn f42_garbage_is_survived() {
    let server = Server::new(|query| {
        let good = query.reply(&[a(60, "10.0.0.1"), aaaa(60, "2001:db8::1")]);
        let id = &good[..2];
        let with_id = |rest: &[u8]| [id, rest].concat();
        match query.name.as_str() {
            "short.test" => vec![vec![], vec![7], id.to_vec(), with_id(&[0x81])],
            "noise.test" => vec![with_id(&[0xa5; 400]), vec![0xff; 512]],
            // A name that points to itself.
            "loop.test" => {
                vec![with_id(b"\x81\x80\0\x01\0\x01\0\0\0\0\xc0\x0c\0\x01\0\x01\xc0\x0c\0\x01\0\x01")]
            }
            // More records than there are bytes; a record longer than the packet.
            "counts.test" => vec![{
                let mut packet = good.clone();
                packet[6..8].copy_from_slice(&[0xff, 0xff]);
                packet
            }],
            "length.test" => vec![good[..good.len() - 2].to_vec()],
            // A query instead of an answer, and an answer without its question.
            "query.test" => {
                vec![query.reply(&[]).iter().enumerate().map(|(n, b)| if n == 2 { 1 } else { *b }).collect()]
            }
            "bare.test" => vec![with_id(b"\x81\x80\0\0\0\0\0\0\0\0")],
            _ => vec![good],
        }
    });
    let hosts = [
        "short.test",
        "noise.test",
        "loop.test",
        "counts.test",
        "length.test",
        "query.test",
        "bare.test",
        "good.test",
    ];
    let world = World::new(server.addr, "timeout = \"200ms\"", &hosts);
    asked_twice_more(&server, &hosts[..7]).await;
    for host in &hosts[..7] {
        assert_eq!(standing(&world.registry, host), Standing::Unresolved, "{host}");
    }
    world.until("good.test", &["10.0.0.1", "2001:db8::1"]).await;
    server.change(|query| vec![query.reply(&[a(60, "10.0.0.2")])]);
    for host in hosts {
        world.until(host, &["10.0.0.2"]).await;
    }
}

#[tokio::test]
async fn f42_garbage_over_tcp_is_survived() {
    let server = Server::new(|query| match (query.over_tcp, query.name.as_str()) {
        (false, _) => vec![query.truncated()],
        (true, "noise.test") => vec![vec![0xa5; 300], vec![], vec![1]],
        (true, "bare.test") => vec![[&query.reply(&[])[..2], b"\x81\x80\0\0\0\0\0\0\0\0"].concat()],
        (true, "again.test") => vec![query.truncated()],
        (true, _) => vec![query.reply(&[a(60, "10.0.0.1")])],
    });
    let hosts = ["noise.test", "bare.test", "again.test", "good.test"];
    let world = World::new(server.addr, "timeout = \"300ms\"", &hosts);
    world.until("good.test", &["10.0.0.1"]).await;
    asked_twice_more(&server, &hosts[..3]).await;
    for host in &hosts[..3] {
        assert_eq!(standing(&world.registry, host), Standing::Unresolved, "{host}");
    }
    server.change(|query| vec![query.reply(&[a(60, "10.0.0.2")])]);
    for host in hosts {
        world.until(host, &["10.0.0.2"]).await;
    }
}

#[tokio::test]
async fn f42_a_name_server_that_is_not_there_is_one_that_comes_back() {
    let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let server = Server::good(|| vec![a(60, "10.0.0.1")]);
    let world = World::new(gone, "timeout = \"200ms\"", &["app.test"]);
    wait_for("the failure is known", || world.registry.addresses("app.test").is_some()).await;
    assert_eq!(standing(&world.registry, "app.test"), Standing::Unresolved);
    // With a second name server, the dead one costs time, and no answer.
    let both = format!("timeout = \"2s\"\n# {gone}");
    let mut config = crate::world::config(server.addr, &both, &["app.test"]);
    config.resolver.nameservers.insert(0, gone);
    world.registry.apply(config);
    world.until("app.test", &["10.0.0.1"]).await;
}

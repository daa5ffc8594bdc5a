//! HAProxy behind the HTTP plane: two balancers in a row.

use evenkeel_testkit::{
    Load, LoadPlan, Origin, Peer, Ready, ReservedPort, TempDir, judge, reserve_port, signal, skip,
};

use crate::support::{http, start};
use crate::world::path_of;

#[test]
fn nothing_is_lost_in_a_chain_with_haproxy_while_an_origin_dies_and_returns() {
    let Some(haproxy) = path_of("haproxy") else { skip!("haproxy is not installed") };
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let (dir, ports) = (TempDir::new(), [reserve_port(), reserve_port()]);
    let haproxies: Vec<Peer> = ports
        .iter()
        .enumerate()
        .map(|(n, port)| {
            let conf = format!(
                "defaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
                 frontend f\n bind {}\n default_backend b\n\
                 backend b\n option redispatch\n retry-on all-retryable-errors\n server a {}\n server b {}\n",
                port.addr(),
                a.addr(),
                b.addr()
            );
            let conf = dir.write(&format!("{n}.cfg"), &conf);
            Peer::start(&haproxy, &["-db", "-f", conf.to_str().unwrap()], &Ready::Accepts(port.addr().into()))
        })
        .collect();
    let proxy = start(&http(&ports.each_ref().map(ReservedPort::addr), "connect_timeout = \"1s\""));
    let plan = LoadPlan {
        connections: 8,
        methods: vec!["GET", "PUT", "HEAD"],
        body_bytes: 2000,
        answer_bytes: 4000,
        ..LoadPlan::default()
    };
    let load = Load::start(proxy.listener_addr("web"), plan);
    load.wait_answers(500);
    // One of the two that are behind us; what it was about to answer is asked again of the other.
    haproxies[0].signal(signal::SIGKILL);
    load.wait_answers(1000);
    let client = load.stop();
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("a chain with HAProxy");
    assert!(client.answers_of("a") > 0 && client.answers_of("b") > 0);
}

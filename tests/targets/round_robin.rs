//! Equal weights take exact turns over all workers; weights give exact proportions.

use evenkeel_testkit::{Load, LoadPlan, Origin, judge};

use crate::support::{http, start};

#[test]
fn equal_weights_take_exact_turns_over_all_workers() {
    let (a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let proxy = start(&http(&[a.addr(), b.addr(), c.addr()], ""));
    let plan = LoadPlan { connections: 6, requests: Some(600), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[a.journal(), b.journal(), c.journal()]).assert_all_answered("round robin");
    assert_eq!(["a", "b", "c"].map(|name| client.answers_of(name)), [200, 200, 200]);
}

#[test]
fn one_client_sees_the_origins_alternate() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    for turn in 0..10 {
        let plan = LoadPlan { requests: Some(1), ..LoadPlan::default() };
        let client = Load::run(proxy.listener_addr("web"), plan);
        let expected = if turn % 2 == 0 { [1, 0] } else { [0, 1] };
        assert_eq!(["a", "b"].map(|name| client.answers_of(name)), expected, "turn {turn}");
    }
}

#[test]
fn weights_give_exact_proportions() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let targets = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n[pool.app]\n\
         targets = [{{ address = \"{}\", weight = 3 }}, \"{}\"]\n",
        a.addr(),
        b.addr()
    );
    let proxy = start(&targets);
    let plan = LoadPlan { connections: 4, requests: Some(400), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("weights");
    assert_eq!(["a", "b"].map(|name| client.answers_of(name)), [300, 100]);
}

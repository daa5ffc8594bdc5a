//! F38: the ephemeral ports run out. Connections that stand are used, the refusal has a name, and it passes.

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_testkit::{Hang, Launch, Load, LoadPlan, Netns, Origin, judge, skip, wait_until};

use crate::support::BIN;
use crate::world::{Kept, events, number, target};

const PORTS: usize = 100;

/// A namespace with a hundred ephemeral ports, and a cable to ours: its address, and our end's.
fn cramped() -> Result<(Netns, String, String), String> {
    let netns = Netns::new()?;
    // 198.18.0.0/15 is set aside for benchmarks (RFC 2544); two bytes of it are ours by our process id.
    let pid = std::process::id();
    let net = format!("198.{}.{}", 18 + pid / 256 % 2, pid % 256);
    netns.connect_host(&format!("{net}.2/24"), &format!("{net}.1/24"))?;
    let range = format!("echo 20000 {} > /proc/sys/net/ipv4/ip_local_port_range", 20_000 + PORTS - 1);
    let set = netns.command("sh").args(["-c", &range]).output().map_err(|error| error.to_string())?;
    if !set.status.success() {
        return Err(String::from_utf8_lossy(&set.stderr).into_owned());
    }
    Ok((netns, format!("{net}.2"), format!("{net}.1")))
}

#[test]
fn f38_without_ports_connections_are_reused_the_refusal_is_named_and_it_passes() {
    let (netns, inside, outside) = match cramped() {
        Ok(cramped) => cramped,
        Err(error) => skip!("no network namespace: {error}"),
    };
    let at = |host: &str| SocketAddr::new(host.parse().unwrap(), 0);
    let (a, b) = (Origin::start_on("a", at(&outside), 1024), Origin::start_on("b", at(&outside), 1024));
    let (first, second) = (a.addr().to_string(), b.addr().to_string());
    let config = format!(
        "[workers]\ncount = 2\n[listener.web]\nbind = \"{inside}:8080\"\nprotocol = \"http\"\npool = \"app\"\n\
         [listener.web.timeouts]\nresponse = \"60s\"\n\
         [pool.app]\ntargets = [\"{first}\", \"{second}\"]\n"
    );
    let proxy = Launch::new(BIN, &config).wrap(&netns.wrap()).start();
    let web = SocketAddr::new(inside.parse().unwrap(), 8080);

    // Far more requests than ports, one after the other: nobody dials for each.
    let plan = LoadPlan { connections: 8, requests: Some(2_000), ..LoadPlan::default() };
    judge(&Load::run(web, plan.clone()), &[a.journal(), b.journal()]).assert_all_answered("F38 reuse");
    let connects = a.journal().connections() + b.journal().connections();
    assert!(connects <= 40, "{connects} connections for 2,000 requests");

    // A port is taken per connection and target. All are, and then some ask for more.
    for origin in [&a, &b] {
        origin.set(|behaviour| behaviour.hang = Some(Hang::Answer));
    }
    let before = a.journal().len() + b.journal().len();
    let mut waiting: Vec<Kept> = Vec::new();
    let mut refused = 0;
    for n in 0..2 * PORTS + 30 {
        let mut client = Kept::connect(web);
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let arrived = || a.journal().len() + b.journal().len() - before;
        let mine = waiting.len() + 1;
        let mut client = std::cell::RefCell::new(client);
        wait_until("the request to arrive, or to be refused", Duration::from_secs(10), || {
            arrived() >= mine || client.borrow_mut().stirs()
        });
        if arrived() >= mine {
            waiting.push(client.into_inner());
            continue;
        }
        let answer = client.get_mut().answer().unwrap();
        let reason = answer.header("x-evenkeel-reason");
        assert_eq!((answer.status, reason), (503, Some("local-ports-exhausted")), "request {n}: {answer:?}");
        refused += 1;
    }
    println!("F38: {} requests at once, {refused} refused", waiting.len());
    assert!(waiting.len() > PORTS && refused >= 30, "{} at once, {refused} refused", waiting.len());
    let counted = proxy.metric("evenkeel_ends_total", &[r#"reason="local-ports-exhausted""#]);
    assert_eq!(counted as usize, refused);
    for address in [&first, &second] {
        let seen = target(&proxy, "app", address);
        assert_eq!((&seen["state"], number(&seen["failures_in_a_row"])), (&"up".into(), 0), "{seen}");
    }
    let ejected = events(&proxy).iter().filter(|event| event["to"] == "ejected").count();
    assert_eq!(ejected, 0, "our own shortage was held against a target");

    // Everyone who was let through has the answer, and those who come now are served.
    a.behave();
    b.behave();
    for client in &mut waiting {
        assert_eq!(client.answer().unwrap().status, 200);
    }
    drop(waiting);
    judge(&Load::run(web, plan), &[a.journal(), b.journal()]).assert_all_answered("F38 after");
}

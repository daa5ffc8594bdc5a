//! What targets are told of the client: on every request, by us, and by nobody else.

use evenkeel_testkit::{Addr, AfterScript, AnswerStyle, Entry, Origin};

use crate::support::{http, start};
use crate::talk::Client;

const TOLD: [&str; 4] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];

/// The values of every field of that name, as the origin saw them.
fn values<'e>(entry: &'e Entry, name: &str) -> Vec<&'e str> {
    let fields = &entry.head.as_ref().unwrap().headers;
    let named = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

#[track_caller]
fn assert_told(entry: &Entry, expected: [&str; 4]) {
    for (name, value) in TOLD.iter().zip(expected) {
        assert_eq!(values(entry, name), [value], "{name} of {}", entry.path);
    }
}

const OURS: [&str; 4] =
    ["127.0.0.1", "http", "a.example:80", "for=127.0.0.1;host=\"a.example:80\";proto=http"];

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /admin\r\nX-Forwarded-User: root\r\n\
    X-Forwarded-Client-Cert: x\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;proto=https\r\n";

fn trusting(targets: &[&Addr]) -> String {
    http(targets, "[listener.web.http]\ntrust_forwarded = true")
}

#[test]
fn every_request_of_a_connection_is_told_of() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for n in 0..20 {
        let (method, body) = [("GET", ""), ("POST", "content-length: 0\r\n"), ("HEAD", "")][n % 3];
        let spoofed = if n % 2 == 0 { SPOOFED } else { "" };
        client.send(format!("{method} /{n} HTTP/1.1\r\nhost: a.example:80\r\n{body}{spoofed}\r\n"));
        assert_eq!(client.answer(method).status, 200);
        assert_told(&origin.journal().last().unwrap(), OURS);
    }
    let pipelined: String =
        (20..40).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a.example:80\r\n\r\n")).collect();
    client.send(pipelined);
    (20..40).for_each(|_| assert_eq!(client.answer("GET").status, 200));
    let entries = origin.journal().entries();
    entries.iter().for_each(|entry| assert_told(entry, OURS));
    println!("forwarded: N={} told={}", entries.len(), entries.len());
    assert_eq!(entries.len(), 40);
}

#[test]
fn rule_11_nothing_a_client_says_of_itself_is_believed() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let aliases = "X_Forwarded_For: 6.6.6.6\r\nx_forwarded-host: evil\r\nX-Forwarded_Proto: https\r\nX_Real_IP: 6.6.6.6\r\n\
        x.forwarded.for: 6.6.6.6\r\nX_FORWARDED_PREFIX: /admin\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\
        Proxy: http://evil.example/\r\n";
    client.send(format!(
        "GET / HTTP/1.1\r\nhost: a.example:80\r\n{SPOOFED}{aliases}x-own: kept\r\nx_own: kept, too\r\n\r\n"
    ));
    assert_eq!(client.answer("GET").status, 200);
    let seen = origin.journal().last().unwrap();
    assert_told(&seen, OURS);
    let mut left: Vec<String> =
        seen.head.as_ref().unwrap().headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    left.sort_unstable();
    let expected =
        ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-own", "x_own"];
    assert_eq!(left, expected);
    // The PROXY protocol is not believed either: it is no HTTP.
    for line in ["PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n", "PROXY UNKNOWN\r\n", "\r\n\r\n\0\r\nQUIT\n"] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        client.send(format!("{line}GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(client.answer("GET").status, 400, "{line:?}");
        client.assert_closed();
    }
    assert_eq!(origin.journal().len(), 1);
}

#[test]
fn a_trusted_proxys_word_is_kept_and_appended_to() {
    let origin = Origin::start("a");
    let proxy = start(&trusting(&[origin.addr()]));
    let mut client = Client::connect(proxy.listener_addr("web"));
    for _ in 0..3 {
        client.send(format!("GET / HTTP/1.1\r\nhost: a.example:80\r\n{SPOOFED}\r\n"));
        assert_eq!(client.answer("GET").status, 200);
        let seen = origin.journal().last().unwrap();
        let forwarded = "for=6.6.6.6;proto=https, for=127.0.0.1;host=\"a.example:80\";proto=http";
        assert_told(&seen, ["6.6.6.6, 7.7.7.7, 127.0.0.1", "https", "evil.example", forwarded]);
        assert_eq!(values(&seen, "x-forwarded-port"), ["443"]);
        assert_eq!(values(&seen, "x-real-ip"), ["6.6.6.6"]);
        client.send("GET / HTTP/1.1\r\nhost: a.example:80\r\n\r\n");
        assert_eq!(client.answer("GET").status, 200);
        assert_told(&origin.journal().last().unwrap(), OURS);
    }
    // Trust is in fields, never in look-alikes of them.
    client.send("GET / HTTP/1.1\r\nhost: a.example:80\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n");
    assert_eq!(client.answer("GET").status, 200);
    assert_told(&origin.journal().last().unwrap(), OURS);
    assert!(values(&origin.journal().last().unwrap(), "x_forwarded_for").is_empty());
}

#[test]
fn a_client_cannot_have_them_stripped() {
    let origin = Origin::start("a");
    for config in [http(&[origin.addr()], ""), trusting(&[origin.addr()])] {
        let proxy = start(&config);
        let mut client = Client::connect(proxy.listener_addr("web"));
        let names = "X-Forwarded-For, x-forwarded-proto, X-Forwarded-Host, Forwarded, Host, Content-Length";
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a.example:80\r\nconnection: {names}\r\nconnection: cookie, authorization\r\n\
             cookie: a=b\r\nauthorization: c\r\ncontent-length: 2\r\n\r\nhi"
        ));
        assert_eq!(client.answer("POST").status, 200);
        let seen = origin.journal().last().unwrap();
        assert_told(&seen, OURS);
        assert_eq!(seen.header("host"), Some("a.example:80"));
        assert_eq!(seen.body_bytes, 2);
    }
}

#[test]
fn ipv6_and_unix_clients_are_told_in_their_own_form() {
    let origin = Origin::start("a");
    let all = "bind = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:{dir}/web.sock\"]";
    let proxy = start(&http(&[origin.addr()], "").replacen("bind = \"127.0.0.1:0\"", all, 1));
    let bound = proxy.listener_addrs("web");
    let v6 = *bound.iter().find(|addr| addr.is_ipv6()).expect("an IPv6 address");
    let unix = Addr::Unix(proxy.dir().join("web.sock"));
    for (addr, expected) in [
        (Addr::Tcp(v6), ["::1", "http", "[::1]:80", "for=\"[::1]\";host=\"[::1]:80\";proto=http"]),
        (unix, ["unknown", "http", "[::1]:80", "for=unknown;host=\"[::1]:80\";proto=http"]),
    ] {
        let mut client = Client::connect(addr);
        client.send("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
        assert_eq!(client.answer("GET").status, 200);
        assert_told(&origin.journal().last().unwrap(), expected);
    }
}

#[test]
fn hop_by_hop_fields_end_here_both_ways() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let hops = "connection: x-mine, close\r\nx-mine: a\r\nkeep-alive: timeout=5\r\nte: trailers\r\n\
        proxy-connection: keep-alive\r\nproxy-authorization: b\r\nproxy-authenticate: c\r\nupgrade: d\r\n";
    let script = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{hops}x-kept: e\r\nvia: 1.1 f\r\n\r\n");
    origin.once(|b| b.answer = AnswerStyle::Script(script.into_bytes(), AfterScript::Close));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let asked = hops.replace("x-mine, close", "x-mine");
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{asked}x-kept: e\r\nvia: 1.1 f\r\n\r\n"));
    let answer = client.answer("GET");
    let ended_here = [
        "connection",
        "x-mine",
        "keep-alive",
        "te",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "upgrade",
    ];
    let seen = origin.journal().last().unwrap();
    for name in ended_here {
        assert_eq!(seen.header(name), None, "{name} reached the target");
        assert_eq!(answer.header(name), None, "{name} reached the client");
    }
    assert_eq!((seen.header("x-kept"), seen.header("via")), (Some("e"), Some("1.1 f")));
    assert_eq!((answer.header("x-kept"), answer.header("via")), (Some("e"), Some("1.1 f")));
    client.assert_usable();
}

#[test]
fn what_is_nobodys_business_passes_as_it_is() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let script = b"HTTP/1.1 200 Fine \xe4\r\ncontent-length: 0\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nx-bytes: \xff\xfe\r\n\r\n";
    origin.once(|b| b.answer = AnswerStyle::Script(script.to_vec(), AfterScript::Keep));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send("GET /p?q=%20&r HTTP/1.1\r\nhost: A.Example\r\nX-Twice: 1\r\nx-twice: 2\r\ncookie: c=d\r\nX-Empty:\r\n\r\n");
    let answer = client.answer("GET");
    assert!(answer.raw.starts_with(b"HTTP/1.1 200 Fine \xe4\r\n"), "the reason phrase");
    assert!(answer.raw.windows(4).any(|bytes| bytes == b": \xff\xfe"), "bytes beyond ASCII");
    let cookies: Vec<_> =
        answer.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!(cookies.len(), 2, "repeated fields stay apart: {cookies:?}");
    let seen = origin.journal().last().unwrap();
    assert_eq!((seen.path.as_str(), seen.header("host")), ("/p?q=%20&r", Some("A.Example")));
    assert_eq!((values(&seen, "x-twice"), values(&seen, "x-empty")), (vec!["1", "2"], vec![""]));
}

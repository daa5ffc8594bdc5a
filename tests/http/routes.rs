//! Requests find their pool by what they are, in one canonical form, whatever they look like.

use std::fmt::Write as _;

use evenkeel_testkit::{Evenkeel, Origin};

use crate::support::start;
use crate::talk::{Client, access_log, says_close, verdict};

/// A listener with these routes, each `(when, pool)`, before pools of one origin each; `site` takes the rest.
fn routed(pools: &[&Origin], routes: &[(&str, &str)]) -> Evenkeel {
    let mut config =
        "[workers]\ncount = 2\n[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"site\"\n".to_owned();
    for (when, action) in routes {
        let _ = write!(config, "[[listener.web.route]]\nwhen = {{ {when} }}\n{action}\n");
    }
    for origin in pools {
        let _ = write!(config, "[pool.{}]\ntargets = [\"{}\"]\n", origin.name(), origin.addr());
    }
    start(&config)
}

/// Which origin answers.
#[track_caller]
fn served_by(client: &mut Client, first_line: &str, host: &str, fields: &str) -> String {
    client.send(format!("{first_line} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"));
    let answer = client.answer(first_line.split(' ').next().unwrap());
    let name = answer.header("x-origin").map(str::to_owned);
    name.unwrap_or_else(|| format!("{} {}", answer.status, verdict(&answer).1))
}

#[test]
fn requests_go_by_host_path_method_header_and_query() {
    let names = ["site", "api", "canary", "writes", "wild", "deep", "search"];
    let origins: Vec<Origin> = names.iter().map(|name| Origin::start(name)).collect();
    let pools: Vec<&Origin> = origins.iter().collect();
    let proxy = routed(
        &pools,
        &[
            ("path = \"/v1/**\"", "pool = \"api\""),
            ("path = \"/v1/**\", header = { x-canary = \"1\" }", "pool = \"canary\""),
            ("path = \"/v1/**\", method = [\"POST\", \"PUT\"]", "pool = \"writes\""),
            ("host = \"*.wild.example\"", "pool = \"wild\""),
            ("host = \"deep.wild.example\", path = \"/x\"", "pool = \"deep\""),
            ("query = { q = \"a b\" }", "pool = \"search\""),
        ],
    );
    let mut client = Client::connect(proxy.listener_addr("web"));
    for (first_line, host, fields, expected) in [
        ("GET /", "a.example", "", "site"),
        ("GET /v1", "a.example", "", "api"),
        ("GET /v1/", "a.example", "", "api"),
        ("GET /v1/a/b?c=d", "a.example:80", "", "api"),
        ("GET /v11", "a.example", "", "site"),
        ("GET /V1/a", "a.example", "", "site"),
        ("GET /v1/a", "a.example", "X-Canary: 1\r\n", "canary"),
        ("GET /v1/a", "a.example", "x-canary: 2\r\n", "api"),
        ("GET /v1/a", "a.example", "x-canary: 2\r\nX-Canary: 1\r\n", "canary"),
        ("POST /v1/a", "a.example", "content-length: 0\r\n", "writes"),
        ("DELETE /v1/a", "a.example", "", "api"),
        ("GET /", "b.wild.example", "", "wild"),
        ("GET /v1/a", "B.Wild.Example:8080", "", "wild"),
        ("GET /", "wild.example", "", "site"),
        ("GET /", "notwild.example", "", "site"),
        ("GET /x", "deep.wild.example", "", "deep"),
        ("GET /x", "deep.wild.example.", "", "deep"),
        ("GET /y", "deep.wild.example", "", "wild"),
        ("GET http://deep.wild.example/x", "deep.wild.example", "", "deep"),
        ("GET /?q=a%20b", "a.example", "", "search"),
        ("GET /?x=1&q=a+b", "a.example", "", "search"),
        ("GET /?q=b", "a.example", "", "site"),
    ] {
        assert_eq!(
            served_by(&mut client, first_line, host, fields),
            expected,
            "{first_line}, {host}, {fields:?}"
        );
    }
}

#[test]
fn rule_01_one_canonical_path_is_matched_logged_and_forwarded() {
    let (site, admin) = (Origin::start("site"), Origin::start("admin"));
    let log = ("path = \"/never\"", "respond = { status = 404 }\n[access_log]\npath = \"{dir}/access.log\"");
    let proxy = routed(&[&site, &admin], &[("path = \"/admin/**\"", "pool = \"admin\""), log]);
    let mut client = Client::connect(proxy.listener_addr("web"));
    let canonical = [
        ("/v1/../admin", "admin", "/admin"),
        ("/v1/%2e%2e/admin", "admin", "/admin"),
        ("/v1/%2E./admin/", "admin", "/admin/"),
        ("/./admin/x", "admin", "/admin/x"),
        ("/%61dmin/x", "admin", "/admin/x"),
        ("/admin/../site", "site", "/site"),
        ("/admin/..", "site", "/"),
        ("//admin", "admin", "//admin"),
        ("/admin//x", "admin", "/admin//x"),
        ("/admin%2fx", "site", "/admin%2Fx"),
        ("/admin%7e", "site", "/admin~"),
        ("/admin;a=b", "site", "/admin;a=b"),
        ("/Admin", "site", "/Admin"),
        ("/v1/../admin?x=/../y", "admin", "/admin?x=/../y"),
        ("/a?/../admin", "site", "/a?/../admin"),
        ("/a/./b?", "site", "/a/b?"),
    ];
    for (path, pool, forwarded) in canonical {
        assert_eq!(served_by(&mut client, &format!("GET {path}"), "a", ""), pool, "{path}");
        let journal = if pool == "admin" { admin.journal() } else { site.journal() };
        assert_eq!(journal.last().unwrap().path, forwarded, "{path}");
    }
    evenkeel_testkit::wait_until("the log", crate::talk::PATIENCE, || {
        access_log(&proxy).len() >= canonical.len()
    });
    for (line, (path, pool, forwarded)) in access_log(&proxy).iter().zip(canonical) {
        assert_eq!((&line["path"], &line["pool"]), (&forwarded.into(), &pool.into()), "{path}");
        let route = if pool == "admin" { serde_json::Value::from(1) } else { "-".into() };
        assert_eq!(line["route"], route, "{path}");
    }
    for hostile in [
        "/v1/../../admin",
        "/..",
        "/%2e%2e/admin",
        "/v1/..%2fadmin",
        "/v1/..%5cadmin",
        "/v1/..;/admin",
        "/%00admin",
        "/admin%",
        "/%zzadmin",
        "/v1/%252e%252e/../../admin/../..",
    ] {
        let mut client = Client::connect(proxy.listener_addr("web"));
        assert_eq!(served_by(&mut client, &format!("GET {hostile}"), "a", ""), "400 bad-target", "{hostile}");
        client.assert_closed();
    }
    assert_eq!(site.journal().len() + admin.journal().len(), canonical.len());
}

/// Few routes and thousands of them find the same one: no fast path differs from a slow one.
#[test]
fn rule_01_ten_thousand_routes_answer_as_one_does() {
    let (site, api) = (Origin::start("site"), Origin::start("api"));
    let questions = [
        ("GET /v1/%78", "api.example"),
        ("GET /v1/x", "API.example"),
        ("GET /v1/../v1/x", "api.example:80"),
        ("GET /v2/x", "api.example"),
        ("GET /v1/x", "other.example"),
        ("GET /v1", "api.example."),
    ];
    let mut seen = Vec::new();
    for others in [0, 1, 98, 99, 100, 10_000] {
        let hosts: Vec<String> =
            (0..others).map(|n| format!("host = \"h{n}.example\", path = \"/{n}/**\"")).collect();
        let mut routes: Vec<(&str, &str)> =
            hosts.iter().map(|when| (when.as_str(), "pool = \"site\"")).collect();
        routes.push(("host = \"api.example\", path = \"/v1/**\"", "pool = \"api\""));
        let proxy = routed(&[&site, &api], &routes);
        let mut client = Client::connect(proxy.listener_addr("web"));
        let answers: Vec<String> =
            questions.iter().map(|(line, host)| served_by(&mut client, line, host, "")).collect();
        seen.push(answers);
    }
    assert_eq!(seen[0], ["api", "api", "api", "site", "site", "api"]);
    assert!(seen.iter().all(|answers| *answers == seen[0]), "{seen:#?}");
}

#[test]
fn routes_answer_by_themselves() {
    let site = Origin::start("site");
    let proxy = routed(
        &[&site],
        &[
            ("path = \"/teapot\"", "respond = { status = 418, body = \"short and stout\\n\" }"),
            ("path = \"/empty\"", "respond = { status = 204 }"),
            ("path = \"/same\"", "respond = { status = 304 }"),
            ("path = \"/old/**\"", "redirect = { to = \"https://new.example/\", status = 308 }"),
            ("path = \"/moved\"", "redirect = { to = \"/here\" }"),
        ],
    );
    let mut client = Client::connect(proxy.listener_addr("web"));
    let teapot = client.get("/teapot");
    assert_eq!((teapot.status, teapot.text().as_str()), (418, "short and stout\n"));
    assert_eq!(teapot.header("content-type"), Some("text/plain; charset=utf-8"));
    client.send("HEAD /teapot HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.answer("HEAD");
    assert_eq!((head.status, head.header("content-length"), head.rest.len()), (418, Some("16"), 0));
    let empty = client.get("/empty");
    assert_eq!((empty.status, empty.header("content-length")), (204, None), "RFC 9110 §8.6");
    assert_eq!(client.get("/same").status, 304);
    for (path, status, to) in [("/old/a/b", 308, "https://new.example/"), ("/moved", 307, "/here")] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.header("location")), (status, Some(to)), "{path}");
        assert!(!says_close(&answer), "{path}");
    }
    client.assert_usable();
    assert_eq!(site.journal().len(), 1, "only the last one went anywhere");
}

#[test]
fn rule_04_a_body_that_a_route_does_not_read_is_no_request() {
    let site = Origin::start("site");
    let proxy = routed(&[&site], &[("path = \"/no/**\"", "respond = { status = 403, body = \"no\" }")]);
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for framing in ["content-length: 1000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n"] {
        for together in [true, false] {
            let mut client = Client::connect(proxy.listener_addr("web"));
            let head = format!("POST /no HTTP/1.1\r\nhost: a\r\n{framing}");
            client.send(if together { format!("{head}{hidden}") } else { head });
            let answer = client.answer("POST");
            assert_eq!(answer.status, 403);
            assert!(says_close(&answer));
            client.send(hidden);
            client.assert_closed();
        }
    }
    // A body that had come whole is out of the way, and the connection goes on.
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send(
        "POST /no HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    assert_eq!(client.answer("POST").status, 403);
    assert_eq!(client.answer("GET").status, 200);
    let paths: Vec<String> = site.journal().entries().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["/next"]);
}

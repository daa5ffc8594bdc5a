//! nginx as the origin behind the HTTP plane.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Evenkeel, Load, LoadPlan, Nginx, Origin, ReservedPort, Response, Stream, Wire, judge, reserve_port,
    signal, skip, wait_until,
};

use crate::support::{http, start};
use crate::world::{PATIENCE, missing};

const BIG_BYTES: usize = 30_000_000;

/// An nginx with files of its own and, under `/app/`, another server behind it.
fn nginx(port: &ReservedPort, app: &str) -> Nginx {
    let addr = port.addr();
    let conf = format!(
        "user root; worker_processes 2; events {{ worker_connections 512; }}\n\
         http {{\n\
           client_body_temp_path {{dir}}/body; proxy_temp_path {{dir}}/proxy; fastcgi_temp_path {{dir}}/fastcgi;\n\
           uwsgi_temp_path {{dir}}/uwsgi; scgi_temp_path {{dir}}/scgi; access_log {{dir}}/access.log;\n\
           types {{ text/plain txt; }} gzip on; gzip_min_length 100; gzip_types text/plain;\n\
           upstream app {{ server {app}; keepalive 16; }}\n\
           server {{\n\
             listen {addr}; root {{dir}};\n\
             location /app/ {{ proxy_pass http://app/; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
           }}\n\
         }}\n"
    );
    let nginx = Nginx::start(&conf, addr);
    fs::write(nginx.dir().join("small.txt"), "0123456789\n".repeat(1000)).unwrap();
    fs::write(nginx.dir().join("big.bin"), big()).unwrap();
    nginx
}

fn big() -> Vec<u8> {
    (0..BIG_BYTES).map(|n| ((n as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A keep-alive connection to the balancer.
struct Client(Wire<Stream>);

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let mut stream = Stream::connect(&addr.into(), PATIENCE).unwrap();
        stream.set_deadline(Some(Instant::now() + PATIENCE));
        Self(Wire::new(stream))
    }

    fn ask(&mut self, method: &str, path: &str, fields: &str) -> Response {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test.example\r\n{fields}\r\n");
        self.0.stream().write_all(head.as_bytes()).unwrap();
        let response = self.0.response(method).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        assert!(response.rest.is_empty(), "{} bytes after the answer", response.rest.len());
        response
    }
}

fn before(nginx: &ReservedPort) -> Evenkeel {
    start(&http(&[nginx.addr()], ""))
}

#[test]
fn nginx_serves_every_kind_of_answer_over_one_connection() {
    if let Some(program) = missing(&["nginx"]) {
        skip!("{program} is not installed");
    }
    let port = reserve_port();
    let nginx = nginx(&port, "127.0.0.1:1");
    let proxy = before(&port);
    let mut client = Client::connect(proxy.listener_addr("web"));
    let small = "0123456789\n".repeat(1000);

    let plain = client.ask("GET", "/small.txt", "");
    assert_eq!((plain.status, plain.text()), (200, small.clone()));
    assert_eq!(plain.header("content-length"), Some("11000"));
    let (etag, modified) = (plain.header("etag").unwrap(), plain.header("last-modified").unwrap());

    let head = client.ask("HEAD", "/small.txt", "");
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some("11000")));

    let part = client.ask("GET", "/small.txt", "range: bytes=5-14\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "56789\n0123"));
    assert_eq!(part.header("content-range"), Some("bytes 5-14/11000"));

    let parts = client.ask("GET", "/small.txt", "range: bytes=0-1,10-11\r\n");
    assert_eq!(parts.status, 206);
    assert!(parts.header("content-type").unwrap().starts_with("multipart/byteranges"));

    assert_eq!(client.ask("GET", "/small.txt", "range: bytes=99999-\r\n").status, 416);

    for condition in [format!("if-none-match: {etag}\r\n"), format!("if-modified-since: {modified}\r\n")] {
        let same = client.ask("GET", "/small.txt", &condition);
        assert_eq!((same.status, same.body.len()), (304, 0), "{condition}");
    }

    // nginx sends what it compresses in chunks.
    let zipped = client.ask("GET", "/small.txt", "accept-encoding: gzip\r\n");
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(zipped.header("transfer-encoding"), Some("chunked"));
    assert!(
        zipped.body.len() < 1000 && zipped.body.starts_with(&[0x1f, 0x8b]),
        "{} bytes",
        zipped.body.len()
    );
    if missing(&["gzip"]).is_none() {
        let plain = crate::world::run_with("gzip", &["-dc"], &zipped.body);
        assert_eq!(crate::world::out(&plain), small);
    }

    let nothing = client.ask("GET", "/missing", "");
    assert_eq!((nothing.status, nothing.header("server").unwrap().starts_with("nginx")), (404, true));
    assert_eq!(client.ask("POST", "/small.txt", "content-length: 0\r\n").status, 405);
    let logged = || fs::read_to_string(nginx.dir().join("access.log")).unwrap().lines().count();
    wait_until("nginx to have logged them", PATIENCE, || logged() >= 10);
    assert_eq!(logged(), 10);
    // One connection of ours to nginx carried all of it.
    let targets = proxy.admin_json("/api/v1/targets");
    assert_eq!((targets[0]["connects"].as_u64(), targets[0]["reused"].as_u64()), (Some(1), Some(9)));
}

#[test]
fn nginx_serves_a_big_file_byte_by_byte() {
    if let Some(program) = missing(&["nginx"]) {
        skip!("{program} is not installed");
    }
    let port = reserve_port();
    let _nginx = nginx(&port, "127.0.0.1:1");
    let proxy = before(&port);
    let mut client = Client::connect(proxy.listener_addr("web"));
    for _ in 0..2 {
        let answer = client.ask("GET", "/big.bin", "");
        assert!(answer.body == big(), "{} bytes came, or other ones", answer.body.len());
    }
    let end = client.ask("GET", "/big.bin", "range: bytes=-1000\r\n");
    assert!(end.body == big()[BIG_BYTES - 1000..]);
}

#[test]
fn nothing_is_lost_while_nginx_reloads_five_times() {
    if let Some(program) = missing(&["nginx"]) {
        skip!("{program} is not installed");
    }
    let (port, origin) = (reserve_port(), Origin::start("app"));
    let nginx = nginx(&port, &origin.addr().to_string());
    let proxy = before(&port);
    let plan = LoadPlan {
        connections: 16,
        methods: vec!["GET", "HEAD", "GET", "PUT"],
        body_bytes: 3000,
        answer_bytes: 5000,
        path: "/app/x".to_owned(),
        ..LoadPlan::default()
    };
    let load = Load::start(proxy.listener_addr("web"), plan);
    load.wait_answers(500);
    for _ in 0..5 {
        let workers: HashSet<u32> = nginx.family().into_iter().collect();
        nginx.signal(signal::SIGHUP);
        wait_until("the old workers to be gone", PATIENCE, || {
            let now = nginx.family();
            now.len() >= 3 && now.iter().filter(|pid| workers.contains(pid)).count() == 1
        });
        load.wait_answers(300);
    }
    let client = load.stop();
    judge(&client, &[origin.journal()]).assert_all_answered("nginx reloads 5 times");
}

#[test]
fn nothing_is_lost_when_nginx_closes_idle_connections() {
    if let Some(program) = missing(&["nginx"]) {
        skip!("{program} is not installed");
    }
    let (port, origin) = (reserve_port(), Origin::start("app"));
    let conf = format!(
        "user root; events {{ worker_connections 512; }}\n\
         http {{\n\
           client_body_temp_path {{dir}}/body; proxy_temp_path {{dir}}/proxy; fastcgi_temp_path {{dir}}/fastcgi;\n\
           uwsgi_temp_path {{dir}}/uwsgi; scgi_temp_path {{dir}}/scgi; access_log off;\n\
           keepalive_requests 7; keepalive_timeout 1s;\n\
           server {{ listen {}; location / {{ proxy_pass http://{}; }} }}\n\
         }}\n",
        port.addr(),
        origin.addr()
    );
    let _nginx = Nginx::start(&conf, port.addr());
    let proxy = before(&port);
    let addr = proxy.listener_addr("web");
    // POST, too: where a kept connection turns out closed, nothing of the request has been read.
    let plan = LoadPlan {
        connections: 8,
        methods: vec!["GET", "POST"],
        body_bytes: 100,
        requests: Some(1000),
        ..LoadPlan::default()
    };
    let busy = Load::run(addr, plan.clone());
    // And after a pause that is longer than nginx keeps an idle connection.
    std::thread::sleep(Duration::from_millis(1200));
    let later = Load::run(addr, LoadPlan { requests: Some(100), ..plan });
    judge(&busy.merge(later), &[origin.journal()]).assert_all_answered("nginx closes idle connections");
}

//! curl as the client of the HTTP plane.

use std::fs;

use evenkeel_testkit::{Entry, Evenkeel, Origin, TempDir, hash, skip};

use crate::support::{http, start};
use crate::world::{ask, err, missing, out, run};

fn world() -> (Origin, Evenkeel, String) {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let url = format!("http://{}", proxy.listener_addr("web"));
    (origin, proxy, url)
}

/// The last request that the origin read.
fn last(origin: &Origin) -> Entry {
    origin.journal().last().unwrap()
}

/// Ten megabytes in a file.
fn ten_megabytes(dir: &TempDir) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = (0..10_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = dir.path().join("upload");
    fs::write(&path, &bytes).unwrap();
    (format!("@{}", path.display()), bytes)
}

#[test]
fn curl_speaks_http_1_1_and_1_0() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (origin, _proxy, url) = world();
    for (version, wanted) in [("--http1.1", "1.1"), ("--http1.0", "1.0")] {
        let said =
            ask("curl", &["-sS", version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url]);
        // The answer's version is ours; a client of 1.0 may be told so in either.
        assert!(said == "1.1 200" || said == format!("{wanted} 200"), "{version}: {said}");
    }
    // What the origin sends in chunks, a client of 1.0 gets without.
    origin.set(|behaviour| behaviour.answer = evenkeel_testkit::AnswerStyle::Chunked);
    let said = run("curl", &["-sS", "-i", "--http1.0", "--raw", "-H", "x-answer-bytes: 20000", &url]);
    assert!(said.status.success(), "{}", err(&said));
    assert!(!out(&said).to_lowercase().contains("transfer-encoding"), "{}", out(&said));
}

#[test]
fn curl_asks_for_heads() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (origin, _proxy, url) = world();
    let said = ask("curl", &["-sS", "-I", &url]);
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.to_lowercase().contains("content-length:"), "{said}");
    assert_eq!(last(&origin).method, "HEAD");
}

#[test]
fn curl_uploads_ten_megabytes_after_100_continue() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (dir, (origin, _proxy, url)) = (TempDir::new(), world());
    let (file, bytes) = ten_megabytes(&dir);
    let args = [
        "-sS",
        "-v",
        "--expect100-timeout",
        "20",
        "-H",
        "Expect: 100-continue",
        "--data-binary",
        &file,
        &url,
    ];
    let said = run("curl", &args);
    assert!(said.status.success(), "{}", err(&said));
    assert!(err(&said).contains("< HTTP/1.1 100 "), "{}", err(&said));
    let seen = last(&origin);
    assert_eq!((seen.method.as_str(), seen.body_bytes, seen.body_hash), ("POST", 10_000_000, hash(&bytes)));
}

#[test]
fn curl_uploads_in_chunks() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (dir, (origin, _proxy, url)) = (TempDir::new(), world());
    let (file, bytes) = ten_megabytes(&dir);
    let args = [
        "-sS",
        "-X",
        "PUT",
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Expect:",
        "--data-binary",
        &file,
        &url,
    ];
    let said = run("curl", &args);
    assert!(said.status.success(), "{}", err(&said));
    let seen = last(&origin);
    assert_eq!((seen.method.as_str(), seen.body_bytes, seen.body_hash), ("PUT", 10_000_000, hash(&bytes)));
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
}

#[test]
fn curl_reuses_its_connection() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (origin, proxy, url) = world();
    let many = format!("{url}/[1-50]");
    let said = ask("curl", &["-sS", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", &many]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines.len(), lines[0]), (50, "200 1"));
    assert!(lines[1..].iter().all(|line| *line == "200 0"), "{said}");
    assert_eq!(origin.journal().len(), 50);
    assert_eq!(proxy.admin_json("/api/v1/listeners")[0]["accepted"], 1);
}

#[test]
fn curl_cannot_climb_out_of_the_root() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (origin, _proxy, url) = world();
    let status = |path: &str| {
        let url = format!("{url}{path}");
        ask("curl", &["-sS", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", &url])
    };
    for path in ["/../x", "/%2e%2e/x", "/a/../../x", "/..;/x", "/..%2fx"] {
        assert_eq!(status(path), "400", "{path}");
        assert!(origin.journal().is_empty(), "{path} reached the origin as {}", last(&origin).path);
    }
    // Within the root it is resolved, so that all who look at the path see the same.
    for path in ["/a/../x", "/./x", "/a/%2e%2e/x"] {
        assert_eq!(status(path), "200", "{path}");
        assert_eq!(last(&origin).path, "/x", "{path}");
    }
}

#[test]
fn curl_sees_what_an_origin_never_said() {
    if let Some(program) = missing(&["curl"]) {
        skip!("{program} is not installed");
    }
    let (mut origin, _proxy, url) = world();
    origin.kill();
    let said = run("curl", &["-sS", "-i", &url]);
    let text = out(&said).to_lowercase();
    assert!(text.starts_with("http/1.1 502") || text.starts_with("http/1.1 503"), "{text}");
    assert!(text.contains("x-evenkeel-reason: "), "{text}");
    // A part is no whole: curl is told that the transfer was broken off.
    origin.restart();
    origin.set(|behaviour| behaviour.cut = Some(evenkeel_testkit::Cut { after_bytes: 5000, reset: false }));
    let said = run("curl", &["-sS", "-o", "/dev/null", "-H", "x-answer-bytes: 100000", &url]);
    assert!(matches!(said.status.code(), Some(18 | 56)), "{}: {}", said.status, err(&said));
}

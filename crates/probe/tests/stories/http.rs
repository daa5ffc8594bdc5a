//! What does the health page say?

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use evenkeel_base::Reason;

use crate::origin::{Origin, hold, read_head};
use crate::world::{World, http_each, probed_by_http};

/// What becomes of a target that is asked like this, and why.
async fn judged(origin: &Origin, health: &str) -> (&'static str, Reason) {
    verdict(probed_by_http(&[origin.addr.to_string()], health)).await
}

/// The same for one that has little time.
async fn judged_in_time(origin: &Origin, health: &str) -> (&'static str, Reason) {
    verdict(http_each("500ms", &[origin.addr.to_string()], health)).await
}

async fn verdict(pool: String) -> (&'static str, Reason) {
    let mut world = World::new(&[("p", pool)]);
    let event = tokio::time::timeout(Duration::from_secs(20), world.events.recv()).await.unwrap().unwrap();
    let evenkeel_state::EventKind::Target { to, .. } = event.kind else { panic!("{event:?}") };
    (to.unwrap(), event.reason)
}

const UP: (&str, Reason) = ("up", Reason::ProbeSucceeded);

fn down(reason: Reason) -> (&'static str, Reason) {
    ("down", reason)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_status_decides() {
    for (status, expected) in [
        ("200 OK", UP),
        ("204 No Content", UP),
        ("399 Odd", UP),
        ("404 Not Found", down(Reason::ProbeStatus)),
        ("503 Service Unavailable", down(Reason::ProbeStatus)),
    ] {
        assert_eq!(judged(&Origin::http(answer(status, "")), "").await, expected, "{status}");
    }
    let expect = "expect = { status = [\"200\", \"503\"] }";
    assert_eq!(judged(&Origin::http(answer("503 Odd", "")), expect).await, UP);
    assert_eq!(judged(&Origin::http(answer("201 Created", "")), expect).await, down(Reason::ProbeStatus));
}

#[tokio::test]
async fn an_interim_answer_is_not_the_answer() {
    let origin = Origin::http(format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", answer("500 Oops", "")));
    assert_eq!(judged(&origin, "").await, down(Reason::ProbeStatus));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Origin::http(answer("200 OK", ""));
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", elsewhere.addr);
    let origin = Origin::http(redirect);
    assert_eq!(judged(&origin, "expect = { status = \"200-299\" }").await, down(Reason::ProbeStatus));
    assert_eq!(elsewhere.accepted.load(SeqCst), 0);
}

#[tokio::test]
async fn the_body_holds_the_text_or_not() {
    let expect = "expect = { body = \"all is well\" }";
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nall i\r\n7\r\ns well!\r\n0\r\n\r\n";
    let far = format!("{}all is well", " ".repeat((64 << 10) - 10));
    let near = format!("{}all is well, and so on", " ".repeat((64 << 10) - 11));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nall is";
    for (reply, expected) in [
        (answer("200 OK", "today all is well"), UP),
        (chunked.to_owned(), UP),
        (answer("200 OK", &near), UP),
        (answer("200 OK", &far), down(Reason::ProbeBody)),
        (answer("200 OK", "all is wel"), down(Reason::ProbeBody)),
        (answer("204 No Content", ""), down(Reason::ProbeBody)),
        (answer("500 Oops", "all is well"), down(Reason::ProbeStatus)),
        (cut.to_owned(), down(Reason::ProbeFailed)),
    ] {
        assert_eq!(judged(&Origin::http(reply.clone()), expect).await, expected, "{reply:.80}");
    }
}

#[tokio::test]
async fn a_text_that_has_come_need_not_be_waited_for_any_longer() {
    let endless = |mut stream: TcpStream| {
        read_head(&mut stream);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
        let _ = stream.write_all(head.as_bytes());
        hold(stream);
    };
    assert_eq!(judged(&Origin::new(endless), "expect = { body = \"ok\" }").await, UP);
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    let oversized = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(17 << 10));
    let many: String = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect();
    for garbage in [
        String::new(),
        "SSH-2.0-OpenSSH_9.2\r\n".into(),
        "\0\u{1}\u{2}garbage\r\n\r\n".into(),
        "HTTP/1.1 2".into(),
        "HTTP/1.1 99 Odd\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n".into(),
        oversized,
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
    ] {
        let origin = Origin::http(garbage.clone());
        assert_eq!(judged(&origin, "").await, down(Reason::ProbeFailed), "{garbage:.60}");
    }
}

#[tokio::test]
async fn an_endless_head_is_given_up() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let origin = Origin::new(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while stream.write_all(&[b'a'; 1024]).is_ok() {
            count.fetch_add(1024, SeqCst);
        }
    });
    assert_eq!(judged(&origin, "").await, down(Reason::ProbeFailed));
}

#[tokio::test]
async fn silence_and_single_bytes_run_out_of_time() {
    let slow = |mut stream: TcpStream| {
        read_head(&mut stream);
        // Each byte in time, the whole never.
        for byte in "HTTP/1.1 200 OK\r\n".bytes().cycle() {
            sleep(Duration::from_millis(100));
            if stream.write_all(&[byte]).is_err() {
                return;
            }
        }
    };
    let (slow, silent) = (Origin::new(slow), Origin::new(hold));
    let (slow, silent) = tokio::join!(judged_in_time(&slow, ""), judged_in_time(&silent, ""));
    assert_eq!(slow, down(Reason::ProbeTimeout));
    assert_eq!(silent, down(Reason::ProbeTimeout));
}

#[tokio::test]
async fn a_body_that_drips_runs_out_of_time_as_well() {
    let drip = |mut stream: TcpStream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b".").is_ok() {
            sleep(Duration::from_millis(50));
        }
    };
    let origin = Origin::new(drip);
    assert_eq!(judged_in_time(&origin, "expect = { body = \"ok\" }").await, down(Reason::ProbeTimeout));
}

#[tokio::test]
async fn the_request_is_as_the_configuration_says() {
    let (sender, heads) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::new(move |mut stream| {
        let _ = sender.lock().unwrap().send(read_head(&mut stream));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let agent = concat!("evenkeel-probe/", env!("CARGO_PKG_VERSION"));
    let head = |path: &str, host: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\naccept: */*\r\nconnection: close\r\n\r\n"
        )
    };
    assert_eq!(judged(&origin, "").await, UP);
    assert_eq!(heads.recv().unwrap(), head("/", &origin.addr.to_string()));
    assert_eq!(judged(&origin, "path = \"/up?deep=1\"\nhost = \"app.example.com\"").await, UP);
    assert_eq!(heads.recv().unwrap(), head("/up?deep=1", "app.example.com"));
}

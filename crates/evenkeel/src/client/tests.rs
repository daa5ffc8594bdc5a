use evenkeel_api::{Health, NewTarget};

use super::*;
use crate::exit::Exit;
use crate::fake_api::{FakeApi, Reply};

const SECRET: &str = "s3cr3t-token";

fn failure(reply: Reply) -> Failure {
    let api = FakeApi::start(move |_| reply.clone());
    Failure::from(read(&mut api.client()).unwrap_err())
}

fn read(client: &mut Client) -> Result<Health, ApiError> {
    client.read("/health")
}

fn alive() -> Reply {
    Reply::Json(200, r#"{"status":"alive"}"#.into())
}

#[test]
fn addresses_are_urls_or_unix_paths() {
    let shown = |text: &str| text.parse::<ApiUrl>().map(|url| url.to_string());
    assert_eq!(shown("http://127.0.0.1:9900").unwrap(), "http://127.0.0.1:9900");
    assert_eq!(shown("http://lb-1:9900/").unwrap(), "http://lb-1:9900");
    assert_eq!(shown("[::1]:9900").unwrap(), "http://[::1]:9900");
    assert_eq!(shown("http://lb:80/admin/").unwrap(), "http://lb:80/admin");
    assert_eq!(shown("unix:/run/e.sock").unwrap(), "unix:/run/e.sock");
    for (wrong, cause) in [
        ("", "http://HOST:PORT"),
        ("lb", "port is missing"),
        ("http://lb", "port is missing"),
        ("http://lb:0", "port is missing"),
        ("http://:9900", "http://HOST:PORT"),
        ("https://lb:9900", "no TLS"),
        ("ftp://lb:1", "http://HOST:PORT"),
        ("http://me:pw@lb:1", "EVENKEEL_ADMIN_TOKEN"),
        ("http://lb:1/?x=1", "http://HOST:PORT"),
        ("http://l b:1", "http://HOST:PORT"),
        ("unix:run/e.sock", "unix:/absolute/path"),
    ] {
        let error = wrong.parse::<ApiUrl>().unwrap_err();
        assert!(error.contains(cause), "{wrong}: {error}");
    }
}

#[test]
fn a_refused_connection_says_what_to_do() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}").parse().unwrap();
    let mut client = Client::to(url, None, TIMEOUT).unwrap();
    let failure = Failure::from(read(&mut client).unwrap_err());
    assert_eq!(failure.exit, Exit::Failed);
    assert_eq!(
        failure.message,
        format!(
            "cannot reach the admin API at http://127.0.0.1:{port}: connection refused; is evenkeel running? give --api \
             or EVENKEEL_ADMIN"
        )
    );
}

#[test]
fn a_unix_socket_is_reached_or_missed() {
    let dir = evenkeel_testkit::TempDir::new();
    let path = dir.path().join("a.sock");
    let url: ApiUrl = format!("unix:{}", path.display()).parse().unwrap();
    let mut client = Client::to(url, None, TIMEOUT).unwrap();
    let error = read(&mut client).unwrap_err();
    assert!(error.to_string().contains(": no such file; is evenkeel running?"), "{error}");

    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = vec![0; 1024];
        let read = io::Read::read(&mut stream, &mut head).unwrap();
        io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"status\":\"alive\"}",
        )
        .unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    assert_eq!(read(&mut client).unwrap().status, "alive");
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /health HTTP/1.1\r\nhost: localhost\r\n"), "{head}");
}

#[test]
fn one_connection_serves_many_calls_and_is_made_anew_when_it_has_ended() {
    let mut calls = 0;
    let api = FakeApi::start(move |_| {
        calls += 1;
        if calls == 2 { Reply::JsonAndClose(r#"{"status":"alive"}"#.into()) } else { alive() }
    });
    let mut client = api.client();
    for _ in 0..4 {
        assert_eq!(read(&mut client).unwrap().status, "alive");
    }
    assert_eq!(api.lines(), ["GET /health"; 4]);
}

#[test]
fn changes_carry_their_body_and_a_path_prefix() {
    let api = FakeApi::start(|_| Reply::Json(200, String::new()));
    let url = format!("{}/lb", api.url()).parse().unwrap();
    let mut client = Client::to(url, None, TIMEOUT).unwrap();
    let new = NewTarget { address: "a:1".into(), ..NewTarget::default() };
    client.change(Change::post("/x").with(&new)).unwrap();
    client.change(Change::delete("/y")).unwrap();
    let asked = api.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].body.as_str()), ("POST /lb/x", r#"{"address":"a:1"}"#));
    assert!(asked[0].fields.contains("content-type: application/json"), "{}", asked[0].fields);
    assert_eq!((asked[1].line.as_str(), asked[1].body.as_str()), ("DELETE /lb/y", ""));
    assert!(!asked[1].fields.contains("content-type"), "{}", asked[1].fields);
}

#[test]
fn the_token_goes_into_its_field_and_nowhere_else() {
    let api = FakeApi::start(|_| Reply::Json(401, "{}".into()));
    let global = api.global(Some(SECRET));
    let mut client = Client::new(&global).unwrap();
    let error = read(&mut client).unwrap_err();
    assert!(api.asked()[0].fields.contains(&format!("authorization: Bearer {SECRET}")));
    let said = format!("{error} {error:?} {client:?} {global:?}");
    assert!(said.contains("does not take this token") && said.contains("EVENKEEL_ADMIN_TOKEN"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn a_missing_token_is_named() {
    let message = failure(Reply::Json(401, "{}".into())).message;
    assert!(message.ends_with("wants a token; set EVENKEEL_ADMIN_TOKEN, or give --token"), "{message}");
}

#[test]
fn a_token_that_http_cannot_carry_is_refused_unprinted() {
    let api = FakeApi::start(|_| alive());
    for token in ["a\nb", "ü"] {
        let failure = Client::new(&api.global(Some(token))).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(!failure.message.contains(token), "{}", failure.message);
    }
}

#[test]
fn refusals_are_told_with_reason_and_problems() {
    let not_found = r#"{"error":{"reason":"not-found","message":"there is no pool \"x\"","at":"pool"}}"#;
    let said = failure(Reply::Json(404, not_found.into()));
    assert_eq!(said.message, "there is no pool \"x\" (not-found)");
    assert_eq!(said.exit, Exit::Failed);

    let bad_input = r#"{"error":{"reason":"bad-input","message":"too heavy","at":"weight"}}"#;
    assert_eq!(failure(Reply::Json(400, bad_input.into())).message, "too heavy (bad-input) at weight");

    let bad = r#"{"error":{"reason":"bad-config","message":"2 problems","at":"1:1","problems":["f:1:1: a","f:2:1: b\u001b[2J"]}}"#;
    let said = failure(Reply::Json(422, bad.into()));
    assert_eq!(said.message, "2 problems (bad-config)\n  f:1:1: a\n  f:2:1: b [2J");
    assert_eq!(said.exit, Exit::BadConfig);
}

#[test]
fn what_is_not_the_admin_api_is_called_so() {
    let not_ours = |reply| {
        let message = failure(reply).message;
        assert!(message.contains("is not the admin API of this version"), "{message}");
        message
    };
    assert!(not_ours(Reply::Json(502, "<html>".into())).contains("502"));
    assert!(not_ours(Reply::Json(200, "<html>".into())).contains("does not fit"));
    assert!(not_ours(Reply::Raw("SSH-2.0-x\r\n\r\n")).contains("does not speak HTTP"));
    not_ours(Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"));
}

#[test]
fn a_connection_that_ends_without_an_answer_says_so() {
    let message = failure(Reply::Raw("")).message;
    assert!(message.contains("closed the connection before it answered"), "{message}");
}

#[test]
fn no_call_waits_for_ever_and_a_late_change_may_have_been_made() {
    let api = FakeApi::start(|_| Reply::Nothing);
    let mut client = Client::to(api.url(), None, Duration::from_millis(50)).unwrap();
    let error = read(&mut client).unwrap_err();
    assert!(error.to_string().contains("did not answer within 0.05 s; try again"), "{error}");
    let error = client.change(Change::delete("/y")).unwrap_err();
    assert!(error.to_string().contains("the change may still be made"), "{error}");
}

//! The HTTP probe: one GET over one connection.

use std::future::Future;
use std::pin::pin;

use evenkeel_base::Reason;
use evenkeel_net::Stream;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::finder::Finder;

/// Largest head of an answer, in bytes: what a plane takes by default.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Most fields of an answer.
const MAX_FIELDS: usize = 256;
/// The text must come within so many bytes of the body: a health page is small, and a probe is no download.
const MAX_BODY_BYTES: usize = 64 << 10;
const AGENT: &str = concat!("evenkeel-probe/", env!("CARGO_PKG_VERSION"));

/// What a good answer is.
#[derive(Debug)]
pub(crate) struct Expected<'p> {
    /// Inclusive ranges.
    pub(crate) status: &'p [(u16, u16)],
    /// Within the first 64 KiB.
    pub(crate) body: Option<&'p str>,
}

/// Asks, and judges the answer. Redirects are not followed: their status is the answer.
pub(crate) async fn get(
    stream: Stream,
    path: &str,
    host: &str,
    expected: &Expected<'_>,
) -> Result<(), Reason> {
    let request = request(path, host)?;
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_FIELDS);
    let (mut sender, connection) =
        client.handshake(TokioIo::new(stream)).await.map_err(|_| Reason::ProbeFailed)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|_| Reason::ProbeFailed)?;
        judge(answer, expected).await
    };
    driven_by(connection, exchange).await
}

fn request(path: &str, host: &str) -> Result<Request<Empty<Bytes>>, Reason> {
    let request = Request::get(escaped(path))
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close");
    request.body(Empty::new()).map_err(|_| Reason::ProbeFailed)
}

/// The configuration takes any visible ASCII in a path; what RFC 3986 does not allow there is sent as %XX.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => {
                text.push_str(&format!("%{:02X}", u32::from(c)));
            }
            _ => text.push(c),
        }
    }
    text
}

/// The exchange's result, while the connection is kept moving. A connection that ends leaves what it has read.
async fn driven_by<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut exchange => return result,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

async fn judge(answer: Response<Incoming>, expected: &Expected<'_>) -> Result<(), Reason> {
    let status = answer.status().as_u16();
    if !expected.status.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        return Err(Reason::ProbeStatus);
    }
    match expected.body {
        Some(text) => find(answer.into_body(), text).await,
        None => Ok(()),
    }
}

async fn find(mut body: Incoming, text: &str) -> Result<(), Reason> {
    let mut finder = Finder::new(text.as_bytes());
    let mut left = MAX_BODY_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(|_| Reason::ProbeFailed)?.into_data() else { continue };
        let piece = &bytes[..bytes.len().min(left)];
        if finder.feed(piece) {
            return Ok(());
        }
        left -= piece.len();
        if left == 0 {
            break;
        }
    }
    Err(Reason::ProbeBody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_that_a_configuration_may_hold_can_be_asked_for() {
        let visible: String = (b'!'..=b'~').map(char::from).filter(|c| *c != '#').collect();
        for path in [format!("/{visible}"), "/a?".to_owned() + &visible.replace('?', "")] {
            let request = request(&path, "app.example.com:80").unwrap();
            assert_eq!(request.uri().to_string(), escaped(&path));
        }
        assert_eq!(request("/<a>?b=\"c\"", "[::1]:80").unwrap().uri().to_string(), "/%3Ca%3E?b=%22c%22");
    }

    #[test]
    fn a_probe_says_who_it_is_and_keeps_nothing_open() {
        let request = request("/healthz", "db1:80").unwrap();
        let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(field("host"), "db1:80");
        assert_eq!(field("user-agent"), format!("evenkeel-probe/{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(field("connection"), "close");
    }
}

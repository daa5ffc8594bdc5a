//! The admin API over its unix socket.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::bench::talk::{Answer, Connection};
use crate::shell::Outcome;

/// An answer later than this is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request on a connection of its own.
pub(super) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Outcome<Answer> {
    let open = || {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let stream = open().map_err(|e: std::io::Error| format!("{}: {e}", socket.display()))?;
    let request = request(method, path, body);
    Connection::new(stream).ask(request.as_bytes(), true).map_err(|e| format!("{method} {path}: {e}"))
}

/// The path of one target of the pool.
pub(super) fn target_path(address: impl std::fmt::Display) -> String {
    format!("/api/v1/pools/app/targets/{}", address.to_string().replace(':', "%3A"))
}

fn request(method: &str, path: &str, body: &str) -> String {
    let typed = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: evenkeel\r\nConnection: close\r\n{typed}Content-Length: {length}\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_it_carries() {
        let text = request("PATCH", &target_path("127.0.0.1:80"), "{\"weight\":2}");
        assert!(text.starts_with("PATCH /api/v1/pools/app/targets/127.0.0.1%3A80 HTTP/1.1\r\n"));
        assert!(text.ends_with("Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"weight\":2}"));
        assert!(!request("GET", "/", "").contains("Content-Type"));
    }

    #[test]
    fn nobody_there_is_said() {
        assert!(ask(Path::new("/nonexistent.sock"), "GET", "/", "").unwrap_err().contains("nonexistent"));
    }
}

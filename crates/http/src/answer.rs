//! The answers we give ourselves: short, stable, with a machine-readable reason.

use std::io::Write as _;

use evenkeel_base::Reason;
use evenkeel_wire::{end_head, write_content_length, write_field, write_status_line};

/// The status that tells a client of this reason (RFC 9110 §15).
pub(crate) fn status_of(reason: Reason) -> u16 {
    match reason {
        Reason::AddressDenied => 403,
        Reason::NoRoute => 404,
        Reason::MethodRefused => 405,
        Reason::HeaderTimeout | Reason::BodyTimeout => 408,
        Reason::BodyTooLarge => 413,
        Reason::TargetTooLong => 414,
        Reason::BadExpect => 417,
        Reason::HeadTooLarge | Reason::TooManyHeaders => 431,
        Reason::Internal => 500,
        Reason::BadVersion => 505,
        Reason::TargetClosedEarly | Reason::BadResponse | Reason::TargetReset | Reason::TargetFailed => 502,
        Reason::RequestTimeout | Reason::ConnectTimeout | Reason::WriteTimeout => 504,
        Reason::NoTarget
        | Reason::ListenerFull
        | Reason::QueueFull
        | Reason::QueueTimeout
        | Reason::ConnectRefused
        | Reason::ConnectFailed
        | Reason::NotResolved
        | Reason::LocalPortsExhausted
        | Reason::Overloaded
        | Reason::Draining => 503,
        _ => 400,
    }
}

/// What an answer of ours depends on beside its reason.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// The client asked for HTML.
    pub(crate) html: bool,
    /// The answer has a head only.
    pub(crate) head_only: bool,
    /// The connection closes behind it.
    pub(crate) close: bool,
    /// The client speaks HTTP/1.0, where a connection that goes on says so.
    pub(crate) old: bool,
}

/// Writes a whole error answer.
pub(crate) fn refusal(out: &mut Vec<u8>, reason: Reason, manner: Manner) {
    let status = status_of(reason);
    let body = if manner.html {
        let phrase = phrase(status);
        let (name, meaning) = (reason.as_str(), reason.meaning());
        format!(
            "<!doctype html><title>{status} {phrase}</title><h1>{status} {phrase}</h1><p>{meaning} <code>{name}</code>\n"
        )
    } else {
        let (name, meaning) = (reason.as_str(), reason.meaning());
        format!("{{\"error\":{{\"reason\":\"{name}\",\"message\":\"{meaning}\"}}}}\n")
    };
    let kind = if manner.html { "text/html; charset=utf-8" } else { "application/json" };
    write_status_line(out, status, phrase(status).as_bytes());
    write_field(out, "content-type", kind.as_bytes());
    write_field(out, "x-evenkeel-reason", reason.as_str().as_bytes());
    if status == 503 {
        write_field(out, "retry-after", b"1");
    }
    if status == 405 {
        write_field(out, "allow", b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
    }
    finish(out, body.as_bytes(), manner);
}

/// Writes what a route answers by itself.
pub(crate) fn route_response(out: &mut Vec<u8>, status: u16, body: &str, manner: Manner) {
    write_status_line(out, status, phrase(status).as_bytes());
    if matches!(status, 204 | 304) {
        // Neither has a body, and a length would speak of one (RFC 9110 §8.6).
        return end(out, manner);
    }
    write_field(out, "content-type", b"text/plain; charset=utf-8");
    finish(out, body.as_bytes(), manner);
}

/// Writes a redirect.
pub(crate) fn redirect(out: &mut Vec<u8>, status: u16, to: &str, manner: Manner) {
    write_status_line(out, status, phrase(status).as_bytes());
    write_field(out, "location", to.as_bytes());
    finish(out, b"", manner);
}

fn finish(out: &mut Vec<u8>, body: &[u8], manner: Manner) {
    write_content_length(out, body.len() as u64);
    end(out, manner);
    if !manner.head_only {
        // Writing to memory does not fail.
        let _ = out.write_all(body);
    }
}

fn end(out: &mut Vec<u8>, manner: Manner) {
    if manner.close {
        write_field(out, "connection", b"close");
    } else if manner.old {
        write_field(out, "connection", b"keep-alive");
    }
    end_head(out);
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_an_answer_that_parses() {
        for reason in Reason::ALL {
            let mut out = Vec::new();
            refusal(&mut out, *reason, Manner { html: false, head_only: false, close: true, old: false });
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {} ", status_of(*reason))), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
            assert!(head.contains(&format!("x-evenkeel-reason: {reason}")), "{text}");
            assert!(body.starts_with('{') && body.ends_with("}\n"));
        }
    }
}

//! Heads: what is asked, what is answered, and what of both goes on.

use std::net::IpAddr;

use evenkeel_base::{ClientAddr, Reason};
use evenkeel_config::HttpSettings;
use evenkeel_net::Buffer;
use evenkeel_route::canonical_path;
use evenkeel_state::{ListenerView, RouteAction};
use evenkeel_wire::{
    Asked, FieldKind, Forwarding, Framing, Kinds, Limits, Method, Parsed, Progress, RequestHead,
    ResponseHead, Scratch, Version, end_head, forwarded, parse_request, parse_response, write_chunked,
    write_field, write_fields, write_request_line, write_response_head,
};

use crate::Heads;
use crate::failpoint;
use crate::pump::Coding;

/// What a client asks, owned: the bytes it was read from are used up.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Of the body that is still to be read.
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// The client asks nothing more, and there is no body behind which old clients leave a stray CRLF (RFC 9112 §2.2):
    /// nothing is to come.
    pub(crate) last: bool,
    pub(crate) upgrade: bool,
    pub(crate) html: bool,
    pub(crate) choice: Choice,
    /// What is sent to the target: the head, and the body when all of it had come with the head.
    pub(crate) head: Vec<u8>,
    /// For the access log, when it is on.
    pub(crate) text: Option<AskText>,
}

/// What the access log says of a request: method, host and target, in one piece of memory that is used over and
/// over.
#[derive(Debug)]
pub(crate) struct AskText {
    pub(crate) bytes: Vec<u8>,
    method_end: usize,
    host_end: usize,
}

impl AskText {
    pub(crate) fn method(&self) -> &[u8] {
        &self.bytes[..self.method_end]
    }

    pub(crate) fn host(&self) -> &[u8] {
        &self.bytes[self.method_end..self.host_end]
    }

    pub(crate) fn target(&self) -> &[u8] {
        &self.bytes[self.host_end..]
    }
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By this route of the listener.
    Route(usize),
    /// To the listener's pool.
    Default,
    /// Nowhere.
    Refuse(Reason),
}

/// What reading a head needs to know.
#[derive(Debug)]
pub(crate) struct Reading<'r> {
    pub(crate) view: &'r ListenerView,
    pub(crate) client: ClientAddr,
    /// Lends memory for [`Ask::text`], when the access log is on.
    pub(crate) log: Option<&'r Heads>,
}

impl Reading<'_> {
    fn limits(&self) -> Limits {
        limits(&self.view.config.http)
    }
}

pub(crate) fn limits(http: &HttpSettings) -> Limits {
    Limits {
        head_bytes: http.max_head_bytes as usize,
        headers: usize::from(http.max_headers),
        target_bytes: http.max_target_bytes as usize,
    }
}

/// Reads a request off the buffer; `None` when more bytes are needed. `head` becomes [`Ask::head`].
pub(crate) fn read_ask(
    reading: &Reading<'_>,
    buffer: &mut Buffer,
    progress: &mut Progress,
    scratch: &mut Scratch,
    head: &mut Vec<u8>,
) -> Result<Option<Ask>, Reason> {
    let parsed = parse_request(buffer.filled(), &reading.limits(), progress, scratch)?;
    let Parsed::Complete(request) = parsed else { return Ok(None) };
    failpoint::check(&request.fields);
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let path = if path == "*" { path.into() } else { canonical_path(path)? };
    let choice = route(reading, &request, &path, query);
    write_head(head, &request, &path, query, reading, choice);
    let text = reading.log.map(|heads| text_of(heads.lend(), &request, &path, query));
    let ask = Ask {
        method: request.method,
        version: request.version,
        framing: request.framing,
        keep_alive: request.keep_alive,
        last: !request.keep_alive && request.framing == Framing::None,
        upgrade: request.upgrade.is_some(),
        html: request.fields.find("accept").is_some_and(prefers_html),
        choice,
        head: Vec::new(),
        text,
    };
    let consumed = request.head_len;
    buffer.consume(consumed);
    Ok(Some(with_whole_body(ask, buffer, head)))
}

fn is_too_large(request: &RequestHead<'_>, http: &HttpSettings) -> bool {
    matches!((request.framing, http.max_body_bytes), (Framing::Length(length), Some(most)) if length > most)
}

/// A body that has come whole goes out with the head, in one write, and can be sent again if need be.
fn with_whole_body(mut ask: Ask, buffer: &mut Buffer, head: &mut Vec<u8>) -> Ask {
    if let Framing::Length(length) = ask.framing
        && length <= buffer.len() as u64
    {
        let length = length as usize;
        head.extend_from_slice(&buffer.filled()[..length]);
        buffer.consume(length);
        ask.framing = Framing::None;
    }
    ask.head = std::mem::take(head);
    ask
}

fn text_of(mut bytes: Vec<u8>, request: &RequestHead<'_>, path: &str, query: &str) -> AskText {
    bytes.extend_from_slice(request.method_text.as_bytes());
    let method_end = bytes.len();
    bytes.extend_from_slice(request.host.as_bytes());
    let host_end = bytes.len();
    bytes.extend_from_slice(path.as_bytes());
    if request.target.contains('?') {
        bytes.push(b'?');
        bytes.extend_from_slice(query.as_bytes());
    }
    AskText { bytes, method_end, host_end }
}

/// A browser lists `text/html` first; tools that list nothing, or `*/*`, get JSON.
fn prefers_html(accept: &[u8]) -> bool {
    let html = b"text/html";
    accept.len() >= html.len() && accept[..html.len()].eq_ignore_ascii_case(html)
}

fn route(reading: &Reading<'_>, request: &RequestHead<'_>, path: &str, query: &str) -> Choice {
    let view = reading.view;
    if is_too_large(request, &view.config.http) {
        return Choice::Refuse(Reason::BodyTooLarge);
    }
    let found = if view.table.is_empty() {
        None
    } else {
        view.table.find(&Routed { request, path, query, client: reading.client.ip() })
    };
    match found {
        Some(index) => Choice::Route(index),
        None if view.default.is_some() => Choice::Default,
        None => Choice::Refuse(Reason::NoRoute),
    }
}

/// A request as the routes see it: the same canonical path that is forwarded and logged.
struct Routed<'r> {
    request: &'r RequestHead<'r>,
    path: &'r str,
    query: &'r str,
    client: Option<IpAddr>,
}

impl evenkeel_route::Request for Routed<'_> {
    fn host(&self) -> &str {
        without_port(self.request.host)
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn method(&self) -> &str {
        self.request.method_text
    }

    fn has_header(&self, name: &str, value: &[u8]) -> bool {
        self.request.fields.find_all(name).any(|found| found == value)
    }

    fn client(&self) -> Option<IpAddr> {
        self.client
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn write_head(
    out: &mut Vec<u8>,
    request: &RequestHead<'_>,
    path: &str,
    query: &str,
    reading: &Reading<'_>,
    choice: Choice,
) {
    let http = &reading.view.config.http;
    let forwarding = Forwarding {
        client: reading.client.ip(),
        proto: "http",
        host: request.host,
        trust: http.trust_forwarded,
    };
    write_target_line(out, request, path, query);
    write_fields(out, &request.fields, forwarding.skip());
    if request.fields.get(FieldKind::Host).is_none() {
        // HTTP/1.0 need not send the field, HTTP/1.1 must: from the target, or as with nginx the pool's name.
        let host = if request.host.is_empty() { pool_name(reading.view, choice) } else { request.host };
        write_field(out, "host", host.as_bytes());
    }
    if request.framing == Framing::Chunked {
        write_chunked(out);
    }
    if let Some(protocol) = request.upgrade {
        write_field(out, "connection", b"upgrade");
        write_field(out, "upgrade", protocol);
    }
    forwarded(out, &request.fields, &forwarding);
    end_head(out);
}

fn pool_name(view: &ListenerView, choice: Choice) -> &str {
    let pool = match choice {
        Choice::Default => view.default.as_ref(),
        Choice::Route(index) => match view.actions.get(index) {
            Some(RouteAction::Pool(pool)) => Some(pool),
            _ => None,
        },
        Choice::Refuse(_) => None,
    };
    pool.map_or("", |pool| pool.name().as_str())
}

fn write_target_line(out: &mut Vec<u8>, request: &RequestHead<'_>, path: &str, query: &str) {
    let has_query = request.target.contains('?');
    let unchanged =
        request.target.len() >= path.len() && request.target.as_bytes()[..path.len()] == *path.as_bytes();
    if unchanged && request.target.len() == path.len() + usize::from(has_query) + query.len() {
        write_request_line(out, request.method_text, request.target);
    } else {
        let separator = if has_query { "?" } else { "" };
        write_request_line(out, request.method_text, &format!("{path}{separator}{query}"));
    }
}

/// What a target answers.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) coding: Coding,
    /// The target's connection may serve another request.
    pub(crate) target_keep_alive: bool,
    /// It switches protocols.
    pub(crate) upgrade: bool,
    /// The client's connection ends with this answer.
    pub(crate) close: bool,
    /// What is sent to the client.
    pub(crate) head: Vec<u8>,
}

/// What reading an answer needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expecting {
    pub(crate) asked: Asked,
    pub(crate) limits: Limits,
    pub(crate) version: Version,
    /// The client's connection goes on after this answer, if the answer permits.
    pub(crate) keep_alive: bool,
}

/// Reads an answer off the buffer; `None` when more bytes are needed. `head` becomes [`Reply::head`].
pub(crate) fn read_reply(
    expecting: &Expecting,
    buffer: &mut Buffer,
    progress: &mut Progress,
    scratch: &mut Scratch,
    head: &mut Vec<u8>,
) -> Result<Option<Reply>, Reason> {
    let parsed = parse_response(buffer.filled(), &expecting.limits, expecting.asked, progress, scratch)?;
    let Parsed::Complete(response) = parsed else { return Ok(None) };
    let upgrade = response.status == 101;
    let coding = match (response.framing, expecting.version) {
        (Framing::UntilClose, Version::Http11) => Coding::Encode,
        (Framing::Chunked, Version::Http10) => Coding::Decode,
        _ => Coding::Raw,
    };
    let ends_by_close =
        coding == Coding::Decode || (response.framing == Framing::UntilClose && coding == Coding::Raw);
    let close = !upgrade && (!expecting.keep_alive || ends_by_close);
    write_reply(head, &response, coding, close, expecting);
    let reply = Reply {
        status: response.status,
        framing: response.framing,
        coding,
        target_keep_alive: response.keep_alive,
        upgrade,
        close,
        head: std::mem::take(head),
    };
    let consumed = response.head_len;
    buffer.consume(consumed);
    Ok(Some(reply))
}

fn write_reply(
    out: &mut Vec<u8>,
    response: &ResponseHead<'_>,
    coding: Coding,
    close: bool,
    expecting: &Expecting,
) {
    write_response_head(out, response.status, response.reason, &response.fields, Kinds::NONE);
    let chunked = match coding {
        Coding::Encode => true,
        Coding::Raw => response.framing == Framing::Chunked,
        Coding::Decode => false,
    };
    if chunked {
        write_chunked(out);
    }
    if let Some(protocol) = response.upgrade {
        write_field(out, "connection", b"upgrade");
        write_field(out, "upgrade", protocol);
    } else if response.status >= 200 {
        write_persistence(out, close, expecting.version);
    }
    end_head(out);
}

fn write_persistence(out: &mut Vec<u8>, close: bool, version: Version) {
    if close {
        write_field(out, "connection", b"close");
    } else if version == Version::Http10 {
        write_field(out, "connection", b"keep-alive");
    }
}

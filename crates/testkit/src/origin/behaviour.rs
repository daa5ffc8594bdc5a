//! The switches of an origin: how well or badly it behaves.

use std::time::Duration;

/// How an origin treats requests. The default is a faultless HTTP/1.1 server with keep-alive.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Status of `/healthz`, which is not entered in the journal.
    pub health: u16,
    /// Status of every other answer.
    pub status: u16,
    /// Wait before the first byte of the answer.
    pub delay_head: Duration,
    /// Wait in the middle of the answer's body.
    pub delay_body: Duration,
    /// Where the server is deaf, if anywhere.
    pub hang: Option<Hang>,
    /// The answer's form.
    pub answer: AnswerStyle,
    /// Break off the answer.
    pub cut: Option<Cut>,
    /// Answer before the request's body is read.
    pub early: Option<Early>,
    /// Interim (1xx) responses before the answer.
    pub interim: Vec<u16>,
    /// What becomes of `Expect: 100-continue`.
    pub expect: OnExpect,
    /// Whether `Upgrade` is accepted: `websocket` with a real handshake, all else as an echo of bytes.
    pub upgrade: bool,
    /// Close the connection after this many requests.
    pub requests_per_connection: Option<u32>,
    /// Whether the last answer before such a close says `Connection: close`.
    pub announce_close: bool,
    /// Close a connection on which nothing came for so long; read when the wait begins.
    pub idle_close: Option<Duration>,
    /// Fields added to every answer.
    pub headers: Vec<(String, String)>,
    /// Whether the journal keeps the request's fields (memory).
    pub keep_heads: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            health: 200,
            status: 200,
            delay_head: Duration::ZERO,
            delay_body: Duration::ZERO,
            hang: None,
            answer: AnswerStyle::Length,
            cut: None,
            early: None,
            interim: Vec::new(),
            expect: OnExpect::Continue,
            upgrade: true,
            requests_per_connection: None,
            announce_close: true,
            idle_close: None,
            headers: Vec::new(),
            keep_heads: true,
        }
    }
}

/// Where a hanging server stopped. It goes on there when the hang ends, like after SIGSTOP and SIGCONT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    /// New connections are not taken (the kernel still completes their handshakes up to the backlog).
    Accept,
    /// Requests are neither executed nor entered in the journal.
    Read,
    /// Requests are executed, but not answered.
    Answer,
}

/// The form of the answer on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerStyle {
    /// `Content-Length`.
    Length,
    /// Chunked.
    Chunked,
    /// Chunked with an `x-trailer` after the last chunk.
    ChunkedTrailers,
    /// Delimited by the close of the connection.
    UntilClose,
    /// A `Content-Length` that promises so many bytes more than come; then FIN.
    PromiseMore(u64),
    /// A `Content-Length` that promises so many bytes less than come; the connection stays open.
    PromiseLess(u64),
    /// These bytes and nothing else.
    Script(Vec<u8>, AfterScript),
    /// Fields without end.
    EndlessHead,
    /// 103 responses without end.
    EndlessInterim,
}

/// What follows the bytes of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterScript {
    /// The next request.
    Keep,
    /// FIN.
    Close,
    /// RST.
    Reset,
}

/// Break off after exactly this many bytes of the answer, head included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes that still go out; 0 cuts instead of answering.
    pub after_bytes: u64,
    /// RST instead of FIN.
    pub reset: bool,
}

/// How a server goes on that answered before the body came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early {
    /// Reads the rest and keeps the connection.
    ReadOn,
    /// Reads nothing for so long, then closes.
    StopReading(Duration),
}

/// What becomes of `Expect: 100-continue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpect {
    /// 100, then the answer after the body.
    Continue,
    /// No 100; the body is awaited.
    Ignore,
    /// 417 at once, then close.
    Refuse,
}

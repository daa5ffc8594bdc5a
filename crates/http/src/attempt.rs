//! One try: the request goes to one target, and its answer comes back.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_config::HttpSettings;
use evenkeel_net::Buffer;
use evenkeel_net::rt::Instant;
use evenkeel_wire::{Progress, Scratch};

use crate::client::Client;
use crate::head::{Expecting, Reply, read_reply};
use crate::pump::{Blocked, Pump, Stopped};
use crate::upstream::Upstream;

/// Interim answers (1xx) before the final one; more is a flood.
const MAX_INTERIM: u8 = 16;

/// Why a try gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The target is at fault.
    Target {
        /// How.
        reason: Reason,
        /// A reused connection that had ended, unnoticed, before our request.
        stale: bool,
        /// The target cannot have read any of it.
        unread: bool,
    },
    /// The client is at fault: it gets this answer.
    Client(Reason),
    /// The client is gone: nobody waits for an answer.
    Gone(Reason),
}

/// What a pending exchange waits for, with a count of what has moved: the deadline starts anew when either changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Body(u64),
    TargetTakes(u64),
    Answer(u64),
    ClientTakes(u64),
}

impl Waiting {
    fn timeout(self, http: &HttpSettings) -> Duration {
        match self {
            Self::Body(_) => http.body_timeout,
            Self::TargetTakes(_) | Self::ClientTakes(_) => http.write_timeout,
            Self::Answer(_) => http.response_timeout,
        }
    }
}

/// One try.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) target: &'a mut Upstream,
    pub(crate) upload: &'a mut Pump,
    pub(crate) answer: &'a mut Buffer,
    pub(crate) http: &'a HttpSettings,
    pub(crate) scratch: &'a RefCell<Scratch>,
    waiting: Option<Waiting>,
    progress: Progress,
    received: u64,
    /// The client broke off its request while its answer was under way.
    upload_failed: bool,
    begun: Option<Instant>,
    watch_client: bool,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        client: &'a mut Client,
        target: &'a mut Upstream,
        upload: &'a mut Pump,
        answer: &'a mut Buffer,
        http: &'a HttpSettings,
        scratch: &'a RefCell<Scratch>,
    ) -> Self {
        let watch_client = !client.ended;
        Self {
            client,
            target,
            upload,
            answer,
            http,
            scratch,
            waiting: None,
            progress: Progress::new(),
            received: 0,
            upload_failed: false,
            begun: None,
            watch_client,
        }
    }

    /// The moment from which the first wait counts, so that the clock is not read again for it.
    pub(crate) fn begins_at(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// Sends the request and reads the head of its final answer; interim answers are passed on.
    pub(crate) async fn answer(
        &mut self,
        expecting: &Expecting,
        head: &mut Vec<u8>,
    ) -> Result<Reply, Trouble> {
        for _ in 0..=MAX_INTERIM {
            let reply = std::future::poll_fn(|cx| self.poll_answer(cx, expecting, head)).await?;
            if reply.status >= 200 || reply.upgrade {
                return Ok(reply);
            }
            self.pass_interim(&reply, expecting).await?;
            *head = reply.head;
            head.clear();
        }
        Err(self.target_trouble(Reason::BadResponse, false))
    }

    async fn pass_interim(&mut self, reply: &Reply, expecting: &Expecting) -> Result<(), Trouble> {
        // HTTP/1.0 has no interim answers (RFC 9110 §15.2).
        if expecting.version == evenkeel_wire::Version::Http11 {
            let written = self.client.write_all(&reply.head, self.http.write_timeout).await;
            written.map_err(Trouble::Gone)?;
        }
        self.waiting = None;
        Ok(())
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        expecting: &Expecting,
        head: &mut Vec<u8>,
    ) -> Poll<Result<Reply, Trouble>> {
        self.poll_upload(cx)?;
        if let Poll::Ready(result) = self.poll_head(cx, expecting, head) {
            return Poll::Ready(result);
        }
        if self.upload_is_over() {
            self.poll_watch(cx)?;
        }
        let waiting = self.waits_for();
        self.poll_deadline(cx, waiting).map(|()| Err(self.timed_out(waiting)))
    }

    /// Moves the request on. Only the client's faults end the try here.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Trouble> {
        // A target that takes no more of the request may have answered all the same.
        if self.upload_is_over() {
            return Ok(());
        }
        let Client { stream, buffer, .. } = &mut *self.client;
        match self.upload.poll(cx, stream, buffer, &mut self.target.stream) {
            Poll::Pending | Poll::Ready(Ok(()) | Err(Stopped::Write)) => Ok(()),
            Poll::Ready(Err(Stopped::Refused(reason))) => Err(Trouble::Client(reason)),
            Poll::Ready(Err(Stopped::Truncated)) => Err(Trouble::Gone(Reason::ClientClosed)),
            Poll::Ready(Err(Stopped::Read(_))) => Err(Trouble::Gone(Reason::ClientReset)),
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        expecting: &Expecting,
        head: &mut Vec<u8>,
    ) -> Poll<Result<Reply, Trouble>> {
        loop {
            if !self.answer.is_empty() {
                let mut scratch = self.scratch.borrow_mut();
                // An answer that overtakes the request is the connection's last: where the rest of the request
                // ends, nobody will know.
                let keep_alive = expecting.keep_alive && self.request_is_sent();
                let expecting = &Expecting { keep_alive, ..*expecting };
                match read_reply(expecting, self.answer, &mut self.progress, &mut scratch, head) {
                    Ok(Some(reply)) => return Poll::Ready(Ok(reply)),
                    Ok(None) => self.make_room(expecting),
                    Err(_) => return Poll::Ready(Err(self.target_trouble(Reason::BadResponse, false))),
                }
            }
            match std::task::ready!(self.target.stream.poll_read(cx, self.answer)) {
                Ok(0) => return Poll::Ready(Err(self.target_trouble(Reason::TargetClosedEarly, true))),
                Ok(read) => self.received += read as u64,
                Err(error) => return Poll::Ready(Err(self.target_trouble(read_reason(error.kind()), false))),
            }
        }
    }

    /// A head may be larger than a pooled buffer; the parser refuses it at its limit.
    fn make_room(&mut self, expecting: &Expecting) {
        if self.answer.is_full() {
            let doubled = self.answer.capacity() * 2;
            self.answer.grow(doubled.min(expecting.limits.head_bytes + 4096).max(self.answer.capacity() + 1));
        }
    }

    /// While we wait for the target, a client that vanishes is noticed, and one that has merely finished sending
    /// is not taken for vanished.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Result<(), Trouble> {
        while self.watch_client {
            let buffer = &mut self.client.buffer;
            if buffer.is_full() {
                // Pipelined requests fill the buffer: the rest waits in the kernel.
                self.watch_client = false;
                break;
            }
            match self.client.stream.poll_read(cx, buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => {
                    self.client.ended = true;
                    self.watch_client = false;
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Err(Trouble::Gone(Reason::ClientReset)),
            }
        }
        Ok(())
    }

    fn waits_for(&self) -> Waiting {
        let moved = self.upload.moved();
        if self.upload_is_over() {
            // Not what has come of the head: a target that drips it gains no time.
            Waiting::Answer(moved)
        } else if self.upload.blocked() == Blocked::Read {
            Waiting::Body(moved)
        } else {
            Waiting::TargetTakes(moved)
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<()> {
        if self.waiting != Some(waiting) {
            self.waiting = Some(waiting);
            let now = self.begun.take().unwrap_or_else(Instant::now);
            self.client.deadline.set_from(now, waiting.timeout(self.http));
        }
        self.client.deadline.poll_passed(cx)
    }

    fn timed_out(&self, waiting: Waiting) -> Trouble {
        match waiting {
            Waiting::Body(_) => Trouble::Client(Reason::BodyTimeout),
            Waiting::ClientTakes(_) => Trouble::Gone(Reason::WriteTimeout),
            Waiting::TargetTakes(_) | Waiting::Answer(_) => {
                Trouble::Target { reason: Reason::RequestTimeout, stale: false, unread: false }
            }
        }
    }

    /// `ended`: the target's FIN came, which carries its last word on what it has received. A reset carries none:
    /// a kernel delays acknowledgements, and a target may have read, and acted on, what was never acknowledged.
    /// Nor does an end say anything after a failed write, which may have taken the reset's error for itself.
    fn target_trouble(&self, reason: Reason, ended: bool) -> Trouble {
        let nothing_came = self.received == 0;
        let nothing_went = self.upload.moved() == 0;
        let never_arrived = ended && self.upload.broken().is_none() && self.target.is_provably_unread();
        let unread = nothing_came && (nothing_went || never_arrived);
        Trouble::Target { reason, stale: nothing_came && self.target.reused, unread }
    }

    /// Sends the answer to the client, while the rest of the request may still go to the target.
    pub(crate) async fn deliver(&mut self, download: &mut Pump) -> Result<(), Reason> {
        self.waiting = None;
        std::future::poll_fn(|cx| self.poll_deliver(cx, download)).await
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>, download: &mut Pump) -> Poll<Result<(), Reason>> {
        // What goes wrong with the upload from here on does not spoil the answer: the connections close behind it.
        if !self.upload_failed {
            match self.poll_upload(cx) {
                Err(Trouble::Gone(Reason::ClientReset)) => return Poll::Ready(Err(Reason::ClientReset)),
                Err(_) => self.upload_failed = true,
                Ok(()) => {}
            }
        }
        if self.upload.broken() == Some(io::ErrorKind::ConnectionReset) {
            download.distrust_end();
        }
        let polled = download.poll(cx, &mut self.target.stream, self.answer, &mut self.client.stream);
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.map_err(|stopped| match stopped {
                Stopped::Write => Reason::ClientReset,
                Stopped::Truncated => Reason::TargetClosedEarly,
                Stopped::Read(error) => read_reason(error.kind()),
                Stopped::Refused(_) => Reason::BadResponse,
            }));
        }
        // While the target is silent, nothing is written that would show that the client has vanished.
        if download.blocked() == Blocked::Read && self.upload_is_over() && self.poll_watch(cx).is_err() {
            return Poll::Ready(Err(Reason::ClientReset));
        }
        let waiting = match download.blocked() {
            Blocked::Read => Waiting::Answer(download.moved() + self.upload.moved()),
            Blocked::Write => Waiting::ClientTakes(download.moved()),
        };
        self.poll_deadline(cx, waiting).map(|()| {
            Err(match waiting {
                Waiting::ClientTakes(_) => Reason::WriteTimeout,
                _ => Reason::RequestTimeout,
            })
        })
    }

    /// Whether the request has been sent whole.
    pub(crate) fn request_is_sent(&self) -> bool {
        self.upload.is_done()
    }

    fn upload_is_over(&self) -> bool {
        self.upload.is_done() || self.upload.broken().is_some()
    }

    /// Bytes of the answer that came with its head or before it.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

fn read_reason(error: io::ErrorKind) -> Reason {
    match error {
        io::ErrorKind::ConnectionReset => Reason::TargetReset,
        _ => Reason::TargetClosedEarly,
    }
}

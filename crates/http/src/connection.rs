//! One client connection: request after request, until one side has had enough.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_net::rt::Instant;
use evenkeel_net::{Dial, DrainSignal, Stream, Watch};
use evenkeel_state::Admitted;
use evenkeel_wire::Progress;

use crate::Plane;
use crate::answer::{self, Manner};
use crate::client::Client;
use crate::exchange::{Course, Exchange, Next};
use crate::head::{Ask, Reading, read_ask};
use crate::log;

/// One client connection, with what it holds while it is idle, which most connections are most of the time. All that head
/// and exchange need lives in a [slot](crate::slot) that is lent for as long as they last.
pub(crate) struct Connection<D> {
    plane: Rc<Plane<D>>,
    admitted: Admitted,
    client: Client,
    drain: Watch,
    /// It has heard of the drain, and waits for one more request.
    hurried: bool,
    /// A defect of ours has cost its request; the apology is the last thing that is tried.
    failed: bool,
}

/// How long a draining connection waits for one more request. A client that uses its connection more seldom opens
/// another one as a matter of course; waiting for it would only make every stop as long as the grace time.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Why no request was read.
#[derive(Debug)]
enum Stop {
    /// Nothing is to be said.
    Silent(Reason),
    /// The client is told, and the connection closes.
    Refuse(Reason),
}

/// What a connection is to do with a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Read a request and answer it.
    Request,
    /// Tell the client that a defect of ours has cost its request.
    Apology,
}

impl<D: Dial + 'static> Connection<D> {
    pub(crate) fn new(plane: Rc<Plane<D>>, admitted: Admitted, stream: Stream, drain: DrainSignal) -> Self {
        let client = Client::new(stream, plane.buffers.buffer(), admitted.view.config.http.header_timeout);
        Self { plane, admitted, client, drain: drain.watch(), hurried: false, failed: false }
    }

    pub(crate) fn plane(&self) -> Rc<Plane<D>> {
        Rc::clone(&self.plane)
    }

    /// What is left to do after a panic: an apology, but not for one that failed itself.
    pub(crate) fn recover(&mut self) -> Option<Work> {
        (!std::mem::replace(&mut self.failed, true)).then_some(Work::Apology)
    }

    /// Ends it, and says why.
    pub(crate) fn end(mut self, reason: Reason) {
        self.admitted.reason = reason;
    }

    /// Waits, without memory for them, for the first bytes of a request, and reads them. A draining connection waits as well:
    /// its client gets one more answer, which says `Connection: close`, rather than a closed door.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let Client { stream, deadline, buffer, .. } = &mut self.client;
        if !buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.drain.wake_me(cx);
        if let Poll::Ready(read) = stream.poll_read(cx, buffer) {
            return Poll::Ready(match read {
                Ok(0) => Err(Reason::ClientClosed),
                Ok(_) => Ok(()),
                Err(_) => Err(Reason::ClientReset),
            });
        }
        if self.drain.is_draining() && !self.hurried {
            self.hurried = true;
            deadline.set(LAST_CALL);
        }
        let reason = if self.hurried { Reason::Draining } else { Reason::IdleTimeout };
        deadline.poll_passed(cx).map(|()| Err(reason))
    }

    /// Does it, and says whether another request may come, or why the connection ends.
    pub(crate) async fn work(&mut self, work: Work) -> Result<(), Reason> {
        let next = match work {
            Work::Request => match self.request().await {
                Ok(next) => next,
                Err(Stop::Silent(reason)) => return Err(reason),
                Err(Stop::Refuse(reason)) => self.refuse(reason).await,
            },
            Work::Apology => self.apologize().await,
        };
        match next {
            Next::Another if self.client.ended && !self.client.has_bytes() => Err(Reason::ClientClosed),
            Next::Another => Ok(()),
            Next::Linger => {
                self.client.linger().await;
                Err(if self.drain.is_draining() { Reason::Draining } else { Reason::Finished })
            }
            Next::Reset => {
                self.client.stream.reset_on_close();
                Err(Reason::TargetClosedEarly)
            }
            Next::Ended => Err(Reason::Finished),
        }
    }

    async fn request(&mut self) -> Result<Next, Stop> {
        self.admitted.renew();
        let ask = self.read().await?;
        let started = Instant::now();
        self.admitted.cell().requests.add(1);
        self.admitted.live.requests.add(1);
        let view = self.admitted.view.clone();
        let mut exchange = Exchange {
            plane: &self.plane,
            admitted: &self.admitted,
            view: &view,
            client: &mut self.client,
            drain: &self.drain,
            ask,
            started,
            ended: started,
            course: Course::default(),
        };
        let next = exchange.run().await;
        log::line(&exchange);
        let Exchange { ask, ended, .. } = exchange;
        self.plane.heads.give_back(ask.head);
        if let Some(text) = ask.text {
            self.plane.heads.give_back(text.bytes);
        }
        self.admitted.live.set_target(None);
        self.client.deadline.set_from(ended, view.config.http.keep_alive_timeout);
        Ok(next)
    }

    async fn read(&mut self) -> Result<Ask, Stop> {
        let view = self.admitted.view.clone();
        let http = &view.config.http;
        let mut timed = false;
        let mut progress = Progress::new();
        self.client.answering = false;
        let plane = Rc::clone(&self.plane);
        let log = self.admitted.worker.log.is_on().then_some(&plane.heads);
        let reading = Reading { view: &view, client: self.admitted.live.client, log };
        loop {
            if self.client.has_bytes()
                && let Some(ask) = self.parse(&reading, &mut progress)?
            {
                return Ok(ask);
            }
            if self.client.has_bytes() && !timed {
                // A head that has begun, and is not whole, has to come in time; most come whole.
                timed = true;
                self.client.deadline.set(http.header_timeout);
            }
            match self.more().await {
                Some(Ok(0)) => return Err(Stop::Silent(Reason::ClientClosed)),
                Some(Ok(_)) => {}
                Some(Err(_)) => return Err(Stop::Silent(Reason::ClientReset)),
                None if self.client.has_bytes() => return Err(Stop::Refuse(Reason::HeaderTimeout)),
                None => return Err(Stop::Silent(Reason::IdleTimeout)),
            }
        }
    }

    /// Reads more of a head. `None` is the deadline.
    async fn more(&mut self) -> Option<std::io::Result<usize>> {
        let Client { stream, deadline, buffer, .. } = &mut self.client;
        if buffer.is_full() {
            // The parser refuses a head at its limit; until then there has to be room.
            buffer.grow(buffer.capacity() * 2);
        }
        deadline.guard(|cx| stream.poll_read(cx, buffer)).await
    }

    fn parse(&mut self, reading: &Reading<'_>, progress: &mut Progress) -> Result<Option<Ask>, Stop> {
        let buffer = &mut self.client.buffer;
        let mut head = self.plane.heads.lend();
        let mut scratch = self.plane.scratch.borrow_mut();
        let read = read_ask(reading, buffer, progress, &mut scratch, &mut head);
        if !matches!(read, Ok(Some(_))) {
            self.plane.heads.give_back(head);
        }
        read.map_err(Stop::Refuse)
    }

    /// Says no to what is no request, and closes: where the next one would begin, nobody can know.
    async fn refuse(&mut self, reason: Reason) -> Next {
        self.admitted.cell().count(reason);
        let mut out = self.plane.heads.lend();
        answer::refusal(&mut out, reason, Manner { html: false, head_only: false, close: true, old: false });
        let timeout = self.admitted.view.config.http.write_timeout;
        let written = self.client.write_all(&out, timeout).await;
        self.plane.heads.give_back(out);
        log::refused(&self.admitted, reason);
        if written.is_ok() { Next::Linger } else { Next::Ended }
    }

    async fn apologize(&mut self) -> Next {
        self.admitted.cell().panics.add(1);
        // Behind a part of an answer, another one would be taken for its rest.
        if self.client.answering { Next::Reset } else { self.refuse(Reason::Internal).await }
    }
}

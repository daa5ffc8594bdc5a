//! One request, from its head to the last byte of its answer, over as many tries as it needs.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_net::rt::{self, Instant};
use evenkeel_net::{Buffer, Dial, Direction, DrainSignal, relay};
use evenkeel_state::{Admitted, Lease, Pool, RouteAction, Target, Tried, Turn, View};
use evenkeel_wire::{Asked, Framing, Method, Version};

use crate::Plane;
use crate::answer::{self, Manner};
use crate::attempt::{Attempt, Trouble};
use crate::client::Client;
use crate::head::{Ask, Choice, Expecting, Reply, limits};
use crate::pump::{Coding, Pump};
use crate::upstream::Upstream;

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request may come.
    Another,
    /// It ends, after what the client still sends has been read for a while.
    Linger,
    /// It ends with a reset, so that a part is not taken for the whole.
    Reset,
    /// It has ended.
    Ended,
}

/// What is told of a request when it is over.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) target: Option<Arc<Target>>,
    pub(crate) attempts: u32,
    pub(crate) reused: bool,
    pub(crate) queued: Duration,
    pub(crate) connected: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// One request on its way.
pub(crate) struct Exchange<'a, D> {
    pub(crate) plane: &'a Plane<D>,
    pub(crate) admitted: &'a Admitted,
    pub(crate) view: &'a View,
    pub(crate) client: &'a mut Client,
    pub(crate) drain: &'a DrainSignal,
    pub(crate) ask: Ask,
    pub(crate) started: Instant,
    /// When the answer was whole; read once for all that counts from there.
    pub(crate) ended: Instant,
    pub(crate) course: Course,
}

/// What a try came to.
enum Outcome {
    /// The client has its answer, or is beyond getting one.
    Over(Next),
    /// Nothing has reached the client yet.
    Failed(Trouble),
}

impl<D: Dial + 'static> Exchange<'_, D> {
    /// Answers the request.
    pub(crate) async fn run(&mut self) -> Next {
        let view = self.view.clone();
        let pool = match self.ask.choice {
            Choice::Refuse(reason) => return self.refuse(reason).await,
            Choice::Default => view.default.as_ref(),
            Choice::Route(index) => match &view.actions[index] {
                RouteAction::Pool(pool) => Some(pool),
                RouteAction::Respond { status, body } => {
                    return self
                        .own(*status, |out, manner| answer::route_response(out, *status, body, manner))
                        .await;
                }
                RouteAction::Redirect { to, status } => {
                    return self.own(*status, |out, manner| answer::redirect(out, *status, to, manner)).await;
                }
            },
        };
        match pool {
            Some(pool) => self.forward(pool).await,
            None => self.refuse(Reason::NoRoute).await,
        }
    }

    /// Forwards to the pool; one that is built anew while the request waits in its queue is looked up again, so that
    /// who waits neither goes to a target that drains nor past one that has come.
    async fn forward(&mut self, pool: &Arc<Pool>) -> Next {
        let mut newer: Option<Arc<Pool>> = None;
        loop {
            if let Some(next) = self.forward_to(newer.as_ref().unwrap_or(pool)).await {
                return next;
            }
            newer = self.admitted.worker.pool(pool.name());
            if newer.is_none() {
                return self.refuse(Reason::NoTarget).await;
            }
        }
    }

    /// Tries targets until one answers, or none is left to try. `None`: the pool has been built anew.
    async fn forward_to(&mut self, pool: &Arc<Pool>) -> Option<Next> {
        if self.admitted.worker.is_short_of_memory() {
            return Some(self.refuse(Reason::Overloaded).await);
        }
        if self.admitted.worker.log.is_on() {
            self.course.pool = Some(Arc::clone(pool));
        }
        let mut tried = Tried::default();
        let mut last = None;
        loop {
            let lease = match self.lease(pool, &tried).await {
                Ok(lease) => lease?,
                Err(reason) => return Some(self.refuse(last.unwrap_or(reason)).await),
            };
            self.admitted.live.set_target(Some(lease.id()));
            if self.admitted.worker.log.is_on() {
                self.course.target = Some(Arc::clone(lease.target()));
            }
            self.course.attempts += 1;
            let trouble = match self.try_target(pool, &lease, &tried).await {
                Outcome::Over(next) => return Some(next),
                Outcome::Failed(trouble) => trouble,
            };
            match trouble {
                Trouble::Client(reason) => return Some(self.refuse(reason).await),
                Trouble::Gone(reason) => return Some(self.gone(reason)),
                Trouble::Target { reason, .. } => {
                    tried.add(lease.slot());
                    if reason != Reason::TargetFailed {
                        lease.failed(reason);
                    }
                    if !self.may_retry(pool, trouble, &tried) {
                        return Some(self.refuse(reason).await);
                    }
                    lease.cell().retries.add(1);
                    last = Some(reason);
                }
            }
        }
    }

    async fn lease<'p>(&mut self, pool: &'p Pool, tried: &Tried) -> Result<Option<Lease<'p>>, Reason> {
        let caller = self.admitted.worker.caller(self.admitted.live.client, self.started.into_std());
        match pool.lease(&caller, tried)? {
            Turn::Now(lease) => Ok(Some(lease)),
            Turn::Wait(place) => {
                let asked = Instant::now();
                let patience = pool.config.limits.queue_timeout.saturating_sub(self.course.queued);
                let waited = rt::timeout(patience, place.next(&caller, tried)).await;
                self.course.queued += asked.elapsed();
                waited.unwrap_or(Err(Reason::QueueTimeout))
            }
        }
    }

    /// One target: over an idle connection if there is one; a stale one is replaced by a fresh one, silently.
    async fn try_target(&mut self, pool: &Pool, lease: &Lease<'_>, tried: &Tried) -> Outcome {
        let mut fresh = false;
        loop {
            // What cannot be sent twice must not go to a connection that has ended.
            let sure = !self.ask.method.is_idempotent() || self.ask.framing.has_body();
            let mut target = match self.plane.reach(pool, lease, fresh, sure).await {
                Ok(target) => target,
                Err(reason) => {
                    return Outcome::Failed(Trouble::Target { reason, stale: false, unread: true });
                }
            };
            self.course.reused = target.reused;
            match self.try_once(pool, lease, &mut target, tried).await {
                Outcome::Failed(Trouble::Target { stale: true, unread, .. })
                    if pool.config.retry.on_stale && self.may_resend(unread) =>
                {
                    fresh = true;
                }
                outcome => {
                    if target.fit {
                        let until = self.ended + pool.config.keep_alive_timeout;
                        self.plane.idle.put(lease.id(), target, pool.config.max_idle, until);
                    }
                    return outcome;
                }
            }
        }
    }

    /// Whether the request may be sent once more: it is whole in our hands, and sending it twice does no harm or
    /// the first time never happened.
    fn may_resend(&self, unread: bool) -> bool {
        !self.ask.head.is_empty() && (unread || self.ask.method.is_idempotent())
    }

    /// Whether another target is tried. `tried` holds the one that failed: what counts are targets, not
    /// connections to one of them that turned out stale.
    fn may_retry(&self, pool: &Pool, trouble: Trouble, tried: &Tried) -> bool {
        let Trouble::Target { reason, unread, .. } = trouble else { return false };
        let retry = &pool.config.retry;
        if reason == Reason::TargetFailed {
            // Weighed already, while the answer was still at hand.
            return true;
        }
        if tried.len() > usize::from(retry.attempts) || !self.may_resend(unread) {
            return false;
        }
        if is_dial_failure(reason) {
            return retry.on_connect;
        }
        reason != Reason::BadResponse && retry.on_failure && pool.admits_retry(evenkeel_state::uptime())
    }

    async fn try_once(
        &mut self,
        pool: &Pool,
        lease: &Lease<'_>,
        target: &mut Upstream,
        tried: &Tried,
    ) -> Outcome {
        let http = &self.view.config.http;
        let allowed = http.max_body_bytes.unwrap_or(u64::MAX);
        let head = std::mem::take(&mut self.ask.head);
        let mut upload = Pump::new(head, self.ask.framing, Coding::Raw, allowed, &self.plane.buffers);
        let mut answer = self.plane.buffers.buffer();
        let expecting = Expecting {
            asked: Asked { method: self.ask.method, upgrade: self.ask.upgrade },
            limits: limits(http),
            version: self.ask.version,
            // What a client sends in the hope of an upgrade that is refused is no request, whenever it comes.
            keep_alive: self.ask.keep_alive && !self.ask.upgrade && !self.drain.is_draining(),
        };
        let mut reply_head = self.plane.heads.lend();
        let scratch = &self.plane.scratch;
        // The try's own time, not the request's: what was waited for earlier tries is none of this target's doing.
        let at_once = self.course.attempts == 1 && target.reused && self.course.queued.is_zero();
        let begun = if at_once { self.started } else { Instant::now() };
        self.course.connected = if target.reused { Duration::ZERO } else { begun - self.started };
        let mut attempt = Attempt::new(self.client, target, &mut upload, &mut answer, http, scratch);
        attempt.begins_at(begun);
        let reply = attempt.answer(&expecting, &mut reply_head).await;
        let received = attempt.received();
        match reply {
            Ok(reply) if self.is_retried_status(pool, reply.status, &upload, tried) => {
                lease.answered(reply.status, begun.elapsed().as_micros() as u64);
                self.keep_for_resend(&mut upload);
                self.count(lease, &upload, received);
                Outcome::Failed(Trouble::Target { reason: Reason::TargetFailed, stale: false, unread: false })
            }
            Ok(reply) => {
                let now = Instant::now();
                self.course.first_byte = now - self.started;
                lease.answered(reply.status, (now - begun).as_micros() as u64);
                let leg = Leg { target, upload: &mut upload, answer: &mut answer };
                let next = self.deliver(lease, reply, leg).await;
                self.plane.heads.give_back(upload.take_head());
                Outcome::Over(next)
            }
            Err(trouble) => {
                self.keep_for_resend(&mut upload);
                self.count(lease, &upload, received);
                self.plane.heads.give_back(reply_head);
                Outcome::Failed(trouble)
            }
        }
    }
}

/// The target's side of an exchange whose answer is about to be delivered.
struct Leg<'l> {
    target: &'l mut Upstream,
    upload: &'l mut Pump,
    answer: &'l mut Buffer,
}

impl<D: Dial + 'static> Exchange<'_, D> {
    /// Passes the final answer on and decides what becomes of both connections.
    async fn deliver(&mut self, lease: &Lease<'_>, reply: Reply, leg: Leg<'_>) -> Next {
        self.course.status = reply.status;
        if reply.upgrade {
            // Seldom, and large: kept out of what every connection holds.
            return Box::pin(self.switch(lease, reply, leg)).await;
        }
        let Leg { target, upload, answer } = leg;
        let buffers = &self.plane.buffers;
        // An answer that ends with its connection looks whole when the connection is merely closed.
        let ends_by_close = reply.coding == Coding::Decode
            || (reply.framing == Framing::UntilClose && reply.coding == Coding::Raw);
        let guard = ends_by_close.then(|| self.client.stream.reset_guard());
        self.client.answering = true;
        let mut download = Pump::new(reply.head, reply.framing, reply.coding, u64::MAX, buffers);
        let http = &self.view.config.http;
        let scratch = &self.plane.scratch;
        let mut attempt = Attempt::new(self.client, target, upload, answer, http, scratch);
        let delivered = attempt.deliver(&mut download).await;
        self.ended = Instant::now();
        let sent = attempt.request_is_sent();
        let unsaid = download.moved() == 0;
        self.count(lease, upload, download.moved());
        self.course.bytes_out += download.moved();
        self.admitted.cell().bytes_out.add(download.moved());
        self.admitted.live.bytes_out.add(download.moved());
        self.plane.heads.give_back(download.take_head());
        match delivered {
            Ok(()) => {
                if let Some(guard) = guard {
                    guard.disarm();
                }
                let whole = reply.framing != Framing::UntilClose && answer.is_empty();
                target.fit = reply.target_keep_alive && sent && whole;
                target.sent_before += upload.moved();
                if !reply.close && sent {
                    Next::Another
                } else if self.ask.last && self.client.is_silent() {
                    Next::Ended
                } else {
                    Next::Linger
                }
            }
            Err(reason) => {
                self.course.reason = Some(reason);
                if reason != Reason::ClientReset && reason != Reason::WriteTimeout {
                    lease.failed(reason);
                }
                if unsaid && reason != Reason::ClientReset && reason != Reason::WriteTimeout {
                    // Head and first fault came together, and nothing of either went on: the client can be told.
                    if let Some(guard) = guard {
                        guard.disarm();
                    }
                    return self.refuse(reason).await;
                }
                // A known length or a missing last chunk shows the client what is missing; a close would not.
                if ends_by_close { Next::Reset } else { Next::Ended }
            }
        }
    }

    /// The protocols are switched: bytes go both ways until both sides have ended. No deadline of a request counts
    /// any more, only the listener's idle timeout.
    async fn switch(&mut self, lease: &Lease<'_>, reply: Reply, leg: Leg<'_>) -> Next {
        let http = &self.view.config.http;
        if let Err(reason) = self.client.write_all(&reply.head, http.write_timeout).await {
            return self.gone(reason);
        }
        let up = Direction::new(&self.plane.buffers, self.client.buffer.take(), None, true);
        let down = Direction::new(&self.plane.buffers, leg.answer.take(), None, true);
        let (listener, cell, live) = (self.admitted.cell(), lease.cell(), &self.admitted.live);
        let idle = self.view.config.idle_timeout;
        let end = relay(&self.client.stream, &leg.target.stream, up, down, idle, |to_target, to_client| {
            listener.bytes_in.add(to_target);
            listener.bytes_out.add(to_client);
            cell.bytes_to.add(to_target);
            cell.bytes_from.add(to_client);
            live.bytes_in.add(to_target);
            live.bytes_out.add(to_client);
        })
        .await;
        self.course.bytes_in += end.to_target;
        self.course.bytes_out += end.to_client;
        self.gone(end.reason)
    }

    /// Whether this answer is given up for that of another target. Where there is none, or the budget is spent,
    /// the client gets the target's own words. `tried` holds those before this one.
    fn is_retried_status(&self, pool: &Pool, status: u16, upload: &Pump, tried: &Tried) -> bool {
        let retry = &pool.config.retry;
        retry.on_status.contains(&status)
            && tried.len() < usize::from(retry.attempts)
            && self.ask.method.is_idempotent()
            && !upload.body_is_taken()
            && pool.available() > tried.len() + 1
            && pool.admits_retry(evenkeel_state::uptime())
    }

    /// Takes the request back for another try, unless a part of its body has been used up.
    fn keep_for_resend(&mut self, upload: &mut Pump) {
        if upload.body_is_taken() {
            self.plane.heads.give_back(upload.take_head());
        } else {
            self.ask.head = upload.take_head();
        }
    }

    fn count(&mut self, lease: &Lease<'_>, upload: &Pump, received: u64) {
        let sent = upload.moved();
        self.course.bytes_in += sent;
        let cell = lease.cell();
        cell.bytes_to.add(sent);
        cell.bytes_from.add(received);
        self.admitted.cell().bytes_in.add(sent);
        self.admitted.live.bytes_in.add(sent);
    }

    fn manner(&self, close: bool) -> Manner {
        let head_only = self.ask.method == Method::Head;
        Manner { html: self.ask.html, head_only, close, old: self.ask.version == Version::Http10 }
    }

    fn gone(&mut self, reason: Reason) -> Next {
        self.course.reason = Some(reason);
        Next::Ended
    }

    /// Answers with an error of ours.
    pub(crate) async fn refuse(&mut self, reason: Reason) -> Next {
        self.course.reason = Some(reason);
        self.admitted.cell().count(reason);
        self.own(answer::status_of(reason), |out, manner| answer::refusal(out, reason, manner)).await
    }

    /// Answers without a target. A body that is still to come is not waited for: the connection closes instead.
    async fn own(&mut self, status: u16, write: impl FnOnce(&mut Vec<u8>, Manner)) -> Next {
        let close = !self.ask.keep_alive
            || self.drain.is_draining()
            || self.ask.framing.has_body()
            || self.ask.upgrade;
        self.course.status = status;
        self.course.reason.get_or_insert(Reason::RouteResponse);
        let mut out = self.plane.heads.lend();
        write(&mut out, self.manner(close));
        let written = self.client.write_all(&out, self.view.config.http.write_timeout).await;
        self.course.bytes_out += out.len() as u64;
        self.admitted.cell().bytes_out.add(out.len() as u64);
        self.plane.heads.give_back(out);
        match written {
            Err(reason) => self.gone(reason),
            Ok(()) if close => Next::Linger,
            Ok(()) => Next::Another,
        }
    }
}

/// The target was never reached: the request is as good as new.
fn is_dial_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectRefused
            | Reason::ConnectTimeout
            | Reason::ConnectFailed
            | Reason::NotResolved
            | Reason::LocalPortsExhausted
            | Reason::Overloaded
    )
}

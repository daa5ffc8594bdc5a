//! The stream of events, as server-sent events (WHATWG HTML §9.2) or as one list.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use evenkeel_api::ErrorBody;
use evenkeel_base::Reason;
use evenkeel_state::{Event, Registry};
use http_body_util::channel::{Channel, Sender};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use crate::app::Peer;
use crate::control::Refusal;
use crate::extract::{Params, bad_input, flag};
use crate::handlers::{Answer, Shared};
use crate::view;

/// A comment is sent after so long a silence: proxies keep the stream open, and a follower that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Chunks that wait for a slow follower; beyond them the stream waits, and catches up from what is kept.
const CHUNKS: usize = 8;

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// `0`: answer the recent events as one JSON list instead of a stream.
    #[serde(default = "yes", deserialize_with = "flag")]
    #[param(required = false)]
    follow: bool,
    /// Of the recent events, the last so many; all that are kept (1,024) when left out.
    #[param(required = false)]
    limit: Option<u32>,
}

fn yes() -> bool {
    true
}

/// What changed and why: the recent events, oldest first, then each as it comes (`text/event-stream`, `event` is
/// the kind, `id` the sequence number, `data` an `Event` as JSON). `Last-Event-ID` leaves out what was seen. When
/// events were lost in between, `event: lost` tells how many.
#[utoipa::path(get, path = "/api/v1/events", tag = "status",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen"),
    ),
    responses(
        (status = 200, content(
            (evenkeel_api::Event = "text/event-stream"),
            (Vec<evenkeel_api::Event> = "application/json"),
        )),
        (status = 400, body = ErrorBody),
        (status = 503, description = "There are too many followers.", body = ErrorBody),
    ))]
pub(crate) async fn events(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let seen = last_seen(&headers)?;
    // Subscribed before the look back, so that nothing falls in between; what is in both is told once.
    let live = app.registry.events().subscribe();
    let mut recent = app.registry.events().recent();
    let newest = recent.last().map_or(0, |event| event.sequence);
    // A number from the future is one of an earlier process: its follower has seen nothing of this one.
    let seen = seen.filter(|seen| *seen <= newest);
    recent.retain(|event| seen.is_none_or(|seen| event.sequence > seen));
    let left_out = recent.len().saturating_sub(query.limit.map_or(usize::MAX, |limit| limit as usize));
    recent.drain(..left_out);
    if !query.follow {
        return Ok(Json(recent.iter().map(view::event).collect::<Vec<_>>()).into_response());
    }
    let permit = Arc::clone(&app.followers).try_acquire_owned();
    let permit =
        permit.map_err(|_| Refusal::new(Reason::Overloaded, "there are too many followers of events"))?;
    let (sender, body) = Channel::<Bytes>::new(CHUNKS);
    let told = recent.first().map_or(newest, |event| event.sequence - 1);
    // With `Last-Event-ID`, what was forgotten since is a loss to be told.
    let told = if query.limit.is_none() { seen.unwrap_or(told) } else { told };
    let follower = Follower { sender, told, waiting: recent.into(), permit };
    tokio::spawn(follow(follower, live, Arc::downgrade(&app.registry), peer.closing));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response())
}

fn last_seen(headers: &HeaderMap) -> Answer<Option<u64>> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| bad_input("Last-Event-ID is the number of an event").at("last-event-id"))
}

struct Follower {
    sender: Sender<Bytes>,
    /// Sequence number of the last event sent.
    told: u64,
    waiting: VecDeque<Event>,
    permit: OwnedSemaphorePermit,
}

async fn follow(
    mut follower: Follower,
    mut live: broadcast::Receiver<Event>,
    registry: std::sync::Weak<Registry>,
    mut closing: watch::Receiver<bool>,
) {
    let mut chunk = String::from(": events of this process\n\n");
    loop {
        while let Some(event) = follower.waiting.pop_front() {
            follower.told = append(&mut chunk, follower.told, &event);
        }
        if !chunk.is_empty() {
            let sent = tokio::select! {
                sent = follower.sender.send_data(Bytes::from(std::mem::take(&mut chunk))) => sent.is_ok(),
                () = closed(&mut closing) => false,
            };
            if !sent {
                break;
            }
        }
        tokio::select! {
            received = live.recv() => match received {
                Ok(event) => follower.waiting.push_back(event),
                Err(RecvError::Lagged(_)) => {
                    let Some(registry) = registry.upgrade() else { break };
                    follower.waiting.extend(registry.events().recent());
                }
                Err(RecvError::Closed) => break,
            },
            () = sleep_until(Instant::now() + KEEP_ALIVE) => chunk.push_str(": still here\n\n"),
            () = closed(&mut closing) => break,
        }
    }
    drop(follower.permit);
}

/// Ends when the server stops; never, when it is not told of that.
async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Writes an event, unless it was told already; returns the last one told.
fn append(chunk: &mut String, told: u64, event: &Event) -> u64 {
    if event.sequence <= told {
        return told;
    }
    let lost = event.sequence - told - 1;
    if lost > 0 {
        let _ = write!(chunk, "event: lost\ndata: {{\"lost\":{lost}}}\n\n");
    }
    let view = view::event(event);
    // JSON holds no line break, so the event ends where it should.
    let data = serde_json::to_string(&view).unwrap_or_default();
    let _ = write!(chunk, "id: {}\nevent: {}\ndata: {data}\n\n", event.sequence, view.kind);
    event.sequence
}

//! From a request to what was asked, or to a refusal that says where it is wrong.
//!
//! Everything is checked before anything is done, so a refused request has changed nothing.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use evenkeel_base::Reason;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Unexpected, Visitor};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::control::Refusal;

/// Longest JSON body: the longest sensible one is a unix path and five numbers.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;

/// Longest configuration: the limit of the file.
pub(crate) const MAX_CONFIG_BYTES: usize = evenkeel_config::limits::MAX_FILE_BYTES;

/// A whole body arrives within this time, or its sender is given up: 16 MiB at 5 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON object as the body.
pub(crate) struct Object<T>(pub(crate) T);

/// TOML text as the body, and its place among the texts that are held at once.
pub(crate) struct Toml(pub(crate) String, pub(crate) OwnedSemaphorePermit);

/// No body, or `{}`: what asks for nothing more than its path says.
pub(crate) struct Nothing;

/// The query, every parameter of it known.
pub(crate) struct Params<T>(pub(crate) T);

/// The variable segments of the path, percent-decoded.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Object<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let bytes = read(request.into_body(), MAX_BODY_BYTES).await?;
        object(&bytes).map(Self)
    }
}

impl FromRequest<Arc<App>> for Toml {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let permit = Arc::clone(&app.texts).try_acquire_owned();
        let permit = permit.map_err(|_| {
            Refusal::new(Reason::Overloaded, "too many configurations are being sent at once")
        })?;
        let bytes = read(request.into_body(), MAX_CONFIG_BYTES).await?;
        let text = String::from_utf8(bytes.into()).map_err(|error| {
            let (bytes, good) = (error.as_bytes(), error.utf8_error().valid_up_to());
            let (line, column) = place(&bytes[..good]);
            bad_input("the configuration is not UTF-8 text").at(format!("{line}:{column}"))
        })?;
        Ok(Self(text, permit))
    }
}

impl<S: Send + Sync> FromRequest<S> for Nothing {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let bytes = read(request.into_body(), MAX_BODY_BYTES).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self);
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Empty {}
        object::<Empty>(&bytes).map(|Empty {}| Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(told("the query is malformed", &error)),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(error) => Err(bad_input(error.body_text()).at("path")),
        }
    }
}

/// A refusal because of what was sent.
pub(crate) fn bad_input(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::BadInput, message)
}

/// `0`, `1`, `true` or `false` in a query.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Flag;
    impl Visitor<'_> for Flag {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("0, 1, true or false")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
            match text {
                "1" | "true" => Ok(true),
                "0" | "false" => Ok(false),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }
    }
    deserializer.deserialize_str(Flag)
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await;
    let Ok(read) = whole else {
        let message = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
        return Err(Refusal::new(Reason::BodyTimeout, message));
    };
    read.map_err(|error| {
        let is_long = error.source().is_some_and(<dyn Error>::is::<http_body_util::LengthLimitError>);
        if is_long {
            Refusal::new(Reason::BodyTooLarge, format!("the body has more than {limit} bytes"))
        } else {
            bad_input("the body broke off")
        }
    })
}

fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // Left alone, serde would take `["10.0.0.1:80", 1]` for an object, by the order of its fields.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let blank = bytes.len() - bytes.trim_ascii_start().len();
        let (line, column) = place(&bytes[..blank]);
        return Err(bad_input("the body must be a JSON object").at(format!("{line}:{column}")));
    }
    match axum::Json::<T>::from_bytes(bytes) {
        Ok(axum::Json(value)) => Ok(value),
        Err(error) => Err(told("the body is malformed", &error)),
    }
}

/// A refusal that says what is wrong, and where: the field, or else line and column.
fn told(what: &str, error: &dyn Error) -> Refusal {
    // The innermost cause is the one that has looked: `field: message at line 1 column 2`, as far as it knows.
    let cause = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source()).last();
    let text = cause.map_or_else(|| error.to_string(), ToString::to_string);
    let (field, message) = split_field(&text);
    let refusal = bad_input(format!("{what}: {message}"));
    match field.map(str::to_owned).or_else(|| quoted(message)).or_else(|| line_and_column(message)) {
        Some(at) => refusal.at(at),
        None => refusal,
    }
}

/// The path of a field, which is one word, and what is said of it. Without a field the message begins at once; its
/// first colon follows several words.
fn split_field(text: &str) -> (Option<&str>, &str) {
    let is_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'[' | b']');
    match text.split_once(": ") {
        Some((field, message)) if !field.is_empty() && field.bytes().all(is_path) => (Some(field), message),
        _ => (None, text),
    }
}

/// The name in the message of a field that is missing or unknown.
fn quoted(message: &str) -> Option<String> {
    let rest = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

/// What serde_json ends its messages with.
fn line_and_column(message: &str) -> Option<String> {
    let (_, place) = message.rsplit_once(" at line ")?;
    place.split_once(" column ").map(|(line, column)| format!("{line}:{column}"))
}

/// Line and column, from 1 and in bytes, of what follows these bytes.
fn place(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::{EditTarget, NewTarget};

    fn at(text: &str) -> String {
        let refusal = object::<NewTarget>(text.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason, Reason::BadInput);
        refusal.at.unwrap_or_default()
    }

    #[test]
    fn a_refusal_says_where() {
        assert_eq!(at(r#"{"address": "a:1", "weight": "x"}"#), "weight");
        assert_eq!(at(r#"{"address": "a:1", "weight": null}"#), "weight");
        assert_eq!(at(r#"{"address": "a:1", "weight": 1e999999999}"#), "weight");
        assert_eq!(at(r#"{"address": "a:1", "wieght": 1}"#), "wieght");
        assert_eq!(at(r#"{"weight": 1}"#), "address");
        assert_eq!(at(r#"{"address": "a:1", "address": "b:1"}"#), "address");
        assert_eq!(at("{\"address\":\n \"a:1\",}"), "2:8");
        assert_eq!(at("\n  [\"a:1\"]"), "2:3");
        assert_eq!(at(""), "1:1");
        assert_eq!(at("{\"address\": \"a:1\"} x"), "1:20");
    }

    #[test]
    fn the_place_is_read_from_the_message() {
        let place = |text: &str| {
            let (field, message) = split_field(text);
            field.map(str::to_owned).or_else(|| quoted(message)).or_else(|| line_and_column(message))
        };
        assert_eq!(place("weight: invalid type: null, expected u16 at line 1 column 15").unwrap(), "weight");
        assert_eq!(place("a[0].b: x").unwrap(), "a[0].b");
        assert_eq!(place("invalid type: null, expected u16 at line 3 column 15").unwrap(), "3:15");
        assert_eq!(place("unknown field `x y`, expected one of").unwrap(), "x y");
        assert_eq!(place("odd"), None);
    }

    #[test]
    fn deep_or_endless_json_is_refused_at_once() {
        for text in ["[".repeat(60_000), r#"{"a":"#.repeat(12_000), r#"{"weight":["#.repeat(6_000)] {
            let begun = std::time::Instant::now();
            assert!(object::<EditTarget>(text.as_bytes()).is_err());
            assert!(begun.elapsed() < Duration::from_millis(200));
        }
    }

    #[test]
    fn places_count_from_one() {
        assert_eq!(place(b""), (1, 1));
        assert_eq!(place(b"ab\ncd"), (2, 3));
    }
}

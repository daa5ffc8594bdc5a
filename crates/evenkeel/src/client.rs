//! A client of the admin API: plain HTTP/1.1 over TCP or a unix socket.
//!
//! One connection serves all calls of a verb and is made anew when the server closed it. No call takes longer than
//! [`TIMEOUT`], whatever the server does.

mod address;
mod error;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use evenkeel_api::ErrorBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

pub(crate) use address::{ApiUrl, Token};
pub(crate) use error::ApiError;

use crate::cli::Global;
use crate::screen::{Failure, cause};

/// Longest time for one call. The admin API answers from memory; what takes longer is not there.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer: the open connections of a busy process, some 200 bytes each.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A client of one process' admin API.
#[derive(Debug)]
pub(crate) struct Client {
    url: ApiUrl,
    token: Option<Token>,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// `Some` until dropped.
    runtime: Option<Runtime>,
}

impl Client {
    /// A client for what the command line and the environment say; nothing is connected yet.
    ///
    /// # Errors
    /// When the address or token in the environment is none.
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let url = match &global.api {
            Some(url) => url.clone(),
            None => ApiUrl::from_environment().map_err(Failure::usage)?,
        };
        let token = global.token.clone().or_else(Token::from_environment);
        if token.as_ref().is_some_and(|token| token.bearer().is_none()) {
            return Err(Failure::usage(
                "the admin token holds characters that no HTTP field can carry; see --token and EVENKEEL_ADMIN_TOKEN",
            ));
        }
        Self::to(url, token, TIMEOUT)
            .map_err(|error| Failure::failed(format!("cannot start the client: {}", cause(&error))))
    }

    /// A client of this process.
    pub(crate) fn to(url: ApiUrl, token: Option<Token>, timeout: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { url, token, timeout, connection: None, runtime: Some(runtime) })
    }

    /// What stands at this path.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ApiError> {
        let answer = self.ask(&Method::GET, path, None)?;
        self.decode(&answer)
    }

    /// Makes a change. The answer's body is for [`Client::decode`].
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) fn change(&mut self, change: Change<'_>) -> Result<Bytes, ApiError> {
        self.ask(&change.method, change.path, change.body)
    }

    /// Reads the body of an answer.
    ///
    /// # Errors
    /// [`ApiError::Garbled`].
    pub(crate) fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ApiError> {
        serde_json::from_slice(body)
            .map_err(|error| self.garbled(&format!("its answer does not fit: {error}")))
    }

    fn ask(&mut self, method: &Method, path: &str, body: Option<String>) -> Result<Bytes, ApiError> {
        // Taken out for the call: the future borrows the client.
        let Some(runtime) = self.runtime.take() else { return Err(self.unreachable("the client has ended")) };
        let answer = runtime.block_on(async {
            let limit = self.timeout;
            let call = self.send(method, path, body.unwrap_or_default());
            tokio::time::timeout(limit, call).await
        });
        self.runtime = Some(runtime);
        match answer {
            Ok(answer) => answer,
            Err(_) => {
                // What is late would be taken for the answer to the next call.
                self.connection = None;
                let maybe_done = *method != Method::GET;
                Err(ApiError::Late { url: self.url.clone(), seconds: self.timeout.as_secs_f32(), maybe_done })
            }
        }
    }

    async fn send(&mut self, method: &Method, path: &str, body: String) -> Result<Bytes, ApiError> {
        let body = Bytes::from(body);
        let kept = self.connection.take();
        if let Some(connection) = kept.filter(|connection| !connection.is_closed()) {
            match self.exchange(connection, method, path, body.clone()).await {
                // The server closed while the request was on its way; a read may be asked again.
                Err(ApiError::Broken { .. }) if *method == Method::GET => {}
                done => return done,
            }
        }
        let connection = self.connect().await?;
        self.exchange(connection, method, path, body).await
    }

    async fn exchange(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ApiError> {
        let broken = |error: hyper::Error| self.broken(&error);
        connection.ready().await.map_err(broken)?;
        let request = self.request(method, path, body)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.garbled(&format!("its answer broke off: {error}")))?.to_bytes();
        self.connection = Some(connection);
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    fn request(&self, method: &Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.prefix()))
            .header(HOST, self.url.host())
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(bearer) = self.token.as_ref().and_then(Token::bearer) {
            request = request.header(AUTHORIZATION, bearer);
        }
        request.body(Full::new(body)).map_err(|_| self.unreachable("the address makes no valid request"))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ApiError> {
        match &self.url {
            ApiUrl::Tcp { .. } => self.shake_hands(self.dial_tcp().await?).await,
            ApiUrl::Unix(path) => {
                #[expect(clippy::disallowed_types, reason = "a client of its own, not the data plane")]
                let stream = tokio::net::UnixStream::connect(path).await;
                self.shake_hands(stream.map_err(|error| self.unreachable(&cause(&error)))?).await
            }
        }
    }

    #[expect(clippy::disallowed_types, reason = "a client of its own, not the data plane")]
    async fn dial_tcp(&self) -> Result<tokio::net::TcpStream, ApiError> {
        let stream = tokio::net::TcpStream::connect(self.url.host()).await;
        stream.map_err(|error| self.unreachable(&cause(&error)))
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, ApiError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (connection, driver) = shaken.map_err(|error| self.broken(&error))?;
        // It ends with the connection or the runtime; its error is also the error of the call under way.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(connection)
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let url = self.url.clone();
        if status == StatusCode::UNAUTHORIZED {
            return ApiError::Unauthorized { url, had_token: self.token.is_some() };
        }
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => ApiError::Refused(Box::new(body.error)),
            Err(_) => self.garbled(&format!("it answers {status}")),
        }
    }

    fn unreachable(&self, cause: &str) -> ApiError {
        ApiError::Unreachable { url: self.url.clone(), cause: cause.to_owned() }
    }

    fn broken(&self, error: &hyper::Error) -> ApiError {
        if error.is_parse() {
            return self.garbled("it does not speak HTTP");
        }
        ApiError::Broken { url: self.url.clone() }
    }

    fn garbled(&self, cause: &str) -> ApiError {
        ApiError::Garbled { url: self.url.clone(), cause: cause.to_owned() }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A look-up of a name that hangs must not hold the process up.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request that changes something.
#[derive(Debug)]
pub(crate) struct Change<'p> {
    method: Method,
    path: &'p str,
    body: Option<String>,
}

impl<'p> Change<'p> {
    /// A POST without a body.
    pub(crate) fn post(path: &'p str) -> Self {
        Self { method: Method::POST, path, body: None }
    }

    /// A PATCH.
    pub(crate) fn patch(path: &'p str) -> Self {
        Self { method: Method::PATCH, path, body: None }
    }

    /// A DELETE.
    pub(crate) fn delete(path: &'p str) -> Self {
        Self { method: Method::DELETE, path, body: None }
    }

    /// With this body.
    pub(crate) fn with(self, body: &impl Serialize) -> Self {
        // The API's types have no maps with keys that are not text: nothing can fail.
        Self { body: serde_json::to_string(body).ok(), ..self }
    }
}

//! The API on its sockets.
#![expect(
    clippy::disallowed_types,
    reason = "this is the control side, which is not a plane: it stays on tokio"
)]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use evenkeel_base::ClientAddr;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::app::Peer;
use crate::patience::Patient;

/// Connections at once: operators, scrapers and probes, not the public.
const MAX_CONNECTIONS: usize = 256;
/// A head, and the idle time before it, may take so long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that takes no byte for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A request head: a path, a token and what browsers add.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// On the way out, answers under way may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens, non-blocking, with what it is bound to.
#[derive(Debug)]
pub enum Listening {
    /// TCP. When its address is a loopback one, requests must name this machine as their host.
    Tcp(std::net::TcpListener),
    /// A unix socket, governed by file permissions.
    Unix(std::os::unix::net::UnixListener),
}

/// Serves the API on these sockets until `shutdown`, and then for at most two more seconds what is under way. No
/// error of one connection, or of an accept, ends it. To be called within a tokio runtime with I/O and time.
///
/// # Errors
/// When a socket cannot be registered with the runtime; nothing is served then.
pub async fn serve(
    listening: Vec<Listening>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let shared = Shared { router, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), stopped };
    let mut doors = Vec::new();
    for socket in listening {
        doors.push(match socket {
            Listening::Tcp(socket) => {
                let bound = socket.local_addr()?;
                Door::Tcp(tokio::net::TcpListener::from_std(socket)?, bound)
            }
            Listening::Unix(socket) => Door::Unix(tokio::net::UnixListener::from_std(socket)?),
        });
    }
    let mut tasks = JoinSet::new();
    for door in doors {
        tasks.spawn(accept(door, shared.clone()));
    }
    drop(shared);
    shutdown.await;
    stop.send_replace(true);
    let ended = async { while tasks.join_next().await.is_some() {} };
    // What is not done by then is cut as the set is dropped.
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
    Ok(())
}

#[derive(Clone)]
struct Shared {
    router: Router,
    places: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

enum Door {
    Tcp(tokio::net::TcpListener, SocketAddr),
    Unix(tokio::net::UnixListener),
}

/// Lets callers in until the server stops, and then waits for those that are in.
async fn accept(door: Door, shared: Shared) {
    let mut connections = JoinSet::new();
    let mut stopped = shared.stopped.clone();
    loop {
        tokio::select! {
            let_in = next(&door, &shared) => match let_in {
                Ok(connection) => { connections.spawn(connection); }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            () = told_to_stop(&mut stopped) => break,
        }
    }
    drop(door);
    while connections.join_next().await.is_some() {}
}

/// Accepts one; its place is given back when its future ends.
async fn next(
    door: &Door,
    shared: &Shared,
) -> io::Result<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
    let place = Arc::clone(&shared.places).acquire_owned().await.map_err(io::Error::other)?;
    let (router, closing) = (shared.router.clone(), shared.stopped.clone());
    Ok(match door {
        Door::Tcp(listener, bound) => {
            let (stream, peer) = listener.accept().await?;
            // Answers are small and complete; waiting for more of them gains nothing.
            let _ = stream.set_nodelay(true);
            let loopback = bound.ip().to_canonical().is_loopback().then_some(*bound);
            let peer = Peer { client: ClientAddr::from_socket(peer), loopback, closing };
            Box::pin(async move {
                connection(stream, router, peer).await;
                drop(place);
            })
        }
        Door::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let peer = Peer { client: ClientAddr::Unix, loopback: None, closing };
            Box::pin(async move {
                connection(stream, router, peer).await;
                drop(place);
            })
        }
    })
}

async fn connection<S>(stream: S, router: Router, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut closing = peer.closing.clone();
    let handlers = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        handlers.call(request)
    });
    let io = TokioIo::new(Patient::new(stream, WRITE_TIMEOUT));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    let mut serving = std::pin::pin!(serving);
    // A connection that ends in an error has ended; there is nobody left to tell.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = told_to_stop(&mut closing) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Ends when the server stops. An error means that the server is gone, which is the same.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

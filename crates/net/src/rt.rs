//! The engine under our own names: a plane says `rt::spawn_local`, never `tokio::…`, so that the engine stays
//! replaceable. Each data worker is one thread with one current-thread runtime; nothing here is `Send`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pub use tokio::time::Instant;

/// A running task; dropping it lets the task go on.
pub type Task<T> = tokio::task::JoinHandle<T>;
/// Ends a task from any thread.
pub type Abort = tokio::task::AbortHandle;

/// Runs a worker's whole life on this thread: `main`, and whatever it spawns.
pub fn run_worker<F: Future>(main: F) -> std::io::Result<F::Output> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_io()
        .enable_time()
        // Poll the sockets after this many task polls; half of tokio's default keeps latency even under load.
        .event_interval(31)
        .build_local(tokio::runtime::LocalOptions::default())?;
    Ok(runtime.block_on(main))
}

/// Starts a task on this worker.
pub fn spawn_local<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    tokio::task::spawn_local(future)
}

/// Starts a task on this worker that holds on to `held` until it has ended, however that comes about.
pub fn spawn_holding<F, H>(future: F, held: H) -> Task<()>
where
    F: Future<Output = ()> + 'static,
    H: 'static,
{
    spawn_local(Holding { future, held })
}

pin_project_lite::pin_project! {
    /// A block that awaited the future would store it twice, and the memory of an idle connection is this future.
    struct Holding<F, H> {
        #[pin]
        future: F,
        held: H,
    }
}

impl<F: Future, H> Future for Holding<F, H> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// Waits.
pub fn sleep(duration: Duration) -> impl Future<Output = ()> {
    tokio::time::sleep(duration)
}

/// The future's output, or nothing after so long.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(duration, future).await.ok()
}

/// Lets other tasks of this worker run.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Which of two came first.
#[derive(Debug)]
pub enum Either<A, B> {
    /// The first one.
    Left(A),
    /// The second one.
    Right(B),
}

/// Whichever is ready first; the first one wins a tie.
pub async fn either<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(left) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(left));
        }
        b.as_mut().poll(cx).map(Either::Right)
    })
    .await
}

/// Wakes tasks of one worker.
pub type Notify = tokio::sync::Notify;
/// A bounded channel into a worker or out of it.
pub use tokio::sync::mpsc;

/// Longer than any connection: tokio's timer wheel ends at two years.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A deadline that is set for every phase of every request and hardly ever touches the timer wheel.
///
/// The timer is armed for the earliest deadline that was ever asked for; a later one is only written down, and
/// when the timer fires too early it is armed again for what is due then. In the steady state of a keep-alive
/// connection, setting a deadline is one clock reading and one store.
#[derive(Debug)]
pub struct Deadline {
    sleep: Pin<Box<tokio::time::Sleep>>,
    due: Instant,
}

impl Deadline {
    /// A deadline this far away.
    pub fn after(duration: Duration) -> Self {
        let due = Instant::now() + duration.min(FAR);
        Self { sleep: Box::pin(tokio::time::sleep_until(due)), due }
    }

    /// Moves it, counted from now.
    #[inline]
    pub fn set(&mut self, duration: Duration) {
        self.set_from(Instant::now(), duration);
    }

    /// Moves it, counted from a moment that is known already.
    #[inline]
    pub fn set_from(&mut self, now: Instant, duration: Duration) {
        self.due = now + duration.min(FAR);
        if self.due < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// Never.
    pub fn clear(&mut self) {
        self.due = Instant::now() + FAR;
    }

    /// Ready once the deadline has passed.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(cx));
            if self.due <= self.sleep.deadline() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.due);
        }
    }

    /// What `poll` gives, or `None` once the deadline has passed.
    #[inline]
    pub async fn guard<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(Some(value));
            }
            self.poll_passed(cx).map(|()| None)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_both_ways() {
        run_worker(async {
            let start = Instant::now();
            let mut deadline = Deadline::after(Duration::from_secs(60));
            deadline.set(Duration::from_millis(20));
            deadline.set(Duration::from_millis(60));
            assert!(deadline.guard(|_| Poll::<()>::Pending).await.is_none());
            assert!(start.elapsed() >= Duration::from_millis(60));
            deadline.set(Duration::MAX);
            assert_eq!(deadline.guard(|_| Poll::Ready(1)).await, Some(1));
        })
        .unwrap();
    }
}

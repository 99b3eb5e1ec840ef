//! A socket that loses patience: with heads that do not come, answers that are not taken, and connections that idle.
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{EdgeConfig, patience::Patience};

/// After an answer that did not wait for the whole request: how long the rest is read and thrown away, and how much
/// of it. Closing with unread bytes resets the connection, and the reset may overtake the answer (RFC 9112, section
/// 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// How much of that passes before the end of the answers is told: some clients (those on hyper, one time in sixty) lose an
/// answer that they have whole when the connection ends while they still send.
const PAUSE: Duration = Duration::from_millis(200);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// What a connection is doing, shared by its socket, its requests and their bodies.
#[derive(Debug, Default)]
pub(super) struct Activity {
    requests: AtomicU64,
    busy: AtomicBool,
    unread: AtomicBool,
}

impl Activity {
    /// A head has arrived.
    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Release);
    }

    /// The answer is done with.
    pub(super) fn end(&self) {
        self.busy.store(false, Ordering::Release);
    }

    /// The number of requests whose head has arrived.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether bytes of a request's body may still be on their way.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Release);
    }

    /// Whether they may.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }
}

/// A timer that is made once and set many times.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Timer {
    /// Starts it unless it runs.
    fn start(&mut self, after: Duration) {
        if self.set {
            return;
        }
        self.set = true;
        let until = Instant::now() + after;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(until),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(until))),
        }
    }

    fn stop(&mut self) {
        self.set = false;
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.set
            && self
                .sleep
                .as_mut()
                .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    activity: Arc<Activity>,
    head: Duration,
    idle: Duration,
    write: Patience,
    reading: Timer,
    writing: Timer,
    lingering: Timer,
    /// The requests seen when the reading timer was last set.
    seen: u64,
    in_head: bool,
    finished: bool,
    /// The other side has ended.
    done_reading: bool,
    thrown_away: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>, config: &EdgeConfig) -> Self {
        Self {
            inner,
            activity,
            head: config.head_timeout,
            idle: config.idle_timeout,
            write: Patience::new(config.write_stall),
            reading: Timer::default(),
            writing: Timer::default(),
            lingering: Timer::default(),
            seen: 0,
            in_head: false,
            finished: false,
            done_reading: false,
            thrown_away: 0,
        }
    }

    /// Bytes of a head begin its time, which is not prolonged by more of them. A new connection's time has begun.
    fn bytes_came(&mut self) {
        if self.activity.is_busy() {
            return;
        }
        self.note_requests();
        if !self.in_head {
            self.in_head = true;
            if self.seen > 0 {
                self.reading.stop();
            }
        }
    }

    fn note_requests(&mut self) {
        let requests = self.activity.requests();
        if requests != self.seen {
            self.seen = requests;
            self.in_head = false;
            self.reading.stop();
        }
    }

    fn waited_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        if self.activity.is_busy() {
            // The body and the handler have bounds of their own.
            return false;
        }
        self.note_requests();
        let patience = if self.in_head || self.seen == 0 {
            self.head
        } else {
            self.idle
        };
        self.reading.start(patience);
        self.reading.is_over(cx)
    }

    fn written<T: Written>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = &outcome {
            self.writing.stop();
            self.write.moved(result.as_ref().map_or(0, T::bytes), Instant::now);
            return outcome;
        }
        if !self.writing.set {
            self.write.wait(Instant::now());
            self.writing.start(self.write.left());
        }
        if self.writing.is_over(cx) {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        } else {
            Poll::Pending
        }
    }
}

/// What an operation of the writing side brought along.
trait Written {
    fn bytes(&self) -> usize;
}

impl Written for usize {
    fn bytes(&self) -> usize {
        *self
    }
}

impl Written for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                if buf.filled().len() > before {
                    self.bytes_came();
                }
                Poll::Ready(outcome)
            }
            Poll::Pending if self.waited_too_long(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.written(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unread = self.activity.has_unread();
        if unread && !self.finished {
            self.lingering.start(PAUSE);
            // Until the pause is over, or nothing more can come.
            let _rest = self.throw_away(cx).is_ready();
            if !self.done_reading && !self.lingering.is_over(cx) {
                return Poll::Pending;
            }
            self.lingering.stop();
        }
        if !self.finished {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.finished = true;
        }
        if !unread || self.done_reading {
            return Poll::Ready(Ok(()));
        }
        self.lingering.start(LINGER);
        ready!(self.throw_away(cx));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads what is sent and keeps nothing; ready when no more is read, pending until then or until the timer rings.
    fn throw_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0_u8; 8192];
        while self.thrown_away < LINGER_BYTES && !self.lingering.is_over(cx) {
            let mut buf = ReadBuf::new(&mut scratch);
            if ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                self.done_reading = true;
                break;
            }
            self.thrown_away += buf.filled().len();
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_taken_byte_by_byte_is_given_up() {
        let (near, mut far) = tokio::io::duplex(16);
        let config = EdgeConfig {
            write_stall: Duration::from_millis(200),
            ..EdgeConfig::default()
        };
        let mut socket = Paced::new(near, Arc::default(), &config);
        let taking = async {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answer = vec![0; 64 * 1024];
        let outcome = tokio::select! {
            outcome = socket.write_all(&answer) => outcome,
            () = taking => panic!("the socket was closed without an error"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the server still waits"),
        };
        assert_eq!(outcome.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    }
}

//! The two bodies of an exchange: one that may not stall, one that says when it is done.
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{EdgeConfig, pace::Activity, patience::Patience};
use crate::lifecycle::Shutdown;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The body of a request: an error of kind `TimedOut` when nothing arrives for too long, or only a trickle.
pub(super) struct Arriving {
    inner: BoxBody<Bytes, io::Error>,
    activity: Arc<Activity>,
    shutdown: Shutdown,
    patience: Patience,
    drain_stall: Duration,
    waiting: Option<Waiting>,
}

impl Arriving {
    pub(super) fn new(
        inner: BoxBody<Bytes, io::Error>,
        activity: Arc<Activity>,
        shutdown: Shutdown,
        config: &EdgeConfig,
    ) -> Self {
        activity.set_unread(true);
        Self {
            inner,
            activity,
            shutdown,
            patience: Patience::new(config.body_stall),
            drain_stall: config.drain_stall.min(config.body_stall),
            waiting: None,
        }
    }

    /// Made when nothing is there, dropped when something comes: a body that flows needs no timer.
    fn wait(&mut self) -> Waiting {
        if self.shutdown.is_draining() {
            self.patience.cap(self.drain_stall);
        }
        let now = Instant::now();
        self.patience.wait(now);
        let (until, short) = (now + self.patience.left(), self.drain_stall);
        if self.shutdown.is_draining() {
            return Box::pin(tokio::time::sleep_until(until));
        }
        let draining = self.shutdown.draining_owned();
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = async { draining.await; tokio::time::sleep(short).await } => {}
            }
        })
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waiting = None;
                let bytes = match &frame {
                    Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) | None => 0,
                };
                self.patience.moved(bytes, Instant::now);
                if frame.is_none() || self.inner.is_end_stream() {
                    self.activity.set_unread(false);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let mut waiting = match self.waiting.take() {
                    Some(waiting) => waiting,
                    None => self.wait(),
                };
                if waiting.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                }
                self.waiting = Some(waiting);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer: while it lives, the connection is busy.
pub(super) struct Leaving {
    inner: BoxBody<Bytes, io::Error>,
    activity: Arc<Activity>,
}

impl Leaving {
    pub(super) fn new(inner: BoxBody<Bytes, io::Error>, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.activity.end();
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

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

use super::{EdgeConfig, pace::Activity};
use crate::lifecycle::Shutdown;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The body of a request: an error of kind `TimedOut` when nothing arrives for too long.
pub(super) struct Arriving {
    inner: BoxBody<Bytes, io::Error>,
    activity: Arc<Activity>,
    shutdown: Shutdown,
    stall: Duration,
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
        let (stall, drain_stall) = (config.body_stall, config.drain_stall.min(config.body_stall));
        Self {
            inner,
            activity,
            shutdown,
            stall,
            drain_stall,
            waiting: None,
        }
    }

    /// Made when nothing is there, dropped when something comes: a body that flows needs no timer.
    fn patience(&self) -> Waiting {
        let (until, short) = (Instant::now() + self.stall, self.drain_stall);
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
                if frame.is_none() || self.inner.is_end_stream() {
                    self.activity.set_unread(false);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let mut waiting = self.waiting.take().unwrap_or_else(|| self.patience());
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

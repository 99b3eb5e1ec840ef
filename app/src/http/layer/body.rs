//! The size of request bodies: refused before the first byte when announced, cut while streaming when not.
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Body, Frame, SizeHint};
use poem::{Request, http::header};

use crate::http::problem::Fault;

/// JSON bodies up to this size are kept while their request runs, to say where a refused one went wrong.
const KEPT_AT_MOST: u64 = 8 * 1024 * 1024;

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// More bytes than the route takes.
    TooLarge,
    /// Nothing arrived for too long.
    Stalled,
    /// The client went away.
    Gone,
}

/// What became of a request's body, an extension of every request that has one.
#[derive(Debug, Clone, Default)]
pub struct BodyWatch(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    broken: AtomicU8,
    kept: Mutex<Vec<Bytes>>,
}

impl BodyWatch {
    /// Why the body broke off, if it did.
    pub fn broken(&self) -> Option<Broken> {
        match self.0.broken.load(Ordering::Acquire) {
            1 => Some(Broken::TooLarge),
            2 => Some(Broken::Stalled),
            3 => Some(Broken::Gone),
            _ => None,
        }
    }

    /// What the body's breaking off is answered with.
    pub fn fault(&self) -> Option<Fault> {
        self.broken().map(|broken| match broken {
            Broken::TooLarge => Fault::payload_too_large(),
            Broken::Stalled => Fault::request_timeout(),
            Broken::Gone => Fault::malformed_request().detail("the body ended early"),
        })
    }

    fn break_off(&self, broken: Broken) {
        self.0.broken.store(broken as u8 + 1, Ordering::Release);
    }

    fn keep(&self, data: Bytes) {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).push(data);
    }

    /// The bytes of a JSON body, once.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)).concat()
    }
}

/// Refuses an announced excess, which keeps the server from sending `100 Continue`, and watches over the rest.
pub(super) fn limit(request: &mut Request, limit: u64) -> Result<Option<BodyWatch>, Fault> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Fault::payload_too_large().detail(format!("at most {limit} bytes")));
    }
    let body = request.take_body();
    if body.is_empty() {
        return Ok(None);
    }
    let watch = BodyWatch::default();
    let json = request
        .content_type()
        .is_some_and(|kind| kind.starts_with("application/") && kind.contains("json"));
    let limited = Limited {
        inner: body.into(),
        left: limit,
        keep: json && limit <= KEPT_AT_MOST,
        ended: false,
        watch: watch.clone(),
    };
    request.set_body(poem::Body::from(limited.boxed()));
    request.set_data(watch.clone());
    Ok(Some(watch))
}

struct Limited {
    inner: BoxBody<Bytes, io::Error>,
    left: u64,
    keep: bool,
    ended: bool,
    watch: BodyWatch,
}

impl Limited {
    fn fail(&mut self, broken: Broken, kind: io::ErrorKind) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.ended = true;
        self.watch.break_off(broken);
        Poll::Ready(Some(Err(kind.into())))
    }
}

impl Body for Limited {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                return self.fail(Broken::Stalled, io::ErrorKind::TimedOut);
            }
            Some(Err(_)) => return self.fail(Broken::Gone, io::ErrorKind::UnexpectedEof),
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref() {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return self.fail(Broken::TooLarge, io::ErrorKind::FileTooLarge),
            }
            if self.keep {
                self.watch.keep(data.clone());
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

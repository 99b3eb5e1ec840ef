//! A live stream: a follower with a heartbeat, which ends when its token stands no more.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::event::LoggedEvent;
use futures_core::Stream;
use futures_util::StreamExt;
use ports::BackendError;
use tokio::time::{Instant, Interval, Sleep};

use super::follow::Follower;
use super::{Standing, checks};
use crate::service::gate::GateError;
use crate::service::places::Place;

/// What a stream says.
#[derive(Debug)]
pub enum Signal {
    /// First of all: events come after this position.
    Begin(u64),
    /// Then, if so: events between the position that was asked for and this one were removed because of their age.
    Gap(u64),
    /// Events in the order of their positions, none twice.
    Events(Vec<Arc<LoggedEvent>>),
    /// Nothing happened for a while, and the stream lives.
    Heartbeat,
    /// Last of all.
    End(StreamEnd),
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The token stands no more.
    Refused(GateError),
    /// The process drains: another one goes on.
    Draining,
    /// The log cannot be read.
    Unavailable,
}

impl StreamEnd {
    /// The stable word for clients: the code that the same cause has as a problem, or `draining`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(GateError::Invalid) => "token_invalid",
            Self::Refused(GateError::Expired) => "token_expired",
            Self::Refused(GateError::Outdated) => "token_outdated",
            Self::Refused(GateError::SessionEnded) => "session_ended",
            Self::Refused(GateError::AccountDisabled) => "account_disabled",
            Self::Refused(GateError::Stale) => "auth_state_stale",
            Self::Draining => "draining",
            Self::Unavailable => "dependency_unavailable",
        }
    }
}

type Followed = Pin<Box<dyn Stream<Item = Result<Vec<Arc<LoggedEvent>>, BackendError>> + Send>>;

/// The live events of a user.
pub struct LiveEvents {
    begin: Option<u64>,
    gap: Option<u64>,
    events: Followed,
    standing: Standing,
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    checks: Interval,
    heartbeat: Pin<Box<Sleep>>,
    period: Duration,
    ended: bool,
    _place: Place,
}

impl std::fmt::Debug for LiveEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveEvents")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl LiveEvents {
    pub(super) fn new(
        follower: Follower,
        gap: bool,
        standing: Standing,
        draining: Pin<Box<dyn Future<Output = ()> + Send>>,
        period: Duration,
        place: Place,
    ) -> Self {
        Self {
            begin: Some(follower.position()),
            gap: gap.then(|| follower.position()),
            events: Box::pin(follower.into_stream()),
            standing,
            draining,
            checks: checks(),
            heartbeat: Box::pin(tokio::time::sleep(period)),
            period,
            ended: false,
            _place: place,
        }
    }

    /// What the stream says next; none after its end.
    pub async fn next(&mut self) -> Option<Signal> {
        if self.ended {
            return None;
        }
        if let Some(position) = self.begin.take() {
            return Some(Signal::Begin(position));
        }
        if let Some(position) = self.gap.take() {
            return Some(Signal::Gap(position));
        }
        let signal = self.wait().await;
        self.ended = matches!(signal, Signal::End(_));
        self.heartbeat.as_mut().reset(Instant::now() + self.period);
        Some(signal)
    }

    async fn wait(&mut self) -> Signal {
        loop {
            let signal = tokio::select! {
                biased;
                () = &mut self.draining => return Signal::End(StreamEnd::Draining),
                _ = self.checks.tick() => None,
                events = self.events.next() => match events {
                    Some(Ok(events)) => Some(Signal::Events(events)),
                    Some(Err(error)) => {
                        tracing::warn!(%error, "a live stream ends because the log cannot be read");
                        return Signal::End(StreamEnd::Unavailable);
                    }
                    None => return Signal::End(StreamEnd::Unavailable),
                },
                () = &mut self.heartbeat => Some(Signal::Heartbeat),
            };
            // Asked before every delivery, too: a stream that was not read for long may go on after its token's end.
            if let Err(refused) = (self.standing)() {
                return Signal::End(StreamEnd::Refused(refused));
            }
            if let Some(signal) = signal {
                return signal;
            }
        }
    }
}

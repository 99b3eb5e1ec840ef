//! Following a user's events without gap and without repetition: the log until it is caught up, then the live ones, and
//! the log again whenever the live ones break off.

use std::sync::Arc;
use std::time::Duration;

use domain::event::{LoggedEvent, Shard};
use domain::id::UserId;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{ReadyChunks, unfold};
use ports::{BackendError, EventLog, EventStore, EventSubscriber, EventSubscription};

/// How many events are read from the log at a time: 64 KiB each bound what a slow stream holds in memory.
const PAGE: u32 = 50;
/// How many live events are passed on together.
const TOGETHER: usize = 50;
/// The pause after a subscription that ended without an event, which is no falling behind.
const PAUSE: Duration = Duration::from_millis(250);

/// Events of a user after a position.
pub(super) struct Follower {
    store: Arc<dyn EventStore>,
    subscriber: Arc<dyn EventSubscriber>,
    user: UserId,
    position: u64,
    state: State,
}

enum State {
    /// Not subscribed.
    Adrift,
    /// Subscribed, and the log has more.
    Reading(Live),
    /// Subscribed, and everything before is passed on.
    Following(Live),
}

struct Live {
    events: ReadyChunks<EventSubscription>,
    heard: bool,
}

impl Live {
    fn new(subscription: EventSubscription) -> Self {
        Self {
            events: subscription.ready_chunks(TOGETHER),
            heard: false,
        }
    }
}

impl Follower {
    /// Everything after a position.
    pub(super) fn resuming(
        store: Arc<dyn EventStore>,
        subscriber: Arc<dyn EventSubscriber>,
        user: UserId,
        after: u64,
    ) -> Self {
        Self {
            store,
            subscriber,
            user,
            position: after,
            state: State::Adrift,
        }
    }

    /// Everything from now on.
    pub(super) async fn from_now(
        store: Arc<dyn EventStore>,
        subscriber: Arc<dyn EventSubscriber>,
        log: &dyn EventLog,
        user: UserId,
    ) -> Result<Self, BackendError> {
        // Subscribed first: what gets its position after the heads were read is heard.
        let live = Live::new(subscriber.subscribe(user));
        let shard = Shard::of(user);
        let head = log.heads().await?.into_iter().find(|head| head.shard == shard);
        let position = head.map_or(0, |head| head.position);
        Ok(Self {
            store,
            subscriber,
            user,
            position,
            state: State::Following(live),
        })
    }

    /// The position after which the next events come.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next events, never none; waits for them. To be dropped only together with the follower: an event that was
    /// taken from the subscription would be lost. See [`Follower::into_stream`].
    async fn next(&mut self) -> Result<Vec<Arc<LoggedEvent>>, BackendError> {
        loop {
            match &mut self.state {
                State::Adrift => {
                    // Subscribed before the log is read: what comes between the two is seen by one of them or both.
                    self.state = State::Reading(Live::new(self.subscriber.subscribe(self.user)));
                }
                State::Reading(_) => {
                    let page = self.store.history(self.user, self.position, PAGE).await?;
                    if page.len() < PAGE as usize {
                        self.caught_up();
                    }
                    let events = self.pass(page.into_iter().map(Arc::new));
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                State::Following(live) => match live.events.next().await {
                    Some(events) => {
                        live.heard = true;
                        let events = self.pass(events);
                        if !events.is_empty() {
                            return Ok(events);
                        }
                    }
                    None => {
                        let heard = live.heard;
                        self.state = State::Adrift;
                        if !heard {
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                },
            }
        }
    }

    fn caught_up(&mut self) {
        if let State::Reading(live) = std::mem::replace(&mut self.state, State::Adrift) {
            self.state = State::Following(live);
        }
    }

    /// Leaves out what was passed on before.
    fn pass(&mut self, events: impl IntoIterator<Item = Arc<LoggedEvent>>) -> Vec<Arc<LoggedEvent>> {
        let mut new = Vec::new();
        for event in events {
            if event.position > self.position {
                self.position = event.position;
                new.push(event);
            }
        }
        new
    }

    /// The events as a stream that may be polled and left at any time; it ends after an error.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Vec<Arc<LoggedEvent>>, BackendError>> + Send {
        unfold(Some(self), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(events) => Some((Ok(events), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

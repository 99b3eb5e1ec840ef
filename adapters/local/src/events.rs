//! Live events within one process.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::id::UserId;
use futures_core::Stream;
use ports::{BackendError, EventPublisher, EventSubscriber, EventSubscription};
use tokio::sync::mpsc;

/// Events kept for a subscriber that is not reading: past it the subscription ends, and its reader goes to the log.
const BUFFER: usize = 256;

/// Hands events to the subscriptions of their users. Clones are the same bus.
#[derive(Clone, Default)]
pub struct LocalEventBus {
    users: Arc<Mutex<Users>>,
}

#[derive(Default)]
struct Users {
    subscribers: HashMap<UserId, Vec<Subscriber>>,
    last_id: u64,
}

struct Subscriber {
    id: u64,
    events: mpsc::Sender<Arc<LoggedEvent>>,
}

/// The reading end; it takes itself off the bus when it is dropped.
struct Subscription {
    events: mpsc::Receiver<Arc<LoggedEvent>>,
    users: Weak<Mutex<Users>>,
    user: UserId,
    id: u64,
}

impl LocalEventBus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        lock(&self.users).subscribers.values().map(Vec::len).sum()
    }
}

fn lock(users: &Mutex<Users>) -> MutexGuard<'_, Users> {
    users.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Users {
    fn deliver(&mut self, event: &Arc<LoggedEvent>) {
        let user = event.event.user_id;
        let Some(subscribers) = self.subscribers.get_mut(&user) else {
            return;
        };
        // Dropping the sender ends the subscription once what is buffered was read: nothing is skipped.
        subscribers.retain(|subscriber| subscriber.events.try_send(Arc::clone(event)).is_ok());
        if subscribers.is_empty() {
            self.subscribers.remove(&user);
        }
    }

    fn remove(&mut self, user: UserId, id: u64) {
        let Some(subscribers) = self.subscribers.get_mut(&user) else {
            return;
        };
        subscribers.retain(|subscriber| subscriber.id != id);
        if subscribers.is_empty() {
            self.subscribers.remove(&user);
        }
    }
}

#[async_trait]
impl EventPublisher for LocalEventBus {
    async fn publish(&self, events: &[Arc<LoggedEvent>]) -> Result<(), BackendError> {
        // One lock over all of them: two calls cannot mix their order.
        let mut users = lock(&self.users);
        for event in events {
            users.deliver(event);
        }
        Ok(())
    }

    fn has_audience(&self) -> bool {
        !lock(&self.users).subscribers.is_empty()
    }
}

impl EventSubscriber for LocalEventBus {
    fn subscribe(&self, user: UserId) -> EventSubscription {
        let (sender, events) = mpsc::channel(BUFFER);
        let mut users = lock(&self.users);
        users.last_id += 1;
        let id = users.last_id;
        users
            .subscribers
            .entry(user)
            .or_default()
            .push(Subscriber { id, events: sender });
        Box::pin(Subscription {
            events,
            users: Arc::downgrade(&self.users),
            user,
            id,
        })
    }
}

impl Stream for Subscription {
    type Item = Arc<LoggedEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(users) = self.users.upgrade() {
            lock(&users).remove(self.user, self.id);
        }
    }
}

impl fmt::Debug for LocalEventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEventBus")
            .field("subscriptions", &self.subscriptions())
            .finish()
    }
}

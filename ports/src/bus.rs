//! Signals and live events within reach of this process.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::id::UserId;
use futures_core::Stream;

use crate::BackendError;

/// What a worker may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wakeup {
    /// Events were committed and wait for their position.
    Written,
    /// Events got their position.
    Sequenced,
    /// Messages were put into the ledger.
    Mail,
    /// Deliveries to webhooks became due.
    Webhook,
}

impl Wakeup {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Written, Self::Sequenced, Self::Mail, Self::Webhook];
}

/// Wakes waiting workers at once; polling is the floor beneath it.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait WakeupBus: Send + Sync + 'static {
    /// Wakes whoever waits for this. MUST NOT wait itself, and MUST be remembered for a waiter that is not waiting yet.
    fn wake(&self, wakeup: Wakeup);

    /// Returns when woken since the last return to the same `waiter`, or after `at_most`.
    async fn wait(&self, waiter: &str, wakeup: Wakeup, at_most: Duration);
}

/// A live subscription: events in the order of positions. When it ends, the subscriber fell behind and reads the log instead.
pub type EventSubscription = Pin<Box<dyn Stream<Item = Arc<LoggedEvent>> + Send>>;

/// Sends events that got their position to whoever follows them.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait EventPublisher: Send + Sync + 'static {
    /// Publishes events in order. MUST keep the order within each user; MUST be acknowledged by the technology when it returns.
    async fn publish(&self, events: &[Arc<LoggedEvent>]) -> Result<(), BackendError>;

    /// Whether anybody may be following, so that events need not be read for nobody. MUST say yes once a subscription was made and for as long as it lives; whoever cannot tell says yes.
    fn has_audience(&self) -> bool;
}

/// Lets one follow a user's events as they are published.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait EventSubscriber: Send + Sync + 'static {
    /// Events of the user published from now on. MUST end, never skip, when the subscriber is too slow.
    fn subscribe(&self, user: UserId) -> EventSubscription;
}

//! What a handler group does with events, and what it may say of one that it does not handle.

use async_trait::async_trait;
use domain::dead_letter::LetterOrigin;
use domain::event::LoggedEvent;
use ports::{BackendError, EffectsError};

use super::BATCH;

/// Consumes events.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// The name that its cursors and its inbox marks stand under. It never changes: another name begins at the beginning.
    fn group(&self) -> &'static str;

    /// Where dead letters of it are said to come from.
    fn origin(&self) -> LetterOrigin {
        LetterOrigin::Log
    }

    /// How many events it is given at once, at most.
    fn batch(&self) -> u32 {
        BATCH
    }

    /// Handles one event; events of one user come in order. An event may come again, so what it changes is written together with the group's inbox mark in one call of a port.
    ///
    /// # Errors
    /// [`HandleEventError::AlreadyHandled`] when the mark was there. After [`HandleEventError::Refused`] the event is a dead letter; with the others it comes again later, and is a dead letter after the last attempt, unless the backend was away.
    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError>;

    /// Handles all of these at once, for handlers that can: in one call of a port, all or nothing, the events of a shard being in order. Tells of each whether it was handled now (false: its mark was there);
    /// none, as here, when the handler takes events one by one.
    ///
    /// # Errors
    /// None of them need have been handled. When the backend is away they come again; otherwise they come one by one, so that one that cannot be handled holds up nobody but its user.
    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        let _ = events;
        Ok(None)
    }
}

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandleEventError {
    /// It was handled before: nothing is left to do.
    #[error("the event was handled before")]
    AlreadyHandled,
    /// The backend failed. When that may pass the whole shard waits, and no attempt is counted.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The handler cannot take it now. What the error says is shown to operators: nothing of the payload may be in it.
    #[error("the handler failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The handler will never take it, so that trying again is useless. The code is what such letters are counted by.
    #[error("the handler refused the event")]
    Refused {
        /// A short word of `a-z`, `0-9`, `.`, `_` and `-`.
        code: &'static str,
        /// Why; shown to operators as that of `Failed` is.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<EffectsError> for HandleEventError {
    fn from(error: EffectsError) -> Self {
        match error {
            EffectsError::AlreadyHandled => Self::AlreadyHandled,
            EffectsError::Backend(error) => Self::Backend(error),
            error @ EffectsError::EventIdTaken(_) => Self::Failed(error.into()),
        }
    }
}

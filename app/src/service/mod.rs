//! The services: the business rules over the ports, one deep struct for each capability.

pub mod accounts;
pub mod admin;
pub mod audit;
pub mod dead_letters;
pub mod events;
pub mod files;
pub mod gate;
pub mod judge;
pub mod keys;
pub mod mail;
mod places;
pub mod schemas;
pub mod sessions;
pub mod stream_tickets;
pub mod throttle;
pub mod webhooks;

use std::sync::Arc;

use domain::event::{Actor, Event, EventType, NewEvent, OwnEvent};
use domain::id::{EventId, RequestId, UserId};
use domain::time::Timestamp;
use ports::{Clock, Ids, Randomness, WakeupBus};
use uuid::Uuid;

/// What every service needs: time, randomness, ids and the bell for the workers.
#[derive(Clone)]
pub struct Toolkit {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
    /// New ids.
    pub ids: Arc<dyn Ids>,
    /// Wakes the workers after a commit.
    pub wakeups: Arc<dyn WakeupBus>,
}

impl std::fmt::Debug for Toolkit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toolkit").finish_non_exhaustive()
    }
}

/// Where a change comes from, as the audit trail records it.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Who causes it.
    pub actor: Actor,
    /// The administrator behind the actor.
    pub impersonator: Option<UserId>,
    /// The request.
    pub request_id: Option<RequestId>,
}

impl Origin {
    /// Plinth itself: a worker or the command line.
    pub const SYSTEM: Self = Self {
        actor: Actor::System,
        impersonator: None,
        request_id: None,
    };
}

/// An event of a publisher before it has id, time and salt.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Whose event it is.
    pub user_id: UserId,
    /// Its type.
    pub event_type: EventType,
    /// Free text.
    pub subject: Option<String>,
    /// Compact JSON text.
    pub data: String,
    /// The id that the publisher chose.
    pub id: Option<EventId>,
    /// The version of the type's schema that the data is valid with.
    pub schema_version: Option<u32>,
}

impl Toolkit {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id.
    pub fn id(&self) -> Uuid {
        self.ids.next()
    }

    /// Random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.randomness.fill(&mut bytes);
        bytes
    }

    /// Completes an event.
    pub fn event(&self, origin: &Origin, draft: Draft) -> Event {
        let event = Event::new(NewEvent {
            client_id: draft.id.is_some(),
            id: draft.id.unwrap_or_else(|| EventId::new(self.id())),
            user_id: draft.user_id,
            event_type: draft.event_type,
            subject: draft.subject,
            time: self.now(),
            data: draft.data,
            salt: self.random(),
            actor: origin.actor,
            impersonator: origin.impersonator,
            request_id: origin.request_id,
        });
        match draft.schema_version {
            Some(version) => event.of_schema(version),
            None => event,
        }
    }

    /// One of Plinth's own events. Its data carries ids and figures, never an address, a name or an IP address.
    pub fn own_event(&self, origin: &Origin, user_id: UserId, kind: OwnEvent, data: &serde_json::Value) -> Event {
        // Whatever a test makes happen is held against its schema here; the flows look at what the binary wrote.
        #[cfg(test)]
        assert_eq!(schemas::own_violations(kind, data), [], "{kind:?}: {data}");
        let draft = Draft {
            user_id,
            event_type: kind.event_type(),
            subject: None,
            data: data.to_string(),
            id: None,
            schema_version: Some(kind.schema_version()),
        };
        self.event(origin, draft)
    }
}

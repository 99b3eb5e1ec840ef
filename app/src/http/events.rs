//! `/v1/events`: publishing, the history with its long poll, the live stream.

mod sse;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use domain::id::EventId;
use domain::page::PageRequest;
use domain::token::Claims;
use openapi::{
    EventBody, EventPageBody, PublishEventBody, PublishEventsBody, PublishedEventBody, PublishedEventsBody,
    StreamTicketBody,
};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use ports::StoredAnswer;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::auth::{Bearer, Caller};
use super::idempotency::Idempotency;
use super::problem::Fault;
use super::throttled;
use crate::lifecycle::Shutdown;
use crate::service::events::{
    Events, HistoryPart, OpenStreamError, Publication, PublishEventsError, Publisher, Standing, Start,
};
use crate::service::gate::Gate;
use crate::service::stream_tickets::{RedeemError, StreamTickets};

pub use sse::EventFeed;

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    ("publish_event", PUBLISHING),
    ("publish_events", PUBLISHING),
    ("list_events", &["validation_failed"]),
    ("stream_events", &["validation_failed", "rate_limited"]),
    ("create_stream_ticket", &["rate_limited"]),
    (
        "stream_events_by_ticket",
        &["validation_failed", "rate_limited", "token_invalid"],
    ),
];

const PUBLISHING: &[&str] = &[
    "conflict",
    "idempotency_in_flight",
    "payload_too_large",
    "unsupported_media_type",
    "validation_failed",
    "idempotency_key_reused",
    "rate_limited",
];

/// The largest body of `POST /v1/events/batch`: 4 MiB of data, and 2 KiB for the rest of each of a thousand events.
pub const BATCH_BODY_LIMIT: u64 = 6 * 1024 * 1024;

/// When a stream has no place: nobody knows when one is given back.
const PLACE_RETRY_SECONDS: u64 = 10;

/// The operations.
pub struct EventsApi {
    /// The service.
    pub events: Arc<Events>,
    /// Requests with a key.
    pub idempotency: Arc<Idempotency>,
    /// Addresses that open a stream once.
    pub tickets: Arc<StreamTickets>,
    /// Ends streams and polls with their tokens.
    pub gate: Arc<Gate>,
    /// Ends streams and polls with the process.
    pub shutdown: Shutdown,
}

impl std::fmt::Debug for EventsApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventsApi").finish_non_exhaustive()
    }
}

/// An event was published.
#[derive(Debug, ApiResponse)]
pub enum Published {
    /// The event is committed.
    #[oai(status = 201)]
    Created(
        Json<PublishedEventBody>,
        /// `true` when this repeats the answer to an earlier request with the same `Idempotency-Key`.
        #[oai(header = "Idempotency-Replayed")]
        Option<bool>,
    ),
}

/// Events were published.
#[derive(Debug, ApiResponse)]
pub enum PublishedAll {
    /// All events are committed.
    #[oai(status = 201)]
    Created(
        Json<PublishedEventsBody>,
        /// `true` when this repeats the answer to an earlier request with the same `Idempotency-Key`.
        #[oai(header = "Idempotency-Replayed")]
        Option<bool>,
    ),
}

/// The live stream.
#[derive(Debug, ApiResponse)]
pub enum Streamed {
    /// Server-sent events, until the token ends.
    #[oai(status = 200)]
    Open(EventFeed),
}

/// An address for one stream.
#[derive(Debug, ApiResponse)]
pub enum Ticketed {
    /// The address, to be used within 30 seconds.
    #[oai(status = 201)]
    Created(Json<StreamTicketBody>),
}

/// How the caller wrote the events: where refusals point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Batch,
}

#[OpenApi]
impl EventsApi {
    /// Publish an event
    ///
    /// Owner and actor are the caller. The event is delivered at least once, always under the same id, in the order in
    /// which the caller's events were committed.
    #[oai(
        path = "/v1/events",
        method = "post",
        operation_id = "publish_event",
        tag = "super::Tags::Events"
    )]
    async fn publish(
        &self,
        auth: Bearer,
        /// A name for this request, chosen by the client: repeated within 24 hours with the same content, it is answered alike and done once.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: Json<PublishEventBody>,
    ) -> Result<Published, Fault> {
        let fingerprint = fingerprint(&body.0)?;
        let request = (auth.0, idempotency_key.0, "POST /v1/events");
        let (ids, replayed) = self
            .publish_all(request, fingerprint, vec![publication(body.0)], Form::One)
            .await?;
        let id = ids.first().copied().ok_or_else(Fault::internal_error)?;
        Ok(Published::Created(Json(PublishedEventBody { id }), replayed))
    }

    /// Publish many events
    ///
    /// All of them or none. They keep their order.
    #[oai(
        path = "/v1/events/batch",
        method = "post",
        operation_id = "publish_events",
        tag = "super::Tags::Events"
    )]
    async fn publish_batch(
        &self,
        auth: Bearer,
        /// A name for this request, chosen by the client: repeated within 24 hours with the same content, it is answered alike and done once.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: Json<PublishEventsBody>,
    ) -> Result<PublishedAll, Fault> {
        let fingerprint = fingerprint(&body.0)?;
        let publications = body.0.events.into_iter().map(publication).collect();
        let request = (auth.0, idempotency_key.0, "POST /v1/events/batch");
        let (ids, replayed) = self
            .publish_all(request, fingerprint, publications, Form::Batch)
            .await?;
        Ok(PublishedAll::Created(Json(PublishedEventsBody { ids }), replayed))
    }

    /// Read the own events
    ///
    /// In the order of the log, from the beginning or after a cursor. To follow what happens, ask again and again with
    /// the `next_cursor` of the last answer and a `wait`: an empty page keeps the cursor, so nothing is missed or
    /// repeated. Events may be removed when they are old, as the operator configures: a page whose cursor lies before
    /// what is left says so by `gap`.
    #[oai(
        path = "/v1/events",
        method = "get",
        operation_id = "list_events",
        tag = "super::Tags::Events"
    )]
    async fn list(
        &self,
        auth: Bearer,
        /// The `next_cursor` of an earlier page, or the `id` of an event of the stream; the beginning when left out.
        after: Query<Option<String>>,
        /// How many items at the most.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
        /// How many seconds to wait for an event while there is none. The answer comes at once when there is one, and early, with an empty page, when the token or the server's process ends.
        #[oai(default = "no_wait", validator(minimum(value = "0"), maximum(value = "30")))]
        wait: Query<u32>,
    ) -> Result<Json<EventPageBody>, Fault> {
        let caller = auth.0;
        let position = after
            .0
            .as_deref()
            .map(|text| cursor(text, "#/parameters/after"))
            .transpose()?;
        let part = HistoryPart {
            user_id: caller.user_id(),
            after: position.unwrap_or_default(),
            limit: limit.0,
        };
        let (wait, standing) = (Duration::from_secs(wait.0.into()), self.standing(&caller.claims));
        let found = self
            .events
            .poll(part, wait, &standing, self.shutdown.draining_owned())
            .await?;
        // Looked at afterwards: what was removed before the history was read is known by now.
        let gap = match position {
            Some(after) => self.events.gap(part.user_id, after).await?,
            None => None,
        };
        let next = found.last().map(|logged| logged.position).or(gap).or(position);
        let items = found
            .iter()
            .map(|logged| EventBody::new(logged, self.events.source()))
            .collect();
        Ok(Json(EventPageBody {
            items,
            next_cursor: next.map(|position| position.to_string()),
            gap: gap.is_some(),
        }))
    }

    /// Follow the own events
    ///
    /// Server-sent events (`text/event-stream`). Each has the cursor as `id`, its type as `event`, and as `data` the
    /// event as `GET /v1/events` shows it, in one line. The stream begins with what happens from now on, or after the
    /// cursor in `Last-Event-ID` or `after`; nothing is left out or repeated. When events after that cursor were removed
    /// because of their age, the event `gap` comes first, whose data is `{"after": "..."}`: the cursor from which the
    /// stream goes on. A silent stream sends a comment every
    /// 15 seconds. It ends with the event `end`, whose data is `{"reason": "..."}`: the code that a request with the
    /// same token would be answered with (`token_expired`, `token_outdated`: refresh and go on; `session_ended`,
    /// `account_disabled`: stop), or `draining` or `dependency_unavailable`: go on at once.
    /// A user has at most five streams on one node, unless configured otherwise.
    #[oai(
        path = "/v1/events/stream",
        method = "get",
        operation_id = "stream_events",
        tag = "super::Tags::Events"
    )]
    async fn stream(
        &self,
        auth: Bearer,
        /// The `id` of the last event that was seen; browsers send it by themselves when they reconnect.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The same for a first connection; `Last-Event-ID` goes before it.
        after: Query<Option<String>>,
    ) -> Result<Streamed, Fault> {
        let start = start(last_event_id.0, after.0)?;
        self.open(&auth.0.claims, start).await
    }

    /// Get an address for a browser's stream
    ///
    /// For clients that cannot send a header, such as `EventSource` in browsers: the address opens one stream, once, within
    /// 30 seconds, and needs no token. The stream ends as it would with the caller's access token; then ask for the next
    /// address, and go on with `after`.
    #[oai(
        path = "/v1/events/stream/ticket",
        method = "post",
        operation_id = "create_stream_ticket",
        tag = "super::Tags::Events"
    )]
    async fn ticket(&self, auth: Bearer) -> Result<Ticketed, Fault> {
        let ticket = self.tickets.issue(&auth.0.claims)?;
        Ok(Ticketed::Created(Json(StreamTicketBody {
            url: ticket.url,
            expires_at: ticket.expires_at.into(),
        })))
    }

    /// Follow the own events by an address
    ///
    /// As `GET /v1/events/stream`, for the caller to whom `POST /v1/events/stream/ticket` gave this address. One that is
    /// over, or was used on any node, is answered `token_invalid`.
    #[oai(
        path = "/v1/events/stream/:ticket",
        method = "get",
        operation_id = "stream_events_by_ticket",
        tag = "super::Tags::Events"
    )]
    async fn stream_by_ticket(
        &self,
        /// The ticket, as it stands in the address.
        ticket: Path<String>,
        /// The `id` of the last event that was seen.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// The same for a first connection; `Last-Event-ID` goes before it.
        after: Query<Option<String>>,
    ) -> Result<Streamed, Fault> {
        let start = start(last_event_id.0, after.0)?;
        let claims = self.tickets.redeem(&ticket.0).await.map_err(|error| match error {
            RedeemError::Invalid => {
                Fault::link_token_invalid().detail("The address was used, or is over: ask for another one.")
            }
            RedeemError::Backend(error) => error.into(),
        })?;
        self.open(&claims, start).await
    }
}

impl EventsApi {
    async fn publish_all(
        &self,
        (caller, key, route): (Caller, Option<String>, &'static str),
        fingerprint: [u8; 32],
        publications: Vec<Publication>,
        form: Form,
    ) -> Result<(Vec<Uuid>, Option<bool>), Fault> {
        let ticket = self
            .idempotency
            .begin(key.as_deref(), &caller, route, fingerprint)
            .await?;
        if let Some(answer) = ticket.replay() {
            return Ok((resources(answer)?, Some(true)));
        }
        let publisher = Publisher {
            user_id: caller.user_id(),
            tier: caller.claims.tier.clone(),
            origin: caller.origin(),
        };
        let answer = |ids: &[EventId]| ticket.answer(201, ids.iter().map(ToString::to_string).collect());
        match self.events.publish(&publisher, publications, answer).await {
            Ok(ids) => Ok((ids.into_iter().map(EventId::uuid).collect(), None)),
            Err(error) => {
                ticket.release().await;
                Err(refused(error, form))
            }
        }
    }

    async fn open(&self, claims: &Claims, start: Start) -> Result<Streamed, Fault> {
        let (standing, draining) = (self.standing(claims), self.shutdown.draining_owned());
        let live = self.events.stream(claims.subject, start, standing, draining).await?;
        Ok(Streamed::Open(EventFeed::new(live, self.events.source().to_owned())))
    }

    fn standing(&self, claims: &Claims) -> Standing {
        let (gate, claims) = (Arc::clone(&self.gate), claims.clone());
        Arc::new(move || gate.standing(&claims))
    }
}

/// Where a stream begins.
fn start(last_event_id: Option<String>, after: Option<String>) -> Result<Start, Fault> {
    let last = last_event_id
        .filter(|text| !text.is_empty())
        .map(|text| (text, "#/headers/Last-Event-ID"));
    let given = last.or(after.map(|text| (text, "#/parameters/after")));
    given.map_or(Ok(Start::Now), |(text, pointer)| {
        Ok(Start::After(cursor(&text, pointer)?))
    })
}

fn default_limit() -> u32 {
    PageRequest::DEFAULT_LIMIT
}

fn no_wait() -> u32 {
    0
}

fn publication(body: PublishEventBody) -> Publication {
    Publication {
        event_type: body.event_type.0,
        data: body.data.0,
        subject: body.subject.map(|subject| subject.0),
        schema_version: body.schema_version,
        id: body.id,
    }
}

/// The digest of what a request asks for, whatever its white space and the order of its members.
fn fingerprint(body: &impl Serialize) -> Result<[u8; 32], Fault> {
    let text = serde_json::to_vec(body).map_err(|error| Fault::internal_error().caused_by(error))?;
    Ok(Sha256::digest(text).into())
}

fn resources(answer: &StoredAnswer) -> Result<Vec<Uuid>, Fault> {
    let ids = answer.resources.iter().map(|id| Uuid::try_parse(id));
    ids.collect::<Result<_, _>>()
        .map_err(|error| Fault::internal_error().caused_by(error))
}

/// A position as clients hold it: decimal digits. The databases count to the greatest signed number.
fn cursor(text: &str, pointer: &'static str) -> Result<u64, Fault> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let position = text
        .parse::<u64>()
        .ok()
        .filter(|position| digits && i64::try_from(*position).is_ok());
    position.ok_or_else(|| {
        Fault::validation_failed().at(
            pointer,
            "cursor",
            "must be a cursor of an earlier answer or the id of an event of the stream",
        )
    })
}

fn refused(error: PublishEventsError, form: Form) -> Fault {
    match error {
        PublishEventsError::Refused(refusals) => {
            refusals.into_iter().fold(Fault::validation_failed(), |fault, refusal| {
                fault.at(
                    pointer(form, refusal.index, refusal.member.as_deref()),
                    refusal.code,
                    refusal.detail,
                )
            })
        }
        PublishEventsError::IdTaken(index) => Fault::conflict()
            .detail("An event with this id and another content exists; choose another id.")
            .at(
                pointer(form, Some(index), Some("id")),
                "taken",
                "must be the id of no other event",
            ),
        PublishEventsError::AboveRate(limit) => Fault::rate_limited().retry_after(60).detail(format!(
            "The plan allows {limit} events in a minute: send smaller batches."
        )),
        PublishEventsError::Throttled(error) => throttled(error),
        PublishEventsError::Effects(error) => error.into(),
    }
}

fn pointer(form: Form, index: Option<usize>, member: Option<&str>) -> String {
    let event = match (form, index) {
        (Form::One, _) => "#".to_owned(),
        (Form::Batch, None) => "#/events".to_owned(),
        (Form::Batch, Some(index)) => format!("#/events/{index}"),
    };
    member.map_or(event.clone(), |member| format!("{event}/{member}"))
}

impl From<OpenStreamError> for Fault {
    fn from(error: OpenStreamError) -> Self {
        match error {
            OpenStreamError::TooMany => Self::rate_limited()
                .retry_after(PLACE_RETRY_SECONDS)
                .detail("The account has as many live streams as it may have: close one first."),
            OpenStreamError::Backend(error) => error.into(),
        }
    }
}

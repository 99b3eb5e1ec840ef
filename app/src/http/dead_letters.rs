//! `/v1/admin/dead-letters` and `/v1/admin/events/replay`: events that a handler group gave up, or handles once more.

use std::sync::Arc;

use domain::event::Shard;
use domain::id::{DeadLetterId, UserId};
use domain::time::Timestamp;
use openapi::{
    AnyJson, ChangedLettersBody, DeadLetterDetailBody, DeadLetterPageBody, DeadLetterReasonBody, DeadLetterReasonsBody,
    DiscardBody, EventBody, RedriveBody, ReplayBody, ReplayedBody, Text, Time,
};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use ports::{DeadLetterFilter, LetterEvent, ReasonCount};
use uuid::Uuid;

use super::auth::Bearer;
use super::input::page;
use super::problem::Fault;
use crate::service::dead_letters::{
    Act, Changed, DeadLetterError, DeadLetters, MOST_LETTERS, Replay, ReplayPoint, USUAL_LETTERS,
};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    ("list_dead_letters", &["validation_failed", "scope_missing"]),
    ("count_dead_letters", &["validation_failed", "scope_missing"]),
    ("get_dead_letter", &["scope_missing", "not_found"]),
    (
        "redrive_dead_letters",
        &["validation_failed", "scope_missing", "conflict"],
    ),
    (
        "discard_dead_letters",
        &["validation_failed", "scope_missing", "conflict"],
    ),
    ("replay_events", &["validation_failed", "scope_missing"]),
];

/// The operations.
#[derive(Debug)]
pub struct DeadLettersApi {
    /// The service.
    pub letters: Arc<DeadLetters>,
}

#[OpenApi(tag = "super::Tags::Administration")]
impl DeadLettersApi {
    /// List dead letters
    ///
    /// Events that a handler group gave up, because it refused them or failed at them again and again, oldest first.
    #[oai(path = "/v1/admin/dead-letters", method = "get", operation_id = "list_dead_letters")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn list(
        &self,
        auth: Bearer,
        /// Those of this handler group.
        group: Query<Option<String>>,
        /// Those with this reason.
        reason: Query<Option<String>>,
        /// Those of events of this type.
        event_type: Query<Option<String>>,
        /// Those of this user's events.
        user_id: Query<Option<Uuid>>,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<DeadLetterPageBody>, Fault> {
        auth.0.require_admin()?;
        let filter = filter("#/parameters", None, group.0, reason.0, event_type.0, user_id.0)?;
        let found = self.letters.list(&filter, &page(after.0, limit.0)?).await?;
        Ok(Json(DeadLetterPageBody {
            items: found.items.iter().map(Into::into).collect(),
            next_cursor: found.next,
        }))
    }

    /// Count dead letters by reason
    ///
    /// One line for each group and reason, the most frequent first: where to look when there are many.
    #[oai(
        path = "/v1/admin/dead-letters/reasons",
        method = "get",
        operation_id = "count_dead_letters"
    )]
    async fn reasons(
        &self,
        auth: Bearer,
        /// Those of this handler group.
        group: Query<Option<String>>,
        /// Those with this reason.
        reason: Query<Option<String>>,
        /// Those of events of this type.
        event_type: Query<Option<String>>,
        /// Those of this user's events.
        user_id: Query<Option<Uuid>>,
    ) -> Result<Json<DeadLetterReasonsBody>, Fault> {
        auth.0.require_admin()?;
        let filter = filter("#/parameters", None, group.0, reason.0, event_type.0, user_id.0)?;
        let items = self.letters.reasons(&filter).await?.into_iter().map(counted).collect();
        Ok(Json(DeadLetterReasonsBody { items }))
    }

    /// Read a dead letter
    ///
    /// Why it was given up, and the event itself with its payload.
    #[oai(
        path = "/v1/admin/dead-letters/:id",
        method = "get",
        operation_id = "get_dead_letter"
    )]
    async fn get(
        &self,
        auth: Bearer,
        /// The dead letter.
        id: Path<Uuid>,
    ) -> Result<Json<DeadLetterDetailBody>, Fault> {
        auth.0.require_admin()?;
        let (letter, event) = self.letters.find(DeadLetterId::new(id.0)).await?;
        let (event, record) = match &event {
            LetterEvent::Logged(logged) => (EventBody::new(logged, self.letters.source()), None),
            LetterEvent::Foreign(foreign) => {
                let record = AnyJson(foreign.to_structured());
                let logged = foreign.clone().into_logged(letter.position);
                (EventBody::new(&logged, &foreign.source), Some(record))
            }
        };
        Ok(Json(DeadLetterDetailBody {
            letter: (&letter).into(),
            event,
            record,
        }))
    }

    /// Redrive dead letters
    ///
    /// Hands them to their groups again, within two seconds and with all attempts anew; later events of the same users wait for them. One that died again after three redrives is left alone unless forced. An event `dead_letter.redriven` names them.
    #[oai(
        path = "/v1/admin/dead-letters/redrive",
        method = "post",
        operation_id = "redrive_dead_letters"
    )]
    async fn redrive(&self, auth: Bearer, body: Json<RedriveBody>) -> Result<Json<ChangedLettersBody>, Fault> {
        auth.0.require_admin()?;
        let body = body.0;
        let act = Act::Redrive {
            force: body.force == Some(true),
        };
        let filter = chosen(body.ids, body.group, body.reason, body.event_type, body.user_id)?;
        self.change(&auth, act, &filter, body.limit, body.dry_run).await
    }

    /// Discard dead letters
    ///
    /// Throws them away: their groups never handle them. An event `dead_letter.discarded` names them; the events themselves stay in the log.
    #[oai(
        path = "/v1/admin/dead-letters/discard",
        method = "post",
        operation_id = "discard_dead_letters"
    )]
    async fn discard(&self, auth: Bearer, body: Json<DiscardBody>) -> Result<Json<ChangedLettersBody>, Fault> {
        auth.0.require_admin()?;
        let body = body.0;
        let filter = chosen(body.ids, body.group, body.reason, body.event_type, body.user_id)?;
        self.change(&auth, Act::Discard, &filter, body.limit, body.dry_run)
            .await
    }

    /// Replay events
    ///
    /// Has a group handle a part of the log once more: what it did for these events it does again, so that a group that adds up adds twice. Each call does a piece of it and says where to go on. The group's own progress is not disturbed. An event `events.replayed` tells of it.
    #[oai(path = "/v1/admin/events/replay", method = "post", operation_id = "replay_events")]
    async fn replay(&self, auth: Bearer, body: Json<ReplayBody>) -> Result<Json<ReplayedBody>, Fault> {
        auth.0.require_admin()?;
        let body = body.0;
        let dry_run = body.dry_run == Some(true);
        let (replay, resume) = part(body)?;
        let done = self.letters.replay(&replay, resume, dry_run, &auth.0.origin()).await?;
        Ok(Json(ReplayedBody {
            events: done.events,
            left: done.left,
            looked_at: done.looked_at,
            waiting: done.waiting,
            resume: done.resume.map(|point| point.to_string()),
        }))
    }
}

impl DeadLettersApi {
    async fn change(
        &self,
        auth: &Bearer,
        act: Act,
        filter: &DeadLetterFilter,
        limit: Option<u32>,
        dry_run: Option<bool>,
    ) -> Result<Json<ChangedLettersBody>, Fault> {
        let limit = limit.unwrap_or(USUAL_LETTERS);
        if !(1..=MOST_LETTERS).contains(&limit) {
            return Err(Fault::validation_failed().at("#/limit", "range", "must be 1 to 10,000"));
        }
        let (dry_run, origin) = (dry_run == Some(true), auth.0.origin());
        let changed = self
            .letters
            .change(act, filter, limit, dry_run, &origin, &mut |_| {})
            .await?;
        let Changed {
            changed,
            in_a_loop,
            more,
        } = changed;
        Ok(Json(ChangedLettersBody {
            changed,
            in_a_loop,
            more,
        }))
    }
}

fn counted(count: ReasonCount) -> DeadLetterReasonBody {
    DeadLetterReasonBody {
        group: count.group,
        reason: count.code,
        count: count.count,
        first_at: count.first_at.into(),
        last_at: count.last_at.into(),
        example: count.example,
    }
}

fn filter(
    place: &str,
    ids: Option<Vec<Uuid>>,
    group: Option<String>,
    reason: Option<String>,
    event_type: Option<String>,
    user_id: Option<Uuid>,
) -> Result<DeadLetterFilter, Fault> {
    let event_type = event_type.map(|kind| kind.parse()).transpose();
    let refused = |error: domain::event::ParseEventTypeError| {
        Fault::validation_failed().at(format!("{place}/event_type"), "format", error.to_string())
    };
    for (name, text) in [("group", &group), ("reason", &reason)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            let pointer = format!("{place}/{name}");
            return Err(Fault::validation_failed().at(pointer, "format", "must not hold a zero byte"));
        }
    }
    Ok(DeadLetterFilter {
        ids: ids.unwrap_or_default().into_iter().map(DeadLetterId::new).collect(),
        group,
        reason,
        event_type: event_type.map_err(refused)?,
        user: user_id.map(UserId::new),
    })
}

/// The filter of a change, which must say something: all of them is never meant by leaving everything out.
fn chosen(
    ids: Option<Vec<Uuid>>,
    group: Option<Text>,
    reason: Option<Text>,
    event_type: Option<Text>,
    user_id: Option<Uuid>,
) -> Result<DeadLetterFilter, Fault> {
    let text = |text: Option<Text>| text.map(|text| text.0);
    let filter = filter("#", ids, text(group), text(reason), text(event_type), user_id)?;
    if filter == DeadLetterFilter::default() {
        let rule = "must name letters by ids, group, reason, event_type or user_id";
        return Err(Fault::validation_failed().at("#", "required", rule));
    }
    Ok(filter)
}

/// The part of the log that is meant, and where to go on.
fn part(body: ReplayBody) -> Result<(Replay, Option<ReplayPoint>), Fault> {
    let refused = |pointer: &str, code, rule: &str| Err(Fault::validation_failed().at(pointer, code, rule));
    let time = |time: Option<Time>, pointer: &str| match time.map(|time| Timestamp::parse_rfc3339(&time.0)) {
        None => Ok(None),
        Some(Ok(at)) => Ok(Some(at)),
        Some(Err(error)) => Err(Fault::validation_failed().at(pointer, "format", error.to_string())),
    };
    let (since, before) = (time(body.from, "#/from")?, time(body.to, "#/to")?);
    let shard = match body.shard.map(Shard::new) {
        Some(None) => return refused("#/shard", "range", "must be 0 to 15"),
        shard => shard.flatten(),
    };
    let has_positions = body.from_position.is_some() || body.to_position.is_some();
    if has_positions && shard.is_none() {
        return refused(
            "#/shard",
            "required",
            "must be given with positions: they are those of a shard",
        );
    }
    if since.is_none() && before.is_none() && shard.is_none() {
        return refused("#", "required", "must say which part: by from, to, or shard");
    }
    let resume = match body.resume.map(|text| text.parse::<ReplayPoint>()).transpose() {
        Ok(resume) => resume,
        Err(error) => return refused("#/resume", "cursor", &error.to_string()),
    };
    let replay = Replay {
        group: body.group.0,
        since,
        before,
        shard,
        from: body.from_position.unwrap_or(0),
        to: body.to_position.unwrap_or(u64::MAX),
    };
    if resume.is_some_and(|point| !point.is_of(&replay)) {
        return refused("#/resume", "cursor", "must be of the same replay");
    }
    Ok((replay, resume))
}

impl From<DeadLetterError> for Fault {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::NotFound => Self::not_found(),
            DeadLetterError::UnknownGroup(names) => {
                Self::validation_failed().at("#/group", "enum", format!("must be one of {}", names.join(", ")))
            }
            DeadLetterError::Contended => {
                Self::conflict().detail("Somebody else is changing these dead letters; look again.")
            }
            DeadLetterError::Effects(error) => error.into(),
        }
    }
}

//! Dead letters: events that a handler group gave up, and the replay of a part of the log.
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AnyJson, EventBody, Text, Time};

/// An event that a handler group gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeadLetterBody {
    /// Its own id: the same event may be dead in several groups.
    pub id: Uuid,
    /// The handler group.
    pub group: String,
    /// The event.
    pub event_id: Uuid,
    /// The event's type.
    pub event_type: String,
    /// Whose event it is.
    pub user_id: Uuid,
    /// The event's shard of the log, 0 to 15.
    pub shard: u8,
    /// The event's place in the shard; the offset of a record of a topic.
    pub position: u64,
    /// Where the group got it from: it follows the `log`, hands the log's events on to `kafka`, or a `topic` brought it.
    pub origin: String,
    /// The record that it was, when a topic of another service brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub record: Option<TopicPlaceBody>,
    /// Attempts since it failed first, or since it was redriven.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed_at: Time,
    /// When it failed last.
    pub last_failed_at: Time,
    /// A short word for why it failed last, to count and to filter by.
    pub reason: String,
    /// The same in words.
    pub detail: String,
    /// How often it was redriven.
    pub redrives: u32,
}

/// Where a record stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct TopicPlaceBody {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// The record's offset there.
    pub offset: u64,
}

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeadLetterPageBody {
    /// The letters, oldest first.
    pub items: Vec<DeadLetterBody>,
    /// Give this as `after` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// A dead letter with its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeadLetterDetailBody {
    /// The letter.
    pub letter: DeadLetterBody,
    /// The event as the group is given it, with its payload.
    pub event: EventBody,
    /// The event as another service sent it, under its own id; absent when it is of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub record: Option<AnyJson>,
}

/// How many dead letters have one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeadLetterReasonBody {
    /// The handler group.
    pub group: String,
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the first of them failed first.
    pub first_at: Time,
    /// When the last of them failed last.
    pub last_at: Time,
    /// The words of one of them.
    pub example: String,
}

/// The dead letters by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeadLetterReasonsBody {
    /// The reasons of each group, the most frequent first.
    pub items: Vec<DeadLetterReasonBody>,
}

/// Which dead letters are to be redriven: those to which everything applies that is given, which must be something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct RedriveBody {
    /// These alone, at most 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(validator(min_items = "1", max_items = "200")))]
    pub ids: Option<Vec<Uuid>>,
    /// Those of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
    /// Those with this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Those of events of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Text>,
    /// Those of this user's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    /// How many at the most, 1 to 10,000; 1,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only count what would be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Redrive those too that were redriven three times and died each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

/// Which dead letters are to be thrown away: those to which everything applies that is given, which must be something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct DiscardBody {
    /// These alone, at most 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(validator(min_items = "1", max_items = "200")))]
    pub ids: Option<Vec<Uuid>>,
    /// Those of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
    /// Those with this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Those of events of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Text>,
    /// Those of this user's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    /// How many at the most, 1 to 10,000; 1,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only count what would be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// What became of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct ChangedLettersBody {
    /// How many were redriven or thrown away; with `dry_run`, how many would be.
    pub changed: u64,
    /// How many were left because they were redriven so often that something else must be mended first.
    pub in_a_loop: u64,
    /// Whether there are more than `limit`.
    pub more: bool,
}

/// A part of the log that a group is to handle again: by time, by position, or both; something must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct ReplayBody {
    /// The group.
    pub group: Text,
    /// Events of this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Events before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Time>,
    /// Of this shard alone, 0 to 15.
    #[cfg_attr(feature = "server", oai(validator(minimum(value = "0"), maximum(value = "15"))))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u8>,
    /// From this position of the shard on.
    #[cfg_attr(feature = "server", oai(validator(minimum(value = "0"))))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_position: Option<u64>,
    /// Up to this position of the shard, itself among them.
    #[cfg_attr(feature = "server", oai(validator(minimum(value = "0"))))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_position: Option<u64>,
    /// Only count what would be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Where an earlier answer ended: its `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Text>,
}

/// How far a replay came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct ReplayedBody {
    /// Events that the group handles again; with `dry_run`, that it would.
    pub events: u64,
    /// Events that are being tried again, or are dead letters, anyway and were left as they are.
    pub left: u64,
    /// Events of the log that were looked at.
    pub looked_at: u64,
    /// Events that wait for the group's workers now.
    pub waiting: u64,
    /// Send the same request again with this as `resume` to go on; null when all is done.
    pub resume: Option<String>,
}

#[cfg(feature = "server")]
mod server {
    use domain::dead_letter::DeadLetter;

    use super::{DeadLetterBody, TopicPlaceBody};

    impl From<&DeadLetter> for DeadLetterBody {
        fn from(letter: &DeadLetter) -> Self {
            Self {
                id: letter.id.uuid(),
                group: letter.group.clone(),
                event_id: letter.event_id.uuid(),
                event_type: letter.event_type.as_str().to_owned(),
                user_id: letter.user_id.uuid(),
                shard: letter.shard.number(),
                position: letter.position,
                origin: letter.origin.as_str().to_owned(),
                record: letter.place.as_ref().map(|place| TopicPlaceBody {
                    topic: place.topic.clone(),
                    partition: place.partition,
                    offset: place.offset,
                }),
                attempts: letter.attempts,
                first_failed_at: letter.first_failed_at.into(),
                last_failed_at: letter.last_failed_at.into(),
                reason: letter.reason.code().to_owned(),
                detail: letter.reason.text().to_owned(),
                redrives: letter.redrives,
            }
        }
    }
}

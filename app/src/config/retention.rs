//! The keys about the age of the log.

use super::key::{Key, Preset};
use super::kind::Kind;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

pub(super) const CHECKPOINT_INTERVAL: Key = Key::new(
    "events.checkpoint_interval",
    Kind::Duration(SECOND, DAY),
    Preset::Is("10m"),
    "1h",
    "How often the heads of the log are signed and published as `audit.checkpoint`, while events come.",
);

/// Not below an hour: a worker that lost its lease and does not know it yet still finds the marks of what it handled.
pub(super) const RETENTION: Key = Key::new(
    "events.retention",
    Kind::Duration(HOUR, 36_500 * DAY),
    Preset::Words("events stay for ever"),
    "365d",
    "The age at which events leave the log, once a signed checkpoint covers them and every group has passed them. Nothing of them is left.",
);

pub(super) const PAYLOAD_RETENTION: Key = Key::new(
    "events.payload_retention",
    Kind::Duration(HOUR, 36_500 * DAY),
    Preset::Words("payloads stay as long as their events"),
    "90d",
    "The age at which events lose payload, salt and subject, once every group has passed them. What happened, when and by whom stays, and is still proven.",
);

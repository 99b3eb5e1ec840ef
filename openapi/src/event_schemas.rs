//! The schemas of Plinth's own events, as they are kept in `openapi/events/TYPE/VERSION.json`.

/// A version of the schema of one of Plinth's own events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnSchema {
    /// The type of the events.
    pub event_type: &'static str,
    /// The version, counted from 1.
    pub version: u32,
    /// JSON Schema 2020-12, pretty as it is kept.
    pub text: &'static str,
}

macro_rules! own_schemas {
    ($(($type:literal, $version:literal),)*) => {
        /// Every version of every type, the types in the order of their names, the versions of each in theirs.
        pub const OWN_SCHEMAS: &[OwnSchema] = &[$(OwnSchema {
            event_type: $type,
            version: $version,
            text: include_str!(concat!("../events/", $type, "/", $version, ".json")),
        },)*];
    };
}

own_schemas! {
    ("audit.checkpoint", 1),
    ("dead_letter.discarded", 1),
    ("dead_letter.redriven", 1),
    ("event.compatibility_changed", 1),
    ("event.schema_registered", 1),
    ("events.replayed", 1),
    ("file.deleted", 1),
    ("file.uploaded", 1),
    ("key.activated", 1),
    ("key.created", 1),
    ("mail.failed", 1),
    ("mail.sent", 1),
    ("password.changed", 1),
    ("plinth.checked", 1),
    ("session.ended", 1),
    ("session.refresh_reused", 1),
    ("session.started", 1),
    ("tier.changed", 1),
    ("user.created", 1),
    ("user.disabled", 1),
    ("user.enabled", 1),
    ("user.registered", 1),
    ("user.updated", 1),
    ("webhook.created", 1),
    ("webhook.deleted", 1),
    ("webhook.disabled", 1),
    ("webhook.secret_rotated", 1),
    ("webhook.updated", 1),
}

//! Identifiers: `UUIDv7` (RFC 9562) wrapped so that one kind is never taken for another.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a UUID")]
pub struct ParseIdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that was made or stored as this kind of id.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID, for storage and for the wire.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError)
            }
        }
    };
}

id! {
    /// A user: a person, a service or an administrator that can sign in.
    UserId
}
id! {
    /// One login on one device.
    SessionId
}
id! {
    /// A sign-up that waits for its address to be verified.
    RegistrationId
}
id! {
    /// An event; the same event always has the same id.
    EventId
}
id! {
    /// A file as the API shows it.
    FileId
}
id! {
    /// A message in the mail ledger.
    MailId
}
id! {
    /// An event that a handler group holds or gave up.
    DeadLetterId
}
id! {
    /// One request, from the edge to the last row that it wrote.
    RequestId
}
id! {
    /// One installation: every node on one database shares it.
    InstallationId
}

impl UserId {
    /// The owner of events that belong to no user, such as those of the installation itself.
    pub const SYSTEM: Self = Self(Uuid::nil());
}

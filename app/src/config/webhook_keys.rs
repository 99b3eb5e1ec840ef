//! The keys of section `webhooks`; the table lists them at their place.

use super::key::Key;
use super::key::Preset::{Is, Words};
use super::kind::Kind;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

pub(super) const ALLOW: Key = Key::new(
    "webhooks.allow",
    Kind::Targets,
    Words("none: public addresses alone, over https"),
    "hooks.internal,10.1.0.0/16",
    "Hosts and networks that webhooks may be sent to although they are not public; these may be without TLS, too. Whoever may make webhooks can make this server send requests there.",
);

pub(super) const CA_FILE: Key = Key::new(
    "webhooks.ca_file",
    Kind::Path,
    Words("none: the public authorities (Mozilla's list)"),
    "/etc/plinth/internal-ca.pem",
    "Certificates in PEM that are trusted besides those of the public authorities, for receivers with an authority of your own.",
);

pub(super) const PER_USER: Key = Key::new(
    "webhooks.per_user",
    Kind::Integer(0, 1_000),
    Is("10"),
    "25",
    "The most webhooks of one user, and of the installation. With 0 nobody makes any.",
);

pub(super) const CONCURRENCY: Key = Key::new(
    "webhooks.concurrency",
    Kind::Integer(1, 1_000),
    Is("16"),
    "64",
    "How many attempts one process makes at once.",
);

pub(super) const PER_HOST: Key = Key::new(
    "webhooks.per_host",
    Kind::Integer(1, 1_000),
    Is("4"),
    "8",
    "How many of them at one host and port: a slow one takes no place from others.",
);

pub(super) const TIMEOUT: Key = Key::new(
    "webhooks.timeout",
    Kind::Duration(SECOND, 30 * SECOND),
    Is("10s"),
    "5s",
    "How long an attempt may take in all, from the look-up of the name to the answer.",
);

pub(super) const DISABLE_AFTER: Key = Key::new(
    "webhooks.disable_after",
    Kind::Duration(MINUTE, 90 * DAY),
    Is("5d"),
    "10d",
    "How long every attempt must have failed, ten at least, before a webhook is disabled.",
);

pub(super) const KEEP: Key = Key::new(
    "webhooks.keep",
    Kind::Duration(2 * DAY, 400 * DAY),
    Is("30d"),
    "7d",
    "How long deliveries are kept with their attempts, to be looked at and sent again.",
);

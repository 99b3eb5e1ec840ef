//! Every key of the configuration, in the order of the reference.

mod base;
mod remote;

use super::key::Key;
use super::key::Preset::{Is, Named, Words};
use super::kind::Kind;
use super::rule;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// The sections in the order of the reference, each with what it is about.
pub(super) const SECTIONS: [(&str, &str); 16] = [
    ("", "Keys of the top, outside any table."),
    ("database", "Where accounts, events, mail and file rows are kept."),
    ("http", "The listener of the API."),
    ("ops", "The listener for health, counters and the dashboard."),
    ("auth", "Accounts, passwords, sessions and tokens."),
    (
        "admin",
        "The first administrator, for containers. Used only while there is no administrator.",
    ),
    ("limits", "Throttling of guesses, floods and use."),
    (
        "tiers",
        "Plans. `free`, `pro` and `enterprise` exist without being set; a further table adds a tier, whose limits are those of `free` until set.",
    ),
    (
        "files",
        "Where the bytes of files are kept. The backend `local` exists without being set.",
    ),
    ("events", "The event log and its live streams."),
    ("mail", "Messages to users."),
    ("log", "What the server writes to standard error."),
    ("workers", "The sequencer, the handlers and the mail sender."),
    ("smtp", "Mail over SMTP."),
    ("kafka", "Events to Kafka."),
    ("redis", "Limits shared by many nodes."),
];

/// The names that exist without being set, under the path that comes before them.
pub(super) const BUILT_IN_NAMES: [(&str, &str); 4] = [
    ("tiers.", "free"),
    ("tiers.", "pro"),
    ("tiers.", "enterprise"),
    ("files.backends.", "local"),
];

/// The parts of the table in their order.
const PARTS: [&[Key]; 3] = [base::KEYS, OWN, remote::KEYS];

const LENGTH: usize = PARTS[0].len() + PARTS[1].len() + PARTS[2].len();

/// All keys.
pub(super) static KEYS: &[Key] = &joined();

const fn joined() -> [Key; LENGTH] {
    let mut all = [base::KEYS[0]; LENGTH];
    let (mut part, mut next) = (0, 0);
    while part < PARTS.len() {
        let mut index = 0;
        while index < PARTS[part].len() {
            all[next] = PARTS[part][index];
            next += 1;
            index += 1;
        }
        part += 1;
    }
    all
}

/// What Plinth does by itself.
const OWN: &[Key] = &[
    Key::new(
        "admin.email",
        Kind::Text("one e-mail address", rule::email),
        Words("none"),
        "admin@example.org",
        "The address of the first administrator; needs the password beside it.",
    ),
    Key::new(
        "admin.password",
        Kind::SecretText("8 to 256 code points in at most 1024 bytes", rule::password),
        Words("none"),
        "",
        "The password of the first administrator. The rules for passwords hold here too.",
    ),
    Key::new(
        "limits.enabled",
        Kind::Bool,
        Is("true"),
        "true",
        "Whether guesses, floods and use are limited. `false` is for tests and reported as dangerous; the bounds of mail to one address and of the hashing queue hold all the same.",
    ),
    Key::new(
        "tiers.<name>.features",
        Kind::Words,
        Words("none"),
        "export,priority_support",
        "The features that the tier gives, in the words of your product.",
    ),
    Key::new(
        "tiers.<name>.max_file_bytes",
        Kind::Size(1, TIB),
        Named(&[("pro", "1GiB"), ("enterprise", "5GiB")], "100MiB"),
        "1GiB",
        "The most bytes of one file.",
    ),
    Key::new(
        "tiers.<name>.storage_bytes",
        Kind::Size(0, 1024 * TIB),
        Named(&[("pro", "100GiB"), ("enterprise", "1TiB")], "1GiB"),
        "100GiB",
        "The most bytes of all files of one user.",
    ),
    Key::new(
        "tiers.<name>.requests_per_minute",
        Kind::Integer(1, 10_000_000),
        Named(&[("pro", "6000"), ("enterprise", "60000")], "600"),
        "6000",
        "The most requests of one user in a minute, over all routes that need a token.",
    ),
    Key::new(
        "tiers.<name>.events_per_minute",
        Kind::Integer(1, 10_000_000),
        Named(&[("pro", "10000"), ("enterprise", "100000")], "1000"),
        "10000",
        "The most events that one user may publish in a minute.",
    ),
    Key::new(
        "files.default",
        Kind::Text(
            "the name of a backend: lower-case letters, digits and `_`, a letter first",
            super::key::is_name,
        ),
        Is("local"),
        "main",
        "The backend that takes new files. Older files stay where they are and are found there.",
    ),
    Key::new(
        "files.backends.<name>.kind",
        Kind::Choice(&["local", "s3", "azure"]),
        Named(&[("local", "local")], ""),
        "local",
        "The technology of the backend. This binary has `local` only.",
    ),
    Key::new(
        "files.backends.<name>.root",
        Kind::Path,
        Words("`<data_dir>/blobs` for `local`, `<data_dir>/blobs-<name>` for others"),
        "/srv/plinth/blobs",
        "The folder of a local backend. Several nodes need a folder that all of them see.",
    ),
    Key::new(
        "files.backends.<name>.endpoint",
        Kind::Absent("remote file backends", false),
        Words("none"),
        "",
        "The address of a remote backend.",
    ),
    Key::new(
        "files.backends.<name>.public_endpoint",
        Kind::Absent("remote file backends", false),
        Words("none"),
        "",
        "The address of a remote backend as clients reach it.",
    ),
    Key::new(
        "files.backends.<name>.bucket",
        Kind::Absent("remote file backends", false),
        Words("none"),
        "",
        "The bucket or container of a remote backend.",
    ),
    Key::new(
        "files.backends.<name>.region",
        Kind::Absent("remote file backends", false),
        Words("none"),
        "",
        "The region of a remote backend.",
    ),
    Key::new(
        "files.backends.<name>.access_key",
        Kind::Absent("remote file backends", true),
        Words("none"),
        "",
        "The access key of a remote backend.",
    ),
    Key::new(
        "files.backends.<name>.secret_key",
        Kind::Absent("remote file backends", true),
        Words("none"),
        "",
        "The secret key of a remote backend.",
    ),
    Key::new(
        "events.client_prefix",
        Kind::Text(
            "lower-case words that each end in a dot, not a prefix of Plinth's own events",
            rule::event_prefix,
        ),
        Is("app."),
        "shop.",
        "How the types of events that clients publish begin.",
    ),
    Key::new(
        "events.streams_per_user",
        Kind::Integer(1, 1_000),
        Is("5"),
        "10",
        "The most live streams of one user on one node.",
    ),
    Key::new(
        "events.stream_heartbeat",
        Kind::Duration(SECOND, 5 * MINUTE),
        Is("15s"),
        "30s",
        "How often a silent stream says that it lives.",
    ),
    super::retention::CHECKPOINT_INTERVAL,
    super::retention::RETENTION,
    super::retention::PAYLOAD_RETENTION,
    Key::new(
        "mail.from_address",
        Kind::Text("one e-mail address", rule::email),
        Is("plinth@plinth.localhost"),
        "no-reply@example.org",
        "The sender's address.",
    ),
    Key::new(
        "mail.from_name",
        Kind::Text("1 to 100 letters without control letters", rule::display_name),
        Is("Plinth"),
        "Example Shop",
        "The sender's name, also the product's name in the texts.",
    ),
    Key::new(
        "mail.locale",
        Kind::Text("a language tag, such as `en` or `pt-BR`", rule::locale),
        Is("en"),
        "en",
        "The language of mails to users who chose none.",
    ),
    Key::new(
        "mail.outbox_dir",
        Kind::Path,
        Words("`<data_dir>/outbox`"),
        "/srv/plinth/outbox",
        "The folder in which mails land as `.eml` files.",
    ),
    Key::new(
        "mail.templates_dir",
        Kind::Path,
        Words("none: the built-in templates"),
        "/etc/plinth/templates",
        "A folder whose templates stand in place of the built-in ones.",
    ),
    Key::new(
        "mail.verify_ttl",
        Kind::Duration(5 * MINUTE, 30 * DAY),
        Is("24h"),
        "48h",
        "How long the link that verifies an address works.",
    ),
    Key::new(
        "mail.reset_ttl",
        Kind::Duration(5 * MINUTE, DAY),
        Is("30m"),
        "1h",
        "How long the link that resets a password works.",
    ),
    Key::new(
        "mail.welcome",
        Kind::Bool,
        Is("true"),
        "false",
        "Whether everybody who registers gets a welcome mail once their address is verified.",
    ),
    Key::new(
        "log.level",
        Kind::Text(
            "`error`, `warn`, `info`, `debug` or `trace`, or a list of `target=level`",
            rule::log_filter,
        ),
        Is("info"),
        "info,plinth::access=off",
        "What is logged. Each request is one line of `plinth::access`, at `info`.",
    )
    .reloading(),
    Key::new(
        "log.format",
        Kind::Choice(&["text", "json"]),
        Is("text"),
        "json",
        "How it is logged: for people or for machines.",
    ),
    Key::new(
        "workers.enabled",
        Kind::Bool,
        Is("true"),
        "false",
        "Whether `plinth serve` also works; `--no-workers` says the same for one run.",
    ),
    Key::new(
        "workers.mail_concurrency",
        Kind::Integer(1, 256),
        Is("4"),
        "16",
        "How many mails one process hands over at once.",
    ),
    Key::new(
        "workers.mail_lease",
        Kind::Duration(SECOND, 10 * MINUTE),
        Is("30s"),
        "1m",
        "How long a process holds the mails that it hands over, which may take two thirds of it; after a crash another process takes over by then.",
    ),
];

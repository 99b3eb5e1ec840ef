//! The configuration: defaults, then a TOML file, then the environment, then flags; typed, and every fault at once.
//!
//! `table.rs` is the single source: reading, `config show`, `config env` and the reference all come from it.

mod address;
mod build;
mod fault;
mod key;
mod kind;
pub mod reference;
mod resolve;
mod retention;
mod rule;
mod secret;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod unit;
mod webhook_keys;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

pub use address::{DatabaseEngine, DatabaseUrl, PublicUrl};
pub use fault::{Fault, Faults, Origin};
pub use key::{Key, Preset};
pub use kind::Kind;
pub use secret::{REDACTED, Secret};
pub use source::Environment;

/// The whole configuration. Every path is absolute, every bound is checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// The folder of everything that lands on disk.
    pub data_dir: PathBuf,
    /// The master key; absent only on SQLite, where it is made in `data_dir`.
    pub master_key: Option<Secret<[u8; 32]>>,
    /// The public address; absent only when `http.bind` is loopback, where the bound address stands in.
    pub public_url: Option<PublicUrl>,
    /// The database.
    pub database: DatabaseConfig,
    /// The API listener.
    pub http: HttpConfig,
    /// The ops listener.
    pub ops: OpsConfig,
    /// Accounts, sessions and tokens.
    pub auth: AuthConfig,
    /// The first administrator by configuration.
    pub admin: Option<AdminConfig>,
    /// Whether guesses, floods and use are limited.
    pub limits_enabled: bool,
    /// Tiers by name; `free`, `pro` and `enterprise` are always among them.
    pub tiers: BTreeMap<String, TierConfig>,
    /// File backends.
    pub files: FilesConfig,
    /// Events and streams.
    pub events: EventsConfig,
    /// Events to Kafka, where brokers are named.
    pub kafka: Option<KafkaConfig>,
    /// Mail.
    pub mail: MailConfig,
    /// Logging.
    pub log: LogConfig,
    /// Workers.
    pub workers: WorkersConfig,
    /// Webhooks.
    pub webhooks: WebhooksConfig,
    /// Where each secret stands that is set.
    pub secrets: Vec<SecretPlace>,
}

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlace {
    /// The key's path, such as `master_key`.
    pub key: String,
    /// What set it.
    pub origin: Origin,
    /// The file that holds it, its own or that of the configuration; absent when it stands in the environment.
    pub file: Option<PathBuf>,
}

/// Section `database`.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// The address.
    pub url: DatabaseUrl,
    /// The most connections of this process.
    pub max_connections: u32,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How long any connection is kept.
    pub max_lifetime: Duration,
    /// SQLite: how long a write waits for another process.
    pub busy_timeout: Duration,
    /// SQLite: how much a commit waits for the disk.
    pub synchronous: Synchronous,
    /// Whether starting brings the schema up to date.
    pub migrate: bool,
}

/// SQLite's `synchronous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// No acknowledged commit is lost when the power fails.
    Full,
    /// The last commits may be lost when the power fails.
    Normal,
}

/// Section `http`.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free port.
    pub bind: SocketAddr,
    /// The most client connections at once.
    pub max_connections: usize,
    /// The most bytes of a request's head.
    pub max_header_bytes: usize,
    /// The most bytes of a JSON body.
    pub max_json_bytes: u64,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a body may stand still.
    pub body_stall_timeout: Duration,
    /// How long a connection may wait between requests.
    pub idle_timeout: Duration,
    /// How long connections are still taken after the signal to stop.
    pub drain_grace: Duration,
    /// How long stopping may take in all.
    pub shutdown_timeout: Duration,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Browser origins that may call.
    pub cors_origins: Vec<String>,
}

/// Section `ops`.
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// Where to listen; port 0 takes a free port.
    pub bind: SocketAddr,
    /// The bearer token of `/ops/*`; absent only on loopback.
    pub token: Option<Secret<String>>,
}

/// Section `auth`.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Who may register.
    pub registration: Registration,
    /// The fewest code points of a password.
    pub password_min_length: usize,
    /// bcrypt's work factor.
    pub bcrypt_cost: u32,
    /// How many passwords are hashed at once.
    pub hash_threads: usize,
    /// How many more may wait.
    pub hash_queue: usize,
    /// The life of an access token.
    pub access_token_ttl: Duration,
    /// How long an unused session lives.
    pub session_idle_ttl: Duration,
    /// How long any session lives.
    pub session_ttl: Duration,
    /// How long a used refresh token gets the same successor.
    pub refresh_grace: Duration,
    /// How old the knowledge of revocations may be.
    pub revocation_max_age: Duration,
    /// The `iss` claim; absent means `urn:plinth:<installation id>`.
    pub issuer: Option<String>,
    /// The `aud` claim; absent means `urn:plinth:<installation id>`.
    pub audience: Option<String>,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Nobody.
    Closed,
}

/// Section `admin`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// The address of the first administrator.
    pub email: String,
    /// Its password.
    pub password: Secret<String>,
}

/// One table of section `tiers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierConfig {
    /// The features that the tier gives.
    pub features: Vec<String>,
    /// The most bytes of one file.
    pub max_file_bytes: u64,
    /// The most bytes of all files of a user.
    pub storage_bytes: u64,
    /// The most requests of a user in a minute.
    pub requests_per_minute: u32,
    /// The most events that a user publishes in a minute.
    pub events_per_minute: u32,
}

/// Section `files`.
#[derive(Clone, Debug)]
pub struct FilesConfig {
    /// The backend for new files; always a key of `backends`.
    pub default: String,
    /// Backends by name; `local` is always among them.
    pub backends: BTreeMap<String, BackendConfig>,
}

/// One table of section `files.backends`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendConfig {
    /// Files in a folder of this machine.
    Local {
        /// The folder.
        root: PathBuf,
    },
}

/// Section `events`.
#[derive(Clone, Debug)]
pub struct EventsConfig {
    /// How the types of clients' events begin; ends in a dot.
    pub client_prefix: String,
    /// The most live streams of one user on one node.
    pub streams_per_user: usize,
    /// How often a silent stream says that it lives.
    pub stream_heartbeat: Duration,
    /// How often the heads of the log are signed while they move.
    pub checkpoint_interval: Duration,
    /// The age at which events leave the log; none keeps them for ever.
    pub retention: Option<Duration>,
    /// The age at which events lose their payload; none leaves it to them.
    pub payload_retention: Option<Duration>,
    /// Whether clients publish events of types with a schema alone.
    pub require_schema: bool,
}

/// Section `kafka`.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `HOST:PORT`, several with commas.
    pub brokers: String,
    /// The topic of events.
    pub topic: String,
    /// Partitions of the topic when it is made.
    pub partitions: u32,
    /// Replicas of the topic when it is made; absent means as many as the cluster makes by itself.
    pub replication: Option<u32>,
    /// Topics of other services that are read.
    pub consume: Vec<String>,
    /// Whether reading begins with the oldest record of a topic that was never read.
    pub consume_from_beginning: bool,
    /// What the names of consumer groups begin with.
    pub group: String,
    /// How long a batch may take.
    pub delivery_timeout: Duration,
    /// How brokers are spoken to: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub security_protocol: String,
    /// How we prove who we are.
    pub sasl_mechanism: Option<String>,
    /// Who we are.
    pub sasl_username: Option<String>,
    /// The password.
    pub sasl_password: Option<Secret<String>>,
    /// Authorities that vouch for the brokers.
    pub tls_ca: Option<PathBuf>,
    /// Our certificate.
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Further settings of librdkafka, by name.
    pub settings: Secret<Vec<(String, String)>>,
}

/// Section `mail`.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The sender's address.
    pub from_address: String,
    /// The sender's name.
    pub from_name: String,
    /// The language when the user chose none.
    pub locale: String,
    /// Where `.eml` files land.
    pub outbox_dir: PathBuf,
    /// Templates in place of the built-in ones.
    pub templates_dir: Option<PathBuf>,
    /// The life of a link that verifies an address.
    pub verify_ttl: Duration,
    /// The life of a link that resets a password.
    pub reset_ttl: Duration,
    /// Whether those who register are greeted.
    pub welcome: bool,
}

/// Section `log`.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A level, or a list of `target=level`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// Section `workers`.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// Whether `plinth serve` also works.
    pub enabled: bool,
    /// How many mails are handed over at once.
    pub mail_concurrency: usize,
    /// How long a process holds the mails that it hands over.
    pub mail_lease: Duration,
}

/// Section `webhooks`.
#[derive(Clone, Debug)]
pub struct WebhooksConfig {
    /// Hosts and networks that may be sent to although they are not public.
    pub allow: Vec<String>,
    /// Certificates that are trusted besides those of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// The most webhooks of one user, and of the installation.
    pub per_user: u32,
    /// How many attempts are under way at once.
    pub concurrency: usize,
    /// How many of them at one host.
    pub per_host: usize,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How long nothing must have reached a webhook for it to be disabled.
    pub disable_after: Duration,
    /// How long deliveries are kept.
    pub keep: Duration,
}

/// A setting that is allowed but not meant for production.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Danger {
    /// The key's path.
    pub key: &'static str,
    /// What can happen.
    pub sentence: String,
}

/// One line of `config show`. A secret is [`REDACTED`] already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownSetting {
    /// The key's path.
    pub key: String,
    /// The value in force; absent when there is none.
    pub value: Option<String>,
    /// Where it was set.
    pub origin: Origin,
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its value and origin, in the order of their paths.
    pub settings: Vec<ShownSetting>,
}

/// Reads the configuration from `file` (or the file that `PLINTH_CONFIG` names, or none), the environment, and `flags`
/// of the form `key=value`; later ones win.
///
/// # Errors
/// Every fault of every source at once.
pub fn load(environment: &Environment, file: Option<&Path>, flags: &[String]) -> Result<Loaded, Faults> {
    build::build(resolve::resolve(environment, file, flags), environment)
}

/// Every key that there is.
pub fn keys() -> &'static [Key] {
    table::KEYS
}

impl Config {
    /// Settings in force that are not meant for production, each with what can happen.
    pub fn dangers(&self) -> Vec<Danger> {
        let mut dangers = Vec::new();
        let mut say = |key, sentence: &str| {
            dangers.push(Danger {
                key,
                sentence: sentence.to_owned(),
            })
        };
        if self.auth.bcrypt_cost < 10 {
            say(
                "auth.bcrypt_cost",
                "passwords are hashed so cheaply that a stolen database gives them away",
            );
        }
        if !self.limits_enabled {
            say("limits.enabled", "nothing slows down guessing of passwords or floods");
        }
        if self.database.synchronous == Synchronous::Normal && !self.database.url.is_postgres() {
            say(
                "database.synchronous",
                "acknowledged changes can be lost when the power fails",
            );
        }
        if self
            .public_url
            .as_ref()
            .is_some_and(|url| !url.is_https() && !url.is_loopback())
        {
            say(
                "public_url",
                "passwords and tokens travel unencrypted, as the address is not https",
            );
        }
        dangers
    }
}

/// Whether an address is reached from this machine only.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

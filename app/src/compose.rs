//! Composition: the only place that names adapters. Everything else sees ports.

mod kafka;
pub mod look;
mod master_key;
mod webhooks;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adapter_crypto::{
    BcryptPasswordHasher, HasherConfig, HmacLinkSigner, HmacRefreshTokenCodec, Keys, MasterKey, MasterSealer,
    PasetoCheckpointSigner, PasetoKeyring,
};
use adapter_guard::{GuardPolicy, GuardStats, GuardedBlobStore, GuardedMailer};
use adapter_local::{EmlMailer, LocalBlobStore, LocalEventBus, LocalRateLimiter, LocalWakeupBus};
pub use adapter_sql::Obstacle;
use adapter_sql::{
    ConnectError, Database, DatabaseOptions, PostgresWakeupBus, SqlAuditTrail, SqlCursorStore, SqlDeadLetterStore,
    SqlEventLog, SqlEventStore, SqlFileRepository, SqlHeldEvents, SqlIdempotencyStore, SqlInstallationRepository,
    SqlLogKeeper, SqlLogSequencer, SqlMailQueue, SqlOneTimeTokenRepository, SqlProbe, SqlRegistrationRepository,
    SqlRevocationFeed, SqlSchemaRepository, SqlSessionRepository, SqlSignInLedger, SqlSigningKeyRepository,
    SqlUsageRepository, SqlUserRepository, SqlWebhookQueue, SqlWebhookRepository,
};
use adapter_system::{SystemClock, SystemIds, SystemRandomness, process_stats};
use adapter_webhook::{Allowed, HttpsWebhookSender, WebhookOptions};
use domain::breaker::BreakerState;
use domain::file::BackendName;
use domain::stats::ProcessStats;
use migration::{MigrateError, Status};
use openapi::{BackendStatsBody, OperationStatsBody};
use ports::{
    AuditTrail, BackendError, BindMasterKeyError, BlobStore, CheckpointSigner, Clock, CursorStore, DeadLetterStore,
    EventLog, EventPublisher, EventStore, EventSubscriber, FileRepository, HeldEvents, IdempotencyStore, Ids,
    Installation, InstallationRepository, LinkSigner, LogKeeper, LogSequencer, MailQueue, Mailer,
    OneTimeTokenRepository, PasswordHasher, Probe, Randomness, RateLimiter, RefreshTokenCodec, RegistrationRepository,
    RevocationFeed, SchemaRepository, Sealer, SessionRepository, SignInLedger, SigningKeyRepository, TokenIssuer,
    TokenKeyring, TokenVerifier, UsageRepository, UserRepository, WakeupBus, WebhookQueue, WebhookRepository,
    WebhookSender,
};

pub use self::kafka::{Relay, Topics};
use crate::config::{BackendConfig, Config, DatabaseEngine, Synchronous};
use crate::ops::{BackendState, MeasuredEventStore};
use crate::service::Toolkit;

/// An upload to a shared folder that nobody wrote to for so long died with its process: a stalled body is cut within seconds.
const SHARED_UPLOAD_AGE: Duration = Duration::from_secs(3_600);

/// Why the adapters could not be put together. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The data folder or a file in it.
    #[error("{path}: {what}: {source}")]
    Io {
        /// Which.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database does not answer.
    #[error("{0} (see database.url)")]
    Connect(#[from] ConnectError),
    /// The schema.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// Migrating at start is off and migrations are missing.
    #[error("the schema lacks {0} migrations, and database.migrate is off: run `plinth migrate`")]
    SchemaBehind(usize),
    /// The master key file.
    #[error("{0} does not hold a master key: 32 bytes in base64, as `head -c 32 /dev/urandom | base64` makes them")]
    MasterKeyFile(String),
    /// There is no master key.
    #[error(
        "master_key is not set: make one with `head -c 32 /dev/urandom | base64` and give it to every node as PLINTH_MASTER_KEY_FILE"
    )]
    MasterKeyMissing,
    /// The installation was made with another master key.
    #[error(
        "this installation belongs to another master key: give this node the key that the others have (PLINTH_MASTER_KEY_FILE)"
    )]
    OtherMasterKey,
    /// There is no database where one was to be looked into.
    #[error("nothing is installed yet: there is no {0} (see data_dir); `plinth serve` makes it")]
    NothingInstalled(String),
    /// Another server uses the data folder.
    #[error(
        "another `plinth serve` uses {0}: with SQLite there is one server for a data folder; take PostgreSQL to run several"
    )]
    InUse(String),
    /// A configured value that its adapter refuses.
    #[error("{key}: {reason}")]
    Setting {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// A backend failed at start.
    #[error("{0}: {source}", source = .0.source)]
    Backend(#[from] BackendError),
}

/// Work that goes on beside the calls of an adapter.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A backend behind a breaker, as operators see it.
pub struct Guarded {
    /// Its name.
    pub name: String,
    /// The breaker.
    pub state: Arc<dyn Fn() -> BackendState + Send + Sync>,
    /// The figures.
    pub figures: Arc<dyn Fn() -> BackendStatsBody + Send + Sync>,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Every port with its adapter.
pub struct Ports {
    /// Time, randomness, ids, wakeups.
    pub toolkit: Toolkit,
    /// The installation.
    pub installation: Installation,
    /// Accounts.
    pub users: Arc<dyn UserRepository>,
    /// Sign-ups.
    pub registrations: Arc<dyn RegistrationRepository>,
    /// One-time tokens.
    pub one_time_tokens: Arc<dyn OneTimeTokenRepository>,
    /// Sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// Revocations.
    pub revocations: Arc<dyn RevocationFeed>,
    /// Sign-ins.
    pub sign_ins: Arc<dyn SignInLedger>,
    /// Stored signing keys.
    pub signing_keys: Arc<dyn SigningKeyRepository>,
    /// Kept answers.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Events.
    pub events: Arc<dyn EventStore>,
    /// The same store, as operators see it.
    pub appended: Arc<MeasuredEventStore>,
    /// The sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The log as it is audited.
    pub trail: Arc<dyn AuditTrail>,
    /// Checkpoints, and the removal of what is old.
    pub keeper: Arc<dyn LogKeeper>,
    /// Signs checkpoints.
    pub checkpoints: Arc<dyn CheckpointSigner>,
    /// Cursors.
    pub cursors: Arc<dyn CursorStore>,
    /// Events that groups hold.
    pub held: Arc<dyn HeldEvents>,
    /// Dead letters.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// The mail ledger.
    pub mails: Arc<dyn MailQueue>,
    /// File rows.
    pub files: Arc<dyn FileRepository>,
    /// Schemas of clients' events.
    pub schemas: Arc<dyn SchemaRepository>,
    /// Usage.
    pub usage: Arc<dyn UsageRepository>,
    /// Webhooks.
    pub webhooks: Arc<dyn WebhookRepository>,
    /// Deliveries to them.
    pub webhook_queue: Arc<dyn WebhookQueue>,
    /// What sends them.
    pub webhook_sender: Arc<dyn WebhookSender>,
    /// The database.
    pub database: Arc<dyn Probe>,
    /// Blobs by backend.
    pub stores: BTreeMap<BackendName, Arc<dyn BlobStore>>,
    /// Mail hand-over.
    pub mailer: Arc<dyn Mailer>,
    /// Live events, in.
    pub publisher: Arc<dyn EventPublisher>,
    /// Live events, out.
    pub subscriber: Arc<dyn EventSubscriber>,
    /// The way to Kafka, where it is configured.
    pub relay: Option<Relay>,
    /// Topics of other services, where some are named.
    pub topics: Option<Topics>,
    /// Rate limits.
    pub limiter: Arc<dyn RateLimiter>,
    /// Password hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Sealing.
    pub sealer: Arc<dyn Sealer>,
    /// Refresh tokens.
    pub refresh_tokens: Arc<dyn RefreshTokenCodec>,
    /// Signed links.
    pub links: Arc<dyn LinkSigner>,
    /// The keys of this process.
    pub keyring: Arc<dyn TokenKeyring>,
    /// Access tokens, out.
    pub issuer: Arc<dyn TokenIssuer>,
    /// Access tokens, in.
    pub verifier: Arc<dyn TokenVerifier>,
    /// `iss` of tokens.
    pub issuer_name: String,
    /// `aud` of tokens.
    pub audience: String,
    /// Backends behind a breaker.
    pub guarded: Vec<Guarded>,
    /// The process, as the kernel sees it.
    pub process: Arc<dyn Fn() -> ProcessStats + Send + Sync>,
    /// What adapters need run for them, by name, until the process drains.
    pub tasks: Vec<(&'static str, Task)>,
    /// What each role stands on, for the banner.
    pub adapters: Vec<(&'static str, String)>,
    local_stores: Vec<Arc<LocalBlobStore>>,
    handle: Database,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

impl Ports {
    /// Removes what uploads that died with their process left on local disks. With SQLite this server is the only one that uploads; with PostgreSQL others may be uploading to a shared folder now, so only what nobody wrote to for an hour goes.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub async fn sweep_uploads(&self, shared: bool) -> Result<(), ComposeError> {
        let now = self.toolkit.now();
        let before = if shared { now.minus(SHARED_UPLOAD_AGE) } else { now };
        for store in &self.local_stores {
            let swept = store.sweep(before).await?;
            if swept > 0 {
                tracing::info!(uploads = swept, "what broken uploads left was removed");
            }
        }
        Ok(())
    }

    /// Closes the database, so that what it holds in files is folded together.
    pub async fn close(&self) {
        self.handle.close().await;
    }
}

async fn connect(config: &Config) -> Result<Database, ComposeError> {
    Ok(Database::connect(&options(config)).await?)
}

fn options(config: &Config) -> DatabaseOptions {
    let mut options = DatabaseOptions::new(config.database.url.expose());
    options.max_connections = config.database.max_connections;
    options.acquire_timeout = config.database.acquire_timeout;
    options.idle_timeout = config.database.idle_timeout;
    options.max_lifetime = config.database.max_lifetime;
    options.busy_timeout = config.database.busy_timeout;
    options.synchronous = match config.database.synchronous {
        Synchronous::Full => adapter_sql::Synchronous::Full,
        Synchronous::Normal => adapter_sql::Synchronous::Normal,
    };
    options
}

/// Brings the schema up to date; gives what was applied.
///
/// # Errors
/// When the database or a migration fails.
pub async fn migrate_up(config: &Config) -> Result<Vec<String>, ComposeError> {
    let db = connect(config).await?;
    Ok(migration::migrate(db.writer()).await?)
}

/// Takes back the last migrations.
///
/// # Errors
/// When the database or a migration fails.
pub async fn migrate_down(config: &Config, steps: u32) -> Result<Vec<String>, ComposeError> {
    let db = connect(config).await?;
    Ok(migration::down(db.writer(), steps).await?)
}

/// Which migrations are applied. None in an SQLite file that is not there: asking does not make it.
///
/// # Errors
/// When the database fails.
pub async fn migration_status(config: &Config) -> Result<Status, ComposeError> {
    if let DatabaseEngine::Sqlite(path) = config.database.url.engine()
        && std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Ok(Status::of_nothing());
    }
    let db = connect(config).await?;
    Ok(migration::status(db.writer()).await?)
}

async fn schema(config: &Config, db: &Database) -> Result<(), ComposeError> {
    if config.database.migrate {
        let applied = migration::migrate(db.writer()).await?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.len(), "the schema was brought up to date");
        }
    } else {
        let pending = migration::status(db.writer()).await?.pending.len();
        if pending > 0 {
            return Err(ComposeError::SchemaBehind(pending));
        }
    }
    Ok(migration::check_compatibility(db.writer(), migration::VERSION).await?)
}

/// Puts the adapters together: connects, brings the schema up to date, binds the master key.
///
/// # Errors
/// See [`ComposeError`]; nothing is left running.
pub async fn ports(config: &Config) -> Result<Ports, ComposeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
    let master = master_key::find_or_make(config, &*randomness)?;
    let db = connect(config).await?;
    schema(config, &db).await?;
    let keys = Keys::new(&master);
    let sealer: Arc<dyn Sealer> = Arc::new(MasterSealer::new(&keys, Arc::clone(&randomness)));
    let installations = SqlInstallationRepository::new(&db);
    match installations.bind_master_key(&sealer.fingerprint()).await {
        Ok(()) => {}
        Err(BindMasterKeyError::OtherKey) => return Err(ComposeError::OtherMasterKey),
        Err(BindMasterKeyError::Backend(error)) => return Err(error.into()),
    }
    let installation = installations.get().await?;
    let own_name = installation.urn();
    let issuer_name = config.auth.issuer.clone().unwrap_or_else(|| own_name.clone());
    let audience = config.auth.audience.clone().unwrap_or(own_name);
    let keyring = Arc::new(PasetoKeyring::new(
        Arc::clone(&sealer),
        issuer_name.clone(),
        audience.clone(),
    ));
    let hasher = BcryptPasswordHasher::new(&keys, hashing(config), Arc::clone(&randomness), Arc::clone(&clock))?;
    let mut guarded = Vec::new();
    let (stores, local_stores) = blob_stores(config, &clock, &mut guarded).await?;
    let mailer = mailer(config, &clock, &mut guarded).await?;
    let topics = kafka::topics(config, &installation.urn());
    let relay = kafka::relay(config, &installation.urn(), &clock, &mut guarded)?;
    let bus = Arc::new(LocalEventBus::new());
    let store = Arc::new(SqlEventStore::new(&db));
    let appended = Arc::new(MeasuredEventStore::new(store, Arc::clone(&clock)));
    let ids: Arc<dyn Ids> = Arc::new(SystemIds::new(Arc::clone(&clock), Arc::clone(&randomness)));
    let (wakeups, tasks) = wakeups(&db, &*ids);
    let toolkit = Toolkit {
        ids,
        wakeups,
        clock,
        randomness,
    };
    Ok(Ports {
        toolkit,
        installation,
        users: Arc::new(SqlUserRepository::new(&db)),
        registrations: Arc::new(SqlRegistrationRepository::new(&db)),
        one_time_tokens: Arc::new(SqlOneTimeTokenRepository::new(&db)),
        sessions: Arc::new(SqlSessionRepository::new(&db)),
        revocations: Arc::new(SqlRevocationFeed::new(&db)),
        sign_ins: Arc::new(SqlSignInLedger::new(&db)),
        signing_keys: Arc::new(SqlSigningKeyRepository::new(&db)),
        idempotency: Arc::new(SqlIdempotencyStore::new(&db)),
        events: Arc::clone(&appended) as Arc<dyn EventStore>,
        appended,
        sequencer: Arc::new(SqlLogSequencer::new(&db)),
        log: Arc::new(SqlEventLog::new(&db)),
        trail: Arc::new(SqlAuditTrail::new(&db)),
        keeper: Arc::new(SqlLogKeeper::new(&db)),
        checkpoints: Arc::new(PasetoCheckpointSigner::new(&keys)?),
        cursors: Arc::new(SqlCursorStore::new(&db)),
        held: Arc::new(SqlHeldEvents::new(&db)),
        dead_letters: Arc::new(SqlDeadLetterStore::new(&db)),
        schemas: Arc::new(SqlSchemaRepository::new(&db)),
        mails: Arc::new(SqlMailQueue::new(&db)),
        files: Arc::new(SqlFileRepository::new(&db)),
        usage: Arc::new(SqlUsageRepository::new(&db)),
        webhooks: Arc::new(SqlWebhookRepository::new(&db)),
        webhook_queue: Arc::new(SqlWebhookQueue::new(&db)),
        webhook_sender: webhooks::sender(config)?,
        database: Arc::new(SqlProbe::new(&db)),
        stores,
        mailer,
        publisher: Arc::clone(&bus) as Arc<dyn EventPublisher>,
        subscriber: bus,
        relay,
        topics,
        limiter: Arc::new(LocalRateLimiter::new()),
        hasher: Arc::new(hasher),
        sealer,
        refresh_tokens: Arc::new(HmacRefreshTokenCodec::new(&keys)),
        links: Arc::new(HmacLinkSigner::new(&keys)),
        keyring: Arc::clone(&keyring) as Arc<dyn TokenKeyring>,
        issuer: Arc::clone(&keyring) as Arc<dyn TokenIssuer>,
        verifier: keyring,
        issuer_name,
        audience,
        guarded,
        process: Arc::new(process_stats),
        tasks,
        adapters: roles(config),
        local_stores,
        handle: db,
    })
}

fn hashing(config: &Config) -> HasherConfig {
    HasherConfig {
        cost: config.auth.bcrypt_cost,
        threads: config.auth.hash_threads,
        queue: config.auth.hash_queue,
    }
}

/// The stores by name, and those on local disks by themselves.
type Stores = (BTreeMap<BackendName, Arc<dyn BlobStore>>, Vec<Arc<LocalBlobStore>>);

async fn blob_stores(
    config: &Config,
    clock: &Arc<dyn Clock>,
    guarded_backends: &mut Vec<Guarded>,
) -> Result<Stores, ComposeError> {
    let (mut stores, mut locals) = Stores::default();
    for (name, backend) in &config.files.backends {
        let refused = |reason: String| ComposeError::Setting {
            key: format!("files.backends.{name}"),
            reason,
        };
        let name: BackendName = name
            .parse()
            .map_err(|error: domain::file::ParseBackendNameError| refused(error.to_string()))?;
        let BackendConfig::Local { root } = backend;
        let local = Arc::new(LocalBlobStore::open(root).await?);
        let store = Arc::new(GuardedBlobStore::new(
            Arc::clone(&local) as Arc<dyn BlobStore>,
            "files",
            GuardPolicy::default(),
            Arc::clone(clock),
        ));
        let watched = Arc::clone(&store);
        guarded_backends.push(guarded("files", format!("files {}", name.as_str()), move || {
            (watched.stats(), watched.breaker())
        }));
        locals.push(local);
        stores.insert(name, store as Arc<dyn BlobStore>);
    }
    Ok((stores, locals))
}

async fn eml_mailer(config: &Config) -> Result<EmlMailer, ComposeError> {
    let refused = |reason: String| ComposeError::Setting {
        key: "mail.from_address".to_owned(),
        reason,
    };
    let from = config
        .mail
        .from_address
        .parse()
        .map_err(|error: domain::email::ParseEmailError| refused(error.to_string()))?;
    Ok(EmlMailer::open(&config.mail.outbox_dir, from, &config.mail.from_name).await?)
}

async fn mailer(
    config: &Config,
    clock: &Arc<dyn Clock>,
    guarded_backends: &mut Vec<Guarded>,
) -> Result<Arc<dyn Mailer>, ComposeError> {
    let mailer = Arc::new(GuardedMailer::new(
        Arc::new(eml_mailer(config).await?),
        "mail",
        GuardPolicy::default(),
        Arc::clone(clock),
    ));
    let watched = Arc::clone(&mailer);
    guarded_backends.push(guarded("mail", "mail".to_owned(), move || {
        (watched.stats(), watched.breaker())
    }));
    Ok(mailer)
}

/// Wake-ups within the process and, on PostgreSQL, between the nodes.
fn wakeups(db: &Database, ids: &dyn Ids) -> (Arc<dyn WakeupBus>, Vec<(&'static str, Task)>) {
    let here: Arc<dyn WakeupBus> = Arc::new(LocalWakeupBus::new());
    match PostgresWakeupBus::new(db, Arc::clone(&here), ids.next().to_string()) {
        Some((shared, carried)) => (Arc::new(shared), vec![("wake-ups", Box::pin(carried))]),
        None => (here, Vec::new()),
    }
}

/// What each role stands on.
fn roles(config: &Config) -> Vec<(&'static str, String)> {
    let database = match config.database.url.engine() {
        DatabaseEngine::Sqlite(path) => format!("SQLite, {}", path.display()),
        DatabaseEngine::Postgres => format!("PostgreSQL, {}", config.database.url),
    };
    let backends = config.files.backends.iter().map(|(name, backend)| {
        let BackendConfig::Local { root } = backend;
        let mark = if *name == config.files.default {
            " (default)"
        } else {
            ""
        };
        format!("{name}{mark} on disk, {}", root.display())
    });
    vec![
        ("database", database),
        ("events", events(config)),
        ("files", backends.collect::<Vec<_>>().join("; ")),
        ("mail", format!(".eml files, {}", config.mail.outbox_dir.display())),
    ]
}

fn events(config: &Config) -> String {
    let relayed = config.kafka.as_ref();
    let relayed = relayed.map(|kafka| format!(", to the topic {} of Kafka, {}", kafka.topic, kafka.brokers));
    format!("log in the database, streams in process{}", relayed.unwrap_or_default())
}

fn guarded(
    kind: &'static str,
    name: String,
    read: impl Fn() -> (GuardStats, BreakerState) + Send + Sync + 'static,
) -> Guarded {
    let read = Arc::new(read);
    let (look, label) = (Arc::clone(&read), name.clone());
    let state = move || match look().1 {
        BreakerState::Closed { .. } => BackendState::Closed,
        BreakerState::Open { .. } => BackendState::Open,
        BreakerState::HalfOpen { .. } => BackendState::HalfOpen,
    };
    let figures = move || {
        let (stats, breaker) = read();
        let breaker = match breaker {
            BreakerState::Closed { .. } => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen { .. } => "half_open",
        };
        BackendStatsBody {
            name: label.clone(),
            kind: kind.to_owned(),
            breaker: breaker.to_owned(),
            calls: stats.calls,
            failures: stats.failures,
            refused: stats.refused,
            total_micros: stats.total_micros,
            operations: stats
                .operations
                .into_iter()
                .map(|operation| OperationStatsBody {
                    operation: operation.name.to_owned(),
                    failures: operation.failures,
                    time: operation.time.into(),
                })
                .collect(),
        }
    };
    Guarded {
        name,
        state: Arc::new(state),
        figures: Arc::new(figures),
    }
}

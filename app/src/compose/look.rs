//! The adapters one by one, to be looked at: nothing is made, migrated, bound or locked, and each may fail by itself.

use std::path::PathBuf;
use std::sync::Arc;

use domain::stats::TopicStats;
use migration::Status;
use ports::{
    BlobStore, Clock, EventLog, EventStore, IdempotencyStore, Ids, InstallationRepository, LinkSigner, LogSequencer,
    MailQueue, Mailer, PasswordHasher, Probe, Sealer, SigningKeyRepository, TokenIssuer, TokenKeyring, TokenVerifier,
};

pub use super::master_key::file as master_key_file;
use super::{
    BcryptPasswordHasher, ComposeError, Database, HmacLinkSigner, Keys, LocalBlobStore, LocalWakeupBus, MasterSealer,
    PasetoKeyring, SqlEventLog, SqlEventStore, SqlIdempotencyStore, SqlInstallationRepository, SqlLogSequencer,
    SqlMailQueue, SqlProbe, SqlSigningKeyRepository, SystemClock, SystemIds, SystemRandomness,
};
use crate::config::{BackendConfig, Config, DatabaseEngine, KafkaConfig};
use crate::service::Toolkit;

/// Connections that a look needs: one that writes and one that reads.
const CONNECTIONS: u32 = 2;

/// Time, randomness, ids.
pub fn toolkit() -> Toolkit {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let randomness: Arc<dyn ports::Randomness> = Arc::new(SystemRandomness);
    let ids: Arc<dyn Ids> = Arc::new(SystemIds::new(Arc::clone(&clock), Arc::clone(&randomness)));
    Toolkit {
        ids,
        wakeups: Arc::new(LocalWakeupBus::new()),
        clock,
        randomness,
    }
}

/// The SQLite file when it is not there: connecting would make it.
pub async fn missing_file(config: &Config) -> Option<PathBuf> {
    let DatabaseEngine::Sqlite(path) = config.database.url.engine() else {
        return None;
    };
    let found = tokio::fs::metadata(path).await;
    found
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        .then(|| path.clone())
}

/// A database that answers.
#[derive(Debug)]
pub struct Connection(Database);

/// What stands in a database with a schema.
#[expect(missing_debug_implementations, reason = "ports have none")]
pub struct Tables {
    /// The installation.
    pub installation: Arc<dyn InstallationRepository>,
    /// Stored signing keys.
    pub signing_keys: Arc<dyn SigningKeyRepository>,
    /// Kept answers.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Events.
    pub events: Arc<dyn EventStore>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
    /// The mail ledger.
    pub mails: Arc<dyn MailQueue>,
    /// The database itself.
    pub probe: Arc<dyn Probe>,
}

impl Connection {
    /// Connects, with few connections: the server may have none to spare.
    ///
    /// # Errors
    /// When the database does not let us in.
    pub async fn open(config: &Config) -> Result<Self, ComposeError> {
        let mut options = super::options(config);
        options.max_connections = options.max_connections.min(CONNECTIONS);
        Ok(Self(Database::connect(&options).await?))
    }

    /// Which migrations are applied.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schema(&self) -> Result<Status, ComposeError> {
        Ok(migration::status(self.0.writer()).await?)
    }

    /// Whether the schema serves this version.
    ///
    /// # Errors
    /// When it does not, or the database fails.
    pub async fn compatible(&self) -> Result<(), ComposeError> {
        Ok(migration::check_compatibility(self.0.writer(), migration::VERSION).await?)
    }

    /// The ports on it.
    pub fn tables(&self) -> Tables {
        let db = &self.0;
        Tables {
            installation: Arc::new(SqlInstallationRepository::new(db)),
            signing_keys: Arc::new(SqlSigningKeyRepository::new(db)),
            idempotency: Arc::new(SqlIdempotencyStore::new(db)),
            events: Arc::new(SqlEventStore::new(db)),
            log: Arc::new(SqlEventLog::new(db)),
            sequencer: Arc::new(SqlLogSequencer::new(db)),
            mails: Arc::new(SqlMailQueue::new(db)),
            probe: Arc::new(SqlProbe::new(db)),
        }
    }

    /// Closes it.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// What derives from the master key.
#[expect(missing_debug_implementations, reason = "it holds keys")]
pub struct Derived {
    /// Sealing.
    pub sealer: Arc<dyn Sealer>,
    /// Signed links.
    pub links: Arc<dyn LinkSigner>,
    /// Password hashing at the configured cost.
    pub hasher: Arc<dyn PasswordHasher>,
}

/// What derives from the master key; none when there is no key yet.
///
/// # Errors
/// When the key cannot be read.
pub fn derived(config: &Config, toolkit: &Toolkit) -> Result<Option<Derived>, ComposeError> {
    let Some(master) = super::master_key::find(config)? else {
        return Ok(None);
    };
    let keys = Keys::new(&master);
    let (randomness, clock) = (Arc::clone(&toolkit.randomness), Arc::clone(&toolkit.clock));
    let hasher = BcryptPasswordHasher::new(&keys, super::hashing(config), Arc::clone(&randomness), clock)?;
    Ok(Some(Derived {
        sealer: Arc::new(MasterSealer::new(&keys, randomness)),
        links: Arc::new(HmacLinkSigner::new(&keys)),
        hasher: Arc::new(hasher),
    }))
}

/// A keyring without keys: what loads, signs and verifies.
pub type Keyring = (Arc<dyn TokenKeyring>, Arc<dyn TokenIssuer>, Arc<dyn TokenVerifier>);

/// A keyring whose tokens name this issuer, who is their audience too.
pub fn keyring(sealer: &Arc<dyn Sealer>, issuer: &str) -> Keyring {
    let ring = Arc::new(PasetoKeyring::new(Arc::clone(sealer), issuer, issuer));
    (
        Arc::clone(&ring) as Arc<dyn TokenKeyring>,
        Arc::clone(&ring) as Arc<dyn TokenIssuer>,
        ring,
    )
}

/// The folder that a file backend needs on this machine; none for one that is elsewhere.
pub fn blob_folder(backend: &BackendConfig) -> Option<&PathBuf> {
    let BackendConfig::Local { root } = backend;
    Some(root)
}

/// One file backend, bare: a breaker would hide what it says.
///
/// # Errors
/// When it cannot be used.
pub async fn blob_store(backend: &BackendConfig) -> Result<Arc<dyn BlobStore>, ComposeError> {
    let BackendConfig::Local { root } = backend;
    Ok(Arc::new(LocalBlobStore::open(root).await?))
}

/// A topic as its cluster describes it: none when it is not there.
///
/// # Errors
/// When the cluster cannot be asked.
pub async fn topic(kafka: &KafkaConfig, name: &str) -> Result<Option<TopicStats>, ComposeError> {
    Ok(super::kafka::open(kafka, "urn:plinth:doctor", name)?.topic().await?)
}

/// The folder that mail is written to; none when it leaves for a server.
pub fn mail_folder(config: &Config) -> Option<&PathBuf> {
    Some(&config.mail.outbox_dir)
}

/// The mailer.
///
/// # Errors
/// When it cannot be used.
pub async fn mailer(config: &Config) -> Result<Arc<dyn Mailer>, ComposeError> {
    super::eml_mailer(config)
        .await
        .map(|mailer| Arc::new(mailer) as Arc<dyn Mailer>)
}

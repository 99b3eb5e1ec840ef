//! Services and tasks: what a process is made of once the ports have their adapters.

mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::email::EmailAddress;
use domain::file::BackendName;
use domain::password::{Password, PasswordPolicy};
use domain::session::SessionPolicy;
use domain::tier::{Tier, TierLimits, TierName, Tiers};
use ports::{BackendError, EffectsError};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::compose::{ComposeError, Ports, Task};
use crate::config::{Config, PublicUrl, Registration, TierConfig};
use crate::lifecycle::{Lifecycle, Shutdown};
use crate::service::accounts::{AccountParts, Accounts};
use crate::service::admin::{AdminParts, Administration};
use crate::service::audit::{Audit, AuditParts};
use crate::service::dead_letters::DeadLetters;
use crate::service::events::{Events, EventsParts};
use crate::service::files::{Backends, Files};
use crate::service::gate::Gate;
use crate::service::keys::{self, Keys};
use crate::service::mail::{MailParts, Mails, Templates};
use crate::service::schemas::{self, SchemaParts, Schemas};
use crate::service::sessions::{SessionParts, Sessions, TokenPolicy};
use crate::service::stream_tickets::{StreamTickets, TicketParts};
use crate::service::throttle::{Throttle, ThrottleParts};
use crate::service::webhooks::{WebhookParts, Webhooks};
use crate::worker::file_sweeper::FileSweeper;
use crate::worker::pruner::{Pruner, PrunerParts};
use crate::worker::tailer::Tailer;
use crate::worker::{WorkCounters, Worker, drive};

pub use self::work::{Workers, work};

/// How often the revocation feed is looked at.
const POLL_REVOCATIONS: Duration = Duration::from_millis(250);

/// How often the broker is looked after.
const LOOK_AFTER_BROKER: Duration = Duration::from_secs(5);

/// The services of a process.
#[derive(Debug)]
pub struct Services {
    /// The plans.
    pub tiers: Arc<Tiers>,
    /// Revocations and tokens.
    pub gate: Arc<Gate>,
    /// Guessing and floods.
    pub throttle: Arc<Throttle>,
    /// Accounts.
    pub accounts: Arc<Accounts>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Files.
    pub files: Arc<Files>,
    /// Events.
    pub events: Arc<Events>,
    /// Addresses that open a live stream once.
    pub tickets: Arc<StreamTickets>,
    /// Mail.
    pub mails: Arc<Mails>,
    /// Webhooks.
    pub webhooks: Arc<Webhooks>,
    /// Administration.
    pub admin: Arc<Administration>,
    /// Signing keys.
    pub keys: Arc<Keys>,
    /// Dead letters.
    pub dead_letters: Arc<DeadLetters>,
    /// The audit of the log.
    pub audit: Arc<Audit>,
    /// Schemas of events.
    pub schemas: Arc<Schemas>,
}

impl Services {
    /// Makes the services over the ports.
    ///
    /// # Errors
    /// When a configured value breaks a rule of the domain.
    pub fn new(ports: &Ports, config: &Config, public_url: &PublicUrl) -> Result<Self, ComposeError> {
        let toolkit = &ports.toolkit;
        let tiers = Arc::new(tiers(config)?);
        let policy = TokenPolicy {
            access_ttl: config.auth.access_token_ttl,
            issuer: ports.issuer_name.clone(),
            audience: ports.audience.clone(),
            session: session_policy(config),
        };
        let gate = Arc::new(Gate::new(
            Arc::clone(&ports.verifier),
            Arc::clone(&ports.revocations),
            Arc::clone(&toolkit.clock),
            config.auth.revocation_max_age,
        ));
        let throttle = Arc::new(Throttle::new(ThrottleParts {
            limiter: Arc::clone(&ports.limiter),
            ledger: Arc::clone(&ports.sign_ins),
            sealer: Arc::clone(&ports.sealer),
            clock: Arc::clone(&toolkit.clock),
            tiers: Arc::clone(&tiers),
            enabled: config.limits_enabled,
        }));
        let password_policy = PasswordPolicy {
            min_code_points: config.auth.password_min_length,
        };
        let accounts = Accounts::new(AccountParts {
            toolkit: toolkit.clone(),
            users: Arc::clone(&ports.users),
            registrations: Arc::clone(&ports.registrations),
            tokens: Arc::clone(&ports.one_time_tokens),
            hasher: Arc::clone(&ports.hasher),
            sealer: Arc::clone(&ports.sealer),
            gate: Arc::clone(&gate),
            throttle: Arc::clone(&throttle),
            password_policy,
            token_policy: policy.clone(),
            registration_open: config.auth.registration == Registration::Open,
            locale: config.mail.locale.clone(),
            verify_life: config.mail.verify_ttl,
            reset_life: config.mail.reset_ttl,
        });
        let sessions = Sessions::new(SessionParts {
            toolkit: toolkit.clone(),
            users: Arc::clone(&ports.users),
            registrations: Arc::clone(&ports.registrations),
            sessions: Arc::clone(&ports.sessions),
            hasher: Arc::clone(&ports.hasher),
            issuer: Arc::clone(&ports.issuer),
            refresh_tokens: Arc::clone(&ports.refresh_tokens),
            gate: Arc::clone(&gate),
            throttle: Arc::clone(&throttle),
            policy: policy.clone(),
        });
        let admin = Administration::new(AdminParts {
            toolkit: toolkit.clone(),
            users: Arc::clone(&ports.users),
            tokens: Arc::clone(&ports.one_time_tokens),
            hasher: Arc::clone(&ports.hasher),
            gate: Arc::clone(&gate),
            throttle: Arc::clone(&throttle),
            password_policy,
            token_policy: policy,
            tiers: Arc::clone(&tiers),
        });
        let keys = Keys::new(
            toolkit.clone(),
            Arc::clone(&ports.signing_keys),
            Arc::clone(&ports.keyring),
            config.auth.access_token_ttl + Duration::from_secs(60),
        );
        let schemas = Arc::new(schemas(ports, config));
        Ok(Self {
            files: Arc::new(files(ports, config, public_url, &tiers)?),
            events: Arc::new(events(ports, config, &tiers, &schemas)),
            schemas,
            tickets: Arc::new(StreamTickets::new(TicketParts {
                toolkit: toolkit.clone(),
                issuer: Arc::clone(&ports.issuer),
                gate: Arc::clone(&gate),
                sealer: Arc::clone(&ports.sealer),
                used: Arc::clone(&ports.idempotency),
                public_url: public_url.clone(),
            })),
            mails: Arc::new(mails(ports, config, public_url)?),
            webhooks: Arc::new(webhooks(ports, config)),
            accounts: Arc::new(accounts),
            sessions: Arc::new(sessions),
            admin: Arc::new(admin),
            keys: Arc::new(keys),
            dead_letters: Arc::new(DeadLetters::new(
                toolkit.clone(),
                Arc::clone(&ports.dead_letters),
                ports.installation.urn(),
            )),
            audit: Arc::new(audit(ports, config)),
            tiers,
            gate,
            throttle,
        })
    }

    /// What must be done before the first request: the signing keys, the revocations, the administrator that the environment names.
    ///
    /// # Errors
    /// When the backend fails or the administrator is refused.
    pub async fn start(&self, config: &Config) -> Result<(), ComposeError> {
        self.keys.start().await.map_err(|error| match error {
            EffectsError::Backend(error) => error,
            other @ (EffectsError::AlreadyHandled | EffectsError::EventIdTaken(_)) => {
                BackendError::permanent("keys", "start", other)
            }
        })?;
        self.gate.refresh().await?;
        self.schemas.refresh().await?;
        if let Some(admin) = &config.admin {
            let refused = |reason: String| ComposeError::Setting {
                key: "admin".to_owned(),
                reason,
            };
            let email: EmailAddress = admin
                .email
                .parse()
                .map_err(|error: domain::email::ParseEmailError| refused(error.to_string()))?;
            let password = Password::parse(admin.password.expose()).map_err(|error| refused(error.to_string()))?;
            if self
                .admin
                .ensure_admin(email, password)
                .await
                .map_err(|error| refused(error.to_string()))?
            {
                tracing::info!("the administrator that the configuration names was made");
            }
        }
        Ok(())
    }
}

fn session_policy(config: &Config) -> SessionPolicy {
    SessionPolicy {
        idle: config.auth.session_idle_ttl,
        absolute: config.auth.session_ttl,
        grace: config.auth.refresh_grace,
    }
}

fn tiers(config: &Config) -> Result<Tiers, ComposeError> {
    let tier = |(name, tier): (&String, &TierConfig)| {
        let refused = |reason: String| ComposeError::Setting {
            key: format!("tiers.{name}"),
            reason,
        };
        let name: TierName = name
            .parse()
            .map_err(|error: domain::tier::ParseTierNameError| refused(error.to_string()))?;
        let limits = TierLimits {
            max_file_bytes: tier.max_file_bytes,
            storage_bytes: tier.storage_bytes,
            requests_per_minute: tier.requests_per_minute,
            events_per_minute: tier.events_per_minute,
        };
        Ok(Tier {
            name,
            features: tier.features.iter().cloned().collect::<BTreeSet<_>>(),
            limits,
        })
    };
    let tiers: Vec<Tier> = config.tiers.iter().map(tier).collect::<Result<_, ComposeError>>()?;
    Tiers::new(tiers).map_err(|error| ComposeError::Setting {
        key: "tiers".to_owned(),
        reason: error.to_string(),
    })
}

fn files(ports: &Ports, config: &Config, public_url: &PublicUrl, tiers: &Arc<Tiers>) -> Result<Files, ComposeError> {
    let refused = |key: &str, reason: String| ComposeError::Setting {
        key: key.to_owned(),
        reason,
    };
    let default: BackendName = config
        .files
        .default
        .parse()
        .map_err(|error: domain::file::ParseBackendNameError| refused("files.default", error.to_string()))?;
    let url = Url::parse(public_url.as_str()).map_err(|error| refused("public_url", error.to_string()))?;
    let backends = Backends {
        default,
        stores: ports.stores.clone(),
    };
    Ok(Files::new(
        ports.toolkit.clone(),
        Arc::clone(&ports.files),
        backends,
        Arc::clone(&ports.links),
        Arc::clone(tiers),
        url,
    ))
}

fn schemas(ports: &Ports, config: &Config) -> Schemas {
    Schemas::new(SchemaParts {
        toolkit: ports.toolkit.clone(),
        repository: Arc::clone(&ports.schemas),
        client_prefix: config.events.client_prefix.clone(),
        require: config.events.require_schema,
    })
}

fn events(ports: &Ports, config: &Config, tiers: &Arc<Tiers>, schemas: &Arc<Schemas>) -> Events {
    Events::new(EventsParts {
        toolkit: ports.toolkit.clone(),
        store: Arc::clone(&ports.events),
        log: Arc::clone(&ports.log),
        subscriber: Arc::clone(&ports.subscriber),
        limiter: Arc::clone(&ports.limiter),
        tiers: Arc::clone(tiers),
        limits_enabled: config.limits_enabled,
        client_prefix: config.events.client_prefix.clone(),
        schemas: Arc::clone(schemas),
        source: ports.installation.urn(),
        streams_per_user: u32::try_from(config.events.streams_per_user).unwrap_or(u32::MAX),
        heartbeat: config.events.stream_heartbeat,
    })
}

fn audit(ports: &Ports, config: &Config) -> Audit {
    Audit::new(AuditParts {
        toolkit: ports.toolkit.clone(),
        trail: Arc::clone(&ports.trail),
        keeper: Arc::clone(&ports.keeper),
        signer: Arc::clone(&ports.checkpoints),
        installation: ports.installation.id,
        retention: config.events.retention,
    })
}

fn mails(ports: &Ports, config: &Config, public_url: &PublicUrl) -> Result<Mails, ComposeError> {
    let folder = config.mail.templates_dir.as_deref();
    let templates = Templates::load(folder, &config.mail.from_name).map_err(|faults| ComposeError::Setting {
        key: "mail.templates_dir".to_owned(),
        reason: faults.to_string(),
    })?;
    Ok(Mails::new(MailParts {
        queue: Arc::clone(&ports.mails),
        sealer: Arc::clone(&ports.sealer),
        clock: Arc::clone(&ports.toolkit.clock),
        templates,
        public_url: public_url.clone(),
        verify_life: config.mail.verify_ttl,
        reset_life: config.mail.reset_ttl,
    }))
}

fn webhooks(ports: &Ports, config: &Config) -> Webhooks {
    Webhooks::new(WebhookParts {
        toolkit: ports.toolkit.clone(),
        webhooks: Arc::clone(&ports.webhooks),
        queue: Arc::clone(&ports.webhook_queue),
        sender: Arc::clone(&ports.webhook_sender),
        sealer: Arc::clone(&ports.sealer),
        source: ports.installation.urn(),
        most: config.webhooks.per_user,
    })
}

/// Runs what every process of an installation needs: the revocation poller and the keeper of the keys. `answered` ends when the last request of a draining process was answered: until then revocations are followed.
pub fn keep(services: &Services, lifecycle: &Lifecycle, answered: CancellationToken) {
    let gate = Arc::clone(&services.gate);
    lifecycle.spawn_essential("revocations", async move { poll_revocations(&gate, &answered).await });
    let (schemas, shutdown) = (Arc::clone(&services.schemas), lifecycle.shutdown());
    lifecycle.spawn_essential("schemas", async move { follow_schemas(&schemas, &shutdown).await });
    let (kept, shutdown) = (Arc::clone(&services.keys), lifecycle.shutdown());
    lifecycle.spawn_essential("keys", async move {
        while pause(keys::LOOK, &shutdown).await {
            if let Err(error) = kept.step().await {
                tracing::warn!(%error, "signing keys cannot be looked at");
            }
        }
    });
}

/// Takes over what other nodes registered.
async fn follow_schemas(schemas: &Schemas, shutdown: &Shutdown) {
    let mut failing = false;
    while pause(schemas::LOOK, shutdown).await {
        match schemas.refresh().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(%error, "the schemas of events cannot be looked at");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Runs what adapters need run for them, until the process drains.
pub fn carry(ports: &mut Ports, lifecycle: &Lifecycle) {
    for (name, task) in ports.tasks.drain(..) {
        carry_one(name, task, lifecycle);
    }
}

fn carry_one(name: &'static str, task: Task, lifecycle: &Lifecycle) {
    let shutdown = lifecycle.shutdown();
    lifecycle.spawn(name, async move {
        tokio::select! {
            () = task => {}
            () = shutdown.draining() => {}
        }
    });
}

/// Looks after the broker now and then, where there is one, so that its absence shows before the first event has to wait.
pub fn watch(ports: &Ports, lifecycle: &Lifecycle) {
    let Some(relay) = &ports.relay else { return };
    let (probe, shutdown) = (Arc::clone(&relay.probe), lifecycle.shutdown());
    lifecycle.spawn("broker", async move {
        let mut well = true;
        loop {
            let looked = probe.check().await;
            match &looked {
                Ok(()) if !well => tracing::info!(backend = probe.name(), "the broker is there again"),
                Err(error) if well => {
                    tracing::warn!(backend = probe.name(), %error, cause = %error.source, "the broker is away");
                }
                Ok(()) | Err(_) => {}
            }
            well = looked.is_ok();
            if !pause(LOOK_AFTER_BROKER, &shutdown).await {
                return;
            }
        }
    });
}

async fn poll_revocations(gate: &Gate, answered: &CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = answered.cancelled() => return,
            () = tokio::time::sleep(POLL_REVOCATIONS) => {}
        }
        match gate.poll().await {
            Ok(()) if failing => {
                tracing::info!("the revocation feed can be read again");
                failing = false;
            }
            Err(error) if !failing => {
                tracing::warn!(%error, "the revocation feed cannot be read");
                failing = true;
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Waits; gives false when the process drains.
async fn pause(time: Duration, shutdown: &Shutdown) -> bool {
    tokio::select! {
        () = shutdown.draining() => false,
        () = tokio::time::sleep(time) => true,
    }
}

/// Removes what is over.
pub fn prune(ports: &Ports, config: &Config, lifecycle: &Lifecycle) {
    let pruner = Pruner::new(PrunerParts {
        tokens: Arc::clone(&ports.one_time_tokens),
        registrations: Arc::clone(&ports.registrations),
        sessions: Arc::clone(&ports.sessions),
        revocations: Arc::clone(&ports.revocations),
        answers: Arc::clone(&ports.idempotency),
        sign_ins: Arc::clone(&ports.sign_ins),
        cursors: Arc::clone(&ports.cursors),
        deliveries: Arc::clone(&ports.webhook_queue),
        clock: Arc::clone(&ports.toolkit.clock),
        policy: session_policy(config),
        keep_deliveries: config.webhooks.keep,
    });
    lifecycle.spawn("prune", pruner.run(lifecycle.shutdown()));
}

/// Follows the log for the live streams of this process; gives what is counted on the way. To be done before the first stream is served.
///
/// # Errors
/// When the log cannot be read.
pub async fn follow(
    ports: &Ports,
    services: &Services,
    lifecycle: &Lifecycle,
) -> Result<Arc<WorkCounters>, ComposeError> {
    let tailer = Tailer::begin(
        Arc::clone(&ports.log),
        Arc::clone(&ports.publisher),
        ports.toolkit.clone(),
    )
    .await?;
    let counters = tailer.counters();
    drive_one("tailer", tailer, ports, lifecycle);
    let (sweeper, shutdown) = (FileSweeper::new(Arc::clone(&services.files)), lifecycle.shutdown());
    lifecycle.spawn("file sweeper", sweeper.run(shutdown));
    Ok(counters)
}

fn drive_one(name: &'static str, worker: impl Worker + 'static, ports: &Ports, lifecycle: &Lifecycle) {
    let (toolkit, shutdown) = (ports.toolkit.clone(), lifecycle.shutdown());
    lifecycle.spawn_essential(name, async move { drive(worker, &toolkit, &shutdown).await });
}

//! The workers of a process: the sequencer, the handler groups, what sends mail and webhooks, and the keeping of the log.

use std::sync::Arc;
use std::time::Duration;

use domain::histogram::Snapshot;
use domain::stats::PartitionStats;
use openapi::{PartitionStatsBody, SubscriptionStatsBody, WorkerStatsBody};
use ports::{Beginning, TopicSubscriber};

use super::{Services, carry_one, drive_one, prune};
use crate::compose::{ComposeError, Ports, Topics};
use crate::config::{Config, PublicUrl, is_loopback};
use crate::lifecycle::Lifecycle;
use crate::service::mail::Mails;
use crate::worker::WorkCounters;
use crate::worker::handlers::{EventHandler, HandlerWorker, Stores, TopicWorker};
use crate::worker::log_keeper::{LogKeeperWorker, LogPolicy};
use crate::worker::mail_sender::{MailSender, SenderParts, SenderSettings};
use crate::worker::relay::RelayHandler;
use crate::worker::sequencer::SequencerWorker;
use crate::worker::usage_handler::UsageHandler;
use crate::worker::webhook_handler::WebhookHandler;
use crate::worker::webhook_sender::{DeliverySettings, DeliveryWorker};
use crate::worker::welcome_handler::{self, WelcomeHandler};

/// How long a delivery is held beyond the longest attempt, for recording what became of it. What a killed process had in hand goes on elsewhere after both.
const BEYOND_ATTEMPT: Duration = Duration::from_secs(10);

/// What the workers of this process count.
pub struct Workers {
    sequencer: Arc<WorkCounters>,
    /// By group.
    handlers: Vec<(String, Arc<WorkCounters>)>,
    /// What handlers are fed from topics, by group.
    subscriptions: Vec<(String, Arc<dyn TopicSubscriber>, Arc<WorkCounters>)>,
    mails: Arc<Mails>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

impl Workers {
    /// From the time of an event until the group's handler of this process was done with it.
    pub fn delays_of(&self, group: &str) -> Option<Snapshot> {
        let handler = self.handlers.iter().find(|(name, _)| name == group);
        handler.map(|(_, counters)| counters.delays())
    }

    fn counters(&self) -> impl Iterator<Item = &WorkCounters> {
        let followers = self.handlers.iter().map(|(_, counters)| counters);
        let fed = self.subscriptions.iter().map(|(_, _, counters)| counters);
        followers.chain(fed).map(|counters| &**counters)
    }

    /// What is read from topics.
    pub fn subscriptions(&self) -> Vec<SubscriptionStatsBody> {
        let body = |(group, subscriber, counters): &(String, Arc<dyn TopicSubscriber>, Arc<WorkCounters>)| {
            let stats = subscriber.stats();
            SubscriptionStatsBody {
                group: group.clone(),
                handled: counters.done(),
                failures: counters.failures(),
                waiting: stats.waiting,
                paused: stats.paused,
                away: stats.away,
                partitions: stats.partitions.into_iter().map(partition).collect(),
            }
        };
        self.subscriptions.iter().map(body).collect()
    }

    /// The figures.
    pub fn read(&self) -> WorkerStatsBody {
        let mails = self.mails.counts();
        WorkerStatsBody {
            sequenced: self.sequencer.done(),
            handled: self.counters().map(|counters| counters.done()).sum(),
            handler_failures: self.counters().map(|counters| counters.failures()).sum(),
            mails_sent: mails.sent,
            mail_failures: mails.retried + mails.dead,
        }
    }
}

/// Starts the workers: the sequencer, the handler groups, the mail sender, and the removal of what is over.
///
/// # Errors
/// When the groups cannot be begun.
pub async fn work(
    ports: &Ports,
    services: &Services,
    config: &Config,
    lifecycle: &Lifecycle,
) -> Result<Workers, ComposeError> {
    let owner = ports.toolkit.id().to_string();
    // Before anything is given a position here: who registers first on a new installation is greeted, and on one that
    // was there before this group nobody who registered long ago.
    ports.cursors.begin(welcome_handler::GROUP, Beginning::Heads).await?;
    let sequencer = SequencerWorker::new(Arc::clone(&ports.sequencer), ports.toolkit.clone(), owner.clone());
    let usage = usage(ports, config);
    let handlers: Vec<(&'static str, HandlerWorker)> = handlers(ports, services, config, &usage)
        .into_iter()
        .map(|handler| {
            let (group, stores) = (handler.group(), stores(ports));
            let worker = HandlerWorker::new(handler, stores, ports.toolkit.clone(), owner.clone());
            (group, worker)
        })
        .collect();
    let subscriptions = match &ports.topics {
        Some(topics) => vec![feed(&usage, topics, ports, lifecycle)?],
        None => Vec::new(),
    };
    let workers = Workers {
        sequencer: sequencer.counters(),
        handlers: handlers
            .iter()
            .map(|(group, worker)| ((*group).to_owned(), worker.counters()))
            .collect(),
        subscriptions,
        mails: Arc::clone(&services.mails),
    };
    drive_one("sequencer", sequencer, ports, lifecycle);
    for (group, worker) in handlers {
        drive_one(group, worker, ports, lifecycle);
    }
    let (deliveries, shutdown) = (delivery_worker(services, config, owner.clone()), lifecycle.shutdown());
    lifecycle.spawn_essential("webhook sender", deliveries.run(shutdown));
    let sender = mail_sender(ports, services, config, owner);
    let shutdown = lifecycle.shutdown();
    lifecycle.spawn_essential("mail sender", sender.run(shutdown));
    prune(ports, config, lifecycle);
    keep_log(ports, services, config, lifecycle);
    Ok(workers)
}

fn partition(stats: PartitionStats) -> PartitionStatsBody {
    PartitionStatsBody {
        topic: stats.topic,
        partition: stats.partition,
        lag: stats.lag,
    }
}

/// The usage projection: it follows the log, and the topics of other services where some are named.
fn usage(ports: &Ports, config: &Config) -> Arc<dyn EventHandler> {
    Arc::new(UsageHandler::new(
        Arc::clone(&ports.usage),
        Arc::clone(&ports.toolkit.clock),
        config.events.client_prefix.clone(),
    ))
}

/// Attaches a handler to the topics of other services.
fn feed(
    handler: &Arc<dyn EventHandler>,
    topics: &Topics,
    ports: &Ports,
    lifecycle: &Lifecycle,
) -> Result<(String, Arc<dyn TopicSubscriber>, Arc<WorkCounters>), ComposeError> {
    let group = handler.group();
    let (subscriber, driver) = topics.join(group)?;
    carry_one("topics", driver, lifecycle);
    let worker = TopicWorker::new(
        Arc::clone(handler),
        Arc::clone(&subscriber),
        Arc::clone(&ports.held),
        ports.toolkit.clone(),
        ports.installation.urn(),
    );
    let counters = worker.counters();
    drive_one("topic handler", worker, ports, lifecycle);
    Ok((group.to_owned(), subscriber, counters))
}

/// The handler groups of every installation.
fn handlers(
    ports: &Ports,
    services: &Services,
    config: &Config,
    usage: &Arc<dyn EventHandler>,
) -> Vec<Arc<dyn EventHandler>> {
    let welcome = WelcomeHandler::new(
        Arc::clone(&ports.users),
        Arc::clone(&ports.events),
        ports.toolkit.clone(),
        config.mail.locale.clone(),
        config.mail.welcome,
    );
    let webhooks = WebhookHandler::new(Arc::clone(&services.webhooks));
    let mut handlers: Vec<Arc<dyn EventHandler>> = vec![Arc::clone(usage), Arc::new(welcome), Arc::new(webhooks)];
    if let Some(relay) = &ports.relay {
        handlers.push(Arc::new(RelayHandler::new(Arc::clone(&relay.publisher))));
    }
    handlers
}

fn stores(ports: &Ports) -> Stores {
    Stores {
        log: Arc::clone(&ports.log),
        cursors: Arc::clone(&ports.cursors),
        holding: Arc::clone(&ports.held),
    }
}

fn keep_log(ports: &Ports, services: &Services, config: &Config, lifecycle: &Lifecycle) {
    let policy = LogPolicy {
        checkpoint_interval: config.events.checkpoint_interval,
        retention: config.events.retention,
        payload_retention: config.events.payload_retention,
    };
    let (audit, trail, keeper) = (
        Arc::clone(&services.audit),
        Arc::clone(&ports.trail),
        Arc::clone(&ports.keeper),
    );
    let keeper = LogKeeperWorker::new(ports.toolkit.clone(), audit, trail, keeper, policy);
    lifecycle.spawn("log keeper", keeper.run(lifecycle.shutdown()));
}

fn delivery_worker(services: &Services, config: &Config, owner: String) -> DeliveryWorker {
    let settings = DeliverySettings {
        owner,
        concurrency: config.webhooks.concurrency,
        per_host: config.webhooks.per_host,
        lease: config.webhooks.timeout + BEYOND_ATTEMPT,
        disable_after: config.webhooks.disable_after,
    };
    DeliveryWorker::new(Arc::clone(&services.webhooks), settings)
}

fn mail_sender(ports: &Ports, services: &Services, config: &Config, owner: String) -> MailSender {
    let parts = SenderParts {
        toolkit: ports.toolkit.clone(),
        queue: Arc::clone(&ports.mails),
        mailer: Arc::clone(&ports.mailer),
        mails: Arc::clone(&services.mails),
    };
    let settings = SenderSettings {
        owner,
        concurrency: config.workers.mail_concurrency,
        lease: config.workers.mail_lease,
        // Mail is files in the data folder, and only this machine can reach the links.
        show_links: is_loopback(config.http.bind) && config.public_url.as_ref().is_none_or(PublicUrl::is_loopback),
    };
    MailSender::new(parts, settings)
}

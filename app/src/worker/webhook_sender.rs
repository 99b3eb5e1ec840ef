//! The sender of webhooks: claims due deliveries, sends them, records what became of them.
//!
//! So many are under way at once in all, and so many at one host: one that answers slowly, or never, fills its own places
//! and no other's. What is claimed beyond them is given back at once, and its host is left out until it has room again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use std::sync::Arc;

use domain::event::OwnEvent;
use domain::id::DeliveryId;
use domain::time::Timestamp;
use domain::webhook::{DeliveryFault, DisableReason, retry_delay};
use futures_util::{StreamExt, stream};
use ports::{
    BackendError, ClaimedDelivery, DeliveryOutcome, DeliveryVerdict, Disabling, Effects, EffectsError, Settled, Wakeup,
};
use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::lifecycle::Shutdown;
use crate::service::Origin;
use crate::service::webhooks::Webhooks;

/// The longest wait without a signal: another process may have made the delivery.
const LONGEST_POLL: Duration = Duration::from_millis(500);
/// The wait after the database failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The wait before an outcome is recorded again.
const BEFORE_RECORDING_AGAIN: Duration = Duration::from_millis(100);
/// How many failures without a success there must be, besides the time, for a webhook to be disabled.
const FAILURES: u32 = 10;

/// How the sender works.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// Who holds the leases; no two senders may share a name.
    pub owner: String,
    /// How many attempts are under way at once, at least 1.
    pub concurrency: usize,
    /// How many of them at one host, at least 1.
    pub per_host: usize,
    /// How long a claim is held: well beyond the longest attempt.
    pub lease: Duration,
    /// How long nothing must have reached a webhook for it to be disabled.
    pub disable_after: Duration,
}

/// Sends deliveries. Many senders may work on one database.
///
/// A delivery is sent twice only when a process dies or loses its lease between the answer and its record, or the answer
/// does not come; both then have the same `webhook-id`.
#[derive(Debug)]
pub struct DeliveryWorker {
    webhooks: Arc<Webhooks>,
    settings: DeliverySettings,
    rooms: Rooms,
}

/// The places that are taken, in all and by host.
#[derive(Debug, Default)]
struct Rooms {
    taken: Mutex<BTreeMap<String, usize>>,
    freed: Notify,
}

impl Rooms {
    /// How many places are left, and which hosts have none.
    fn left(&self, settings: &DeliverySettings) -> (usize, Vec<String>) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let busy = taken.iter().filter(|(_, taken)| **taken >= settings.per_host);
        (
            settings.concurrency.saturating_sub(all),
            busy.map(|(host, _)| host.clone()).collect(),
        )
    }

    /// Takes a place at the host, if it has one left.
    fn take(&self, host: &str, settings: &DeliverySettings) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let at_host = taken.get(host).copied().unwrap_or_default();
        if at_host >= settings.per_host {
            return false;
        }
        taken.insert(host.to_owned(), at_host + 1);
        true
    }

    fn give_back(&self, host: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(host)),
        }
        self.freed.notify_one();
    }
}

impl DeliveryWorker {
    /// A sender over the service.
    pub fn new(webhooks: Arc<Webhooks>, settings: DeliverySettings) -> Self {
        Self {
            webhooks,
            settings: DeliverySettings {
                concurrency: settings.concurrency.max(1),
                per_host: settings.per_host.max(1),
                ..settings
            },
            rooms: Rooms::default(),
        }
    }

    /// Works until draining begins, and finishes what is under way.
    pub async fn run(self, shutdown: Shutdown) {
        let (given, taken) = unbounded_channel();
        tokio::join!(self.claim_on(given, &shutdown), self.send_on(taken));
    }

    /// Claims and hands on, no more than there are places.
    async fn claim_on(&self, given: UnboundedSender<ClaimedDelivery>, shutdown: &Shutdown) {
        let mut failing = false;
        while !shutdown.is_draining() {
            let wait = match self.claim().await {
                Ok(claimed) => {
                    failing = false;
                    let none = claimed.is_empty();
                    for claimed in claimed {
                        // The other end lives as long as this one.
                        let _ = given.send(claimed);
                    }
                    if !none {
                        continue;
                    }
                    LONGEST_POLL
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, cause = %error.source, "the deliveries to webhooks cannot be read, trying again");
                    }
                    failing = true;
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = shutdown.draining() => {}
                () = self.idle(wait) => {}
            }
        }
    }

    /// Waits for something due, or for a place.
    async fn idle(&self, wait: Duration) {
        let wakeups = &self.webhooks.p.toolkit.wakeups;
        let (left, busy) = self.rooms.left(&self.settings);
        let freed = async {
            if left == 0 || !busy.is_empty() {
                self.rooms.freed.notified().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let woken = async {
            if left > 0 {
                wakeups.wait(&self.settings.owner, Wakeup::Webhook, wait).await;
            } else {
                sleep(wait).await;
            }
        };
        tokio::select! {
            () = freed => {}
            () = woken => {}
        }
    }

    /// Claims what is due and has a place, and takes its place.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self) -> Result<Vec<ClaimedDelivery>, BackendError> {
        let (left, busy) = self.rooms.left(&self.settings);
        let Some(limit) = u32::try_from(left).ok().filter(|left| *left > 0) else {
            return Ok(Vec::new());
        };
        let (queue, settings) = (&self.webhooks.p.queue, &self.settings);
        let now = self.webhooks.p.toolkit.now();
        let claimed = queue.claim(&settings.owner, now, settings.lease, limit, &busy).await?;
        let (claimed, surplus): (Vec<_>, Vec<_>) = claimed
            .into_iter()
            .partition(|claimed| self.rooms.take(&claimed.host, settings));
        let surplus: Vec<DeliveryId> = surplus.iter().map(|claimed| claimed.delivery.id).collect();
        if !surplus.is_empty()
            && let Err(error) = queue.release(&settings.owner, &surplus).await
        {
            // They are due again when their lease is over.
            tracing::warn!(%error, deliveries = surplus.len(), "deliveries could not be given back");
        }
        Ok(claimed)
    }

    /// Sends what is handed on, each as soon as it comes.
    async fn send_on(&self, mut taken: UnboundedReceiver<ClaimedDelivery>) {
        stream::poll_fn(move |context| taken.poll_recv(context))
            .for_each_concurrent(None, |claimed| async move {
                self.deliver(&claimed).await;
                self.rooms.give_back(&claimed.host);
            })
            .await;
    }

    /// Makes one attempt and records it.
    pub async fn deliver(&self, claimed: &ClaimedDelivery) {
        let toolkit = &self.webhooks.p.toolkit;
        let at = toolkit.now();
        let answered = match self.webhooks.message(claimed, at) {
            Ok(request) => self.webhooks.p.sender.send(&request).await,
            Err(fault) => Err(fault),
        };
        let took = toolkit.now().since(at);
        let (status, fault) = judged(answered);
        let delivery = &claimed.delivery;
        let verdict = self.verdict(claimed, fault);
        match (verdict, fault) {
            (DeliveryVerdict::Delivered, _) => tracing::debug!(delivery_id = %delivery.id, status, "webhook delivered"),
            (_, fault) => tracing::info!(
                delivery_id = %delivery.id, webhook_id = %delivery.webhook_id, attempt = delivery.attempts, status,
                fault = fault.map(DeliveryFault::as_str), given_up = verdict == DeliveryVerdict::Dead, "a webhook was not delivered"
            ),
        }
        let outcome = DeliveryOutcome {
            id: delivery.id,
            at,
            took,
            status,
            fault,
            verdict,
        };
        self.record(claimed, &outcome).await;
    }

    fn verdict(&self, claimed: &ClaimedDelivery, fault: Option<DeliveryFault>) -> DeliveryVerdict {
        let delivery = &claimed.delivery;
        match fault {
            None => DeliveryVerdict::Delivered,
            Some(DeliveryFault::Gone | DeliveryFault::EventGone | DeliveryFault::Secret) => DeliveryVerdict::Dead,
            Some(_) => {
                let toolkit = &self.webhooks.p.toolkit;
                let failures = delivery.attempts.saturating_sub(delivery.base_attempts);
                let delay = retry_delay(failures, u64::from_le_bytes(toolkit.random()));
                delay.map_or(DeliveryVerdict::Dead, |delay| {
                    DeliveryVerdict::Retry(toolkit.now().plus(delay))
                })
            }
        }
    }

    /// Whether the webhook is to be disabled with this outcome.
    fn disabling(&self, claimed: &ClaimedDelivery, outcome: &DeliveryOutcome) -> Option<Disabling> {
        let webhook = &claimed.webhook;
        let (reason, failing_since) = match outcome.fault {
            None | Some(DeliveryFault::EventGone | DeliveryFault::Secret) => return None,
            Some(DeliveryFault::Gone) => (DisableReason::Gone, None),
            Some(_) => {
                let limit = outcome.at.minus(self.settings.disable_after);
                let long = webhook.failing_since.is_some_and(|since| since <= limit);
                if !long || webhook.failures.saturating_add(1) < FAILURES {
                    return None;
                }
                (DisableReason::Failing, Some(limit))
            }
        };
        let data = json!({ "webhook_id": webhook.id, "reason": reason.as_str() });
        let toolkit = &self.webhooks.p.toolkit;
        let event = toolkit.own_event(&Origin::SYSTEM, webhook.owner, OwnEvent::WebhookDisabled, &data);
        Some(Disabling {
            reason,
            failing_since,
            effects: Effects {
                events: vec![event],
                ..Effects::none()
            },
        })
    }

    /// Records while the lease is held for certain: what is not recorded is sent again.
    async fn record(&self, claimed: &ClaimedDelivery, outcome: &DeliveryOutcome) {
        let disabling = self.disabling(claimed, outcome);
        let until: Timestamp = outcome.at.plus(self.settings.lease);
        loop {
            let settled = self
                .webhooks
                .p
                .queue
                .settle(&self.settings.owner, outcome, disabling.as_ref())
                .await;
            match settled {
                Ok(settled) => return self.note(claimed, outcome, settled),
                Err(EffectsError::Backend(error)) if error.temporary && self.webhooks.p.toolkit.now() < until => {
                    tracing::warn!(%error, "a delivery is not recorded yet, trying again");
                    sleep(BEFORE_RECORDING_AGAIN).await;
                }
                Err(error) => {
                    self.webhooks.count_lost();
                    tracing::error!(%error, delivery_id = %outcome.id, "a delivery could not be recorded and will be sent again");
                    return;
                }
            }
        }
    }

    fn note(&self, claimed: &ClaimedDelivery, outcome: &DeliveryOutcome, settled: Settled) {
        match settled {
            Settled::Lost => {
                self.webhooks.count_lost();
                tracing::warn!(delivery_id = %outcome.id, "a delivery was taken over by another sender before it was recorded");
            }
            Settled::Recorded => self.webhooks.count(outcome.verdict, outcome.took),
            Settled::Disabled => {
                self.webhooks.count(outcome.verdict, outcome.took);
                self.webhooks.count_disabled();
                tracing::warn!(webhook_id = %claimed.webhook.id, fault = outcome.fault.map(DeliveryFault::as_str), "a webhook was disabled");
                self.webhooks.p.toolkit.wakeups.wake(Wakeup::Written);
            }
        }
    }
}

/// What a status means: 2xx is success, and only that.
fn judged(answered: Result<u16, DeliveryFault>) -> (Option<u16>, Option<DeliveryFault>) {
    match answered {
        Ok(status @ 200..=299) => (Some(status), None),
        Ok(status @ 300..=399) => (Some(status), Some(DeliveryFault::Redirect)),
        Ok(410) => (Some(410), Some(DeliveryFault::Gone)),
        Ok(status) => (Some(status), Some(DeliveryFault::Status)),
        Err(fault) => (None, Some(fault)),
    }
}

#[cfg(test)]
mod tests;

//! The handler group of webhooks: makes a delivery of each event for each webhook that wants it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::id::{DeliveryId, UserId};
use domain::webhook::Webhook;
use ports::{EventDeliveries, InboxMark, NewDelivery, Wakeup};

use super::handlers::{EventHandler, HandleEventError};
use crate::service::webhooks::Webhooks;

/// The name of its cursors and marks.
const GROUP: &str = "webhooks";

/// Makes deliveries. Which webhooks there are is asked for each batch, in one read: a new one gets what happens from its
/// making on, on whichever node it was made.
#[derive(Debug)]
pub struct WebhookHandler {
    webhooks: Arc<Webhooks>,
}

impl WebhookHandler {
    /// A handler over the service.
    pub fn new(webhooks: Arc<Webhooks>) -> Self {
        Self { webhooks }
    }

    async fn handle_all(&self, events: &[LoggedEvent]) -> Result<Vec<bool>, HandleEventError> {
        let mut owners: BTreeSet<UserId> = events.iter().map(|logged| logged.event.user_id).collect();
        owners.insert(UserId::SYSTEM);
        let owners: Vec<UserId> = owners.into_iter().collect();
        let enabled = self.webhooks.p.webhooks.enabled_of(&owners).await?;
        let mut new = vec![true; events.len()];
        if enabled.is_empty() {
            return Ok(new);
        }
        let (mut wanted, mut places) = (Vec::new(), Vec::new());
        for (place, logged) in events.iter().enumerate() {
            let deliveries = self.deliveries(&enabled, logged);
            // What nobody wants leaves no mark: it would be looked at again for nothing, and cost a row for every event.
            if !deliveries.is_empty() {
                places.push(place);
                wanted.push(EventDeliveries {
                    mark: InboxMark {
                        group: GROUP.to_owned(),
                        event_id: logged.event.id,
                        at: self.webhooks.p.toolkit.now(),
                    },
                    deliveries,
                });
            }
        }
        if wanted.is_empty() {
            return Ok(new);
        }
        let written = self.webhooks.p.queue.enqueue(&wanted).await?;
        for (place, written) in places.into_iter().zip(written) {
            new[place] = written;
        }
        self.webhooks.p.toolkit.wakeups.wake(Wakeup::Webhook);
        Ok(new)
    }

    fn deliveries(&self, enabled: &[Webhook], logged: &LoggedEvent) -> Vec<NewDelivery> {
        let event = &logged.event;
        let wanting = enabled.iter().filter(|webhook| webhook.wants(event));
        wanting
            .map(|webhook| NewDelivery {
                id: DeliveryId::new(self.webhooks.p.toolkit.id()),
                webhook_id: webhook.id,
                owner: webhook.owner,
                host: self.webhooks.host(webhook),
                event_id: event.id,
                event_type: event.event_type.clone(),
                body: None,
                created_at: self.webhooks.p.toolkit.now(),
            })
            .collect()
    }
}

#[async_trait]
impl EventHandler for WebhookHandler {
    fn group(&self) -> &'static str {
        GROUP
    }

    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError> {
        match self.handle_all(std::slice::from_ref(event)).await?[..] {
            [true] => Ok(()),
            _ => Err(HandleEventError::AlreadyHandled),
        }
    }

    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        self.handle_all(events).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use domain::webhook::DisableReason;
    use ports::{MockWebhookQueue, MockWebhookRepository};

    use super::super::testing::{away, kit, logged, user_in};
    use super::*;
    use crate::service::webhooks::tests::{Mocks, service, webhook};

    /// A handler before these webhooks, whose queue is asked as often as given and answers as scripted.
    fn handler(
        webhooks: Vec<Webhook>,
        queue: MockWebhookQueue,
    ) -> (WebhookHandler, Arc<super::super::testing::TestWakeups>) {
        let kit = kit();
        let mut repository = MockWebhookRepository::new();
        repository.expect_enabled_of().returning(move |owners| {
            let of = |webhook: &&Webhook| owners.contains(&webhook.owner) && webhook.disabled.is_none();
            Ok(webhooks.iter().filter(of).cloned().collect())
        });
        let mocks = Mocks {
            webhooks: repository,
            queue,
            ..Mocks::default()
        };
        (WebhookHandler::new(Arc::new(service(&kit, mocks))), kit.wakeups)
    }

    #[tokio::test]
    async fn each_webhook_gets_what_it_wants_and_nothing_of_others() {
        let (anna, bert) = (user_in(1), user_in(2));
        let of = |owner, types: &[&str]| Webhook {
            types: types.iter().map(|text| text.parse().unwrap()).collect(),
            ..webhook(owner)
        };
        let all = vec![
            of(anna, &["file.*", "app.order.placed"]),
            of(bert, &["*"]),
            of(UserId::SYSTEM, &["*"]),
            Webhook {
                disabled: Some(DisableReason::Owner),
                ..of(anna, &["*"])
            },
        ];
        let ids: Vec<_> = all.iter().map(|webhook| webhook.id).collect();
        let events = [
            logged(anna, 1, "file.uploaded", "{}"),
            logged(anna, 2, "app.order.paid", "{}"),
            logged(bert, 1, "app.order.paid", "{}"),
        ];
        let expected = [vec![ids[0], ids[2]], vec![ids[2]], vec![ids[1], ids[2]]];
        let event_ids: Vec<_> = events.iter().map(|logged| logged.event.id).collect();
        let mut queue = MockWebhookQueue::new();
        queue.expect_enqueue().times(1).returning(move |wanted| {
            for ((wanted, expected), event) in wanted.iter().zip(&expected).zip(&event_ids) {
                let to: Vec<_> = wanted.deliveries.iter().map(|delivery| delivery.webhook_id).collect();
                assert_eq!(
                    (&to, wanted.mark.event_id, wanted.mark.group.as_str()),
                    (expected, *event, "webhooks")
                );
                assert!(
                    wanted
                        .deliveries
                        .iter()
                        .all(|new| new.event_id == *event && new.body.is_none())
                );
            }
            Ok(vec![true, false, true])
        });
        let (handler, wakeups) = handler(all, queue);
        assert_eq!(
            handler.handle_batch(&events).await.unwrap(),
            Some(vec![true, false, true])
        );
        assert_eq!(wakeups.woken(), [Wakeup::Webhook]);
    }

    #[tokio::test]
    async fn what_nobody_wants_costs_no_write() {
        let events = [logged(user_in(1), 1, "file.uploaded", "{}")];
        for webhooks in [vec![], vec![webhook(user_in(2))]] {
            let (handler, wakeups) = handler(webhooks, MockWebhookQueue::new());
            assert_eq!(handler.handle_batch(&events).await.unwrap(), Some(vec![true]));
            assert_eq!(wakeups.woken(), []);
        }
    }

    #[tokio::test]
    async fn an_event_that_comes_again_is_told_and_a_backend_that_is_away_too() {
        let event = logged(user_in(1), 1, "file.uploaded", "{}");
        let mut queue = MockWebhookQueue::new();
        queue.expect_enqueue().times(1).returning(|_| Ok(vec![false]));
        queue.expect_enqueue().times(1).returning(|_| Err(away()));
        let (handler, _) = handler(vec![webhook(user_in(1))], queue);
        assert!(matches!(
            handler.handle(&event).await,
            Err(HandleEventError::AlreadyHandled)
        ));
        assert!(matches!(
            handler.handle(&event).await,
            Err(HandleEventError::Backend(_))
        ));
    }

    #[tokio::test]
    async fn what_happened_before_a_webhook_was_made_is_not_sent_to_it() {
        let event = logged(user_in(1), 1, "file.uploaded", "{}");
        let at = |seconds: i64| domain::time::Timestamp::from_seconds(event.event.time.seconds() + seconds);
        for (made, sent) in [(-60, true), (0, true), (4, true), (60, false)] {
            let mut queue = MockWebhookQueue::new();
            queue
                .expect_enqueue()
                .times(usize::from(sent))
                .returning(|_| Ok(vec![true]));
            let webhook = Webhook {
                created_at: at(made),
                ..webhook(user_in(1))
            };
            let (handler, _) = handler(vec![webhook], queue);
            handler.handle(&event).await.unwrap();
        }
    }
}

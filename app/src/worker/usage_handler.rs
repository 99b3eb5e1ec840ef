//! The usage projection: counts from the log what each user did in each month.

use std::sync::Arc;

use async_trait::async_trait;
use domain::event::{LoggedEvent, OwnEvent};
use domain::id::UserId;
use ports::{Effects, InboxMark, UsageFigure, UsageRepository};

use super::handlers::{EventHandler, HandleEventError};

/// The name of its cursors and marks.
const GROUP: &str = "usage";

/// Counts published events, stored files with their bytes, and sent mails, for each user and calendar month.
pub struct UsageHandler {
    usage: Arc<dyn UsageRepository>,
    client_prefix: String,
}

impl std::fmt::Debug for UsageHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageHandler").finish_non_exhaustive()
    }
}

impl UsageHandler {
    /// A handler that knows the events of clients by the prefix of their types.
    pub fn new(usage: Arc<dyn UsageRepository>, client_prefix: String) -> Self {
        Self { usage, client_prefix }
    }

    fn figures(&self, logged: &LoggedEvent) -> Vec<UsageFigure> {
        let figure = |meter: &str, amount| UsageFigure {
            meter: meter.to_owned(),
            amount,
        };
        let event = &logged.event;
        let kind = event.event_type.as_str();
        if event.event_type.is_under(&self.client_prefix) {
            vec![figure("events", 1)]
        } else if kind == OwnEvent::FileUploaded.as_str() {
            vec![
                figure("files_uploaded", 1),
                figure("files_uploaded_bytes", size(event.data.as_deref())),
            ]
        } else if kind == OwnEvent::MailSent.as_str() {
            vec![figure("mails_sent", 1)]
        } else {
            Vec::new()
        }
    }
}

/// The `size` of an uploaded file; nothing once the payload was erased.
fn size(data: Option<&str>) -> u64 {
    let data = data.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    data.and_then(|data| data.get("size")?.as_u64()).unwrap_or_default()
}

#[async_trait]
impl EventHandler for UsageHandler {
    fn group(&self) -> &'static str {
        GROUP
    }

    async fn handle(&self, logged: &LoggedEvent) -> Result<(), HandleEventError> {
        let event = &logged.event;
        let figures = self.figures(logged);
        if figures.is_empty() || event.user_id == UserId::SYSTEM {
            return Ok(());
        }
        let inbox = Some(InboxMark {
            group: GROUP.to_owned(),
            event_id: event.id,
        });
        let effects = Effects {
            inbox,
            ..Effects::none()
        };
        Ok(self.usage.add(event.user_id, event.time, &figures, &effects).await?)
    }
}

#[cfg(test)]
mod tests {
    use ports::{EffectsError, MockUsageRepository};

    use super::super::testing::{away, logged, user_in};
    use super::*;

    async fn counted(event_type: &str, data: &str) -> Vec<(String, u64)> {
        let counted = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (mut mock, notes) = (MockUsageRepository::new(), Arc::clone(&counted));
        mock.expect_add().returning(move |user, _, figures, effects| {
            assert_eq!(user, user_in(1));
            let id = logged(user_in(1), 7, "app.a", "1").event.id;
            assert_eq!(
                effects.inbox,
                Some(InboxMark {
                    group: "usage".to_owned(),
                    event_id: id
                })
            );
            notes
                .lock()
                .unwrap()
                .extend(figures.iter().map(|figure| (figure.meter.clone(), figure.amount)));
            Ok(())
        });
        let handler = UsageHandler::new(Arc::new(mock), "shop.".to_owned());
        handler.handle(&logged(user_in(1), 7, event_type, data)).await.unwrap();
        std::mem::take(&mut *counted.lock().unwrap())
    }

    fn figures(figures: &[(&str, u64)]) -> Vec<(String, u64)> {
        figures
            .iter()
            .map(|(meter, amount)| ((*meter).to_owned(), *amount))
            .collect()
    }

    #[tokio::test]
    async fn each_kind_has_its_meters() {
        assert_eq!(counted("shop.order.placed", "null").await, figures(&[("events", 1)]));
        let uploaded = counted("file.uploaded", "{\"size\":1048577}").await;
        assert_eq!(
            uploaded,
            figures(&[("files_uploaded", 1), ("files_uploaded_bytes", 1_048_577)])
        );
        assert_eq!(counted("mail.sent", "{}").await, figures(&[("mails_sent", 1)]));
        assert_eq!(counted("tier.changed", "{}").await, figures(&[]));
    }

    #[tokio::test]
    async fn what_was_counted_before_and_what_cannot_be_counted_now_are_told_apart() {
        let mut mock = MockUsageRepository::new();
        mock.expect_add()
            .times(1)
            .returning(|_, _, _, _| Err(EffectsError::AlreadyHandled));
        mock.expect_add().times(1).returning(|_, _, _, _| Err(away().into()));
        let handler = UsageHandler::new(Arc::new(mock), "shop.".to_owned());
        let event = logged(user_in(1), 7, "shop.a", "1");
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
    async fn events_of_nobody_are_nobodys_usage() {
        let handler = UsageHandler::new(Arc::new(MockUsageRepository::new()), "shop.".to_owned());
        handler
            .handle(&logged(UserId::SYSTEM, 1, "mail.sent", "{}"))
            .await
            .unwrap();
    }
}

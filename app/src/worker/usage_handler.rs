//! The usage projection: counts from the log what each user did in each month.

use std::sync::Arc;

use async_trait::async_trait;
use domain::event::{LoggedEvent, OwnEvent};
use domain::id::UserId;
use ports::{Clock, InboxMark, UsageEntry, UsageFigure, UsageRepository};

use super::handlers::{EventHandler, HandleEventError};

/// The name of its cursors and marks.
const GROUP: &str = "usage";

/// Counts published events, stored files with their bytes, and sent mails, for each user and calendar month.
pub struct UsageHandler {
    usage: Arc<dyn UsageRepository>,
    clock: Arc<dyn Clock>,
    client_prefix: String,
}

impl std::fmt::Debug for UsageHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageHandler").finish_non_exhaustive()
    }
}

impl UsageHandler {
    /// A handler that knows the events of clients by the prefix of their types.
    pub fn new(usage: Arc<dyn UsageRepository>, clock: Arc<dyn Clock>, client_prefix: String) -> Self {
        Self {
            usage,
            clock,
            client_prefix,
        }
    }

    /// Every event gets its mark, one that counts nothing too: so it can be shown that each came here once.
    fn entry(&self, logged: &LoggedEvent) -> UsageEntry {
        let event = &logged.event;
        let figures = if event.user_id == UserId::SYSTEM {
            Vec::new()
        } else {
            self.figures(logged)
        };
        UsageEntry {
            user: event.user_id,
            at: event.time,
            figures,
            mark: InboxMark {
                group: GROUP.to_owned(),
                event_id: event.id,
                at: self.clock.now(),
            },
        }
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
        match self.usage.add_many(&[self.entry(logged)]).await?[..] {
            [true] => Ok(()),
            _ => Err(HandleEventError::AlreadyHandled),
        }
    }

    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        let entries: Vec<UsageEntry> = events.iter().map(|logged| self.entry(logged)).collect();
        Ok(Some(self.usage.add_many(&entries).await?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ports::MockUsageRepository;

    use super::super::testing::{Kit, away, kit, logged, user_in};
    use super::*;

    fn handler(kit: &Kit, mock: MockUsageRepository) -> UsageHandler {
        let clock = Arc::clone(&kit.toolkit.clock);
        UsageHandler::new(Arc::new(mock), clock, "shop.".to_owned())
    }

    /// The entries that the handler makes of events.
    async fn entries(events: &[LoggedEvent]) -> Vec<UsageEntry> {
        let (noted, kit) = (Arc::new(Mutex::new(Vec::new())), kit());
        let (mut mock, notes) = (MockUsageRepository::new(), Arc::clone(&noted));
        mock.expect_add_many().times(1).returning(move |entries| {
            notes.lock().unwrap().extend_from_slice(entries);
            Ok(vec![true; entries.len()])
        });
        let handled = handler(&kit, mock).handle_batch(events).await.unwrap();
        assert_eq!(handled, Some(vec![true; events.len()]));
        let entries = std::mem::take(&mut *noted.lock().unwrap());
        for (entry, logged) in entries.iter().zip(events) {
            let event = &logged.event;
            assert_eq!((entry.user, entry.at), (event.user_id, event.time));
            assert_eq!((entry.mark.group.as_str(), entry.mark.event_id), ("usage", event.id));
            assert_eq!(entry.mark.at, kit.toolkit.now());
        }
        entries
    }

    fn figures(figures: &[(&str, u64)]) -> Vec<UsageFigure> {
        let figure = |(meter, amount): &(&str, u64)| UsageFigure {
            meter: (*meter).to_owned(),
            amount: *amount,
        };
        figures.iter().map(figure).collect()
    }

    #[tokio::test]
    async fn each_kind_has_its_meters_and_every_event_its_mark() {
        let user = user_in(1);
        let events = [
            logged(user, 1, "shop.order.placed", "null"),
            logged(user, 2, "file.uploaded", "{\"size\":1048577}"),
            logged(user, 3, "mail.sent", "{}"),
            logged(user, 4, "tier.changed", "{}"),
            // Events of nobody are nobody's usage.
            logged(UserId::SYSTEM, 5, "mail.sent", "{}"),
        ];
        let made: Vec<Vec<UsageFigure>> = entries(&events).await.into_iter().map(|entry| entry.figures).collect();
        assert_eq!(
            made,
            [
                figures(&[("events", 1)]),
                figures(&[("files_uploaded", 1), ("files_uploaded_bytes", 1_048_577)]),
                figures(&[("mails_sent", 1)]),
                figures(&[]),
                figures(&[]),
            ]
        );
    }

    #[tokio::test]
    async fn what_was_counted_before_and_what_cannot_be_counted_now_are_told_apart() {
        let mut mock = MockUsageRepository::new();
        mock.expect_add_many().times(1).returning(|_| Ok(vec![true]));
        mock.expect_add_many().times(1).returning(|_| Ok(vec![false]));
        mock.expect_add_many().times(1).returning(|_| Err(away()));
        let (kit, event) = (kit(), logged(user_in(1), 7, "shop.a", "1"));
        let handler = handler(&kit, mock);
        handler.handle(&event).await.unwrap();
        assert!(matches!(
            handler.handle(&event).await,
            Err(HandleEventError::AlreadyHandled)
        ));
        assert!(matches!(
            handler.handle(&event).await,
            Err(HandleEventError::Backend(_))
        ));
    }
}

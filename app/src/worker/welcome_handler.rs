//! The welcome mail: one message to everybody whose account began with a verified address.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::event::{LoggedEvent, OwnEvent};
use domain::id::MailId;
use domain::mail::{MailTemplate, NewMail};
use domain::user::User;
use ports::{Effects, EventStore, InboxMark, UserRepository};

use super::handlers::{EventHandler, HandleEventError};
use crate::service::Toolkit;

/// The name of its cursors and marks.
pub const GROUP: &str = "welcome";

/// Puts a welcome message into the ledger for each `user.registered`, in one transaction with the group's mark.
pub struct WelcomeHandler {
    users: Arc<dyn UserRepository>,
    store: Arc<dyn EventStore>,
    toolkit: Toolkit,
    locale: String,
    enabled: bool,
}

impl std::fmt::Debug for WelcomeHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WelcomeHandler")
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl WelcomeHandler {
    /// A handler that writes in this language. One that is not enabled follows the log all the same: switched on later, it greets those who come then.
    pub fn new(
        users: Arc<dyn UserRepository>,
        store: Arc<dyn EventStore>,
        toolkit: Toolkit,
        locale: String,
        enabled: bool,
    ) -> Self {
        Self {
            users,
            store,
            toolkit,
            locale,
            enabled,
        }
    }

    fn concerns(&self, logged: &LoggedEvent) -> bool {
        self.enabled && logged.event.event_type.as_str() == OwnEvent::UserRegistered.as_str()
    }

    fn letter(&self, user: &User, logged: &LoggedEvent) -> NewMail {
        NewMail {
            id: MailId::new(self.toolkit.id()),
            user_id: Some(user.id),
            to: user.email.clone(),
            template: MailTemplate::Welcome,
            locale: self.locale.clone(),
            data: BTreeMap::from([("name".to_owned(), user.name.as_str().to_owned())]),
            sealed_token: None,
            created_at: self.toolkit.now(),
            request_id: logged.event.request_id,
            // The mark bounds it; a message that is left out silently would be marked as written.
            limited: false,
        }
    }
}

#[async_trait]
impl EventHandler for WelcomeHandler {
    fn group(&self) -> &'static str {
        GROUP
    }

    async fn handle(&self, logged: &LoggedEvent) -> Result<(), HandleEventError> {
        if !self.concerns(logged) {
            return Ok(());
        }
        // Somebody who is gone, or was shut out meanwhile, is not greeted.
        let user = self.users.find(logged.event.user_id).await?;
        let greeted = user.filter(|user| user.disabled_at.is_none());
        let effects = Effects {
            mails: greeted.iter().map(|user| self.letter(user, logged)).collect(),
            inbox: Some(InboxMark {
                group: GROUP.to_owned(),
                event_id: logged.event.id,
                at: self.toolkit.now(),
            }),
            ..Effects::none()
        };
        Ok(self.store.append(&effects).await?)
    }

    /// A batch without a registration changes nothing, and so needs no marks.
    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        let concerned = events.iter().any(|logged| self.concerns(logged));
        Ok((!concerned).then(|| vec![true; events.len()]))
    }
}

#[cfg(test)]
mod tests {
    use domain::password::PasswordRecord;
    use domain::tier::TierName;
    use domain::user::Role;
    use ports::{EffectsError, MockEventStore, MockUserRepository};

    use super::super::testing::{Kit, kit, logged, user_in};
    use super::*;

    fn user(kit: &Kit, disabled: bool) -> User {
        User {
            id: user_in(3),
            email: "anna@example.org".parse().unwrap(),
            name: "Anna".parse().unwrap(),
            password: PasswordRecord {
                scheme: "scheme".to_owned(),
                cost: 4,
                pepper_id: "pepper".to_owned(),
                hash: "hash".to_owned(),
            },
            tier: TierName::free(),
            role: Role::User,
            epoch: 0,
            disabled_at: disabled.then(|| kit.toolkit.now()),
            created_at: kit.toolkit.now(),
            updated_at: kit.toolkit.now(),
            version: 1,
        }
    }

    fn handler(kit: &Kit, found: Option<User>, store: MockEventStore, enabled: bool) -> WelcomeHandler {
        let mut users = MockUserRepository::new();
        users.expect_find().returning(move |_| Ok(found.clone()));
        let (users, store) = (Arc::new(users), Arc::new(store));
        WelcomeHandler::new(users, store, kit.toolkit.clone(), "de".to_owned(), enabled)
    }

    fn registered() -> LoggedEvent {
        logged(user_in(3), 1, "user.registered", "{}")
    }

    #[tokio::test]
    async fn a_registration_writes_one_message_with_its_mark() {
        let (kit, mut store) = (kit(), MockEventStore::new());
        store
            .expect_append()
            .withf(|effects| {
                let mark = effects.inbox.as_ref().unwrap();
                let [mail] = effects.mails.as_slice() else { return false };
                (mark.group.as_str(), mark.event_id) == ("welcome", registered().event.id)
                    && (mail.template, mail.to.as_str()) == (MailTemplate::Welcome, "anna@example.org")
                    && mail.data.get("name").map(String::as_str) == Some("Anna")
                    && (mail.locale.as_str(), mail.limited) == ("de", false)
                    && effects.events.is_empty()
            })
            .times(1)
            .returning(|_| Ok(()));
        store
            .expect_append()
            .times(1)
            .returning(|_| Err(EffectsError::AlreadyHandled));
        let handler = handler(&kit, Some(user(&kit, false)), store, true);
        assert_eq!(handler.handle_batch(&[registered()]).await.unwrap(), None);
        handler.handle(&registered()).await.unwrap();
        let again = handler.handle(&registered()).await;
        assert!(matches!(again, Err(HandleEventError::AlreadyHandled)), "{again:?}");
    }

    #[tokio::test]
    async fn who_is_gone_or_shut_out_is_not_greeted() {
        let kit = kit();
        for found in [None, Some(user(&kit, true))] {
            let mut store = MockEventStore::new();
            store
                .expect_append()
                .withf(|effects| effects.mails.is_empty() && effects.inbox.is_some())
                .times(1)
                .returning(|_| Ok(()));
            handler(&kit, found, store, true).handle(&registered()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn other_events_and_all_when_it_is_off_touch_nothing() {
        let kit = kit();
        let others = [
            logged(user_in(3), 1, "user.created", "{}"),
            logged(user_in(3), 2, "app.a", "1"),
        ];
        let on = handler(&kit, None, MockEventStore::new(), true);
        assert_eq!(on.handle_batch(&others).await.unwrap(), Some(vec![true, true]));
        on.handle(&others[0]).await.unwrap();
        let off = handler(&kit, None, MockEventStore::new(), false);
        assert_eq!(off.handle_batch(&[registered()]).await.unwrap(), Some(vec![true]));
        off.handle(&registered()).await.unwrap();
    }
}

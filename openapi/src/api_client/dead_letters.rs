//! Dead letters and replays, for administrators.

use reqwest::Method;
use uuid::Uuid;

use super::{ApiClient, ApiError, read};
use crate::{
    ChangedLettersBody, DeadLetterDetailBody, DeadLetterPageBody, DeadLetterReasonsBody, DiscardBody, RedriveBody,
    ReplayBody, ReplayedBody,
};

/// Which dead letters are listed or counted: those to which everything applies that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Those of this group.
    pub group: Option<String>,
    /// Those with this reason.
    pub reason: Option<String>,
    /// Those of events of this type.
    pub event_type: Option<String>,
    /// Those of this user's events.
    pub user_id: Option<Uuid>,
}

impl DeadLetterQuery {
    fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("group", self.group.clone()),
            ("reason", self.reason.clone()),
            ("event_type", self.event_type.clone()),
            ("user_id", self.user_id.map(|id| id.to_string())),
        ]
    }
}

impl ApiClient {
    /// A page of dead letters.
    pub async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<DeadLetterPageBody, ApiError> {
        let mut parameters = query.parameters();
        parameters.extend(super::account::page(after, limit));
        self.get(&["v1", "admin", "dead-letters"], &parameters).await
    }

    /// The dead letters by reason.
    pub async fn dead_letter_reasons(&self, query: &DeadLetterQuery) -> Result<DeadLetterReasonsBody, ApiError> {
        let path = ["v1", "admin", "dead-letters", "reasons"];
        self.get(&path, &query.parameters()).await
    }

    /// One dead letter with its event.
    pub async fn dead_letter(&self, id: Uuid) -> Result<DeadLetterDetailBody, ApiError> {
        self.get(&["v1", "admin", "dead-letters", &id.to_string()], &[]).await
    }

    /// Hands dead letters to their groups again.
    pub async fn redrive_dead_letters(&self, body: &RedriveBody) -> Result<ChangedLettersBody, ApiError> {
        let path = ["v1", "admin", "dead-letters", "redrive"];
        read(self.send(self.request(Method::POST, &path).json(body)).await?).await
    }

    /// Throws dead letters away.
    pub async fn discard_dead_letters(&self, body: &DiscardBody) -> Result<ChangedLettersBody, ApiError> {
        let path = ["v1", "admin", "dead-letters", "discard"];
        read(self.send(self.request(Method::POST, &path).json(body)).await?).await
    }

    /// Hands a part of the log to a group again, one piece of it: go on with the answer's `resume`.
    pub async fn replay_events(&self, body: &ReplayBody) -> Result<ReplayedBody, ApiError> {
        let path = ["v1", "admin", "events", "replay"];
        read(self.send(self.request(Method::POST, &path).json(body)).await?).await
    }
}

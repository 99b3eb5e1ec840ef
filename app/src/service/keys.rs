//! Signing keys: made, published before they sign, retired without logging anybody out.

use std::sync::Arc;
use std::time::Duration;

use domain::event::{Event, OwnEvent};
use domain::id::UserId;
use domain::time::Timestamp;
use domain::token::{KeyStatus, SigningKey};
use ports::{BackendError, Effects, EffectsError, SigningKeyRepository, TokenKeyring, Wakeup};
use serde_json::json;

use super::{Origin, Toolkit};

/// How long a key is published before it signs: twice as long as the public list may be cached.
pub const PUBLISHED_BEFORE: Duration = Duration::from_secs(600);

/// How often each process looks at the keys: well within the ten minutes that a new key waits.
pub const LOOK: Duration = Duration::from_secs(5);

/// How long even a hurried key waits: twice as long as any node takes to load it, or its tokens would be refused there.
pub const LOADED_EVERYWHERE: Duration = Duration::from_secs(10);

/// Signing keys over their repository and the keyring of this process.
pub struct Keys {
    toolkit: Toolkit,
    repository: Arc<dyn SigningKeyRepository>,
    keyring: Arc<dyn TokenKeyring>,
    /// How long a token signed by a key can live after the key stopped signing.
    token_life: Duration,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The service over its parts.
    pub fn new(
        toolkit: Toolkit,
        repository: Arc<dyn SigningKeyRepository>,
        keyring: Arc<dyn TokenKeyring>,
        token_life: Duration,
    ) -> Self {
        Self {
            toolkit,
            repository,
            keyring,
            token_life,
        }
    }

    /// Makes the first key if there is none, and loads all. Many nodes may start at once: one key wins.
    ///
    /// # Errors
    /// When the backend fails or a stored key cannot be opened with the master key.
    pub async fn start(&self) -> Result<(), EffectsError> {
        let mut keys = self.repository.list().await?;
        if keys.is_empty() {
            let now = self.toolkit.now();
            let key = self.keyring.generate(KeyStatus::Active, now, now)?;
            let effects = Effects {
                events: vec![self.event(OwnEvent::KeyCreated, &key.kid)],
                ..Effects::none()
            };
            self.repository.insert(&key, true, &effects).await?;
            keys = self.repository.list().await?;
        }
        Ok(self.keyring.load(&keys)?)
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn list(&self) -> Result<Vec<SigningKey>, BackendError> {
        self.repository.list().await
    }

    /// Makes the next key. It is published at once and signs after [`PUBLISHED_BEFORE`]; with `now` after [`LOADED_EVERYWHERE`], when all nodes have it and a verifier that caches the list may still refuse its tokens until it fetches again.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn rotate(&self, now: bool) -> Result<SigningKey, EffectsError> {
        self.start().await?;
        let at = self.toolkit.now();
        let activates_at = at.plus(if now { LOADED_EVERYWHERE } else { PUBLISHED_BEFORE });
        let key = self.keyring.generate(KeyStatus::Pending, at, activates_at)?;
        let effects = Effects {
            events: vec![self.event(OwnEvent::KeyCreated, &key.kid)],
            ..Effects::none()
        };
        self.repository.insert(&key, false, &effects).await?;
        self.step().await?;
        self.toolkit.wakeups.wake(Wakeup::Written);
        Ok(self
            .repository
            .list()
            .await?
            .into_iter()
            .find(|stored| stored.kid == key.kid)
            .unwrap_or(key))
    }

    /// Moves keys on whose time has come, and loads what other nodes changed.
    ///
    /// # Errors
    /// When the backend fails; the loaded keys stay in use.
    pub async fn step(&self) -> Result<(), EffectsError> {
        let now = self.toolkit.now();
        let mut keys = self.repository.list().await?;
        let due: Vec<(&SigningKey, KeyStatus)> =
            keys.iter().filter_map(|key| Some((key, self.due(key, now)?))).collect();
        if !due.is_empty() {
            for (key, to) in due {
                let effects = self.effects_of(key, to);
                self.repository
                    .transition(&key.kid, key.status, to, now, &effects)
                    .await?;
            }
            keys = self.repository.list().await?;
        }
        Ok(self.keyring.load(&keys)?)
    }

    fn due(&self, key: &SigningKey, now: Timestamp) -> Option<KeyStatus> {
        match key.status {
            KeyStatus::Pending if now >= key.activates_at => Some(KeyStatus::Active),
            KeyStatus::Retiring if key.retired_at.is_some_and(|at| now >= at.plus(self.token_life)) => {
                Some(KeyStatus::Revoked)
            }
            KeyStatus::Pending | KeyStatus::Active | KeyStatus::Retiring | KeyStatus::Revoked => None,
        }
    }

    fn effects_of(&self, key: &SigningKey, to: KeyStatus) -> Effects {
        let activated = (to == KeyStatus::Active).then(|| self.event(OwnEvent::KeyActivated, &key.kid));
        Effects {
            events: activated.into_iter().collect(),
            ..Effects::none()
        }
    }

    fn event(&self, kind: OwnEvent, kid: &str) -> Event {
        self.toolkit
            .own_event(&Origin::SYSTEM, UserId::SYSTEM, kind, &json!({ "kid": kid }))
    }
}

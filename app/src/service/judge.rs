//! Judging new passwords: some milliseconds of CPU, so never on an async worker and never unbounded.

use domain::password::{Password, PasswordPolicy, PasswordRefusal};
use ports::{BackendError, HashPasswordError};
use tokio::sync::Semaphore;

/// How many passwords are judged at a time; the hashing that follows takes a hundred times as long.
const AT_ONCE: usize = 2;

/// Applies the policy to new passwords.
#[derive(Debug)]
pub struct Judge {
    policy: PasswordPolicy,
    permits: Semaphore,
}

/// A password was not judged good.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] PasswordRefusal),
    /// It could not be judged.
    #[error(transparent)]
    Hash(#[from] HashPasswordError),
}

impl Judge {
    /// A judge by this policy.
    pub fn new(policy: PasswordPolicy) -> Self {
        Self {
            policy,
            permits: Semaphore::new(AT_ONCE),
        }
    }

    /// Judges a new password in the light of the user's own words.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub async fn check(&self, password: &Password, context: &[&str]) -> Result<(), JudgeError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            JudgeError::Hash(BackendError::permanent("judge", "check a password", error).into())
        };
        let _permit = self.permits.acquire().await.map_err(|error| failed(error.into()))?;
        let (policy, password) = (self.policy, password.clone());
        let context: Vec<String> = context.iter().map(|&text| text.to_owned()).collect();
        let judged = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = context.iter().map(String::as_str).collect();
            policy.check(&password, &words)
        });
        judged
            .await
            .map_err(|error| failed(error.into()))?
            .map_err(JudgeError::from)
    }
}

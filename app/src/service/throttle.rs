//! Throttling of guesses and floods, before any hash is computed.

use std::sync::Arc;
use std::time::Duration;

use domain::email::EmailAddress;
use domain::limit::{RateDecision, RateRule};
use domain::tier::Tiers;
use domain::token::Claims;
use ports::{BackendError, Clock, RateLimiter, Sealer, SignInLedger};

/// Attempts to sign in from one client address, over all accounts.
const SIGN_INS_PER_CLIENT: RateRule = RateRule::per_seconds(60, 60);
/// Attempts on one account from one client address.
const SIGN_INS_PER_ACCOUNT_AND_CLIENT: RateRule = RateRule::per_seconds(10, 60);
/// Other public requests that cost a hash or a mail, from one client address.
const REQUESTS_PER_CLIENT: RateRule = RateRule::per_seconds(30, 60);
/// Failed sign-ins of an account in a day after which only known clients are evaluated (NIST SP 800-63B-4 section 3.2.2 allows at most 100).
const FAILURES_PER_DAY: u64 = 100;
/// How long a client that signed in stays known.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Slows guessing and floods, without letting an attacker lock an owner out.
pub struct Throttle {
    limiter: Arc<dyn RateLimiter>,
    ledger: Arc<dyn SignInLedger>,
    sealer: Arc<dyn Sealer>,
    clock: Arc<dyn Clock>,
    tiers: Arc<Tiers>,
    enabled: bool,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle")
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// A request must wait.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// Too many: wait so long, at least a second.
    #[error("too many requests")]
    TooMany(Duration),
    /// The counters cannot be read.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// An attempt to sign in that may be evaluated.
#[derive(Debug)]
pub struct Attempt {
    account: [u8; 32],
    client: [u8; 32],
}

/// What the throttle is made over.
pub struct ThrottleParts {
    /// Counts in a short window.
    pub limiter: Arc<dyn RateLimiter>,
    /// Counts over days.
    pub ledger: Arc<dyn SignInLedger>,
    /// Blinds addresses for storage.
    pub sealer: Arc<dyn Sealer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The plans with their rates.
    pub tiers: Arc<Tiers>,
    /// Whether anything is limited at all.
    pub enabled: bool,
}

impl std::fmt::Debug for ThrottleParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThrottleParts").finish_non_exhaustive()
    }
}

impl Throttle {
    /// A throttle over its parts.
    pub fn new(parts: ThrottleParts) -> Self {
        let ThrottleParts {
            limiter,
            ledger,
            sealer,
            clock,
            tiers,
            enabled,
        } = parts;
        Self {
            limiter,
            ledger,
            sealer,
            clock,
            tiers,
            enabled,
        }
    }

    /// Lets an attempt to sign in pass, or says how long to wait. `client` is the address, or its /64.
    ///
    /// # Errors
    /// [`ThrottleError::TooMany`], alike for accounts that exist and that do not.
    pub async fn sign_in(&self, client: &str, email: &EmailAddress) -> Result<Attempt, ThrottleError> {
        let attempt = Attempt {
            account: self.sealer.blind("sign-in account", email.as_str()),
            client: self.sealer.blind("sign-in client", client),
        };
        if !self.enabled {
            return Ok(attempt);
        }
        self.take(&format!("sign-in {client}"), &SIGN_INS_PER_CLIENT).await?;
        self.take(&format!("sign-in {client} {email}"), &SIGN_INS_PER_ACCOUNT_AND_CLIENT)
            .await?;
        let now = self.clock.now();
        if self.ledger.failures(&attempt.account, now).await? >= FAILURES_PER_DAY {
            let known = self
                .ledger
                .knows(&attempt.account, &attempt.client, now.minus(KNOWN_FOR))
                .await?;
            if !known {
                let day = 86_400 - now.seconds().rem_euclid(86_400);
                return Err(ThrottleError::TooMany(Duration::from_secs(day.unsigned_abs().max(1))));
            }
        }
        Ok(attempt)
    }

    /// Counts an attempt that failed.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub async fn failed(&self, attempt: &Attempt) -> Result<(), BackendError> {
        if self.enabled {
            self.ledger.record_failure(&attempt.account, self.clock.now()).await?;
        }
        Ok(())
    }

    /// Remembers the client of an attempt that succeeded.
    ///
    /// # Errors
    /// When it cannot be remembered.
    pub async fn succeeded(&self, attempt: &Attempt) -> Result<(), BackendError> {
        if self.enabled {
            self.ledger
                .remember(&attempt.account, &attempt.client, self.clock.now())
                .await?;
        }
        Ok(())
    }

    /// Lets a public request that costs a hash or a mail pass.
    ///
    /// # Errors
    /// [`ThrottleError::TooMany`].
    pub async fn public(&self, route: &'static str, client: &str) -> Result<(), ThrottleError> {
        if self.enabled {
            self.take(&format!("{route} {client}"), &REQUESTS_PER_CLIENT).await?;
        }
        Ok(())
    }

    /// Lets a signed-in request pass, at the rate of the caller's plan. `told` hears what the rate says either way; not
    /// when nothing is limited.
    ///
    /// # Errors
    /// [`ThrottleError::TooMany`].
    pub async fn request(
        &self,
        claims: &Claims,
        told: impl FnOnce(&RateRule, &RateDecision),
    ) -> Result<(), ThrottleError> {
        if self.enabled
            && let Some(tier) = self.tiers.entitlement(&claims.tier)
        {
            let rule = RateRule::per_seconds(tier.limits.requests_per_minute, 60);
            let decision = self
                .limiter
                .take(&format!("user {}", claims.subject), &rule, 1, self.clock.now())
                .await?;
            told(&rule, &decision);
            verdict(&decision)?;
        }
        Ok(())
    }

    async fn take(&self, key: &str, rule: &RateRule) -> Result<(), ThrottleError> {
        verdict(&self.limiter.take(key, rule, 1, self.clock.now()).await?)
    }
}

fn verdict(decision: &RateDecision) -> Result<(), ThrottleError> {
    if decision.allowed {
        return Ok(());
    }
    Err(ThrottleError::TooMany(decision.retry_after.max(Duration::from_secs(1))))
}

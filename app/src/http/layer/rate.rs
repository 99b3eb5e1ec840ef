//! How much the caller may still ask for: the headers `RateLimit` and `RateLimit-Policy` (IETF draft
//! draft-ietf-httpapi-ratelimit-headers).
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use domain::limit::{RateDecision, RateRule};
use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What the caller's rate said to a request, an extension of every request: whoever counts the request notes it here,
/// and the answer tells it, whatever else becomes of the request.
#[derive(Debug, Clone, Default)]
pub struct RateNote(Arc<OnceLock<(RateRule, RateDecision)>>);

impl RateNote {
    /// Notes a decision on the request; the first one stands.
    pub fn note(request: &Request, rule: &RateRule, decision: &RateDecision) {
        if let Some(note) = request.data::<Self>() {
            let _ = note.0.set((*rule, *decision));
        }
    }

    /// Writes what was noted.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let Some((rule, decision)) = self.0.get() else { return };
        let values = [(RATE_LIMIT_POLICY, policy(rule)), (RATE_LIMIT, standing(decision))];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// `q` requests in `w` seconds.
fn policy(rule: &RateRule) -> String {
    format!("\"default\";q={};w={}", rule.limit.max(1), seconds(rule.window).max(1))
}

/// `r` requests are left; in `t` seconds there are all of them again, or when none is left one: the same moment that
/// `Retry-After` names.
fn standing(decision: &RateDecision) -> String {
    let more_after = if decision.remaining == 0 {
        decision.retry_after.max(Duration::from_secs(1))
    } else {
        decision.reset_after
    };
    format!("\"default\";r={};t={}", decision.remaining, seconds(more_after))
}

/// Rounded up: who waits exactly as told must not come too early.
fn seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use domain::{limit::RateState, time::Timestamp};

    use super::*;

    #[test]
    fn the_headers_follow_the_allowance() {
        let (rule, now) = (RateRule::per_seconds(3, 60), Timestamp::from_seconds(1_800_000_000));
        assert_eq!(policy(&rule), "\"default\";q=3;w=60");
        let mut state = RateState::default();
        for expected in ["r=2;t=20", "r=1;t=40", "r=0;t=20", "r=0;t=20"] {
            let (decision, next) = rule.take(state, 1, now);
            assert_eq!(standing(&decision), format!("\"default\";{expected}"));
            state = next;
        }
    }

    #[test]
    fn a_part_of_a_second_is_a_second() {
        let decision = RateDecision {
            allowed: false,
            remaining: 0,
            retry_after: Duration::from_millis(100),
            reset_after: Duration::from_millis(59_100),
        };
        assert_eq!(standing(&decision), "\"default\";r=0;t=1");
        let some = RateDecision {
            remaining: 1,
            ..decision
        };
        assert_eq!(standing(&some), "\"default\";r=1;t=60");
    }
}

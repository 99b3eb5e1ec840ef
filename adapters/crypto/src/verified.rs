//! Tokens whose signature was found good: a token comes back with every request of its fifteen minutes, and checking
//! it anew costs more than all the rest of a small request.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock};

use domain::token::Claims;
use sha2::{Digest, Sha256};

/// Tokens in one generation; there are two, some 5 MB when both are full.
const GENERATION: usize = 4_096;

/// The SHA-256 of a whole token, signature and footer too: whatever is changed in one makes another.
type Fingerprint = [u8; 32];

type Tokens = HashMap<Fingerprint, Arc<Claims>>;

/// Claims by the token that they were verified in. Bounded: when the young generation is full it becomes the old one,
/// and what nobody asked for since then goes.
///
/// It knows genuine tokens of one set of keys and nothing of time: expiry is for the caller to look at each time.
#[derive(Default)]
pub(crate) struct Verified {
    generations: RwLock<Generations>,
}

#[derive(Default)]
struct Generations {
    young: Tokens,
    old: Tokens,
}

impl Verified {
    /// The claims of a token, from memory or, when it is not there, as `verify` finds them. What it refuses is not
    /// kept, so that rubbish pushes nothing out.
    pub(crate) fn claims(&self, token: &str, verify: impl FnOnce() -> Option<Claims>) -> Option<Arc<Claims>> {
        let fingerprint: Fingerprint = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.known(&fingerprint) {
            return Some(claims);
        }
        let claims = Arc::new(verify()?);
        self.keep(fingerprint, Arc::clone(&claims));
        Some(claims)
    }

    fn known(&self, fingerprint: &Fingerprint) -> Option<Arc<Claims>> {
        let old = {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(claims) = generations.young.get(fingerprint) {
                return Some(Arc::clone(claims));
            }
            Arc::clone(generations.old.get(fingerprint)?)
        };
        self.keep(*fingerprint, Arc::clone(&old));
        Some(old)
    }

    fn keep(&self, fingerprint: Fingerprint, claims: Arc<Claims>) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION {
            let full = mem::take(&mut generations.young);
            generations.old = full;
        }
        generations.young.insert(fingerprint, claims);
    }
}

#[cfg(test)]
mod tests {
    use ports::conformance::token_keyring::claims;

    use super::*;

    #[test]
    fn a_genuine_token_is_verified_once_and_another_text_is_another_token() {
        let verified = Verified::default();
        assert!(verified.claims("one", || Some(claims())).is_some());
        assert!(verified.claims("one", || panic!("verified twice")).is_some());
        assert!(verified.claims("onE", || None).is_none());
        assert!(
            verified.claims("onE", || Some(claims())).is_some(),
            "a refusal is not kept"
        );
    }

    #[test]
    fn a_flood_of_tokens_is_bounded_and_leaves_the_one_in_use() {
        let verified = Verified::default();
        verified.claims("used", || Some(claims()));
        for number in 0..5 * GENERATION {
            verified.claims(&number.to_string(), || Some(claims()));
            if number % 1_000 == 0 {
                assert!(verified.claims("used", || None).is_some(), "after {number}");
            }
        }
        let generations = verified.generations.read().unwrap();
        assert!(generations.young.len() <= GENERATION && generations.old.len() <= GENERATION);
        drop(generations);
        assert!(verified.claims("0", || None).is_none());
    }
}

//! Password hashing: bcrypt behind an HMAC prehash, on threads of its own.
//!
//! What bcrypt gets is `base64(HMAC-SHA-384(pepper, password))`: 64 characters, so that neither its limit of 72 bytes nor its
//! stop at the first NUL ever meets a password, and a stolen table cannot be searched without the pepper.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bcrypt::{BcryptResult, HashParts, Version};
use domain::password::{Password, PasswordRecord};
use hmac::{Hmac, Mac as _};
use ports::{BackendError, Clock, HashPasswordError, HashQueueStats, PasswordHasher, Randomness};
use sha2::Sha384;
use zeroize::Zeroizing;

use crate::pool::FairPool;
use crate::{ADAPTER, KeyUse, Keys};

const SCHEME: &str = "bcrypt-hmac-sha384";
/// The least cost that bcrypt has.
const MIN_COST: u32 = 4;
/// Above it one verification holds a core for many seconds: a stored cost beyond is damage, not a choice.
const MAX_COST: u32 = 16;
/// What cost 10 takes on one core, measured; each step doubles it.
const EXPECTED_AT_COST_10: Duration = Duration::from_millis(54);

/// How hard, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HasherConfig {
    /// The base-2 logarithm of bcrypt's rounds, 4 to 16. OWASP asks for at least 10; 12 takes about 220 ms of a core.
    pub cost: u32,
    /// Threads that hash; more than there are cores makes nothing faster.
    pub threads: usize,
    /// Calls that may wait; a client may hold a quarter of them.
    pub queue: usize,
}

/// Hashes passwords with bcrypt.
pub struct BcryptPasswordHasher {
    pool: FairPool,
    pepper: Hmac<Sha384>,
    pepper_id: String,
    cost: u32,
    randomness: Arc<dyn Randomness>,
}

/// What bcrypt gets in place of a password.
type Prehash = Zeroizing<String>;

impl BcryptPasswordHasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a figure is out of bounds, or a thread cannot be started.
    pub fn new(
        keys: &Keys,
        config: HasherConfig,
        randomness: Arc<dyn Randomness>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BackendError> {
        let HasherConfig { cost, threads, queue } = config;
        if !(MIN_COST..=MAX_COST).contains(&cost) || threads == 0 || queue == 0 {
            let rule = "the bcrypt cost must be 4 to 16, with at least one thread and one place in the queue";
            return Err(BackendError::permanent(ADAPTER, "start", rule));
        }
        let key = keys.derive(KeyUse::Pepper);
        let pepper = Hmac::<Sha384>::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length");
        let expected = EXPECTED_AT_COST_10 * 2_u32.pow(cost) / 2_u32.pow(10);
        let pool = FairPool::new(threads, queue, expected, clock)?;
        Ok(Self {
            pool,
            pepper_id: fingerprint(&pepper),
            pepper,
            cost,
            randomness,
        })
    }

    fn prehash(&self, password: &Password) -> Prehash {
        let mac = self
            .pepper
            .clone()
            .chain_update(password.as_bytes())
            .finalize()
            .into_bytes();
        Zeroizing::new(BASE64_STANDARD.encode(mac))
    }

    /// The hash to compare with, when the record is one that this hasher can judge.
    fn judged(&self, record: PasswordRecord) -> Option<String> {
        (record.scheme == SCHEME && record.pepper_id == self.pepper_id).then_some(record.hash)
    }
}

/// Names the pepper without telling it: 64 bits of its code over a fixed text.
fn fingerprint(pepper: &Hmac<Sha384>) -> String {
    let code = pepper.clone().chain_update(b"pepper.id.v1").finalize().into_bytes();
    code.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What a verification found, and what it cost.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    matches: bool,
    /// bcrypt's rounds, which are all the time that it takes.
    rounds: u64,
}

/// Compares at the cost of the hash, then does what is missing to the full cost: time tells neither whether there is a hash
/// nor how old it is. Without a hash that can be judged it does the same work and says no.
fn verdict(prehash: &str, hash: Option<&str>, cost: u32) -> Verdict {
    let compared = hash.and_then(|hash| {
        let parts: HashParts = hash
            .parse()
            .ok()
            .filter(|parts: &HashParts| parts.get_cost() <= MAX_COST)?;
        let matches = bcrypt::verify(prehash, hash).ok()?;
        Some((matches, parts.get_cost()))
    });
    let Some((matches, reached)) = compared else {
        return Verdict {
            matches: false,
            rounds: idle(prehash, cost),
        };
    };
    // 2^c and 2^c, 2^(c+1), ... up to 2^(cost-1) are 2^cost in all.
    let rest: u64 = (reached..cost).map(|step| idle(prehash, step)).sum();
    Verdict {
        matches,
        rounds: (1 << reached) + rest,
    }
}

/// Does the work of one hash and throws it away.
fn idle(prehash: &str, cost: u32) -> u64 {
    let wasted = black_box(bcrypt::hash_with_salt(prehash, cost, [0; 16]));
    if wasted.is_ok() { 1 << cost } else { 0 }
}

#[async_trait]
impl PasswordHasher for BcryptPasswordHasher {
    async fn hash(&self, client: &str, password: &Password) -> Result<PasswordRecord, HashPasswordError> {
        let (prehash, cost, mut salt) = (self.prehash(password), self.cost, [0; 16]);
        self.randomness.fill(&mut salt);
        let hashed: BcryptResult<HashParts> = self
            .pool
            .run(client, move || bcrypt::hash_with_salt(prehash.as_str(), cost, salt))
            .await?;
        let hashed = hashed.map_err(|error| BackendError::permanent(ADAPTER, "hash", error))?;
        Ok(PasswordRecord {
            scheme: SCHEME.to_owned(),
            cost,
            pepper_id: self.pepper_id.clone(),
            hash: hashed.format_for_version(Version::TwoB),
        })
    }

    async fn verify(
        &self,
        client: &str,
        password: &Password,
        record: Option<PasswordRecord>,
    ) -> Result<bool, HashPasswordError> {
        let (prehash, cost) = (self.prehash(password), self.cost);
        let hash = record.and_then(|record| self.judged(record));
        let verdict = self
            .pool
            .run(client, move || verdict(&prehash, hash.as_deref(), cost))
            .await?;
        Ok(verdict.matches)
    }

    fn is_outdated(&self, record: &PasswordRecord) -> bool {
        record.scheme != SCHEME || record.cost != self.cost || record.pepper_id != self.pepper_id
    }

    fn queue(&self) -> HashQueueStats {
        self.pool.stats()
    }
}

impl fmt::Debug for BcryptPasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BcryptPasswordHasher")
            .field("cost", &self.cost)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use domain::time::Timestamp;

    use super::*;
    use crate::MasterKey;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }
    }

    impl Randomness for Still {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(9);
        }
    }

    fn with_master(byte: u8) -> BcryptPasswordHasher {
        let keys = Keys::new(&MasterKey::from_bytes([byte; 32]));
        let config = HasherConfig {
            cost: 5,
            threads: 1,
            queue: 16,
        };
        BcryptPasswordHasher::new(&keys, config, Arc::new(Still), Arc::new(Still)).expect("it starts")
    }

    fn prehash(text: &str) -> Prehash {
        with_master(1).prehash(&Password::parse(text).expect("a password within bounds"))
    }

    fn hashed(prehash: &str, cost: u32) -> String {
        bcrypt::hash_with_salt(prehash, cost, [3; 16])
            .expect("a hash")
            .format_for_version(Version::TwoB)
    }

    #[test]
    fn bcrypt_alone_would_fall_into_its_traps() {
        let nul = bcrypt::hash("a", 4).expect("a hash");
        assert!(
            bcrypt::verify("a\0a", &nul).expect("an answer"),
            "a NUL ends a password"
        );
        let long = bcrypt::hash("x".repeat(73), 4).expect("a hash");
        assert!(
            bcrypt::verify(format!("{}y", "x".repeat(72)), &long).expect("an answer"),
            "byte 73 does not count"
        );
    }

    #[test]
    fn what_reaches_bcrypt_is_64_characters_without_nul() {
        for text in [
            "",
            "a",
            "a\0b",
            &"x".repeat(72),
            &"x".repeat(256),
            &"\u{10FFFF}".repeat(256),
        ] {
            let prehash = prehash(text);
            assert_eq!(prehash.len(), 64);
            assert!(
                prehash
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
            );
        }
    }

    #[test]
    fn every_bit_of_a_256_byte_password_changes_the_prehash() {
        let hasher = with_master(1);
        let password = [b'x'; 256];
        let mut seen = HashSet::new();
        let mut count = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).expect("ASCII");
            let prehash = hasher.prehash(&Password::parse(text).expect("a password within bounds"));
            assert!(seen.insert(prehash.to_string()), "{text:?} is hashed like another");
        };
        count(&password);
        for bit in (0..256 * 8).filter(|bit| bit % 8 != 7) {
            let mut changed = password;
            changed[bit / 8] ^= 1 << (bit % 8);
            count(&changed);
        }
        assert_eq!(seen.len(), 1 + 256 * 7);
    }

    #[test]
    fn the_pepper_counts_and_is_named_but_not_told() {
        let (one, two) = (with_master(1), with_master(2));
        let password = Password::parse("correct horse battery").expect("a password within bounds");
        assert_ne!(one.prehash(&password), two.prehash(&password));
        assert_ne!(one.pepper_id, two.pepper_id);
        assert_eq!((one.pepper_id.len(), &one.pepper_id), (16, &with_master(1).pepper_id));
    }

    #[test]
    fn the_work_is_the_same_whatever_there_is_to_compare_with() {
        let prehash = prehash("correct horse battery");
        let (right, wrong) = (hashed(&prehash, 7), hashed("another", 7));
        let (older, oldest) = (hashed(&prehash, 5), hashed("another", 4));
        for hash in [
            Some(right.as_str()),
            Some(&wrong),
            Some(&older),
            Some(&oldest),
            None,
            Some(""),
            Some("$2b$31$damaged"),
        ] {
            let verdict = verdict(&prehash, hash, 7);
            assert_eq!(verdict.rounds, 1 << 7, "{hash:?}");
            assert_eq!(
                verdict.matches,
                hash == Some(&right) || hash == Some(&older),
                "{hash:?}"
            );
        }
    }

    #[test]
    fn a_stored_cost_that_would_hold_a_core_for_hours_is_not_worked_off() {
        let prehash = prehash("correct horse battery");
        let damaged = hashed(&prehash, 4).replacen("$04$", "$31$", 1);
        assert_eq!(
            verdict(&prehash, Some(&damaged), 4),
            Verdict {
                matches: false,
                rounds: 1 << 4
            }
        );
    }

    #[test]
    fn a_foreign_record_is_not_compared() {
        let hasher = with_master(1);
        let record = PasswordRecord {
            scheme: SCHEME.to_owned(),
            cost: 5,
            pepper_id: hasher.pepper_id.clone(),
            hash: "hash".to_owned(),
        };
        assert_eq!(hasher.judged(record.clone()).as_deref(), Some("hash"));
        assert_eq!(
            hasher.judged(PasswordRecord {
                scheme: "argon2id".to_owned(),
                ..record.clone()
            }),
            None
        );
        assert_eq!(
            hasher.judged(PasswordRecord {
                pepper_id: with_master(2).pepper_id,
                ..record
            }),
            None
        );
    }

    #[test]
    fn figures_out_of_bounds_are_refused() {
        let keys = Keys::new(&MasterKey::from_bytes([1; 32]));
        let good = HasherConfig {
            cost: 4,
            threads: 1,
            queue: 1,
        };
        for bad in [
            HasherConfig { cost: 3, ..good },
            HasherConfig { cost: 17, ..good },
            HasherConfig { threads: 0, ..good },
            HasherConfig { queue: 0, ..good },
        ] {
            assert!(
                BcryptPasswordHasher::new(&keys, bad, Arc::new(Still), Arc::new(Still)).is_err(),
                "{bad:?}"
            );
        }
    }
}

//! Access tokens: PASETO v4.public, several live keys, each found by its PASERK id in the footer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::time::Timestamp;
use domain::token::{Claims, KeyStatus, SigningKey};
use pasetors::keys::{AsymmetricKeyPair, AsymmetricPublicKey, AsymmetricSecretKey, Generate as _};
use pasetors::paserk::{FormatAsPaserk, Id};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use pasetors::{Public, errors};
use ports::{
    BackendError, PublishedKey, SealPurpose, Sealer, TokenIssuer, TokenKeyring, TokenVerifier, VerifyTokenError,
};
use zeroize::Zeroizing;

use crate::verified::Verified;
use crate::{ADAPTER, claims};

/// The longest token that is looked at, in bytes; ours have about 800.
const MAX_TOKEN: usize = 4_096;
/// The longest footer that is decoded, in base64 characters; ours have 82.
const MAX_FOOTER: usize = 128;
/// How far the clocks of two nodes may lie apart.
const SKEW: Duration = Duration::from_secs(60);

/// The keys of this process, and the tokens made and verified with them.
pub struct PasetoKeyring {
    sealer: Arc<dyn Sealer>,
    issuer: String,
    audience: String,
    loaded: RwLock<Arc<Loaded>>,
}

/// One set of keys; replaced whole, so that nobody ever sees half of a change.
#[derive(Default)]
struct Loaded {
    signing: Option<Signing>,
    verifying: HashMap<String, AsymmetricPublicKey<V4>>,
    published: Vec<PublishedKey>,
    /// Goes with the keys that it was found with: what a revoked key has signed is not remembered.
    verified: Arc<Verified>,
}

struct Signing {
    secret: AsymmetricSecretKey<V4>,
    footer: String,
    activates_at: Timestamp,
}

impl PasetoKeyring {
    /// A keyring without keys, whose tokens must name this issuer and this audience.
    pub fn new(sealer: Arc<dyn Sealer>, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            sealer,
            issuer: issuer.into(),
            audience: audience.into(),
            loaded: RwLock::default(),
        }
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens a stored key and checks that its three parts belong together: otherwise whoever can write to the database could
    /// put the public half of a key of their own there.
    fn open(&self, key: &SigningKey) -> Result<(AsymmetricSecretKey<V4>, AsymmetricPublicKey<V4>), BackendError> {
        let opened = self
            .sealer
            .open(SealPurpose::SigningKey, key.kid.as_bytes(), &key.sealed_secret)?;
        let secret =
            AsymmetricSecretKey::<V4>::from(&Zeroizing::new(opened)).map_err(|error| failed("load", &error))?;
        let public = AsymmetricPublicKey::<V4>::try_from(&secret).map_err(|error| failed("load", &error))?;
        if paserk(&public)? != key.public || paserk(&Id::from(&public))? != key.kid {
            return Err(BackendError::permanent(
                ADAPTER,
                "load",
                format!("the parts of signing key {} do not belong together", key.kid),
            ));
        }
        Ok((secret, public))
    }

    fn genuine(&self, token: &str) -> Option<Arc<Claims>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let loaded = self.loaded();
        loaded.verified.claims(token, || self.verified_with(&loaded, token))
    }

    fn verified_with(&self, loaded: &Loaded, token: &str) -> Option<Claims> {
        let footer = token.rsplit_once('.')?.1;
        if footer.len() > MAX_FOOTER {
            return None;
        }
        let token = UntrustedToken::<Public, V4>::try_from(token).ok()?;
        let footer = token.untrusted_footer();
        let key = loaded.verifying.get(&*claims::kid(footer)?)?;
        let trusted = PublicToken::verify(key, &token, Some(footer), None).ok()?;
        let claims = claims::from_json(trusted.payload())?;
        (claims.issuer == self.issuer && claims.audience == self.audience).then_some(claims)
    }
}

fn failed(operation: &'static str, error: &errors::Error) -> BackendError {
    BackendError::permanent(ADAPTER, operation, error.to_string())
}

fn paserk(value: &impl FormatAsPaserk) -> Result<String, BackendError> {
    let mut text = String::new();
    value
        .fmt(&mut text)
        .map_err(|error| BackendError::permanent(ADAPTER, "paserk", error))?;
    Ok(text)
}

impl TokenKeyring for PasetoKeyring {
    fn generate(&self, status: KeyStatus, now: Timestamp, activates_at: Timestamp) -> Result<SigningKey, BackendError> {
        // The pair is made from the operating system's randomness, whatever the port gives.
        let pair = AsymmetricKeyPair::<V4>::generate().map_err(|error| failed("generate", &error))?;
        let kid = paserk(&Id::from(&pair.public))?;
        let sealed_secret = self
            .sealer
            .seal(SealPurpose::SigningKey, kid.as_bytes(), pair.secret.as_bytes())?;
        Ok(SigningKey {
            public: paserk(&pair.public)?,
            kid,
            sealed_secret,
            status,
            created_at: now,
            activates_at,
            retired_at: None,
        })
    }

    fn load(&self, keys: &[SigningKey]) -> Result<(), BackendError> {
        let mut loaded = Loaded::default();
        for key in keys.iter().filter(|key| key.status.verifies()) {
            let (secret, public) = self.open(key)?;
            loaded.verifying.insert(key.kid.clone(), public);
            let (kid, paserk) = (key.kid.clone(), key.public.clone());
            loaded.published.push(PublishedKey {
                kid,
                paserk,
                status: key.status,
            });
            // There is one active key; should there ever be two, all nodes must agree on which of them signs.
            let latest = loaded
                .signing
                .as_ref()
                .is_none_or(|signing| signing.activates_at < key.activates_at);
            if key.status == KeyStatus::Active && latest {
                let footer = format!("{{\"kid\":\"{}\"}}", key.kid);
                loaded.signing = Some(Signing {
                    secret,
                    footer,
                    activates_at: key.activates_at,
                });
            }
        }
        let mut current = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        // Keys are read again all the time and seldom change. A kid is the digest of its key.
        let same = current.verifying.len() == loaded.verifying.len()
            && current.verifying.keys().all(|kid| loaded.verifying.contains_key(kid));
        if same {
            loaded.verified = Arc::clone(&current.verified);
        }
        *current = Arc::new(loaded);
        Ok(())
    }

    fn published(&self) -> Vec<PublishedKey> {
        self.loaded().published.clone()
    }
}

impl TokenIssuer for PasetoKeyring {
    fn issue(&self, claims: &Claims) -> Result<String, BackendError> {
        let refused = |reason: &'static str| BackendError::permanent(ADAPTER, "issue", reason);
        let payload = claims::to_json(claims).ok_or_else(|| refused("a scope is empty or has a space in it"))?;
        let loaded = self.loaded();
        let signing = loaded
            .signing
            .as_ref()
            .ok_or_else(|| refused("no active signing key is loaded"))?;
        let token = PublicToken::sign(
            &signing.secret,
            payload.as_bytes(),
            Some(signing.footer.as_bytes()),
            None,
        )
        .map_err(|error| failed("issue", &error))?;
        // A token that no verifier would take is better refused here, where the cause is known.
        if token.len() > MAX_TOKEN {
            Err(refused("the claims are too long for a token"))
        } else {
            Ok(token)
        }
    }
}

impl TokenVerifier for PasetoKeyring {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, VerifyTokenError> {
        let claims = self.genuine(token).ok_or(VerifyTokenError::Invalid)?;
        if claims.expires_at <= now {
            return Err(VerifyTokenError::Expired);
        }
        if claims.not_before > now.plus(SKEW) {
            return Err(VerifyTokenError::Invalid);
        }
        Ok(Arc::unwrap_or_clone(claims))
    }
}

impl fmt::Debug for PasetoKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<String> = self.published().into_iter().map(|key| key.kid).collect();
        f.debug_struct("PasetoKeyring")
            .field("kids", &kids)
            .finish_non_exhaustive()
    }
}

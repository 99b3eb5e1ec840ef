//! Signatures of checkpoints: PASETO v4.public under a key that derives from the master key.
//!
//! It is no key of access tokens: those are rotated and revoked, and a checkpoint must be verifiable for as long as the
//! installation lives, by somebody who noted one public key once. What was signed carries an implicit assertion of its
//! own (PASETO version 4, section 2.2.3 of its common rules), so that no checkpoint passes for a token nor a token for one.

use std::fmt;

use ed25519_compact::{KeyPair, Seed};
use pasetors::Public;
use pasetors::errors::Error;
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::paserk::{FormatAsPaserk as _, Id};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use ports::{BackendError, CheckpointSigner};

use crate::{ADAPTER, KeyUse, Keys};

/// What every signature is bound to.
const ASSERTION: &[u8] = b"plinth.checkpoint.v1";
/// The longest statement that is looked at, in characters; ours have about 3,000.
const MAX_SIGNED: usize = 64 * 1_024;

/// Signs checkpoints with the installation's one key for them.
pub struct PasetoCheckpointSigner {
    secret: AsymmetricSecretKey<V4>,
    public: AsymmetricPublicKey<V4>,
    kid: String,
    paserk: String,
}

impl PasetoCheckpointSigner {
    /// The signer of the installation with these keys.
    ///
    /// # Errors
    /// When the library refuses the key, which it does for none.
    pub fn new(keys: &Keys) -> Result<Self, BackendError> {
        Self::from_seed(Seed::new(*keys.derive(KeyUse::Checkpoint)))
            .map_err(|error| BackendError::permanent(ADAPTER, "checkpoint key", error.to_string()))
    }

    fn from_seed(seed: Seed) -> Result<Self, Error> {
        let pair = KeyPair::from_seed(seed);
        let secret = AsymmetricSecretKey::<V4>::from(pair.sk.as_ref())?;
        let public = AsymmetricPublicKey::<V4>::from(pair.pk.as_ref())?;
        let (mut kid, mut paserk) = (String::new(), String::new());
        Id::from(&public).fmt(&mut kid).map_err(|_| Error::Key)?;
        public.fmt(&mut paserk).map_err(|_| Error::Key)?;
        Ok(Self {
            secret,
            public,
            kid,
            paserk,
        })
    }
}

impl CheckpointSigner for PasetoCheckpointSigner {
    fn public_key(&self) -> (String, String) {
        (self.kid.clone(), self.paserk.clone())
    }

    fn sign(&self, text: &str) -> Result<String, BackendError> {
        PublicToken::sign(&self.secret, text.as_bytes(), None, Some(ASSERTION))
            .map_err(|error| BackendError::permanent(ADAPTER, "sign a checkpoint", error.to_string()))
    }

    fn verify(&self, signed: &str) -> Option<String> {
        if signed.len() > MAX_SIGNED {
            return None;
        }
        let token = UntrustedToken::<Public, V4>::try_from(signed).ok()?;
        let trusted = PublicToken::verify(&self.public, &token, None, Some(ASSERTION)).ok()?;
        Some(trusted.payload().to_owned())
    }
}

impl fmt::Debug for PasetoCheckpointSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasetoCheckpointSigner")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

//! Sealing secrets for storage: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under one sub-key for each purpose.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use ports::{BackendError, Randomness, SealPurpose, Sealer};

use crate::mac::Coder;
use crate::{ADAPTER, KeyUse, Keys};

/// The first byte of everything sealed in this way.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Seals under the master key. Sealed: version, nonce of 24 random bytes, ciphertext with its tag of 16.
///
/// Nonces of 192 bits may be random: two meet once in 2^96 seals.
pub struct MasterSealer {
    signing_key: XChaCha20Poly1305,
    mail_token: XChaCha20Poly1305,
    webhook_secret: XChaCha20Poly1305,
    stream_ticket: XChaCha20Poly1305,
    blind: Coder,
    fingerprint: [u8; 32],
    randomness: Arc<dyn Randomness>,
}

impl MasterSealer {
    /// A sealer under these keys.
    pub fn new(keys: &Keys, randomness: Arc<dyn Randomness>) -> Self {
        let cipher = |purpose| XChaCha20Poly1305::new(&(*keys.derive(KeyUse::Seal(purpose))).into());
        Self {
            signing_key: cipher(SealPurpose::SigningKey),
            mail_token: cipher(SealPurpose::MailToken),
            webhook_secret: cipher(SealPurpose::WebhookSecret),
            stream_ticket: cipher(SealPurpose::StreamTicket),
            blind: Coder::new(&keys.derive(KeyUse::Blind)),
            fingerprint: *keys.derive(KeyUse::Fingerprint),
            randomness,
        }
    }

    const fn cipher(&self, purpose: SealPurpose) -> &XChaCha20Poly1305 {
        match purpose {
            SealPurpose::SigningKey => &self.signing_key,
            SealPurpose::MailToken => &self.mail_token,
            SealPurpose::WebhookSecret => &self.webhook_secret,
            SealPurpose::StreamTicket => &self.stream_ticket,
        }
    }
}

/// The same for a wrong key, purpose or context and for changed bytes: which of them it was cannot be told.
fn refusal() -> BackendError {
    BackendError::permanent(
        ADAPTER,
        "open",
        "what is sealed does not open: another master key, purpose or context, or changed bytes",
    )
}

impl Sealer for MasterSealer {
    fn seal(&self, purpose: SealPurpose, context: &[u8], secret: &[u8]) -> Result<Vec<u8>, BackendError> {
        let mut nonce = [0; NONCE_BYTES];
        self.randomness.fill(&mut nonce);
        let sealed = self
            .cipher(purpose)
            .encrypt(
                XNonce::from_slice(&nonce),
                Payload {
                    msg: secret,
                    aad: context,
                },
            )
            .map_err(|_| BackendError::permanent(ADAPTER, "seal", "the secret is too long to seal"))?;
        Ok([&[VERSION], nonce.as_slice(), sealed.as_slice()].concat())
    }

    fn open(&self, purpose: SealPurpose, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, BackendError> {
        let Some((&VERSION, rest)) = sealed.split_first() else {
            return Err(refusal());
        };
        if rest.len() < NONCE_BYTES + TAG_BYTES {
            return Err(refusal());
        }
        let (nonce, text) = rest.split_at(NONCE_BYTES);
        let opened = self.cipher(purpose).decrypt(
            XNonce::from_slice(nonce),
            Payload {
                msg: text,
                aad: context,
            },
        );
        opened.map_err(|_| refusal())
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn blind(&self, label: &str, text: &str) -> [u8; 32] {
        self.blind.code(&[label.as_bytes(), text.as_bytes()])
    }
}

impl fmt::Debug for MasterSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterSealer").finish_non_exhaustive()
    }
}

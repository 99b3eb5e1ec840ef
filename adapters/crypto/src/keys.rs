//! The master key and the sub-keys that derive from it, one for each use.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use hkdf::Hkdf;
use ports::{Randomness, SealPurpose};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Standard base64, with or without the padding that people lose when they copy.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The one secret of an installation: 32 random bytes, wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Why a text is not a master key. It names the rule, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// Nothing but white space.
    #[error("the master key is empty; it must be 32 random bytes in base64, as `openssl rand -base64 32` makes them")]
    Empty,
    /// A character that base64 does not have, or a cut that base64 does not make.
    #[error(
        "the master key is not base64; it must be 32 random bytes in base64, as `openssl rand -base64 32` makes them"
    )]
    NotBase64,
    /// Another number of bytes.
    #[error("the master key has {0} bytes; it must have 32, in base64, as `openssl rand -base64 32` makes them")]
    Length(usize),
}

impl MasterKey {
    /// Takes 32 bytes that were checked elsewhere.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads standard base64, padded or not, with white space around it as files have it.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn from_base64(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MasterKeyError::Empty);
        }
        let bytes = Zeroizing::new(LENIENT.decode(text).map_err(|_| MasterKeyError::NotBase64)?);
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| MasterKeyError::Length(bytes.len()))?;
        Ok(Self::from_bytes(key))
    }

    /// A new key. The randomness must be fit for secrets.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        randomness.fill(key.as_mut_slice());
        Self(key)
    }

    /// The key as it is stored: 44 characters of base64.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(self.0.as_slice()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

/// A key for one use, wiped from memory when it is dropped.
pub type SubKey = Zeroizing<[u8; 32]>;

/// What a sub-key is for. Each use has its own, so that no output of one means anything to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Tells installations apart without telling the key.
    Fingerprint,
    /// Keyed hashes of look-up keys.
    Blind,
    /// The pepper of passwords.
    Pepper,
    /// Signatures of links.
    Link,
    /// Codes of refresh tokens.
    Refresh,
    /// The seed of the key that signs checkpoints of the log.
    Checkpoint,
    /// Sealing for storage.
    Seal(SealPurpose),
}

impl KeyUse {
    /// The label. It must never change: what was made under it would open no more.
    const fn label(self) -> &'static str {
        match self {
            Self::Fingerprint => "plinth/v1/fingerprint",
            Self::Blind => "plinth/v1/blind",
            Self::Pepper => "plinth/v1/pepper",
            Self::Link => "plinth/v1/link",
            Self::Refresh => "plinth/v1/refresh",
            Self::Checkpoint => "plinth/v1/checkpoint",
            Self::Seal(SealPurpose::SigningKey) => "plinth/v1/seal/signing-key",
            Self::Seal(SealPurpose::MailToken) => "plinth/v1/seal/mail-token",
            Self::Seal(SealPurpose::WebhookSecret) => "plinth/v1/seal/webhook-secret",
            Self::Seal(SealPurpose::StreamTicket) => "plinth/v1/seal/stream-ticket",
        }
    }
}

/// The sub-keys of a master key, by HKDF-SHA256 (RFC 5869) with one label for each use.
#[derive(Clone)]
pub struct Keys {
    pseudorandom: SubKey,
}

impl Keys {
    /// The sub-keys of this master key.
    pub fn new(master: &MasterKey) -> Self {
        let (pseudorandom, _) = Hkdf::<Sha256>::extract(Some(b"plinth/v1"), master.0.as_slice());
        Self {
            pseudorandom: Zeroizing::new(pseudorandom.into()),
        }
    }

    /// The key for this use; always the same for one master key.
    pub fn derive(&self, key_use: KeyUse) -> SubKey {
        let mut key = Zeroizing::new([0; 32]);
        let expanded = Hkdf::<Sha256>::from_prk(self.pseudorandom.as_slice())
            .map_err(|error| error.to_string())
            .and_then(|hkdf| {
                hkdf.expand(key_use.label().as_bytes(), key.as_mut_slice())
                    .map_err(|error| error.to_string())
            });
        // RFC 5869 section 2.3: a key of one hash length and an output of at most 255 of them always work.
        expanded.expect("HKDF-SHA256 makes 32 bytes of 32 bytes");
        key
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const USES: [KeyUse; 9] = [
        KeyUse::Fingerprint,
        KeyUse::Blind,
        KeyUse::Pepper,
        KeyUse::Link,
        KeyUse::Refresh,
        KeyUse::Checkpoint,
        KeyUse::Seal(SealPurpose::SigningKey),
        KeyUse::Seal(SealPurpose::MailToken),
        KeyUse::Seal(SealPurpose::WebhookSecret),
    ];

    #[test]
    fn reads_what_it_wrote_and_what_people_paste() {
        let key = MasterKey::from_bytes([0xA5; 32]);
        let text = key.to_base64();
        assert_eq!(text.len(), 44);
        for pasted in [
            text.to_string(),
            format!(" {}\r\n", *text),
            text.trim_end_matches('=').to_owned(),
        ] {
            assert!(MasterKey::from_base64(&pasted) == Ok(key.clone()), "{pasted:?}");
        }
    }

    #[test]
    fn names_the_rule_that_a_text_breaks() {
        assert_eq!(MasterKey::from_base64(" \n").err(), Some(MasterKeyError::Empty));
        assert_eq!(
            MasterKey::from_base64("not base64!").err(),
            Some(MasterKeyError::NotBase64)
        );
        assert_eq!(
            MasterKey::from_base64(&BASE64_STANDARD.encode([7; 31])).err(),
            Some(MasterKeyError::Length(31))
        );
        assert_eq!(
            MasterKey::from_base64(&BASE64_STANDARD.encode([7; 33])).err(),
            Some(MasterKeyError::Length(33))
        );
        let said = MasterKeyError::Length(31).to_string();
        assert!(said.contains("31 bytes") && said.contains("32, in base64"), "{said}");
    }

    #[test]
    fn shows_nothing_of_itself() {
        let key = MasterKey::from_bytes([0xA5; 32]);
        let shown = format!("{key:?} {:?}", Keys::new(&key));
        assert_eq!(shown, "MasterKey([redacted]) Keys([redacted])");
    }

    #[test]
    fn derives_another_key_for_each_use_and_each_master_key() {
        let masters = [MasterKey::from_bytes([1; 32]), MasterKey::from_bytes([2; 32])];
        let derived: HashSet<[u8; 32]> = masters
            .iter()
            .flat_map(|master| USES.map(|key_use| *Keys::new(master).derive(key_use)))
            .collect();
        assert_eq!(derived.len(), 2 * USES.len());
    }

    #[test]
    fn derives_the_same_key_for_ever() {
        // Made by an independent HKDF-SHA256 of 32 zero bytes: a change here would lock every installation out.
        let keys = Keys::new(&MasterKey::from_bytes([0; 32]));
        let hex = |key_use| {
            keys.derive(key_use)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(
            hex(KeyUse::Pepper),
            "8ba6bc7af10782a1595602cdb05a85cf52ea3763087724bdbb741bce10fd93d0"
        );
        assert_eq!(
            hex(KeyUse::Seal(SealPurpose::SigningKey)),
            "48ab76cbf0f24249fae0fa404265aa08e7d1a717b5bded86a7ebd7cf909b7056"
        );
    }
}

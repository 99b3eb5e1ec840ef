//! HMAC-SHA256 over parts that cannot run into each other.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::SubKey;

/// A key that was put into the hash state once, so that each code costs only its own text.
#[derive(Clone)]
pub(crate) struct Coder(Hmac<Sha256>);

impl Coder {
    pub(crate) fn new(key: &SubKey) -> Self {
        // RFC 2104 section 2: a key of any length will do.
        Self(Hmac::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length"))
    }

    /// The code of these parts, each preceded by its length.
    pub(crate) fn code(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.over(parts).finalize().into_bytes().into()
    }

    /// Whether it is the code of these parts, compared in constant time.
    pub(crate) fn is_code(&self, parts: &[&[u8]], code: &[u8]) -> bool {
        self.over(parts).verify_slice(code).is_ok()
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

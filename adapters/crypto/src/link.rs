//! Signatures of links to our own download route.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ports::{LinkGrant, LinkSigner};

use crate::mac::Coder;
use crate::{KeyUse, Keys};

/// What is signed, and in which order, is a version of its own.
const VERSION: &[u8] = b"link.v1";

/// Signs links under HMAC-SHA256, in base64url without padding (43 characters).
pub struct HmacLinkSigner {
    coder: Coder,
}

impl HmacLinkSigner {
    /// A signer under these keys.
    pub fn new(keys: &Keys) -> Self {
        Self {
            coder: Coder::new(&keys.derive(KeyUse::Link)),
        }
    }
}

/// Calls `f` with the parts that are signed.
fn with_parts<T>(grant: &LinkGrant, f: impl FnOnce(&[&[u8]]) -> T) -> T {
    let file = grant.file.uuid().into_bytes();
    let expires_at = grant.expires_at.seconds().to_be_bytes();
    f(&[
        VERSION,
        grant.method.as_bytes(),
        &file,
        &expires_at,
        grant.disposition.as_bytes(),
    ])
}

impl LinkSigner for HmacLinkSigner {
    fn sign(&self, grant: &LinkGrant) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(with_parts(grant, |parts| self.coder.code(parts)))
    }

    fn verify(&self, grant: &LinkGrant, signature: &str) -> bool {
        let Ok(code) = BASE64_URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        with_parts(grant, |parts| self.coder.is_code(parts, &code))
    }
}

impl fmt::Debug for HmacLinkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacLinkSigner").finish_non_exhaustive()
    }
}

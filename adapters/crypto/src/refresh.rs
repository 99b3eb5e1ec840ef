//! Refresh tokens: `plr_` and base64url of session id, generation and their code.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::id::SessionId;
use ports::RefreshTokenCodec;
use uuid::Uuid;

use crate::mac::Coder;
use crate::{KeyUse, Keys};

/// Lets people, secret scanners and log filters see what it is.
const PREFIX: &str = "plr_";
const CONTEXT: &[u8] = b"refresh.v1";
const ID_BYTES: usize = 16;
const GENERATION_BYTES: usize = 4;
const CODE_BYTES: usize = 32;
const BYTES: usize = ID_BYTES + GENERATION_BYTES + CODE_BYTES;
/// 52 bytes in base64 without padding.
const TEXT_LENGTH: usize = PREFIX.len() + 70;

/// Makes and reads refresh tokens under HMAC-SHA256.
pub struct HmacRefreshTokenCodec {
    coder: Coder,
}

impl HmacRefreshTokenCodec {
    /// A codec under these keys.
    pub fn new(keys: &Keys) -> Self {
        Self {
            coder: Coder::new(&keys.derive(KeyUse::Refresh)),
        }
    }
}

impl RefreshTokenCodec for HmacRefreshTokenCodec {
    fn encode(&self, session: SessionId, generation: u32) -> String {
        let (id, generation) = (session.uuid().into_bytes(), generation.to_be_bytes());
        let code = self.coder.code(&[CONTEXT, &id, &generation]);
        let bytes = [id.as_slice(), generation.as_slice(), code.as_slice()].concat();
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    fn decode(&self, token: &str) -> Option<(SessionId, u32)> {
        if token.len() != TEXT_LENGTH {
            return None;
        }
        // The engine takes one spelling of each value only: no padding, no bits beyond the last byte.
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let bytes = <[u8; BYTES]>::try_from(bytes).ok()?;
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (generation, code) = rest.split_first_chunk::<GENERATION_BYTES>()?;
        let genuine = self.coder.is_code(&[CONTEXT, id, generation], code);
        genuine.then(|| (SessionId::new(Uuid::from_bytes(*id)), u32::from_be_bytes(*generation)))
    }
}

impl fmt::Debug for HmacRefreshTokenCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacRefreshTokenCodec").finish_non_exhaustive()
    }
}

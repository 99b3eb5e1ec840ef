//! The public keys that verify access tokens.

use std::sync::Arc;

use openapi::{KeyBody, KeysBody};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use ports::TokenKeyring;

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[("list_public_keys", &[])];

/// The operations.
pub struct KeysApi {
    /// The keys of this process.
    pub keyring: Arc<dyn TokenKeyring>,
}

impl std::fmt::Debug for KeysApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeysApi").finish_non_exhaustive()
    }
}

/// The keys.
#[derive(Debug, ApiResponse)]
pub enum Keys {
    /// The keys.
    #[oai(status = 200)]
    Keys(
        Json<KeysBody>,
        /// A new key is published ten minutes before it signs: five minutes of caching never miss it.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[OpenApi(tag = "super::Tags::Keys")]
impl KeysApi {
    /// List the public keys
    ///
    /// What an edge or another service needs to verify access tokens without asking. Look the key up by the `kid` in a token's footer, and fetch this list again when it is not there.
    #[oai(path = "/.well-known/paseto-keys", method = "get", operation_id = "list_public_keys")]
    async fn list(&self) -> Keys {
        let published = self.keyring.published().into_iter();
        let keys = published.map(|key| KeyBody {
            kid: key.kid,
            paserk: key.paserk,
            status: key.status.as_str().to_owned(),
        });
        Keys::Keys(
            Json(KeysBody { keys: keys.collect() }),
            "public, max-age=300".to_owned(),
        )
    }
}

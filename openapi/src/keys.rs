//! Bodies about public keys.
use serde::{Deserialize, Serialize};

/// A public key that verifies access tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct KeyBody {
    /// The PASERK id (`k4.pid...`), which stands as `kid` in the footer of the tokens that it verifies.
    pub kid: String,
    /// The key as PASERK (`k4.public...`).
    pub paserk: String,
    /// `pending` (signs soon), `active` (signs) or `retiring` (signs no more, still verifies).
    pub status: String,
}

/// The public keys that verify access tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct KeysBody {
    /// The keys.
    pub keys: Vec<KeyBody>,
}

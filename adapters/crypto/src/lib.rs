//! Everything that stands on the master key: its sub-keys, sealing, tokens, links and password hashing.

mod checkpoint;
mod claims;
mod hasher;
mod keyring;
mod keys;
mod link;
mod mac;
mod pool;
mod refresh;
mod sealer;
mod verified;

pub use checkpoint::PasetoCheckpointSigner;
pub use hasher::{BcryptPasswordHasher, HasherConfig};
pub use keyring::PasetoKeyring;
pub use keys::{KeyUse, Keys, MasterKey, MasterKeyError, SubKey};
pub use link::HmacLinkSigner;
pub use refresh::HmacRefreshTokenCodec;
pub use sealer::MasterSealer;

/// The name of this adapter in errors.
const ADAPTER: &str = "crypto";

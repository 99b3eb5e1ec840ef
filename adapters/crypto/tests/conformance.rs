//! The suites of the ports that this adapter implements.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use adapter_crypto::{
    BcryptPasswordHasher, HasherConfig, HmacLinkSigner, HmacRefreshTokenCodec, Keys, MasterKey, MasterSealer,
    PasetoCheckpointSigner, PasetoKeyring,
};
use domain::time::Timestamp;
use ports::conformance::token_keyring::{AUDIENCE, ISSUER};
use ports::{Clock, Randomness};

/// Never the same bytes twice within a test.
#[derive(Default)]
struct Counting(AtomicU64);

impl Randomness for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self
                .0
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A millisecond passes with each look.
#[derive(Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1_000, Ordering::Relaxed))
    }
}

fn keys(byte: u8) -> Keys {
    Keys::new(&MasterKey::from_bytes([byte; 32]))
}

fn master_sealer(byte: u8) -> MasterSealer {
    MasterSealer::new(&keys(byte), Arc::new(Counting::default()))
}

async fn sealers() -> Option<((MasterSealer, MasterSealer), ())> {
    Some(((master_sealer(1), master_sealer(2)), ()))
}

async fn codecs() -> Option<((HmacRefreshTokenCodec, HmacRefreshTokenCodec), ())> {
    Some((
        (
            HmacRefreshTokenCodec::new(&keys(1)),
            HmacRefreshTokenCodec::new(&keys(2)),
        ),
        (),
    ))
}

async fn signers() -> Option<((HmacLinkSigner, HmacLinkSigner), ())> {
    Some(((HmacLinkSigner::new(&keys(1)), HmacLinkSigner::new(&keys(2))), ()))
}

async fn checkpoint_signers() -> Option<((PasetoCheckpointSigner, PasetoCheckpointSigner), ())> {
    let signer = |byte| PasetoCheckpointSigner::new(&keys(byte)).expect("a signer");
    Some(((signer(1), signer(2)), ()))
}

async fn tokens() -> Option<(PasetoKeyring, ())> {
    Some((PasetoKeyring::new(Arc::new(master_sealer(1)), ISSUER, AUDIENCE), ()))
}

async fn bcrypt() -> Option<(BcryptPasswordHasher, ())> {
    let config = HasherConfig {
        cost: 4,
        threads: 2,
        queue: 8,
    };
    let hasher = BcryptPasswordHasher::new(
        &keys(1),
        config,
        Arc::new(Counting::default()),
        Arc::new(Ticking::default()),
    );
    Some((hasher.expect("it starts"), ()))
}

mod sealer {
    ports::sealer_conformance!(super::sealers());
}

mod refresh_token_codec {
    ports::refresh_token_codec_conformance!(super::codecs());
}

mod link_signer {
    ports::link_signer_conformance!(super::signers());
}

mod checkpoint_signer {
    ports::checkpoint_signer_conformance!(super::checkpoint_signers());
}

mod token_keyring {
    ports::token_keyring_conformance!(super::tokens());
}

mod token_issuer {
    ports::token_issuer_conformance!(super::tokens());
}

mod token_verifier {
    ports::token_verifier_conformance!(super::tokens());
}

mod password_hasher {
    ports::password_hasher_conformance!(super::bcrypt());
}

//! What derives from the master key: signed tokens and links, hashed passwords.

use std::time::Duration;

use domain::id::{FileId, SessionId, UserId};
use domain::password::Password;
use domain::token::{Claims, KeyStatus};
use domain::user::Role;
use ports::{
    BackendError, HashPasswordError, InstallationRepository, LinkGrant, LinkSigner, PasswordHasher,
    SigningKeyRepository,
};
use tokio::time::Instant;

use super::{Verdict, count, database, in_words, innermost};
use crate::compose::look::{self, Derived, Keyring};
use crate::config::Config;
use crate::service::Toolkit;

/// A person waits for a login.
const SLOW_HASH: Duration = Duration::from_secs(1);
/// The issuer of tokens that no server of any installation takes.
const ISSUER: &str = "urn:plinth:doctor";

/// Whether the key is there and the one that the installation was made with.
pub(super) async fn master_key(
    config: &Config,
    installation: Option<&dyn InstallationRepository>,
    toolkit: &Toolkit,
) -> (Verdict, Option<Derived>) {
    let found = look::derived(config, toolkit);
    let bound = match installation {
        Some(installation) => match installation.bound_master_key().await {
            Ok(bound) => bound,
            Err(error) => return (database::refused(&innermost(&error), error.full), None),
        },
        None => None,
    };
    let place = place(config);
    match found {
        Err(error) => {
            let fix = format!("give {place} back from a backup: 32 bytes in base64, readable for this user");
            (Verdict::fail(error.to_string(), fix), None)
        }
        Ok(derived) => {
            let fingerprint = derived.as_ref().map(|derived| derived.sealer.fingerprint());
            let verdict = compare(fingerprint, bound, installation.is_some(), &place);
            (verdict, derived)
        }
    }
}

fn place(config: &Config) -> String {
    let set = config.secrets.iter().find(|secret| secret.key == "master_key");
    match set {
        Some(secret) => match &secret.file {
            Some(file) => file.display().to_string(),
            None => secret.origin.to_string(),
        },
        None => look::master_key_file(config).display().to_string(),
    }
}

pub(super) fn compare(own: Option<[u8; 32]>, bound: Option<[u8; 32]>, looked: bool, place: &str) -> Verdict {
    match (own, bound) {
        (Some(own), Some(bound)) if own == bound => Verdict::ok(format!("the installation's, from {place}")),
        (Some(_), Some(_)) => Verdict::fail(
            format!("the one from {place} is not the one that the installation was made with"),
            "give this node the key of the other nodes, or the one from the backup (PLINTH_MASTER_KEY_FILE)",
        ),
        (None, Some(_)) => Verdict::fail(
            format!("{place} is gone, and the installation was made with it"),
            "give the file back from a backup: without it no password and no stored key can be opened",
        ),
        (Some(_), None) if looked => Verdict::ok(format!("from {place}; the first start binds the installation to it")),
        (Some(_), None) => Verdict::ok(format!(
            "read from {place}; not compared, as there is no schema to read"
        )),
        (None, None) => Verdict::skipped(format!("the first start makes it: {place}")),
    }
}

/// Signs with the stored active key and verifies; gives the ids of the published keys.
pub(super) async fn tokens(
    repository: &dyn SigningKeyRepository,
    keyring: impl FnOnce(&str) -> Keyring,
    toolkit: &Toolkit,
) -> (Verdict, Option<Vec<String>>) {
    let keys = match repository.list().await {
        Ok(keys) => keys,
        Err(error) => return (database::refused(&innermost(&error), error.full), None),
    };
    if keys.is_empty() {
        return (
            Verdict::skipped("there is no signing key yet; the first start makes it"),
            None,
        );
    }
    let (ring, issuer, verifier) = keyring(ISSUER);
    if let Err(error) = ring.load(&keys) {
        let verdict = Verdict::fail(
            format!("a stored signing key does not open: {}", innermost(&error)),
            "give this node the master key that it was sealed with, or restore the table signing_keys from a backup",
        );
        return (verdict, None);
    }
    let published: Vec<String> = ring.published().into_iter().map(|key| key.kid).collect();
    let active = keys.iter().find(|key| key.status == KeyStatus::Active);
    let Some(active) = active else {
        let fix = "run `plinth keys rotate --now`, and see why no server moves the keys on";
        return (
            Verdict::fail("no signing key is active, so nobody can sign in", fix),
            Some(published),
        );
    };
    let claims = claims(toolkit);
    let verdict = match round_trip(&claims, issuer.issue(&claims), |token| {
        verifier.verify(token, toolkit.now()).ok()
    }) {
        Ok(()) => Verdict::ok(format!(
            "{} signs and verifies; {} published",
            shortened(&active.kid),
            count(published.len() as u64, "key")
        )),
        Err(cause) => Verdict::fail(
            cause,
            "run `plinth keys rotate --now`; if it stays so, restart every node",
        ),
    };
    (verdict, Some(published))
}

/// Its own is taken, a changed one is not.
fn round_trip(
    claims: &Claims,
    issued: Result<String, BackendError>,
    verify: impl Fn(&str) -> Option<Claims>,
) -> Result<(), String> {
    let token = issued.map_err(|error| format!("no token can be signed: {}", innermost(&error)))?;
    if verify(&token).as_ref() != Some(claims) {
        return Err("a token that was just signed is not taken".to_owned());
    }
    let middle = token.len() / 2;
    let other = if token.as_bytes().get(middle) == Some(&b'A') {
        "B"
    } else {
        "A"
    };
    let mut changed = token;
    changed.replace_range(middle..=middle, other);
    if verify(&changed).is_some() {
        return Err("a token that was changed is taken".to_owned());
    }
    Ok(())
}

fn claims(toolkit: &Toolkit) -> Claims {
    // Times have whole seconds in a token.
    let now = domain::time::Timestamp::from_seconds(toolkit.now().seconds());
    Claims {
        subject: UserId::SYSTEM,
        tier: domain::tier::TierName::free(),
        role: Role::User,
        session: SessionId::new(toolkit.id()),
        epoch: 0,
        scope: Vec::new(),
        methods: Vec::new(),
        authenticated_at: now,
        actor: None,
        audience: ISSUER.to_owned(),
        issuer: ISSUER.to_owned(),
        issued_at: now,
        not_before: now,
        expires_at: now.plus(Duration::from_secs(60)),
        token_id: toolkit.id(),
    }
}

/// An id is told by its beginning and its end.
fn shortened(kid: &str) -> String {
    match (kid.get(..16), kid.get(kid.len().saturating_sub(4)..)) {
        (Some(start), Some(end)) if kid.len() > 24 => format!("{start}…{end}"),
        _ => kid.to_owned(),
    }
}

/// Signs a link; with another expiry the signature does not hold.
pub(super) fn links(signer: &dyn LinkSigner, toolkit: &Toolkit) -> Verdict {
    let mut grant = LinkGrant {
        method: "GET".to_owned(),
        file: FileId::new(toolkit.id()),
        expires_at: toolkit.now().plus(Duration::from_secs(60)),
        disposition: "attachment".to_owned(),
    };
    let signature = signer.sign(&grant);
    let genuine = signer.verify(&grant, &signature);
    grant.expires_at = grant.expires_at.plus(Duration::from_secs(3_600));
    if genuine && !signer.verify(&grant, &signature) {
        Verdict::ok("a signed link is taken, and refused when its expiry was changed")
    } else {
        Verdict::fail(
            "a signed link does not hold, or holds when it was changed",
            "reinstall the binary: links are signed in this process alone",
        )
    }
}

/// Hashes at the configured cost, and verifies the right and a wrong password.
pub(super) async fn passwords(hasher: &dyn PasswordHasher, cost: u32, threads: usize, toolkit: &Toolkit) -> Verdict {
    let password = |text: String| Password::parse(&text).map_err(|refusal| refusal.to_string());
    let tried = async {
        let (right, wrong) = (password(toolkit.id().to_string())?, password(toolkit.id().to_string())?);
        let failed = |error: HashPasswordError| format!("no password can be hashed: {}", innermost(&error));
        let began = Instant::now();
        let record = hasher.hash("doctor", &right).await.map_err(failed)?;
        let took = began.elapsed();
        let taken = hasher
            .verify("doctor", &right, Some(record.clone()))
            .await
            .map_err(failed)?;
        let refused = !hasher.verify("doctor", &wrong, Some(record)).await.map_err(failed)?;
        Ok::<_, String>((took, taken && refused))
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let fix = "set auth.bcrypt_cost (PLINTH_AUTH_BCRYPT_COST) lower, 12 is the default, or give the machine more cores";
    match tried.await {
        Err(cause) => Verdict::fail(
            cause,
            "see auth.hash_threads and auth.hash_queue, and the machine's memory",
        ),
        Ok((_, false)) => Verdict::fail(
            "the right password is refused, or a wrong one taken",
            "reinstall the binary: passwords are hashed in this process alone",
        ),
        Ok((took, true)) => {
            let threads = threads.min(cores);
            let rate = threads as f64 / took.as_secs_f64().max(1e-6);
            let at_most = if rate >= 10.0 {
                format!("{rate:.0}")
            } else {
                format!("{rate:.1}")
            };
            let cause = format!(
                "a hash of cost {cost} takes {}: at most {at_most} logins/s with {}",
                in_words(took),
                count(threads as u64, "thread")
            );
            if took > SLOW_HASH {
                Verdict::warn(cause, fix)
            } else {
                Verdict::ok(cause)
            }
        }
    }
}

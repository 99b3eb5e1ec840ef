//! Passwords by the rules of NIST SP 800-63B revision 4, section 3.1.1.

use std::cmp::Reverse;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// A password in the one form that is ever compared: NFKC, so that the same keys typed on two systems agree.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why a password is refused. It names the rule, never the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefusal {
    /// Fewer code points than the policy asks for.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// More than [`Password::MAX_CODE_POINTS`] code points or [`Password::MAX_BYTES`] bytes.
    #[error("must have at most 256 characters and 1,024 bytes")]
    TooLong,
    /// Common, or made of the address or the name: guessed early.
    #[error("is too easy to guess: it is common, repeats itself or uses your name or address")]
    Guessable,
}

impl PasswordRefusal {
    /// The stable code of the rule, as the API gives it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooShort(_) => "too_short",
            Self::TooLong => "too_long",
            Self::Guessable => "too_guessable",
        }
    }
}

impl Password {
    /// The most code points, after normalisation (NIST asks for at least 64).
    pub const MAX_CODE_POINTS: usize = 256;
    /// The most bytes, after normalisation: NFKC can turn one code point into eighteen.
    pub const MAX_BYTES: usize = 1_024;
    // The decomposed spelling of a password is up to four times as long as what it normalises to, and must not be
    // refused where the composed one is taken. This bound only keeps the work of normalising small.
    const MAX_RAW_BYTES: usize = 4 * Self::MAX_BYTES;

    /// Normalises what was typed. Only the upper bounds hold here, so that any password that was ever accepted can still sign in.
    ///
    /// # Errors
    /// [`PasswordRefusal::TooLong`].
    pub fn parse(raw: &str) -> Result<Self, PasswordRefusal> {
        if raw.len() > Self::MAX_RAW_BYTES {
            return Err(PasswordRefusal::TooLong);
        }
        let normalised: String = raw.nfkc().take(Self::MAX_CODE_POINTS + 1).collect();
        if normalised.len() > Self::MAX_BYTES || normalised.chars().count() > Self::MAX_CODE_POINTS {
            return Err(PasswordRefusal::TooLong);
        }
        Ok(Self(normalised))
    }

    /// The bytes to hash, every one of which counts.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// What a new password must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// The fewest code points: 15 where the password is the only factor (NIST SP 800-63B-4); below [`PasswordPolicy::FLOOR`] it counts as that.
    pub min_code_points: usize,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { min_code_points: 15 }
    }
}

impl PasswordPolicy {
    /// The fewest code points that any policy may ask for (NIST SP 800-63B-4 section 3.1.1.2, password with a second factor).
    pub const FLOOR: usize = 8;

    /// Judges a new password; `context` holds the user's own words (address, name). Takes up to some milliseconds of CPU.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, password: &Password, context: &[&str]) -> Result<(), PasswordRefusal> {
        let min = self.min_code_points.max(Self::FLOOR);
        if password.0.chars().count() < min {
            return Err(PasswordRefusal::TooShort(min));
        }
        // In the form that the password has, or a name typed with combining marks would not be found in it.
        let context: Vec<String> = context.iter().map(|text| text.nfkc().collect()).collect();
        let parts = context
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
        let mut words: Vec<&str> = parts
            .chain(context.iter().map(String::as_str))
            .filter(|word| word.len() > 2)
            .collect();
        words.sort_unstable_by_key(|word| Reverse(word.len()));
        // zxcvbn takes three words in a row for strong whichever they are: what is not the user's own must count too.
        if beyond(&password.0, &words) < Self::FLOOR {
            return Err(PasswordRefusal::Guessable);
        }
        // Below a million guesses a throttled online attack succeeds within its day (zxcvbn, Wheeler 2016, score 2).
        if zxcvbn::zxcvbn(&password.0, &words).score() < zxcvbn::Score::Two {
            return Err(PasswordRefusal::Guessable);
        }
        Ok(())
    }
}

/// How many code points are left when the words are taken out.
fn beyond(password: &str, words: &[&str]) -> usize {
    let whole = password.to_lowercase();
    let left = words
        .iter()
        .fold(whole, |left, word| left.replace(&word.to_lowercase(), ""));
    left.chars().count()
}

/// How a stored password was hashed: enough to verify it, to see that it is out of date, and to name its pepper.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordRecord {
    /// The scheme, for example `bcrypt-hmac-sha384`.
    pub scheme: String,
    /// The work factor: base-2 logarithm of the rounds for bcrypt.
    pub cost: u32,
    /// Which pepper the prehash was keyed with.
    pub pepper_id: String,
    /// The encoded hash with its salt.
    pub hash: String,
}

impl PasswordRecord {
    /// A record that no password matches: of a user who has yet to choose one by mail.
    pub fn unusable() -> Self {
        Self {
            scheme: "none".to_owned(),
            cost: 0,
            pepper_id: String::new(),
            hash: String::new(),
        }
    }
}

impl fmt::Debug for PasswordRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordRecord")
            .field("scheme", &self.scheme)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

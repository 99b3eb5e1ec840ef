//! Tiers (plans) and what they entitle a user to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The name of a tier: 1 to 32 of `a-z`, `0-9`, `_` and `-`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TierName(String);

/// A text cannot be the name of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter")]
pub struct ParseTierNameError;

impl TierName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tier of a new user, and the fallback of a tier that is configured no more.
    pub fn free() -> Self {
        Self("free".to_owned())
    }
}

impl FromStr for TierName {
    type Err = ParseTierNameError;

    fn from_str(text: &str) -> Result<Self, ParseTierNameError> {
        let fits = (1..=32).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseTierNameError)
        }
    }
}

impl fmt::Display for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tier allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierLimits {
    /// The largest single file, in bytes.
    pub max_file_bytes: u64,
    /// All files of a user together, in bytes.
    pub storage_bytes: u64,
    /// Requests in a minute, over all routes that need a token.
    pub requests_per_minute: u32,
    /// Events published in a minute.
    pub events_per_minute: u32,
}

/// A plan: its name, its features and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name, which travels in tokens.
    pub name: TierName,
    /// Features that the product asks for by name.
    pub features: BTreeSet<String>,
    /// Its limits.
    pub limits: TierLimits,
}

/// All tiers of an installation; `free` is always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(BTreeMap<TierName, Tier>);

/// The tiers have no `free`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have a tier named free, the one of a new user")]
pub struct NoFreeTierError;

impl Tiers {
    /// Takes the configured tiers.
    ///
    /// # Errors
    /// When `free` is missing.
    pub fn new(tiers: impl IntoIterator<Item = Tier>) -> Result<Self, NoFreeTierError> {
        let map: BTreeMap<_, _> = tiers.into_iter().map(|tier| (tier.name.clone(), tier)).collect();
        if map.contains_key(&TierName::free()) {
            Ok(Self(map))
        } else {
            Err(NoFreeTierError)
        }
    }

    /// The tier of that name, if it is configured.
    pub fn find(&self, name: &TierName) -> Option<&Tier> {
        self.0.get(name)
    }

    /// What a user of that tier is entitled to; a tier that is configured no more counts as `free`, never as unlimited.
    pub fn entitlement(&self, name: &TierName) -> Option<&Tier> {
        self.0.get(name).or_else(|| self.0.get(&TierName::free()))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Tier> {
        self.0.values()
    }
}

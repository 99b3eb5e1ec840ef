//! Faults in the configuration: where, what is allowed, and the nearest right key. A fault never holds a value.

use std::fmt;

use serde::Serialize;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The value that is built in.
    Default,
    /// A line of the configuration file; lines count from 1.
    File {
        /// The file as the operator named it.
        path: String,
        /// The line of the key.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A `--set` flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{path}:{line}"),
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag => formatter.write_str("--set"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The key's path, such as `http.bind`; for an unknown key, the path as it was written.
    pub key: String,
    /// Where it was set; absent when the fault is that nothing sets it.
    pub origin: Option<Origin>,
    /// What is allowed, as a sentence without a full stop.
    pub rule: String,
    /// The known key that is most like an unknown one.
    pub nearest: Option<String>,
}

impl Fault {
    /// A fault in a key that nothing sets.
    pub fn missing(key: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            origin: None,
            rule: rule.into(),
            nearest: None,
        }
    }

    /// A fault in a key that is set at `origin`.
    pub fn at(key: impl Into<String>, origin: Origin, rule: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            origin: Some(origin),
            rule: rule.into(),
            nearest: None,
        }
    }

    /// A key that does not exist, with the nearest one that does.
    pub fn unknown(key: impl Into<String>, origin: Origin, nearest: Option<String>) -> Self {
        Self {
            key: key.into(),
            origin: Some(origin),
            rule: "no such key".to_owned(),
            nearest,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            None | Some(Origin::Default) => write!(formatter, "{} (not set)", self.key)?,
            // A fault of a whole file or of an unknown variable has its place as its key.
            Some(origin) if origin.to_string().starts_with(&self.key) => write!(formatter, "{origin}")?,
            Some(origin) => write!(formatter, "{} ({origin})", self.key)?,
        }
        write!(formatter, ": {}", self.rule)?;
        match &self.nearest {
            Some(nearest) => write!(formatter, "; the nearest is {nearest}"),
            None => Ok(()),
        }
    }
}

/// Every fault of one configuration, in the order in which the sources were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => formatter.write_str("1 fault in the configuration")?,
            count => write!(formatter, "{count} faults in the configuration")?,
        }
        for fault in &self.0 {
            write!(formatter, "\n  {fault}")?;
        }
        Ok(())
    }
}

/// The candidate most like `word`, if any is like enough to be worth naming.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Below this share of equal letters a suggestion misleads more than it helps.
    const LIKE_ENOUGH: f64 = 0.55;
    candidates
        .map(|candidate| (likeness(word, candidate), candidate))
        .filter(|(score, _)| *score >= LIKE_ENOUGH)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// How alike two keys are, from 0 to 1. The right last word under a wrong section counts too, a little less.
fn likeness(word: &str, candidate: &str) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(word, candidate);
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let ending = strsim::normalized_damerau_levenshtein(&last(word), &last(candidate));
    whole.max(ending * 0.8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_key_place_rule_and_nearest() {
        let origin = Origin::File {
            path: "plinth.toml".to_owned(),
            line: 3,
        };
        let fault = Fault::unknown("http.bnd", origin, Some("http.bind".to_owned()));
        assert_eq!(
            fault.to_string(),
            "http.bnd (plinth.toml:3): no such key; the nearest is http.bind"
        );
        let fault = Fault::missing("master_key", "must be set");
        assert_eq!(fault.to_string(), "master_key (not set): must be set");
    }

    #[test]
    fn all_faults_are_listed() {
        let faults = Faults(vec![Fault::missing("a", "one"), Fault::missing("b", "two")]);
        assert_eq!(
            faults.to_string(),
            "2 faults in the configuration\n  a (not set): one\n  b (not set): two"
        );
    }

    #[test]
    fn the_nearest_key_is_found_across_typing_errors_and_wrong_sections() {
        let known = ["http.bind", "ops.bind", "auth.bcrypt_cost", "data_dir", "public_url"];
        let find = |word: &str| nearest(word, known.into_iter());
        assert_eq!(find("http.bnd").as_deref(), Some("http.bind"));
        assert_eq!(find("auth.bcryptcost").as_deref(), Some("auth.bcrypt_cost"));
        assert_eq!(find("bcrypt_cost").as_deref(), Some("auth.bcrypt_cost"));
        assert_eq!(find("dta_dir").as_deref(), Some("data_dir"));
        assert_eq!(find("zzzzqqqq"), None);
    }
}

//! One key of the configuration, and how it is found by its path or its variable.

use super::kind::Kind;
use super::table::KEYS;

/// Stands in a path for a name that the operator chooses.
pub(super) const NAME: &str = "<name>";

/// What a key is when nothing sets it.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// This value.
    Is(&'static str),
    /// No fixed value; the words say what happens.
    Words(&'static str),
    /// A value per built-in name, and one for any other name.
    Named(&'static [(&'static str, &'static str)], &'static str),
}

/// One key: the single source for reading, `config show`, `config env` and the reference.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path in the file, such as `http.bind`; `<name>` stands for a name of the operator's choice.
    pub path: &'static str,
    /// What it may be set to.
    pub kind: Kind,
    /// What it is when nothing sets it.
    pub default: Preset,
    /// A value that is allowed.
    pub example: &'static str,
    /// What it does, as a sentence.
    pub doc: &'static str,
    /// Whether a running server takes a new value on SIGHUP.
    pub reloads: bool,
}

impl Key {
    pub(super) const fn new(
        path: &'static str,
        kind: Kind,
        default: Preset,
        example: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            path,
            kind,
            default,
            example,
            doc,
            reloads: false,
        }
    }

    pub(super) const fn reloading(self) -> Self {
        Self { reloads: true, ..self }
    }

    /// The environment variable of the key.
    pub fn variable(&self) -> String {
        variable_of(self.path)
    }

    /// The section that the key belongs to: the first word of its path, or nothing for a key of the top.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The path with the operator's name in place of `<name>`.
    pub(super) fn path_for(&self, name: &str) -> String {
        self.path.replace(NAME, name)
    }

    /// The part of the path before the operator's name, and the part after it.
    pub(super) fn around_name(&self) -> Option<(&'static str, &'static str)> {
        self.path.split_once(NAME)
    }

    /// The built-in value under an operator's name; `None` when there is none.
    pub(super) fn default_for(&self, name: &str) -> Option<&'static str> {
        match self.default {
            Preset::Is(value) => Some(value),
            Preset::Words(_) => None,
            Preset::Named(values, other) => {
                let own = values.iter().find(|(known, _)| *known == name);
                Some(own.map_or(other, |(_, value)| value)).filter(|value| !value.is_empty())
            }
        }
    }
}

/// The environment variable of a path.
pub(super) fn variable_of(path: &str) -> String {
    let path = path.replace(NAME, "<NAME>").replace('.', "_").to_uppercase();
    format!("PLINTH_{path}")
}

/// A key that was found, with its path spelled out and whether it was named by its `_file` twin.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: &'static Key,
    pub(super) path: String,
    pub(super) by_file: bool,
}

impl Found {
    /// The operator's name in the path; nothing for a key without one.
    pub(super) fn name(&self) -> &str {
        let Some((before, after)) = self.key.around_name() else {
            return "";
        };
        self.path
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .unwrap_or_default()
    }
}

/// Finds the key of a path of the file or of a flag.
pub(super) fn find_path(path: &str) -> Option<Found> {
    let exact = |path: &str, by_file: bool| {
        KEYS.iter()
            .find(|key| matches_path(key, path) && (!by_file || key.kind.is_secret()))
            .map(|key| Found {
                key,
                path: path.to_owned(),
                by_file,
            })
    };
    exact(path, false).or_else(|| exact(path.strip_suffix("_file")?, true))
}

/// Whether a path is a table that holds keys, such as `http` or `files.backends.main`.
pub(super) fn is_table(path: &str) -> bool {
    KEYS.iter().any(|key| {
        let depth = path.split('.').count();
        let parts: Vec<&str> = key.path.split('.').collect();
        parts.len() > depth && path.split('.').zip(&parts).all(|(word, part)| same_part(word, part))
    })
}

fn matches_path(key: &Key, path: &str) -> bool {
    let parts = key.path.split('.');
    parts.clone().count() == path.split('.').count()
        && path.split('.').zip(parts).all(|(word, part)| same_part(word, part))
}

fn same_part(word: &str, part: &str) -> bool {
    if part == NAME { is_name(word) } else { word == part }
}

/// Finds the key of an environment variable.
pub(super) fn find_variable(variable: &str) -> Option<Found> {
    let exact = |variable: &str, by_file: bool| {
        let candidates = KEYS.iter().filter(|key| !by_file || key.kind.is_secret());
        candidates
            .filter_map(|key| Some((key, path_from_variable(key, variable)?)))
            // `PUBLIC_ENDPOINT` also ends in `ENDPOINT`: the longer key is the one that was meant.
            .max_by_key(|(key, _)| key.path.len())
            .map(|(key, path)| Found { key, path, by_file })
    };
    exact(variable, false).or_else(|| exact(variable.strip_suffix("_FILE")?, true))
}

fn path_from_variable(key: &Key, variable: &str) -> Option<String> {
    let pattern = key.variable();
    match pattern.split_once("<NAME>") {
        None => (pattern == variable).then(|| key.path.to_owned()),
        Some((before, after)) => {
            let name = variable.strip_prefix(before)?.strip_suffix(after)?.to_lowercase();
            (is_name(&name) && variable == variable.to_uppercase()).then(|| key.path_for(&name))
        }
    }
}

/// Whether a word can name a backend or a tier. No hyphen, so that every name works in a variable too.
pub(super) fn is_name(word: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    (1..=32).contains(&word.len())
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_lead_to_their_keys() {
        for key in KEYS.iter() {
            let variable = key.variable().replace("<NAME>", "MAIN");
            let found = find_variable(&variable).expect("a key");
            assert_eq!(found.key.path, key.path, "{variable}");
            assert!(!found.by_file);
            assert_eq!(find_path(&found.path).expect("a key").key.path, key.path);
            let twin = find_variable(&format!("{variable}_FILE"));
            assert_eq!(
                twin.is_some_and(|found| found.by_file),
                key.kind.is_secret(),
                "{variable}_FILE"
            );
        }
    }

    #[test]
    fn the_fixed_names_stand() {
        for name in [
            "DATA_DIR",
            "HTTP_BIND",
            "OPS_BIND",
            "PUBLIC_URL",
            "MASTER_KEY",
            "MASTER_KEY_FILE",
            "DATABASE_URL",
            "KAFKA_BROKERS",
            "SMTP_URL",
            "SMTP_URL_FILE",
            "REDIS_URL",
            "AUTH_BCRYPT_COST",
            "FILES_DEFAULT",
            "FILES_BACKENDS_MAIN_KIND",
            "FILES_BACKENDS_MAIN_ENDPOINT",
            "FILES_BACKENDS_MAIN_PUBLIC_ENDPOINT",
            "FILES_BACKENDS_MAIN_BUCKET",
            "FILES_BACKENDS_MAIN_REGION",
            "FILES_BACKENDS_MAIN_ACCESS_KEY",
            "FILES_BACKENDS_MAIN_SECRET_KEY_FILE",
            "AUTH_REGISTRATION",
            "HTTP_TRUSTED_PROXIES",
            "HTTP_CORS_ORIGINS",
            "LIMITS_ENABLED",
            "OPS_TOKEN",
            "ADMIN_EMAIL",
            "ADMIN_PASSWORD_FILE",
        ] {
            assert!(find_variable(&format!("PLINTH_{name}")).is_some(), "{name}");
        }
    }

    #[test]
    fn names_of_operators_are_told_from_keys() {
        let found = find_variable("PLINTH_FILES_BACKENDS_EU_WEST_PUBLIC_ENDPOINT").expect("a key");
        assert_eq!(found.path, "files.backends.eu_west.public_endpoint");
        assert!(find_variable("PLINTH_FILES_BACKENDS__KIND").is_none());
        assert!(find_variable("PLINTH_HTTP_BIND_FILE").is_none());
        assert!(find_path("files.backends.Main.kind").is_none());
        assert!(is_table("files.backends.main") && is_table("http") && !is_table("http.bind") && !is_table("web"));
    }
}

//! Lays the sources over each other: defaults, then the file, then the environment, then flags. Every fault is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::fault::{Fault, Origin, nearest};
use super::key::{Found, Key, find_path, find_variable, is_table, variable_of};
use super::kind::{Kind, Raw, Value};
use super::source::{Environment, is_service_link, read_secret, read_text, read_toml};
use super::table::{BUILT_IN_NAMES, KEYS};

/// A key's value and where that came from.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Of a secret: the file that holds it, its own or that of the configuration.
    pub(super) secret_file: Option<PathBuf>,
}

/// Every key with its value, by path, and what was wrong.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) faults: Vec<Fault>,
    pub(super) file: Option<PathBuf>,
    /// The file could not be read as TOML, so keys that seem unset may be set in it.
    pub(super) file_is_broken: bool,
}

/// A setting before its kind is applied.
struct Setting {
    found: Found,
    origin: Origin,
    raw: Option<Raw>,
}

/// Reads all sources.
pub(super) fn resolve(environment: &Environment, file: Option<&Path>, flags: &[String]) -> Resolved {
    let mut resolver = Resolver {
        working_dir: environment.working_dir(),
        faults: Vec::new(),
        set: BTreeMap::new(),
    };
    let named = file
        .map(Path::to_path_buf)
        .or_else(|| environment.config_file().map(PathBuf::from));
    let file_is_broken = named
        .as_deref()
        .is_some_and(|path| !resolver.read_file(path, file.is_none()));
    resolver.read_environment(environment);
    resolver.read_flags(flags);
    let file = named.map(|path| environment.working_dir().join(path));
    let entries = resolver.entries();
    Resolved {
        entries,
        faults: resolver.faults,
        file,
        file_is_broken,
    }
}

struct Resolver<'a> {
    working_dir: &'a Path,
    faults: Vec<Fault>,
    set: BTreeMap<String, Entry>,
}

impl Resolver<'_> {
    /// Reads the configuration file; false when its text is not TOML.
    fn read_file(&mut self, path: &Path, from_variable: bool) -> bool {
        let name = path.display().to_string();
        let text = match read_text(&self.working_dir.join(path)) {
            Ok(text) => text,
            Err(reason) => {
                let place = if from_variable {
                    super::source::CONFIG_VARIABLE
                } else {
                    "--config"
                };
                let origin = Origin::Variable(place.to_owned());
                self.faults.push(Fault::at(place, origin, format!("the file {reason}")));
                return false;
            }
        };
        let (settings, faults) = read_toml(&text, &name);
        if !faults.is_empty() {
            self.faults.extend(faults);
            return false;
        }
        let mut layer = Vec::new();
        for setting in settings {
            let origin = Origin::File {
                path: name.clone(),
                line: setting.line,
            };
            match find_path(&setting.path) {
                Some(found) => layer.push(Setting {
                    found,
                    origin,
                    raw: setting.raw,
                }),
                None if setting.is_empty_table && is_table(&setting.path) => {}
                None => self
                    .faults
                    .push(Fault::unknown(&setting.path, origin, nearest_path(&setting.path))),
            }
        }
        self.apply(layer);
        true
    }

    fn read_environment(&mut self, environment: &Environment) {
        for name in environment.unreadable() {
            self.faults
                .push(Fault::at(name, Origin::Variable(name.clone()), "must be UTF-8 text"));
        }
        let mut layer = Vec::new();
        for (name, value) in environment.settings() {
            let origin = Origin::Variable(name.to_owned());
            match find_variable(name) {
                Some(found) => layer.push(Setting {
                    found,
                    origin,
                    raw: Some(Raw::One(value.to_owned())),
                }),
                None if is_service_link(name, value) => {}
                None => self.faults.push(Fault::unknown(name, origin, nearest_variable(name))),
            }
        }
        self.apply(layer);
    }

    fn read_flags(&mut self, flags: &[String]) {
        let mut layer = Vec::new();
        for flag in flags {
            let Some((path, value)) = flag.split_once('=') else {
                self.faults.push(Fault::at("--set", Origin::Flag, "must be KEY=VALUE"));
                continue;
            };
            match find_path(path) {
                Some(found) if found.key.kind.is_secret() && !found.by_file => {
                    let rule =
                        format!("must not be set by a flag, which other users can read: set {path}_file instead");
                    self.faults.push(Fault::at(path, Origin::Flag, rule));
                }
                Some(found) => layer.push(Setting {
                    found,
                    origin: Origin::Flag,
                    raw: Some(Raw::One(value.to_owned())),
                }),
                None => self.faults.push(Fault::unknown(path, Origin::Flag, nearest_path(path))),
            }
        }
        self.apply(layer);
    }

    /// Applies one source: a later source replaces an earlier one, but within a source each key is set once.
    fn apply(&mut self, layer: Vec<Setting>) {
        let mut seen: BTreeMap<String, Origin> = BTreeMap::new();
        for Setting { found, origin, raw } in layer {
            if let Some(other) = seen.insert(found.path.clone(), origin.clone()) {
                let rule = format!("must be set once, and {other} sets it too");
                self.faults.push(Fault::at(&found.path, origin, rule));
                continue;
            }
            let secret_file = self.secret_file(&found, &origin, raw.as_ref());
            let value = self.value(&found, raw).unwrap_or_else(|rule| {
                self.faults.push(Fault::at(&found.path, origin.clone(), rule));
                // The default stands in, so that the rules between keys can be checked in the same run.
                self.default_value(found.key, found.name())
            });
            let entry = Entry {
                value,
                origin,
                secret_file,
            };
            self.set.insert(found.path.clone(), entry);
        }
    }

    fn secret_file(&self, found: &Found, origin: &Origin, raw: Option<&Raw>) -> Option<PathBuf> {
        let path = match (raw, origin) {
            (Some(Raw::One(path)), _) if found.by_file => Path::new(path),
            (_, Origin::File { path, .. }) if found.key.kind.is_secret() => Path::new(path),
            _ => return None,
        };
        Some(self.working_dir.join(path))
    }

    fn value(&self, found: &Found, raw: Option<Raw>) -> Result<Value, String> {
        let kind = &found.key.kind;
        if let Kind::Absent(..) = kind {
            return Err(kind.rule());
        }
        let raw = raw.ok_or_else(|| kind.rule())?;
        let raw = match (found.by_file, raw) {
            (true, Raw::One(path)) => {
                Raw::One(read_secret(&self.working_dir.join(path)).map_err(|reason| format!("the file {reason}"))?)
            }
            (true, Raw::Many(_)) => return Err("must be the path of one file".to_owned()),
            (false, raw) => raw,
        };
        kind.read(&raw, self.working_dir).ok_or_else(|| kind.rule())
    }

    /// Every key of the table with its value; keys under an operator's name once for each name.
    fn entries(&mut self) -> BTreeMap<String, Entry> {
        let mut entries = BTreeMap::new();
        for key in KEYS {
            for name in self.names(key) {
                let path = key.path_for(&name);
                let entry = self.set.get(&path).cloned().unwrap_or_else(|| Entry {
                    value: self.default_value(key, &name),
                    origin: Origin::Default,
                    secret_file: None,
                });
                entries.insert(path, entry);
            }
        }
        entries
    }

    fn names(&self, key: &Key) -> BTreeSet<String> {
        let Some((before, _)) = key.around_name() else {
            return BTreeSet::from([String::new()]);
        };
        let built_in = BUILT_IN_NAMES
            .iter()
            .filter(|(prefix, _)| *prefix == before)
            .map(|(_, name)| (*name).to_owned());
        let chosen = self
            .set
            .keys()
            .filter_map(|path| path.strip_prefix(before)?.split('.').next().map(str::to_owned));
        built_in.chain(chosen).collect()
    }

    fn default_value(&self, key: &Key, name: &str) -> Value {
        let text = key.default_for(name).map(|text| Raw::One(text.to_owned()));
        text.and_then(|raw| key.kind.read(&raw, self.working_dir))
            .unwrap_or(Value::Unset)
    }
}

/// The known path most like a wrong one. Under an operator's name, only the part after the name is compared.
fn nearest_path(path: &str) -> Option<String> {
    let name = KEYS.iter().filter_map(Key::around_name).find_map(|(before, _)| {
        let rest = path.strip_prefix(before)?;
        rest.split('.')
            .next()
            .filter(|name| super::key::is_name(name))
            .map(str::to_owned)
    });
    let known = all_paths(name.as_deref().unwrap_or("name"));
    nearest(path, known.iter().map(String::as_str))
}

fn nearest_variable(variable: &str) -> Option<String> {
    let name = KEYS.iter().filter_map(Key::around_name).find_map(|(before, _)| {
        let rest = variable.strip_prefix(&variable_of(before))?;
        rest.split('_')
            .next()
            .map(str::to_lowercase)
            .filter(|name| super::key::is_name(name))
    });
    let known: Vec<String> = all_paths(name.as_deref().unwrap_or("name"))
        .iter()
        .map(|path| variable_of(path))
        .collect();
    nearest(
        variable,
        known.iter().map(String::as_str).chain([super::source::CONFIG_VARIABLE]),
    )
}

fn all_paths(name: &str) -> Vec<String> {
    let paths = KEYS.iter().map(|key| (key.path_for(name), key.kind.is_secret()));
    paths
        .flat_map(|(path, secret)| secret.then(|| format!("{path}_file")).into_iter().chain([path]))
        .collect()
}

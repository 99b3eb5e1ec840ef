//! Schemas of events in files: what `plinth events schema` checks, for our own types and for those of others.
//!
//! `TYPE/VERSION.json` keeps every version; `published.json` beside the types keeps the digest of each that consumers may
//! rely on. So a fresh clone knows what was published, with its history or without.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use domain::event::EventType;
use domain::schema::{Compatibility, Schema, incompatibilities};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::service::schemas::Validator;

/// The file of the digests.
pub const PUBLISHED: &str = "published.json";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which file, from the folder on.
    pub file: String,
    /// Where in it.
    pub pointer: String,
    /// The stable name of the rule.
    pub rule: String,
    /// What is wrong.
    pub reason: String,
}

/// What a check saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many schemas there were.
    pub schemas: usize,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
}

/// A schema and its version; none where a file holds the newest alone.
struct Kept {
    version: Option<u32>,
    file: String,
    /// None when it is not taken, which was told.
    schema: Option<Schema>,
    digest: String,
}

type Types = BTreeMap<String, Vec<Kept>>;

impl Report {
    fn find(&mut self, file: &str, pointer: &str, rule: &str, reason: impl Into<String>) {
        self.findings.push(Finding {
            file: file.to_owned(),
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
            reason: reason.into(),
        });
    }

    fn compare(&mut self, rule: Compatibility, old: &Kept, new: &Kept) {
        let (Some(before), Some(after)) = (&old.schema, &new.schema) else {
            return;
        };
        for found in incompatibilities(rule, before, after) {
            let reason = format!("{}, against {}: {}", found.direction.as_str(), old.file, found.reason);
            self.find(&new.file, &found.pointer, found.rule, reason);
        }
    }

    /// Reads a schema and says what is wrong with it.
    fn read(&mut self, path: &Path, file: &str, version: Option<u32>) -> io::Result<Kept> {
        self.schemas += 1;
        let text = std::fs::read_to_string(path)?;
        let mut kept = Kept {
            version,
            file: file.to_owned(),
            schema: None,
            digest: String::new(),
        };
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => {
                self.find(file, "#", "json", error.to_string());
                return Ok(kept);
            }
        };
        kept.digest = digest(&value);
        match Schema::parse(value) {
            Ok(schema) => {
                if let Err(fault) = Validator::compile(schema.value()) {
                    self.find(file, &fault.pointer, fault.code, fault.reason);
                }
                kept.schema = Some(schema);
            }
            Err(faults) => {
                for fault in faults {
                    self.find(file, &fault.pointer, fault.code, fault.reason);
                }
            }
        }
        Ok(kept)
    }
}

/// Of the content, whatever its white space and the order of its members.
fn digest(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string());
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Checks a schema or a folder of them.
///
/// # Errors
/// When something cannot be read.
pub fn check(path: &Path, against: Option<&Path>, rule: Compatibility) -> io::Result<Report> {
    let mut report = Report::default();
    if path.is_dir() {
        let types = read_folder(&mut report, path)?;
        in_order(&mut report, &types, rule);
        as_published(&mut report, path, &types)?;
        if let Some(before) = against {
            as_before(&mut report, before, &types, rule)?;
        }
    } else {
        let new = report.read(path, &path.display().to_string(), None)?;
        if let Some(before) = against {
            let old = Report::default().read(before, &before.display().to_string(), None)?;
            report.compare(rule, &old, &new);
        }
    }
    Ok(report)
}

/// Every schema below a folder; what is none of them is told.
fn read_folder(report: &mut Report, folder: &Path) -> io::Result<Types> {
    let mut types = Types::new();
    for (name, path) in entries(folder)? {
        if name == PUBLISHED {
            continue;
        }
        let event_type = name.strip_suffix(".json").unwrap_or(&name);
        let called = path.is_dir() || event_type != name;
        if !called || event_type.parse::<EventType>().is_err() {
            report.find(&name, "#", "name", "is not called TYPE or TYPE.json");
            continue;
        }
        let mut kept = Vec::new();
        if path.is_dir() {
            for (file, path) in entries(&path)? {
                let shown = format!("{name}/{file}");
                match file.strip_suffix(".json").map(str::parse::<u32>) {
                    Some(Ok(version)) if file == format!("{version}.json") => {
                        kept.push(report.read(&path, &shown, Some(version))?);
                    }
                    _ => report.find(&shown, "#", "name", "is not called VERSION.json"),
                }
            }
        } else {
            kept.push(report.read(&path, &name, None)?);
        }
        kept.sort_by_key(|kept| kept.version);
        types.insert(event_type.to_owned(), kept);
    }
    Ok(types)
}

fn entries(folder: &Path) -> io::Result<BTreeMap<String, std::path::PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with('.') {
            found.insert(name.to_owned(), path);
        }
    }
    Ok(found)
}

/// Versions are counted from 1 without gaps, and each goes with the one before.
fn in_order(report: &mut Report, types: &Types, rule: Compatibility) {
    for kept in types.values().flat_map(|versions| versions.windows(2)) {
        if let [old, new] = kept {
            report.compare(rule, old, new);
        }
    }
    for versions in types.values() {
        for (index, kept) in versions.iter().enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            if kept.version.is_some_and(|version| version != number) {
                report.find(
                    &kept.file,
                    "#",
                    "version",
                    format!("version {number} is missing before it"),
                );
                break;
            }
        }
    }
}

fn digests(folder: &Path) -> io::Result<Option<BTreeMap<String, String>>> {
    let path = folder.join(PUBLISHED);
    if !path.exists() {
        return Ok(None);
    }
    let kept = serde_json::from_str(&std::fs::read_to_string(path)?);
    kept.map(Some).map_err(io::Error::other)
}

/// What was published is there and unchanged, and what is there was published.
fn as_published(report: &mut Report, folder: &Path, types: &Types) -> io::Result<()> {
    let Some(published) = digests(folder)? else {
        return Ok(());
    };
    let there: BTreeMap<&str, &Kept> = types
        .values()
        .flatten()
        .map(|kept| (kept.file.as_str(), kept))
        .collect();
    for (file, digest) in &published {
        match there.get(file.as_str()) {
            None => report.find(
                file,
                "#",
                "published",
                "was published and is gone: consumers rely on it",
            ),
            Some(kept) if kept.digest != *digest => report.find(
                file,
                "#",
                "published",
                "was published and is changed: make a new version instead",
            ),
            Some(_) => {}
        }
    }
    for file in there.keys().filter(|file| !published.contains_key(**file)) {
        let reason = format!("is not in {PUBLISHED}: `plinth events schema publish` adds it");
        report.find(file, "#", "unpublished", reason);
    }
    Ok(())
}

/// Every version that was there before is there and unchanged; files of the newest alone may change by the rule.
fn as_before(report: &mut Report, before: &Path, types: &Types, rule: Compatibility) -> io::Result<()> {
    let earlier = read_folder(&mut Report::default(), before)?;
    for (event_type, versions) in &earlier {
        let now = types.get(event_type).map(Vec::as_slice).unwrap_or_default();
        for old in versions {
            let new = now.iter().find(|kept| kept.version == old.version);
            match new {
                None => report.find(&old.file, "#", "published", "was there before and is gone"),
                Some(new) if old.version.is_none() => report.compare(rule, old, new),
                Some(new) if new.digest != old.digest => {
                    report.find(&new.file, "#", "published", "changed: make a new version instead");
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Adds the digests of versions that have none yet; gives how many. Nothing is written while anything else is wrong.
///
/// # Errors
/// When something cannot be read or written.
pub fn publish(folder: &Path, rule: Compatibility) -> io::Result<Result<usize, Report>> {
    let mut report = Report::default();
    let types = read_folder(&mut report, folder)?;
    in_order(&mut report, &types, rule);
    as_published(&mut report, folder, &types)?;
    report.findings.retain(|finding| finding.rule != "unpublished");
    if !report.findings.is_empty() {
        return Ok(Err(report));
    }
    let mut published = digests(folder)?.unwrap_or_default();
    let before = published.len();
    let all = types.values().flatten().filter(|kept| kept.version.is_some());
    published.extend(all.map(|kept| (kept.file.clone(), kept.digest.clone())));
    let mut text = serde_json::to_string_pretty(&published).map_err(io::Error::other)?;
    text.push('\n');
    std::fs::write(folder.join(PUBLISHED), text)?;
    Ok(Ok(published.len() - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#;
    const WIDER: &str = r#"{"type":"object","properties":{"a":{"type":"string"},"b":{}},"additionalProperties":false}"#;
    const OTHER: &str = r#"{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":false}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn found(folder: &Path, against: Option<&Path>) -> Vec<(String, String)> {
        let report = check(folder, against, Compatibility::Backward).unwrap();
        let found = report.findings.into_iter();
        found.map(|finding| (finding.file, finding.rule)).collect()
    }

    fn at(file: &str, rule: &str) -> (String, String) {
        (file.to_owned(), rule.to_owned())
    }

    #[test]
    fn versions_follow_each_other_compatibly() {
        let good = folder(&[("app.a/1.json", OLD), ("app.a/2.json", WIDER)]);
        assert_eq!(found(good.path(), None), []);
        let bad = folder(&[("app.a/1.json", OLD), ("app.a/2.json", OTHER), ("app.b/2.json", OLD)]);
        assert_eq!(
            found(bad.path(), None),
            [at("app.a/2.json", "type"), at("app.b/2.json", "version")]
        );
        let wrong = folder(&[
            ("app.a/1.json", "{"),
            ("app.b/1.json", r#"{"tpye":1}"#),
            ("app.c/01.json", OLD),
            ("app.d/1.json", r#"{"pattern":"(?=a)"}"#),
            ("notes.txt", ""),
        ]);
        assert_eq!(
            found(wrong.path(), None),
            [
                at("app.a/1.json", "json"),
                at("app.b/1.json", "keyword"),
                at("app.c/01.json", "name"),
                at("app.d/1.json", "pattern"),
                at("notes.txt", "name"),
            ]
        );
    }

    #[test]
    fn what_was_published_stays() {
        let folder = folder(&[("app.a/1.json", OLD)]);
        let publish = || publish(folder.path(), Compatibility::Backward).unwrap();
        assert_eq!(publish(), Ok(1));
        assert_eq!((publish(), found(folder.path(), None)), (Ok(0), vec![]));
        let spaced = OLD.replace(':', " : ");
        std::fs::write(folder.path().join("app.a/1.json"), spaced).unwrap();
        assert_eq!(found(folder.path(), None), [], "white space says nothing");
        std::fs::write(folder.path().join("app.a/1.json"), WIDER).unwrap();
        assert_eq!(
            found(folder.path(), None),
            [at("app.a/1.json", "published")],
            "compatible or not"
        );
        assert_eq!(publish().unwrap_err().findings.len(), 1, "nor is it published over");
        std::fs::write(folder.path().join("app.a/1.json"), OLD).unwrap();
        std::fs::write(folder.path().join("app.a/2.json"), OTHER).unwrap();
        assert_eq!(
            found(folder.path(), None),
            [at("app.a/2.json", "type"), at("app.a/2.json", "unpublished")]
        );
        std::fs::remove_dir_all(folder.path().join("app.a")).unwrap();
        assert_eq!(found(folder.path(), None), [at("app.a/1.json", "published")]);
    }

    #[test]
    fn a_folder_is_held_against_what_it_was() {
        let before = folder(&[("app.a/1.json", OLD), ("app.b.json", OLD), ("app.c/1.json", OLD)]);
        let now = folder(&[
            ("app.a/1.json", OLD),
            ("app.a/2.json", WIDER),
            ("app.b.json", WIDER),
            ("app.c/1.json", OLD),
        ]);
        assert_eq!(found(now.path(), Some(before.path())), []);
        let now = folder(&[("app.a/1.json", WIDER), ("app.b.json", OTHER)]);
        assert_eq!(
            found(now.path(), Some(before.path())),
            [
                at("app.a/1.json", "published"),
                at("app.b.json", "type"),
                at("app.c/1.json", "published")
            ]
        );
        let (old, new) = (before.path().join("app.b.json"), now.path().join("app.b.json"));
        assert_eq!(found(&new, Some(&old)).len(), 1);
        assert_eq!(found(&old, None), []);
    }

    #[test]
    fn the_schemas_of_our_own_events_stay_as_they_were_published() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/events");
        // Full: who knows an older version alone goes on with events of the newest.
        let report = check(&folder, None, Compatibility::Full).unwrap();
        assert_eq!(report.findings, [], "see `plinth events schema check openapi/events`");
        assert_eq!(report.schemas, openapi::OWN_SCHEMAS.len(), "every file is compiled in");
        assert!(folder.join(PUBLISHED).exists());
    }
}

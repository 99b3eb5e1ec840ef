//! The master key: given by the configuration, or kept in the data folder of an SQLite installation.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ports::Randomness;

use super::{ComposeError, MasterKey};
use crate::config::Config;

/// Where an SQLite installation keeps the key that it made.
pub fn file(config: &Config) -> PathBuf {
    config.data_dir.join("master.key")
}

/// The key; made on SQLite when there is none.
pub(super) fn find_or_make(config: &Config, randomness: &dyn Randomness) -> Result<MasterKey, ComposeError> {
    match find(config)? {
        Some(key) => Ok(key),
        None if config.database.url.is_postgres() => Err(ComposeError::MasterKeyMissing),
        None => make(&file(config), randomness),
    }
}

/// The key, if there is one.
pub(super) fn find(config: &Config) -> Result<Option<MasterKey>, ComposeError> {
    if let Some(key) = &config.master_key {
        return Ok(Some(MasterKey::from_bytes(*key.expose())));
    }
    if config.database.url.is_postgres() {
        return Ok(None);
    }
    let path = file(config);
    match std::fs::read_to_string(&path) {
        Ok(text) => read(&path, &text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ComposeError::Io {
            path: path.display().to_string(),
            what: "the master key cannot be read",
            source,
        }),
    }
}

fn read(path: &Path, text: &str) -> Result<MasterKey, ComposeError> {
    MasterKey::from_base64(text.trim()).map_err(|_| ComposeError::MasterKeyFile(path.display().to_string()))
}

/// Written whole under another name and then linked: two processes that start at once end with the same key, and a power cut leaves no half of one.
fn make(path: &Path, randomness: &dyn Randomness) -> Result<MasterKey, ComposeError> {
    let failed = |source| ComposeError::Io {
        path: path.display().to_string(),
        what: "the master key cannot be made",
        source,
    };
    let key = MasterKey::generate(randomness);
    let draft: PathBuf = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    let written = file
        .write_all(key.to_base64().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Ok(()) => {
            if let Some(folder) = path.parent() {
                std::fs::File::open(folder)
                    .and_then(|folder| folder.sync_all())
                    .map_err(failed)?;
            }
            tracing::info!(path = %path.display(), "a master key was made; keep a copy of it: without it nothing in the database can be opened");
            Ok(key)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            read(path, &std::fs::read_to_string(path).map_err(failed)?)
        }
        Err(source) => Err(failed(source)),
    }
}

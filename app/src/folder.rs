//! The data folder: made for its owner, and with SQLite held by one server.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use crate::compose::ComposeError;
use crate::config::Config;

/// Makes the data folder, readable by its owner only.
///
/// # Errors
/// When it cannot be made.
pub fn data_folder(config: &Config) -> Result<(), ComposeError> {
    let path = &config.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| ComposeError::Io {
        path: path.display().to_string(),
        what: "the data folder cannot be made",
        source,
    })
}

/// Holds the data folder of an SQLite installation for one server, as long as it lives.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "the lock is held by the open file")] Option<std::fs::File>);

/// Takes the data folder for this server. On PostgreSQL there is nothing to take.
///
/// # Errors
/// When another server has it.
pub fn lock_folder(config: &Config) -> Result<FolderLock, ComposeError> {
    if config.database.url.is_postgres() {
        return Ok(FolderLock(None));
    }
    let path = config.data_dir.join("serve.lock");
    let failed = |source| ComposeError::Io {
        path: path.display().to_string(),
        what: "the lock cannot be taken",
        source,
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock(Some(file))),
        Err(std::fs::TryLockError::WouldBlock) => Err(ComposeError::InUse(config.data_dir.display().to_string())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// For a process that may run beside a server.
pub fn no_lock() -> FolderLock {
    FolderLock(None)
}

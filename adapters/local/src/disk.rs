//! Writing files that are there whole or not at all, and that a power cut does not take back.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ports::BackendError;

use crate::ADAPTER;

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| BackendError::temporary(ADAPTER, operation, error))
}

/// The error of an operation. A folder that was usable when it was opened and is not any more is one that somebody
/// will mend: its callers may try again, and those who watch over it must see it fail.
pub(crate) fn failed(operation: &'static str, error: io::Error) -> BackendError {
    let for_good = matches!(
        error.kind(),
        ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
    );
    told(operation, error, !for_good)
}

/// The error of opening a folder: what a person has to mend first is not temporary.
pub(crate) fn unusable(error: io::Error) -> BackendError {
    let for_good = matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::Unsupported
            | ErrorKind::InvalidInput
    );
    told("open", error, !for_good)
}

fn told(operation: &'static str, error: io::Error, temporary: bool) -> BackendError {
    BackendError {
        adapter: ADAPTER,
        operation,
        temporary,
        full: is_full(&error),
        source: error.into(),
    }
}

/// Whether there is no more room: the disk's or the quota's.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes a directory that only its owner may enter; gives whether it was not there.
pub(crate) fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        // Not to be taken for a blob whose key is taken.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    }
}

/// Makes a directory with those above it, as durable as [`sync_directory`] makes them.
pub(crate) fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make_directories(above)?;
    if make_directory(path)? {
        sync_directory(above)
    } else {
        Ok(())
    }
}

/// Makes the entries of a directory durable: without it a power cut may take a new name back.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A file that nobody looks at yet; its name is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) file: File,
    path: PathBuf,
}

impl Draft {
    /// Begins a file in `directory`, whose name begins with `name`. Another process may use the same directory.
    pub(crate) fn create(directory: &Path, name: &str) -> io::Result<Self> {
        for number in 0_u32.. {
            let path = directory.join(format!("{name}.{number}"));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { file, path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "every draft name is taken"))
    }

    /// Gives the file a second name, without ever replacing another: a hard link fails on a taken name, where renaming would not.
    pub(crate) fn link(&self, target: &Path) -> io::Result<()> {
        std::fs::hard_link(&self.path, target)
    }

    /// Gives the file its name for good. Its bytes are durable before the name appears; the name is when this returns.
    pub(crate) fn publish(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        self.link(target)?;
        sync_directory(target.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "a draft was left behind; it will be swept");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_draft_takes_no_name_of_another_and_leaves_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut drafts: Vec<Draft> = (0..3)
            .map(|_| Draft::create(folder.path(), "draft").expect("a draft"))
            .collect();
        let target = folder.path().join("target");
        drafts[0].file.write_all(b"first").expect("it is written");
        drafts[0].publish(&target).expect("the name is free");
        let taken = drafts[1].publish(&target).expect_err("the name is taken");
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        drop(drafts);
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(names, ["target"]);
        assert_eq!(std::fs::read(&target).expect("a file"), b"first");
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        // ENOSPC, EDQUOT and EIO of Linux.
        assert!(is_full(&io::Error::from_raw_os_error(28)));
        assert!(is_full(&io::Error::from_raw_os_error(122)));
        assert!(!is_full(&io::Error::from_raw_os_error(5)));
        assert!(failed("put", io::Error::from_raw_os_error(5)).temporary);
        assert!(failed("put", ErrorKind::PermissionDenied.into()).temporary);
        assert!(!unusable(ErrorKind::PermissionDenied.into()).temporary);
    }

    #[test]
    fn a_real_full_device_is_recognised() {
        // Linux keeps a device that is always full.
        let Ok(mut full) = OpenOptions::new().write(true).open("/dev/full") else {
            eprintln!("SKIPPED (no /dev/full on this system)");
            return;
        };
        let error = full.write_all(b"x").expect_err("it is full");
        assert!(is_full(&error), "{error:?}");
    }
}

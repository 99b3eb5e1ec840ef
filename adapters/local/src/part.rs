//! Reading a blob: on the caller's thread what the kernel has in memory, elsewhere what a disk must be asked for.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use domain::blob::ByteRange;
use futures_util::stream;
use ports::{ByteStream, StreamError};

use crate::disk::{blocking, failed};

/// Bytes read at a time.
const READ_BYTES: u64 = 128 * 1024;

/// The rest of a blob that is being read.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    offset: u64,
    remaining: u64,
}

impl Part {
    /// Opens a blob at the beginning of the range. This may block.
    pub(crate) fn open(path: &Path, range: Option<ByteRange>) -> io::Result<Self> {
        Self::of(File::open(path)?, range)
    }

    /// Opens a blob and reads its first bytes, without ever waiting for a disk: none when that cannot be done, for
    /// whatever reason. A hand-over to a thread that may block costs more than reading what is in memory.
    pub(crate) fn at_hand(path: &Path, range: Option<ByteRange>) -> Option<(Bytes, Self)> {
        let mut part = Self::of(at_hand::open(path)?, range).ok()?;
        let first = part.next_at_hand()?;
        Some((first, part))
    }

    fn of(file: File, range: Option<ByteRange>) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let (offset, remaining) = match range {
            None => (0, size),
            Some(range) if range.start > range.end || range.end >= size => {
                let beyond = format!("bytes {} to {} of a blob of {size}", range.start, range.end);
                return Err(io::Error::new(ErrorKind::InvalidInput, beyond));
            }
            Some(range) => (range.start, range.len()),
        };
        Ok(Self {
            file,
            offset,
            remaining,
        })
    }

    /// The next bytes. A file that has become shorter is an error: its reader must not take a part for the whole. This may block.
    pub(crate) fn next(mut self) -> io::Result<(Bytes, Self)> {
        let mut bytes = self.room();
        self.file.read_exact_at(&mut bytes, self.offset)?;
        Ok((self.advanced(bytes), self))
    }

    /// The next bytes, as many as are in memory; none when not even one is.
    fn next_at_hand(&mut self) -> Option<Bytes> {
        let mut bytes = self.room();
        let length = at_hand::read(&self.file, &mut bytes, self.offset)?;
        bytes.truncate(length);
        (length > 0 || self.remaining == 0).then(|| self.advanced(bytes))
    }

    fn room(&self) -> Vec<u8> {
        // At most READ_BYTES, which every address space has room for.
        vec![0; usize::try_from(self.remaining.min(READ_BYTES)).unwrap_or_default()]
    }

    fn advanced(&mut self, bytes: Vec<u8>) -> Bytes {
        self.offset += bytes.len() as u64;
        self.remaining -= bytes.len() as u64;
        bytes.into()
    }

    /// All bytes to come.
    pub(crate) fn into_stream(self) -> ByteStream {
        Box::pin(stream::try_unfold(self, |mut part| async move {
            if part.remaining == 0 {
                return Ok(None);
            }
            if let Some(bytes) = part.next_at_hand() {
                return Ok(Some((bytes, part)));
            }
            let next = blocking("get", move || part.next()).await?;
            next.map(Some)
                .map_err(|error| StreamError::Backend(failed("get", error)))
        }))
    }
}

/// Linux can be asked for what it has in memory, and says when it has not (`openat2(2)`, `RESOLVE_CACHED`; `preadv2(2)`, `RWF_NOWAIT`).
#[cfg(target_os = "linux")]
mod at_hand {
    use std::fs::File;
    use std::io::IoSliceMut;
    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::{ReadWriteFlags, preadv2};

    pub(super) fn open(path: &Path) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
            .ok()
            .map(File::from)
    }

    pub(super) fn read(file: &File, bytes: &mut [u8], offset: u64) -> Option<usize> {
        preadv2(file, &mut [IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod at_hand {
    use std::fs::File;
    use std::path::Path;

    pub(super) fn open(_path: &Path) -> Option<File> {
        None
    }

    pub(super) fn read(_file: &File, _bytes: &mut [u8], _offset: u64) -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).expect("small")).collect()
    }

    async fn rest((first, part): (Bytes, Part)) -> Vec<u8> {
        let rest: Vec<Bytes> = part.into_stream().try_collect().await.expect("read");
        [first].into_iter().chain(rest).flatten().collect()
    }

    /// The rest of a store's tests read what was just written, which is in memory.
    #[tokio::test]
    async fn what_is_in_memory_and_what_is_not_is_read_alike() {
        let folder = tempfile::tempdir().expect("a folder");
        for length in [0, 1, 65_536, 131_072, 300_001] {
            let path = folder.path().join(length.to_string());
            std::fs::write(&path, bytes(length)).expect("written");
            let waited = Part::open(&path, None).and_then(Part::next).expect("there");
            assert!(rest(waited).await == bytes(length), "{length}");
            if let Some(at_hand) = Part::at_hand(&path, None) {
                assert!(rest(at_hand).await == bytes(length), "{length}");
            }
        }
    }

    #[tokio::test]
    async fn a_part_is_read_alike() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blob");
        std::fs::write(&path, bytes(300_000)).expect("written");
        let range = Some(ByteRange {
            start: 10,
            end: 200_009,
        });
        let waited = Part::open(&path, range).and_then(Part::next).expect("there");
        assert!(rest(waited).await == bytes(300_000)[10..200_010]);
        if let Some(at_hand) = Part::at_hand(&path, range) {
            assert!(rest(at_hand).await == bytes(300_000)[10..200_010]);
        }
        let beyond = Some(ByteRange { start: 0, end: 300_000 });
        assert!(Part::at_hand(&path, beyond).is_none());
        let refused = Part::open(&path, beyond).expect_err("beyond the end");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_file_that_becomes_shorter_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blob");
        std::fs::write(&path, bytes(300_000)).expect("written");
        let (_, part) = Part::open(&path, None).and_then(Part::next).expect("there");
        std::fs::write(&path, bytes(200_000)).expect("shortened");
        let read: Result<Vec<Bytes>, _> = part.into_stream().try_collect().await;
        assert!(matches!(read, Err(StreamError::Backend(_))));
        assert!(Part::at_hand(&folder.path().join("missing"), None).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_disk_must_be_asked_for_is_not_at_hand() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blob");
        std::fs::write(&path, bytes(65_536)).expect("written");
        let file = File::open(&path).expect("there");
        file.sync_all().expect("a disk");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advised");
        let mut part = Part::open(&path, None).expect("there");
        if part.next_at_hand().is_some() {
            eprintln!("SKIPPED (the temporary folder is in memory): what the disk must be asked for");
            return;
        }
        let (first, _) = part.next().expect("read");
        assert!(first == bytes(65_536));
    }
}

//! Digests of files that decisions depend on, each taken once for as long as the file stays the same.
//!
//! Whether it does is told by what the file system says of it: number, size, and times of change. Knows no kind of
//! phase.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::disk;

/// The digests that were taken in a run, and the folders that were looked for.
#[derive(Debug, Default)]
pub struct Digests {
    files: Mutex<HashMap<PathBuf, (Identity, String)>>,
    folders: Mutex<HashMap<PathBuf, String>>,
}

/// What tells a file from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    number: (u64, u64),
    size: u64,
    changed: [(i64, i64); 2],
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self {
            number: (file.dev(), file.ino()),
            size: file.size(),
            changed: [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())],
        }
    }
}

impl Digests {
    /// BLAKE3 of a file, in hexadecimal.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(&self, path: &Path) -> io::Result<String> {
        self.as_it_is(path, &path.metadata()?)
    }

    /// The same where there may be no such file; nothing then.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn of_file(&self, path: &Path) -> io::Result<Option<String>> {
        let file = path.metadata().ok().filter(Metadata::is_file);
        file.map(|file| self.as_it_is(path, &file)).transpose()
    }

    fn as_it_is(&self, path: &Path, file: &Metadata) -> io::Result<String> {
        let identity = Identity::of(file);
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, digest)) = known.get(path)
            && *before == identity
        {
            return Ok(digest.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(disk::open_regular(path)?)?;
        let digest = hasher.finalize().to_hex().to_string();
        known.insert(path.to_owned(), (identity, digest.clone()));
        Ok(digest)
    }

    /// Where a folder is, whole and without links; as it is given where it can't be found.
    pub fn place(&self, folder: &Path) -> String {
        let mut known = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.get(folder) {
            return place.clone();
        }
        let given = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let place = given.canonicalize().unwrap_or_else(|_| given.to_owned());
        let place = place.display().to_string();
        known.insert(folder.to_owned(), place.clone());
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_changed_has_another_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let digests = Digests::default();
        digests.of(&path).unwrap_err();
        assert_eq!(digests.of_file(&path).unwrap(), None);
        assert_eq!(digests.of_file(dir.path()).unwrap(), None);
        disk::replace(&path, b"one").unwrap();
        let one = digests.of(&path).unwrap();
        assert_eq!(one, blake3::hash(b"one").to_hex().to_string());
        assert_eq!(digests.of_file(&path).unwrap(), Some(one.clone()));
        disk::replace(&path, b"two").unwrap();
        assert_ne!(digests.of(&path).unwrap(), one);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Digests::default().of(&path).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}

//! A small tree of host files in a temporary folder, for tests.
#![expect(clippy::disallowed_methods, reason = "tests make the files that they read")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::Sysroot;

/// A tree that goes away with the test.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    /// Makes or replaces a file.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.put(path, content);
        self
    }

    /// Makes a link to `target`, as written.
    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.place(path)).unwrap();
        self
    }

    /// Replaces a file of a tree in use.
    pub(crate) fn put(&self, path: &str, content: &str) {
        fs::write(self.place(path), content).unwrap();
    }

    /// The content of a file.
    pub(crate) fn get(&self, path: &str) -> String {
        fs::read_to_string(self.place(path)).unwrap()
    }

    pub(crate) fn sysroot(&self) -> Sysroot {
        Sysroot::at(self.0.path().to_owned())
    }
}

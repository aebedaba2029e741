//! The prefix of all paths of the host, and bounded reads below it.
//!
//! With the default prefix `/` a path means itself. With any other, a path is resolved as the kernel would
//! after chroot(2): links are followed inside the prefix, an absolute link starts again at the prefix, and
//! `..` stops there; so nothing outside the prefix is ever read or written. Does not know what the files mean.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::disk;

/// The largest file read: `/proc/cpuinfo` of a machine with thousands of CPUs fits.
const READ_LIMIT: u64 = 16 << 20;

/// How many links one path may pass, as in the kernel (`path_resolution(7)`).
const LINK_LIMIT: usize = 40;

/// A figure and the file, or files, it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sourced<T> {
    /// The figure.
    pub value: T,
    /// The path on the host, or the call, that told it.
    pub source: String,
}

impl<T> Sourced<T> {
    /// A figure read from `source`.
    pub fn new(value: T, source: impl Into<String>) -> Self {
        Self { value, source: source.into() }
    }

    /// The figure in another form, from the same source.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), source: self.source }
    }
}

/// A file of the host that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file here.
    #[error("could not find {path} on this host")]
    Missing {
        /// The path on the host.
        path: String,
    },
    /// It is there, for somebody else.
    #[error("could not read {path}: this user may not")]
    Denied {
        /// The path on the host.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The path is not one that the host can have.
    #[error("could not resolve `{path}`: {reason}")]
    BadPath {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Anything else, such as an I/O error of the device behind the file.
    #[error("could not read {path}: {source}")]
    Other {
        /// The path on the host.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// True when the file is not there, which is normal.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    fn of(path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path, source },
            _ => Self::Other { path, source },
        }
    }
}

/// Where the host's files are. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysroot(Option<Arc<Path>>);

impl Sysroot {
    /// This machine itself.
    #[must_use]
    pub fn live() -> Self {
        Self(None)
    }

    /// A tree below `prefix`; `/` is this machine itself.
    #[must_use]
    pub fn at(prefix: PathBuf) -> Self {
        if prefix == Path::new("/") { Self(None) } else { Self(Some(prefix.into())) }
    }

    /// True for this machine itself, false for a tree below a prefix.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.is_none()
    }

    /// The folder that stands for `/`.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new("/"))
    }

    /// Where the host's file `path` is; it need not exist.
    ///
    /// # Errors
    /// When `path` is not absolute, or passes too many links.
    pub fn path(&self, path: &str) -> Result<PathBuf, ReadError> {
        let bad = |reason| ReadError::BadPath { path: path.to_owned(), reason };
        if !path.starts_with('/') {
            return Err(bad("a path of the host starts with `/`"));
        }
        let Some(prefix) = &self.0 else { return Ok(PathBuf::from(path)) };
        resolve(prefix, Path::new(path)).ok_or_else(|| bad("it passes too many links"))
    }

    /// Reads the host's file `path`, at most 16 MiB; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// When it is missing, may not be read, or can't be.
    pub fn read(&self, path: &str) -> Result<String, ReadError> {
        read_at(path, &self.path(path)?)
    }

    /// The names in the host's folder `dir`, sorted.
    ///
    /// # Errors
    /// When it is missing, may not be read, or can't be.
    pub fn list(&self, dir: &str) -> Result<Vec<String>, ReadError> {
        let place = self.path(dir)?;
        let entries = fs::read_dir(place).map_err(|source| ReadError::of(dir, source))?;
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// True when the host has something at `path` that this user may see.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).is_ok_and(|place| place.exists())
    }
}

/// Reads the host's file `path`, which is at `place`.
fn read_at(path: &str, place: &Path) -> Result<String, ReadError> {
    let content = disk::read_bounded(place, READ_LIMIT);
    let content = content.map_err(|error| ReadError::of(path, error.source))?;
    Ok(String::from_utf8(content)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Resolves `path` inside `prefix`; nothing when it passes too many links.
fn resolve(prefix: &Path, path: &Path) -> Option<PathBuf> {
    let mut ahead: Vec<OsString> = parts(path);
    let mut inside = PathBuf::new();
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            inside.pop();
            continue;
        }
        let Ok(target) = fs::read_link(prefix.join(&inside).join(&part)) else {
            inside.push(part);
            continue;
        };
        links += 1;
        if links > LINK_LIMIT {
            return None;
        }
        if target.is_absolute() {
            inside.clear();
        }
        ahead.extend(parts(&target));
    }
    Some(prefix.join(inside))
}

/// The names and `..` of a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

/// Reads many files for one purpose, and remembers those that are there and yet can't be read.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    pub(super) root: &'a Sysroot,
    unreadable: RefCell<Vec<String>>,
    /// Folders of a tree and where they are: their links are followed once, not for each file in them.
    folders: RefCell<HashMap<String, PathBuf>>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(root: &'a Sysroot) -> Self {
        Self { root, unreadable: RefCell::default(), folders: RefCell::default() }
    }

    /// The text of a file without the white space around it; nothing when missing, unreadable or empty.
    pub(super) fn text(&self, path: &str) -> Option<Sourced<String>> {
        match self.place(path).and_then(|place| read_at(path, &place)) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Sourced::new(text.trim().to_owned(), path)),
            Err(error) => {
                if !error.is_missing() {
                    self.note(error.to_string());
                }
                None
            }
        }
    }

    /// As [`Sysroot::path`].
    fn place(&self, path: &str) -> Result<PathBuf, ReadError> {
        let Some((dir, name)) = path.rsplit_once('/').filter(|_| !self.root.is_live()) else {
            return self.root.path(path);
        };
        let known = self.folders.borrow().get(dir).cloned();
        let folder = if let Some(folder) = known {
            folder
        } else {
            let folder = self.root.path(if dir.is_empty() { "/" } else { dir })?;
            self.folders.borrow_mut().insert(dir.to_owned(), folder.clone());
            folder
        };
        let place = folder.join(name);
        if name == ".." || place.is_symlink() { self.root.path(path) } else { Ok(place) }
    }

    /// The one figure that a file holds.
    pub(super) fn number<T: FromStr>(&self, path: &str) -> Option<Sourced<T>> {
        let text = self.text(path)?;
        let number = text.value.parse().ok();
        if number.is_none() {
            self.note(format!("could not read {path}: `{}` is not a number", text.value));
        }
        number.map(|number| Sourced::new(number, path))
    }

    pub(super) fn list(&self, dir: &str) -> Vec<String> {
        self.root.list(dir).unwrap_or_default()
    }

    pub(super) fn note(&self, trouble: String) {
        self.unreadable.borrow_mut().push(trouble);
    }

    pub(super) fn into_unreadable(self) -> Vec<String> {
        self.unreadable.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn the_live_root_leaves_paths_as_they_are() {
        let live = Sysroot::at(PathBuf::from("/"));
        assert!(live.is_live());
        assert_eq!(live.path("/proc/stat").unwrap(), Path::new("/proc/stat"));
        assert!(matches!(live.path("proc/stat"), Err(ReadError::BadPath { .. })));
    }

    #[test]
    fn relative_links_work_inside_a_sysroot_as_they_do_in_sysfs() {
        let tree = Tree::new()
            .file("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n")
            .link("/sys/devices/system/cpu/cpu0/cpufreq", "../cpufreq/policy0");
        let root = tree.sysroot();
        let governor = root.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").unwrap();
        assert_eq!(governor, "powersave\n");
    }

    #[test]
    fn neither_dots_nor_links_lead_out_of_a_sysroot() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let outside = outside.path().to_str().unwrap().to_owned();
        let tree = Tree::new()
            .link("/absolute", &outside)
            .link("/dots", &format!("../../../../../../../../..{outside}"))
            .link("/root", "/");
        let root = tree.sysroot();
        for path in ["/absolute", "/dots", &format!("/root/{outside}"), &format!("/../..{outside}")]
        {
            assert!(root.path(path).unwrap().starts_with(root.prefix()), "{path}");
            assert!(root.read(path).unwrap_err().is_missing(), "{path}");
            assert_eq!(Gather::new(&root).text(path), None, "{path}");
        }
    }

    #[test]
    fn a_loop_of_links_is_an_error_and_not_an_endless_walk() {
        let tree = Tree::new().link("/a", "b").link("/b", "a");
        let error = tree.sysroot().read("/a").unwrap_err();
        assert!(error.to_string().contains("too many links"), "{error}");
    }

    #[test]
    fn missing_files_folders_and_pipes_are_told_apart() {
        let tree = Tree::new().file("/proc/stat", "cpu\n");
        let root = tree.sysroot();
        assert!(root.read("/proc/nothing").unwrap_err().is_missing());
        assert!(root.read("/proc/stat/below").unwrap_err().is_missing());
        let error = root.read("/proc").unwrap_err();
        assert!(error.to_string().ends_with("it is not a regular file"), "{error}");
        let pipe = root.path("/pipe").unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!root.read("/pipe").unwrap_err().is_missing());
        assert_eq!(root.list("/").unwrap(), ["pipe", "proc"]);
    }

    #[test]
    fn a_figure_that_is_no_figure_is_noted_and_a_missing_one_is_not() {
        let tree = Tree::new().file("/a", "many\n");
        let root = tree.sysroot();
        let gather = Gather::new(&root);
        assert_eq!(gather.number::<u64>("/a"), None);
        assert_eq!(gather.number::<u64>("/b"), None);
        assert_eq!(gather.into_unreadable(), ["could not read /a: `many` is not a number"]);
    }
}

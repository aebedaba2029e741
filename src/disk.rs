//! The only writer of trueup's own state: atomic replacement, durable appends, the lock file, bounded reads.
//!
//! Whatever instant the process is killed at, a file written here is either the old one or the new
//! one, and a log is a run of whole lines followed by at most one torn line. Does not know what the
//! files hold, and never writes a setting of the host (that is `change`).
#![expect(
    clippy::disallowed_methods,
    reason = "this module is where trueup's own state is written"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use rustix::fs::FlockOperation;

/// A file operation that failed, with what was attempted and where.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}", path.display())]
pub struct DiskError {
    /// What was attempted, as in "could not *write* results/latest.json".
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// True when the file or folder is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// With its cause, in one line.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{self}: {}", self.source)
    }
}

fn at<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, DiskError> {
    result.map_err(|source| DiskError { action, path: path.to_owned(), source })
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes `dir` and what is missing above it.
///
/// # Errors
/// When the system refuses.
pub fn create_dir_all(dir: &Path) -> Result<(), DiskError> {
    at("create", dir, fs::create_dir_all(dir))
}

/// Replaces the file at `path` by `content`, durably: temporary file beside it, fsync, rename, fsync of the folder.
///
/// # Errors
/// When the system refuses; the former file is then still there, whole.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    replace_by(path, |file| file.write_all(content))
}

/// Replaces the file at `path`, durably, by what `write` writes: it need not be in memory as a whole.
///
/// # Errors
/// When the system or `write` refuses; the former file is then still there, whole.
pub fn replace_by(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), DiskError> {
    put_in_place(path, |temporary| {
        let mut file = BufWriter::with_capacity(1 << 16, File::create(temporary)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    })
}

/// Makes `path` name the file at `from` as well, durably and at once: a second name for it where the system allows
/// that, else a copy. Both are files that are replaced and never written to, so neither follows the other later.
///
/// # Errors
/// When the system refuses; what was at `path` is then still there.
pub fn publish(from: &Path, path: &Path) -> Result<(), DiskError> {
    put_in_place(path, |temporary| match fs::hard_link(from, temporary) {
        Ok(()) => Ok(()),
        Err(_) => fs::copy(from, temporary).and_then(|_| File::open(temporary)?.sync_all()),
    })
}

/// Has a file made beside `path`, and moves it there.
fn put_in_place(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), DiskError> {
    let dir = folder_of(path);
    create_dir_all(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let put = || -> io::Result<()> {
        make(&temporary)?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    let done = put();
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    at("write", path, done)
}

/// Opens a regular file to be read. A pipe in its place, or a log of the kernel, would be waited for, for ever.
///
/// # Errors
/// When it can't be opened, or is none.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    // Opening a device may already do something.
    if !fs::metadata(path)?.is_file() {
        return Err(other());
    }
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(other()) }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// When it can't be read, or is larger.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = open_regular(path)?;
        content.reserve(file.metadata()?.len().min(limit) as usize + 1);
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            let told = format!("it is larger than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, told));
        }
        Ok(content)
    };
    at("read", path, read())
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// When it can't be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, DiskError> {
    let content = read_bounded(path, limit)?;
    let text = String::from_utf8(content)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"));
    at("read", path, text)
}

/// Moves a file, durably.
///
/// # Errors
/// When the system refuses.
pub fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    at("move", from, fs::rename(from, to))
}

/// Removes a file; one that is not there is as good as removed. Answers whether it was there.
///
/// # Errors
/// When the system refuses.
pub fn remove(path: &Path) -> Result<bool, DiskError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => at("remove", path, Err(error)),
    }
}

/// Removes a folder and all in it; one that is not there is as good as removed.
///
/// # Errors
/// When the system refuses.
pub fn remove_tree(path: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => at("remove", path, Err(error)),
        _ => Ok(()),
    }
}

/// Copies a file's content and mode, durably.
///
/// # Errors
/// When the system refuses.
pub fn copy(from: &Path, to: &Path) -> Result<(), DiskError> {
    at("copy", from, fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()))
}

/// The names in a folder, sorted; a folder that is not there has none.
///
/// # Errors
/// When the system refuses.
pub fn list(dir: &Path) -> Result<Vec<String>, DiskError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => at("list", dir, other)?,
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// A log of lines, appended to and never rewritten.
#[derive(Debug)]
pub struct AppendLog {
    file: File,
    path: PathBuf,
}

impl AppendLog {
    /// Opens the log at `path`, made with the folders above it when missing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let dir = folder_of(path);
        create_dir_all(dir)?;
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true).custom_flags(OFlag::O_NOFOLLOW.bits());
        let mut file = at("open", path, options.open(path))?;
        if is_new {
            at("write", path, File::open(dir).and_then(|folder| folder.sync_all()))?;
        } else {
            at("write", path, end_torn_line(&mut file))?;
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends whole lines without waiting for the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn append(&mut self, lines: impl AsRef<[u8]>) -> Result<(), DiskError> {
        at("write", &self.path, self.file.write_all(lines.as_ref()))
    }

    /// Waits until all that was appended is on the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        at("write", &self.path, self.file.sync_data())
    }

    /// Holds the log, so that [`is_held`] tells everybody that it is being written, until this is dropped or killed.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hold(&self) -> Result<(), DiskError> {
        let held = rustix::io::retry_on_intr(|| {
            rustix::fs::flock(&self.file, FlockOperation::LockExclusive)
        });
        at("lock", &self.path, held.map_err(Into::into))
    }

    /// Makes sure that what was appended is found under the log's name.
    ///
    /// # Errors
    /// When the log was removed, or another file has its name.
    pub fn in_place(&self) -> Result<(), DiskError> {
        let found = names(&self.path, &self.file).and_then(|same| {
            let lost = || io::Error::other("it was removed or replaced while it was written");
            if same { Ok(()) } else { Err(lost()) }
        });
        at("find", &self.path, found)
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// True when `path` is a name of this open file, and not of another or of none.
fn names(path: &Path, file: &File) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// True while a process that is alive [holds](AppendLog::hold) the log at `path`.
#[must_use]
pub fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let free = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
    free == Err(rustix::io::Errno::WOULDBLOCK)
}

/// A line torn by a kill is ended, so that the next one stands alone.
fn end_torn_line(file: &mut File) -> io::Result<()> {
    let mut last = [0];
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(());
    }
    file.read_exact_at(&mut last, length - 1)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// A lock on a file, held until dropped, even if the process is killed.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
    /// The folder that is locked with it.
    _folder: Option<File>,
}

/// The answer to a request for a [`LockFile`].
#[derive(Debug)]
pub enum Locked {
    /// It is ours.
    Ours(LockFile),
    /// Another process holds it; the text is what that process wrote of itself.
    Held(String),
}

impl LockFile {
    /// Tries to take the lock at `path`, and leaves `note` in it for whoever is refused.
    ///
    /// # Errors
    /// When the file can't be opened or written.
    pub fn try_lock(path: &Path, note: &str) -> Result<Locked, DiskError> {
        loop {
            let mut file = Self::open(path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Removed or replaced between the two, it is a lock that nobody else will meet.
                Ok(()) if !at("lock", path, names(path, &file))? => {}
                Ok(()) => return Ok(Locked::Ours(Self::noted(file, path, note)?)),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut held = String::new();
                    at("read", path, file.read_to_string(&mut held))?;
                    return Ok(Locked::Held(held.trim().to_owned()));
                }
                Err(errno) => return at("lock", path, Err(errno.into())),
            }
        }
    }

    /// The same, and locks the folder that `path` is in as well: it holds also when the file is removed meanwhile.
    ///
    /// # Errors
    /// When the file can't be opened or written.
    pub fn try_lock_folder(path: &Path, note: &str) -> Result<Locked, DiskError> {
        let dir = folder_of(path);
        create_dir_all(dir)?;
        let folder = at("open", dir, File::open(dir))?;
        // Some file systems can't lock a folder; there the file alone has to do.
        if rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)
            == Err(rustix::io::Errno::WOULDBLOCK)
        {
            let note = read_text(path, 4096).unwrap_or_default();
            let lost = "a process that its lock file does not name any more";
            let by = if note.trim().is_empty() { lost } else { note.trim() };
            return Ok(Locked::Held(by.to_owned()));
        }
        Ok(match Self::try_lock(path, note)? {
            Locked::Ours(lock) => Locked::Ours(Self { _folder: Some(folder), ..lock }),
            held @ Locked::Held(_) => held,
        })
    }

    /// Takes the lock at `path` as soon as it is free, or answers who holds it when that takes longer than `patience`.
    ///
    /// # Errors
    /// When the file can't be opened or written.
    pub fn wait(path: &Path, note: &str, patience: Duration) -> Result<Locked, DiskError> {
        // The kernel can wait for a lock, but not for a bounded time: so it is asked again and again.
        const PAUSE: Duration = Duration::from_millis(2);
        let mut left = patience;
        loop {
            match Self::try_lock(path, note)? {
                Locked::Held(_) if left >= PAUSE => {
                    std::thread::sleep(PAUSE);
                    left -= PAUSE;
                }
                answer => return Ok(answer),
            }
        }
    }

    fn open(path: &Path) -> Result<File, DiskError> {
        create_dir_all(folder_of(path))?;
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false);
        // A link in its place may lead to a file that is not ours.
        options.custom_flags(OFlag::O_NOFOLLOW.bits());
        at("open", path, options.open(path))
    }

    fn noted(mut file: File, path: &Path, note: &str) -> Result<Self, DiskError> {
        at("write", path, file.set_len(0).and_then(|()| file.write_all(note.as_bytes())))?;
        Ok(Self { _file: file, _folder: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_a_file_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "two");
        assert_eq!(list(&dir.path().join("a")).unwrap(), ["b.json"]);
    }

    #[test]
    fn a_published_file_has_two_names_until_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (own, latest) = (dir.path().join("own"), dir.path().join("latest"));
        for content in ["one", "two"] {
            replace(&own, content.as_bytes()).unwrap();
            publish(&own, &latest).unwrap();
            assert_eq!(read_text(&latest, 10).unwrap(), content);
        }
        replace(&own, b"three").unwrap();
        assert_eq!(read_text(&latest, 10).unwrap(), "two");
        assert_eq!(list(dir.path()).unwrap(), ["latest", "own"]);
        assert!(publish(&dir.path().join("gone"), &latest).is_err());
        assert_eq!(read_text(&latest, 10).unwrap(), "two");
    }

    #[test]
    fn a_file_that_could_not_be_written_to_its_end_leaves_the_former_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"former").unwrap();
        let refused = replace_by(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::Other.into())
        });
        assert!(refused.is_err());
        assert_eq!(read_text(&path, 10).unwrap(), "former");
        assert_eq!(list(dir.path()).unwrap(), ["file"]);
    }

    #[test]
    fn a_file_over_the_limit_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        replace(&path, &[b'x'; 11]).unwrap();
        let error = read_bounded(&path, 10).unwrap_err();
        assert!(error.to_string().ends_with("/big"), "{error}");
        assert_eq!(error.source.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_log_opened_after_a_torn_line_starts_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        replace(&path, b"whole\nto").unwrap();
        AppendLog::open(&path).unwrap().append("next\n").unwrap();
        assert_eq!(read_text(&path, 100).unwrap(), "whole\nto\nnext\n");
    }

    #[test]
    fn a_lock_is_held_by_one_and_tells_the_other_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let Locked::Ours(first) = LockFile::try_lock(&path, "run 1").unwrap() else {
            panic!("free")
        };
        match LockFile::try_lock(&path, "run 2").unwrap() {
            Locked::Held(by) => assert_eq!(by, "run 1"),
            Locked::Ours(_) => panic!("taken twice"),
        }
        drop(first);
        assert!(matches!(LockFile::try_lock(&path, "run 2").unwrap(), Locked::Ours(_)));
    }

    #[test]
    fn a_lock_whose_file_is_removed_is_held_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let taken = LockFile::try_lock_folder(&path, "first").unwrap();
        assert!(matches!(taken, Locked::Ours(_)));
        remove(&path).unwrap();
        let second = LockFile::try_lock_folder(&path, "second").unwrap();
        assert!(matches!(second, Locked::Held(by) if by.contains("does not name")));
        drop(taken);
        assert!(matches!(LockFile::try_lock_folder(&path, "third").unwrap(), Locked::Ours(_)));
    }

    #[test]
    fn a_log_that_is_removed_or_replaced_is_not_in_place_and_one_that_is_held_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = AppendLog::open(&path).unwrap();
        assert!(!is_held(&path));
        log.hold().unwrap();
        assert!(is_held(&path));
        log.in_place().unwrap();
        replace(&path, b"another").unwrap();
        assert!(log.in_place().unwrap_err().source.to_string().contains("replaced"));
        remove(&path).unwrap();
        assert!(log.in_place().is_err());
        assert!(!is_held(&path));
    }

    #[test]
    fn a_lock_is_waited_for_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let taken = LockFile::try_lock(&path, "first").unwrap();
        let short = LockFile::wait(&path, "second", Duration::from_millis(10)).unwrap();
        assert!(matches!(short, Locked::Held(by) if by == "first"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| LockFile::wait(&path, "third", Duration::from_mins(1)));
            drop(taken);
            assert!(matches!(waiting.join().unwrap().unwrap(), Locked::Ours(_)));
        });
    }
}

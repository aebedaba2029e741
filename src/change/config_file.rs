//! Configuration files below `/etc`: read, replaced, made and removed, each as a whole.
//!
//! A file is replaced by another one beside it that is renamed over it, and keeps owner, group, mode and extended
//! attributes; what of these can't be kept is told by [`ConfigFiles::obstacle`] before anything is written. A file that
//! was made is removed with the folders that were made for it. So that no path leads out of the sysroot, whatever
//! somebody does to it meanwhile, each folder is opened from the one above it and none of them, nor the file, may be a
//! link. Knows nothing of what the files mean.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{
    Access, AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid, XattrFlags,
    accessat, fchmod, fchown, fgetxattr, flistxattr, flock, fsetxattr, fstat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

pub(super) use super::file_value::{ABSENT, Content, OTHER, WITH, content, other, same, shown};
use super::host::WriteError;
use crate::fault;
use crate::host::Sysroot;
use crate::host::setting::Observed;
use crate::secret;

/// The largest file that is replaced: both its texts stand in the journal, and a gate writes them with each of its pairs.
const LIMIT: u64 = 64 << 10;

/// The mode of a file and of a folder that is made.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);

/// The configuration files below a sysroot.
#[derive(Debug)]
pub(super) struct ConfigFiles {
    root: Sysroot,
}

/// The folder of a file, as far as it is there.
struct Way {
    /// The deepest folder that is there.
    folder: OwnedFd,
    /// The folders that are missing below it, as paths on the host; the highest first.
    missing: Vec<String>,
    name: String,
}

/// A file as it is.
struct Present {
    file: File,
    stat: Stat,
}

/// A folder that is held. A child that was just started may have it open as well, so it is given back by name.
struct Held<'a>(&'a OwnedFd);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What can't be given back goes with the process.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

type Told<T> = Result<T, String>;

impl ConfigFiles {
    pub(super) fn below(root: Sysroot) -> Self {
        Self { root }
    }

    /// What a file has, if that may be written down.
    pub(super) fn observe(&self, path: &str) -> Observed {
        let value = self.value(path).and_then(|(value, reason)| reason.map_or(Ok(value), Err));
        value.map_or_else(Observed::Unreadable, Observed::Value)
    }

    /// What a file has, to be compared and not to be written down.
    pub(super) fn look(&self, path: &str) -> Observed {
        self.value(path).map_or_else(Observed::Unreadable, |(value, _)| Observed::Value(value))
    }

    /// What a file has, and why that may not be written down.
    fn value(&self, path: &str) -> Told<(String, Option<String>)> {
        let way = self.way(path)?;
        let Some(present) = way.open(path)? else {
            let absent = match way.missing.first() {
                Some(folder) => format!("{WITH}{folder}"),
                None => ABSENT.to_owned(),
            };
            return Ok((absent, None));
        };
        let is_private = present.stat.st_mode & 0o004 == 0;
        let mut bytes = Vec::new();
        let read = present.file.take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("could not read {path}: {error}"))?;
        let unkept =
            |what: String| Ok((format!("{OTHER}{what}"), Some(format!("{path} is {what}"))));
        if bytes.len() as u64 > LIMIT {
            return unkept(format!("larger than {LIMIT} bytes"));
        }
        let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let Some(text) = text else { return unkept("not a text".to_owned()) };
        let reason = match content(&text) {
            Content::Text(_) if is_private => Some(format!(
                "not everybody may read {path}, and its text would stand in the journal; change it by hand"
            )),
            Content::Text(_) => None,
            Content::Absent(_) | Content::Other(_) => {
                return unkept("a text that stands for something else".to_owned());
            }
        };
        Ok((text, reason))
    }

    /// Why `value` can't be written without losing something of what is there.
    pub(super) fn obstacle(&self, path: &str, value: &str) -> Option<String> {
        self.refuse(path, value).err()
    }

    fn refuse(&self, path: &str, value: &str) -> Told<()> {
        if let Content::Text(text) = content(value) {
            if text.len() as u64 > LIMIT || text.contains('\0') || !text.ends_with('\n') {
                return Err(format!(
                    "what {path} is to hold is not a text of whole lines and at most {LIMIT} bytes"
                ));
            }
            if secret::stands_in(text) {
                return Err(format!(
                    "a secret would stand in {path} and in the journal, where others can read it"
                ));
            }
        }
        let way = self.way(path)?;
        match accessat(&way.folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => {}
            Err(Errno::ROFS) => return Err(format!("the folder of {path} is mounted read-only")),
            Err(_) => return Err(format!("this user may not write in the folder of {path}")),
        }
        way.open(path)?.map_or(Ok(()), |present| keepable(path, &present))
    }

    pub(super) fn write(&self, path: &str, value: &str) -> Result<(), WriteError> {
        let (action, done) = match content(value) {
            Content::Text(text) => ("write", self.replace(path, text)),
            Content::Absent(folder) => ("remove", self.remove(path, folder)),
            Content::Other(_) => ("write", Err("its text was not kept".to_owned())),
        };
        done.map_err(|reason| WriteError::File { action, path: path.to_owned(), reason })
    }

    /// Removes what a write that was cut off has left beside the file.
    pub(super) fn tidy(&self, path: &str, value: &str) -> Result<(), WriteError> {
        let clear = || {
            let way = self.way(path)?;
            if way.missing.is_empty() {
                let _held = way.hold(path)?;
                pass()?;
                gone(unlinkat(&way.folder, way.temporary(), AtFlags::empty()))?;
            }
            match content(value) {
                Content::Absent(Some(folder)) => self.remove_folders(path, folder),
                Content::Absent(None) | Content::Text(_) | Content::Other(_) => Ok(()),
            }
        };
        let failed =
            |reason| WriteError::File { action: "tidy up beside", path: path.to_owned(), reason };
        clear().map_err(failed)
    }

    fn replace(&self, path: &str, text: &str) -> Told<()> {
        self.make_folders(path)?;
        let way = self.way(path)?;
        let _held = way.hold(path)?;
        let former = way.open(path)?;
        if let Some(former) = &former {
            keepable(path, former)?;
        }
        let temporary = way.temporary();
        gone(unlinkat(&way.folder, &temporary, AtFlags::empty()))?;
        let put = || -> io::Result<()> {
            fault::pass()?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file =
                File::from(openat(&way.folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
            fault::pass()?;
            file.write_all(fault::cut(text.as_bytes()))?;
            fault::pass()?;
            match &former {
                Some(former) => keep(former, &file)?,
                None => fchmod(&file, FILE_MODE)?,
            }
            fault::pass()?;
            file.sync_all()?;
            fault::pass()?;
            way.still_has(former.as_ref())?;
            renameat(&way.folder, &temporary, &way.folder, &way.name)?;
            fault::pass()?;
            rustix::fs::fsync(&way.folder)?;
            fault::pass()
        };
        put().map_err(|error| {
            // What is left of it is removed by the next write or rollback at the latest.
            let _ = unlinkat(&way.folder, &temporary, AtFlags::empty());
            error.to_string()
        })
    }

    fn remove(&self, path: &str, folder: Option<&str>) -> Told<()> {
        let way = self.way(path)?;
        if way.missing.is_empty() {
            let _held = way.hold(path)?;
            pass()?;
            gone(unlinkat(&way.folder, way.temporary(), AtFlags::empty()))?;
            pass()?;
            gone(unlinkat(&way.folder, &way.name, AtFlags::empty()))?;
            pass()?;
            told(rustix::fs::fsync(&way.folder))?;
        }
        folder.map_or(Ok(()), |folder| self.remove_folders(path, folder))
    }

    /// Makes the folders of a file that are missing.
    fn make_folders(&self, path: &str) -> Told<()> {
        while let Way { folder, missing, .. } = self.way(path)?
            && let Some(next) = missing.first()
        {
            let name = next.rsplit('/').next().unwrap_or_default();
            pass()?;
            match mkdirat(&folder, name, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(format!("could not make {next}: {}", io::Error::from(errno)));
                }
            }
            told(rustix::fs::fsync(&folder))?;
        }
        Ok(())
    }

    /// Removes `highest` and the folders below it that lead to the file, as far as they are empty.
    fn remove_folders(&self, path: &str, highest: &str) -> Told<()> {
        let below = |folder: &&str| {
            let rest = folder.strip_prefix(highest);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        let folders: Vec<&str> = parents.filter(below).collect();
        for folder in folders.into_iter().rev() {
            let way = self.way(folder)?;
            if !way.missing.is_empty() {
                continue;
            }
            pass()?;
            match unlinkat(&way.folder, &way.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => told(rustix::fs::fsync(&way.folder))?,
                // Somebody else has put something there.
                Err(Errno::NOTEMPTY | Errno::EXIST) => break,
                Err(errno) => return told(Err(errno)),
            }
        }
        Ok(())
    }

    /// The way to a file, opened folder by folder, so that it can't be led elsewhere in between.
    fn way(&self, path: &str) -> Told<Way> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let prefix = self.root.prefix();
        let fail = |place: &str, errno: Errno| {
            format!("could not open {place}: {}", io::Error::from(errno))
        };
        let mut folder = openat(CWD, prefix, flags, Mode::empty())
            .map_err(|errno| fail(&prefix.display().to_string(), errno))?;
        let (above, name) = path.rsplit_once('/').unwrap_or_default();
        let mut walked = String::new();
        let mut missing = Vec::new();
        for part in above.split('/').skip(1) {
            walked += "/";
            walked += part;
            if !missing.is_empty() {
                missing.push(walked.clone());
                continue;
            }
            match openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(next) => folder = next,
                Err(Errno::NOENT) => missing.push(walked.clone()),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(format!(
                        "{walked} is a link or no folder; name the path that {path} has without it"
                    ));
                }
                Err(errno) => return Err(fail(&walked, errno)),
            }
        }
        Ok(Way { folder, missing, name: name.to_owned() })
    }
}

impl Way {
    /// The file, which must not be a link; nothing where there is none.
    fn open(&self, path: &str) -> Told<Option<Present>> {
        if !self.missing.is_empty() {
            return Ok(None);
        }
        // A pipe would otherwise be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(format!("{path} is a link; name the file that it leads to"));
            }
            Err(errno) => return Err(format!("could not open {path}: {}", io::Error::from(errno))),
        };
        let stat = told(fstat(&file))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(format!("{path} is not a regular file"));
        }
        Ok(Some(Present { file: file.into(), stat }))
    }

    /// Holds the folder against other processes of this program, which would use the same name beside the file.
    fn hold(&self, path: &str) -> Told<Held<'_>> {
        match flock(&self.folder, FlockOperation::NonBlockingLockExclusive) {
            // Some file systems can't lock a folder.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::BADF | Errno::INVAL) => {
                Ok(Held(&self.folder))
            }
            Err(Errno::WOULDBLOCK) => {
                Err(format!("another process writes beside {path} at this moment"))
            }
            Err(errno) => Err(io::Error::from(errno).to_string()),
        }
    }

    /// The name of the file by which it is replaced; no program takes it for a part of its configuration.
    fn temporary(&self) -> String {
        format!(".{}.trueup", self.name)
    }

    /// Refuses when somebody has put another file in the place of `former`.
    fn still_has(&self, former: Option<&Present>) -> io::Result<()> {
        let now = match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some((stat.st_dev, stat.st_ino, stat.st_mtime, stat.st_mtime_nsec)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        let then = former.map(|Present { stat, .. }| {
            (stat.st_dev, stat.st_ino, stat.st_mtime, stat.st_mtime_nsec)
        });
        if now == then {
            return Ok(());
        }
        Err(io::Error::other("somebody else has replaced it at this moment"))
    }
}

/// Refuses when this user can't give a new file what the present one has.
fn keepable(path: &str, present: &Present) -> Told<()> {
    let Stat { st_uid, st_gid, st_nlink, .. } = present.stat;
    if st_nlink > 1 {
        return Err(format!(
            "{path} has {st_nlink} names, and the others would keep the former text"
        ));
    }
    if nix::unistd::geteuid().is_root() {
        return attributes(&present.file).map(drop).map_err(|error| {
            format!("the extended attributes of {path} can't be read, and would be lost: {error}")
        });
    }
    if st_uid != nix::unistd::geteuid().as_raw() {
        return Err(format!("{path} belongs to another user, which only root can keep"));
    }
    let own = nix::unistd::getegid().as_raw() == st_gid;
    let groups = nix::unistd::getgroups().unwrap_or_default();
    if !own && !groups.iter().any(|group| group.as_raw() == st_gid) {
        return Err(format!("{path} belongs to a group that only root can keep"));
    }
    let found = attributes(&present.file).map_err(|error| {
        format!("the extended attributes of {path} can't be read, and would be lost: {error}")
    })?;
    let kept = |name: &[u8]| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl");
    match found.iter().find(|(name, _)| !kept(name)) {
        Some((name, _)) => Err(format!(
            "{path} has the attribute {}, which only root can keep",
            String::from_utf8_lossy(name)
        )),
        None => Ok(()),
    }
}

/// Gives a new file what the former one has. Owner first: a change of owner takes rights and attributes away.
fn keep(former: &Present, new: &File) -> io::Result<()> {
    let Stat { st_uid, st_gid, st_mode, .. } = former.stat;
    let made = fstat(new)?;
    if (made.st_uid, made.st_gid) != (st_uid, st_gid) {
        fchown(new, Some(Uid::from_raw(st_uid)), Some(Gid::from_raw(st_gid)))?;
    }
    fchmod(new, Mode::from_raw_mode(st_mode & 0o7777))?;
    let present = attributes(new)?;
    for (name, value) in attributes(&former.file)? {
        // Where the system has given it already, it need not be allowed to us.
        if !present.iter().any(|one| *one == (name.clone(), value.clone())) {
            fsetxattr(new, &*name, &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// The extended attributes of a file, each with its value.
fn attributes(file: &File) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // As large as the kernel lets them be.
    let mut buffer = vec![0_u8; 64 << 10];
    let names = match flistxattr(file, buffer.as_mut_slice()) {
        Ok(length) => buffer[..length].to_vec(),
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let length = fgetxattr(file, name, buffer.as_mut_slice())?;
            Ok((name.to_vec(), buffer[..length].to_vec()))
        })
        .collect()
}

/// What is not there need not be removed.
fn gone(removed: rustix::io::Result<()>) -> Told<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => told(other),
    }
}

/// A place at which something may go wrong.
fn pass() -> Told<()> {
    fault::pass().map_err(|error| error.to_string())
}

fn told<T>(result: rustix::io::Result<T>) -> Told<T> {
    result.map_err(|errno| io::Error::from(errno).to_string())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make what somebody else would")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;
    use crate::change::{
        Applier, ApplyResult, Change, Options, RollbackReport, TakenBack, Target, rollback, script,
    };
    use crate::clock::Clock;
    use crate::host::tree::Tree;
    use jiff::Timestamp;
    use tempfile::TempDir;

    const CONF: &str = "/etc/sysctl.d/90-x.conf";
    const DEEP: &str = "/etc/systemd/system/x.service.d/10-x.conf";

    fn applier(tree: &Tree, dir: &TempDir, run: &str) -> Applier {
        let second = run.trim_start_matches('r').parse().unwrap();
        let clock = Clock::manual(Timestamp::from_second(second).unwrap());
        Applier::new(tree.sysroot(), dir.path(), run, clock)
    }

    fn change(path: &str, from: &str, to: &str) -> Change {
        Change {
            phase: "p".to_owned(),
            target: Target::file(path),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    fn take_back(tree: &Tree, dir: &TempDir, run: &str, force: bool) -> RollbackReport {
        let options = Options { force, ..Options::new(Timestamp::UNIX_EPOCH, "a test") };
        rollback(&tree.sysroot(), &dir.path().join(format!("{run}.jsonl")), &options).unwrap()
    }

    fn refused(applier: &Applier, change: Change) -> String {
        match applier.apply(&[change]).remove(0).result {
            ApplyResult::Refused { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// All files and folders of a tree, with modes and texts.
    fn all(tree: &Tree) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![tree.sysroot().prefix().to_owned()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let of = path.symlink_metadata().unwrap();
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.push(format!("{} {:o} {text}", path.display(), of.mode()));
                if of.is_dir() {
                    left.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn host() -> (Tree, TempDir) {
        let tree = Tree::new()
            .file("/proc/sys/kernel/random/boot_id", "b1\n")
            .file("/etc/hosts", "1\n")
            .file("/etc/sysctl.d/10-other.conf", "a=1\n");
        (tree, tempfile::tempdir().unwrap())
    }

    #[test]
    fn a_file_that_was_made_is_gone_again_with_the_folders_that_were_made_for_it() {
        let (tree, dir) = host();
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        let absent = "absent with /etc/systemd";
        let made = run.apply(&[change(CONF, ABSENT, "a=2\n"), change(DEEP, absent, "[Service]\n")]);
        assert!(made.iter().all(|one| one.result == ApplyResult::Match), "{made:?}");
        assert_eq!(tree.get(DEEP), "[Service]\n");
        run.keep().unwrap();
        // A reboot does not take back what is on the disk.
        tree.put("/proc/sys/kernel/random/boot_id", "b2\n");
        assert!(take_back(&tree, &dir, "r1", false).is_complete());
        tree.put("/proc/sys/kernel/random/boot_id", "b1\n");
        assert_eq!(all(&tree), before);
        assert_eq!(take_back(&tree, &dir, "r1", false).changes, []);
    }

    #[test]
    fn folders_in_which_somebody_has_put_something_stay() {
        let (tree, dir) = host();
        let run = applier(&tree, &dir, "r1");
        let _ = run.apply(&[change(DEEP, "absent with /etc/systemd", "[Service]\n")]);
        tree.put("/etc/systemd/system/other", "x\n");
        assert!(take_back(&tree, &dir, "r1", false).is_complete());
        assert_eq!(tree.get("/etc/systemd/system/other"), "x\n");
        assert!(!tree.sysroot().path(DEEP).unwrap().parent().unwrap().exists());
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_attributes_and_comes_back_byte_for_byte() {
        let (tree, dir) = host();
        let place = tree.sysroot().path("/etc/hosts").unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o664)).unwrap();
        let marked = rustix::fs::setxattr(&place, "user.note", b"mine", XattrFlags::empty());
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        // A text without its last line end is not ours to mend.
        tree.put("/etc/hosts", " [1] 2\n\n3");
        let made = run.apply(&[change("/etc/hosts", " [1] 2\n\n3", "2\n")]);
        assert_eq!(made[0].result, ApplyResult::Match);
        let look = || {
            let mut value = [0; 4];
            let noted = marked.is_err()
                || rustix::fs::getxattr(&place, "user.note", &mut value) == Ok(4)
                    && value == *b"mine";
            assert!(noted, "the attribute is gone");
            assert_eq!(place.metadata().unwrap().mode() & 0o777, 0o664);
        };
        look();
        assert!(take_back(&tree, &dir, "r1", false).is_complete());
        look();
        assert_eq!(tree.get("/etc/hosts"), " [1] 2\n\n3");
        tree.put("/etc/hosts", "1\n");
        assert_eq!(all(&tree), before);
    }

    #[test]
    fn what_somebody_else_has_written_since_is_left_unless_forced() {
        let (tree, dir) = host();
        let run = applier(&tree, &dir, "r1");
        let _ = run.apply(&[change(CONF, ABSENT, "a=2\n")]);
        tree.put(CONF, "their=secret\n");
        let report = take_back(&tree, &dir, "r1", false);
        let found = "other: 1 line, 13 bytes, 1c8c9662".to_owned();
        assert_eq!(report.changes[0].result, TakenBack::Left { found: found.clone() });
        assert_eq!(Target::file(CONF).shown(&found), "1 line, 13 bytes, 1c8c9662");
        let journal = crate::disk::read_text(run.journal(), 1 << 20).unwrap();
        assert!(!journal.contains("their"), "{journal}");
        assert!(take_back(&tree, &dir, "r1", true).is_complete());
        assert!(!tree.sysroot().path(CONF).unwrap().exists());
    }

    #[test]
    fn what_somebody_has_made_private_too_large_or_no_text_since_is_looked_at_all_the_same() {
        for (content, mode, forced) in [
            (&b"2\n"[..], 0o600, false),
            (b"their password\n", 0o600, true),
            (&[b'x'].repeat(70_000), 0o644, true),
            (b"\0\xff", 0o644, true),
        ] {
            let (tree, dir) = host();
            let run = applier(&tree, &dir, "r1");
            let _ = run.apply(&[change("/etc/hosts", "1\n", "2\n")]);
            run.keep().unwrap();
            let place = tree.sysroot().path("/etc/hosts").unwrap();
            std::fs::write(&place, content).unwrap();
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
            if forced {
                let report = take_back(&tree, &dir, "r1", false);
                assert_eq!((report.is_complete(), report.left()), (true, 1), "{report:?}");
                assert_eq!(std::fs::read(&place).unwrap(), content);
            }
            let report = take_back(&tree, &dir, "r1", forced);
            assert_eq!((report.is_complete(), report.left()), (true, 0), "{report:?}");
            assert_eq!(tree.get("/etc/hosts"), "1\n");
            assert_eq!(place.metadata().unwrap().mode() & 0o777, mode, "it is as private");
            let journal = crate::disk::read_text(run.journal(), 1 << 20).unwrap();
            assert!(!journal.contains("password") && journal.len() < 4096, "{journal}");
        }
    }

    #[test]
    fn two_processes_do_not_write_beside_one_file_at_a_time() {
        let (tree, dir) = host();
        let etc = std::fs::File::open(tree.sysroot().path("/etc").unwrap()).unwrap();
        flock(&etc, FlockOperation::LockExclusive).unwrap();
        let run = applier(&tree, &dir, "r1");
        let reason = refused(&run, change("/etc/hosts", "1\n", "2\n"));
        assert!(reason.contains("another process writes beside /etc/hosts"), "{reason}");
        drop(etc);
        let run = applier(&tree, &dir, "r2");
        for (from, to) in [("1\n", "2\n"), ("2\n", "3\n")] {
            let made = run.apply(&[change("/etc/hosts", from, to)]);
            assert_eq!(made[0].result, ApplyResult::Match);
        }
    }

    #[test]
    fn no_link_and_no_path_leads_out_of_the_sysroot() {
        let (tree, dir) = host();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("90-x.conf");
        crate::disk::replace(&victim, b"theirs\n").unwrap();
        let etc = tree.sysroot().path("/etc").unwrap();
        symlink(outside.path(), etc.join("led.d")).unwrap();
        symlink(&victim, etc.join("led.conf")).unwrap();
        let run = applier(&tree, &dir, "r1");
        for path in ["/etc/led.d/90-x.conf", "/etc/led.conf"] {
            let reason = refused(&run, change(path, "theirs\n", "ours\n"));
            assert!(reason.contains("is a link"), "{reason}");
        }
        for path in ["/etc/../x", "/etc/./x", "/var/x", "/etc/", "/etc/x//y", "etc/x"] {
            let reason = refused(&run, change(path, ABSENT, "ours\n"));
            assert!(reason.contains("is not a configuration file"), "{reason}");
        }
        // The folder is led elsewhere between the change and the rollback.
        let _ = run.apply(&[change(CONF, ABSENT, "theirs\n")]);
        std::fs::rename(etc.join("sysctl.d"), etc.join("away")).unwrap();
        symlink(outside.path(), etc.join("sysctl.d")).unwrap();
        let report = take_back(&tree, &dir, "r1", true);
        assert!(matches!(report.changes[0].result, TakenBack::Failed { .. }), "{report:?}");
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "theirs\n");
    }

    #[test]
    fn what_could_not_be_given_back_is_told_before_anything_is_written() {
        let (tree, dir) = host();
        let etc = tree.sysroot().path("/etc").unwrap();
        std::fs::hard_link(etc.join("hosts"), etc.join("hosts.too")).unwrap();
        tree.put("/etc/private", "password\n");
        std::fs::set_permissions(etc.join("private"), std::fs::Permissions::from_mode(0o640))
            .unwrap();
        std::fs::write(etc.join("binary"), b"\0\xff").unwrap();
        std::fs::write(etc.join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        for (path, from, to, word) in [
            ("/etc/hosts", "1\n", "2\n", "has 2 names"),
            ("/etc/private", "password\n", "2\n", "not everybody may read"),
            ("/etc/binary", "", "2\n", "is not a text"),
            ("/etc/large", "", "2\n", "is larger than"),
            (CONF, ABSENT, "no line end", "not a text of whole lines"),
            (CONF, ABSENT, "\u{27e6}secret env A\u{27e7}\n", "a secret would stand in"),
        ] {
            let reason = refused(&run, change(path, from, to));
            assert!(reason.contains(word), "{reason}");
        }
        assert_eq!(all(&tree), before);
        assert!(!run.journal().exists());
    }

    #[test]
    fn what_a_kill_within_a_write_has_left_is_cleared_by_the_rollback() {
        let (tree, dir) = host();
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        let _ = run.apply(&[change(DEEP, "absent with /etc/systemd", "[Service]\n")]);
        // As if it had been killed when the folders and the file beside were made.
        let whole = crate::disk::read_text(run.journal(), 1 << 20).unwrap();
        let intents: String = whole.split_inclusive('\n').take(2).collect();
        crate::disk::replace(run.journal(), intents.as_bytes()).unwrap();
        let place = tree.sysroot().path(DEEP).unwrap();
        std::fs::rename(&place, place.with_file_name(".10-x.conf.trueup")).unwrap();
        assert!(take_back(&tree, &dir, "r1", false).is_complete());
        assert_eq!(all(&tree), before);
    }

    #[test]
    fn an_older_run_below_a_newer_one_hands_over_that_there_was_no_file() {
        let (tree, dir) = host();
        let before = all(&tree);
        for (run, from, to) in [("r1", "absent with /etc/systemd", "1\n"), ("r2", "1\n", "2\n")] {
            let run = applier(&tree, &dir, run);
            let _ = run.apply(&[change(DEEP, from, to)]);
            run.keep().unwrap();
        }
        // The newer run may be one of another boot, too.
        tree.put("/proc/sys/kernel/random/boot_id", "b2\n");
        let report = take_back(&tree, &dir, "r1", false);
        assert_eq!(report.changes[0].result, TakenBack::Handed { run: "r2".to_owned() });
        assert_eq!(tree.get(DEEP), "2\n");
        let _ = take_back(&tree, &dir, "r2", false);
        tree.put("/proc/sys/kernel/random/boot_id", "b1\n");
        assert_eq!(all(&tree), before);
    }

    #[test]
    fn the_script_takes_files_back_as_a_rollback_would_whatever_the_boot() {
        let (tree, dir) = host();
        let odd = "it's; $HOME `x` with /etc\n\n";
        tree.put("/etc/hosts", odd);
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        let made = run.apply(&[
            change("/etc/hosts", odd, "absent with /x\n"),
            change(CONF, ABSENT, "made with /x\n"),
            change(DEEP, "absent with /etc/systemd", "[Service]\n"),
        ]);
        assert!(made.iter().all(|one| one.result == ApplyResult::Match), "{made:?}");
        run.keep().unwrap();
        tree.put(CONF, "other\n");
        let text =
            script(&[run.journal()], &Options::new(Timestamp::UNIX_EPOCH, "a test")).unwrap();
        let run = || std::process::Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
        tree.put("/proc/sys/kernel/random/boot_id", "b2\n");
        let output = run();
        assert_eq!(output.status.code(), Some(5), "{output:?}\n{text}");
        tree.put(CONF, "made with /x\n");
        let output = run();
        assert!(output.status.success(), "{output:?}\n{text}");
        tree.put("/proc/sys/kernel/random/boot_id", "b1\n");
        assert_eq!(all(&tree), before);
    }

    #[test]
    fn a_value_is_told_by_its_size_and_digest_and_absence_is_one_whatever_is_missing() {
        assert_eq!(shown("a=1\nb=2\n"), "2 lines, 8 bytes, 204fcc15");
        assert_eq!(shown("absent with /etc/x"), "absent");
        assert!(same("absent", "absent with /etc/x") && !same("absent\n", "absent"));
    }
}

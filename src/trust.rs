//! Who else could have written a file whose words the superuser does.
//!
//! Root runs what a pipeline says, so whoever can write it, or put another in its place, is as good as root. The way to
//! a file is walked from the top, each folder and link of it, before the file is read: where nobody else can change one
//! of them, nobody else can change what comes after, and so not what is read. Trusted are root and the user on whose
//! behalf sudo was called. A sticky folder such as `/tmp` may be open to all, since only its owner takes away what lies
//! in it. Nobody but root is asked for anything. Knows nothing of what files say, nor what is done about a doubt.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, geteuid};

use crate::diagnostic::{Diagnostic, Source};
use crate::disk::{self, DiskError};

/// Most links on a way, as in the kernel.
const MOST_LINKS: usize = 40;

/// The attribute in which a file system keeps an access list.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// Reads a text file of at most `limit` bytes, and with it what root should know of those who could have written it.
///
/// # Errors
/// When it can't be read, is larger, or is not UTF-8.
pub fn read(path: &Path, limit: u64) -> Result<Arc<Source>, DiskError> {
    let doubt = doubt(path);
    let text = disk::read_text(path, limit)?;
    Ok(Arc::new(Source { name: path.display().to_string(), text, doubt }))
}

/// Who else could have written the file at `path`, in words; nothing when nobody could, or when this is not root.
#[must_use]
pub fn doubt(path: &Path) -> Option<String> {
    Trusted::by_this_process()?.doubt(path)
}

/// What is to be said of a file in doubt.
#[must_use]
pub fn told(name: &str, doubt: &str) -> Diagnostic {
    let told = format!("others than root could write `{name}`, which root is to do: {doubt}");
    Diagnostic::error("run::untrusted", told).help(
        "put it where nobody else may write, or take that right away: chown, chmod go-w; `trueup run --trust-pipeline` \
         runs it all the same",
    )
}

/// What is to be said of a folder in doubt in which root keeps state, and goes by it.
#[must_use]
pub fn told_of_state(name: &str, doubt: &str) -> Diagnostic {
    let told =
        format!("others than root could write into `{name}`, where root keeps state: {doubt}");
    Diagnostic::error("run::untrusted", told).help(
        "name a folder where nobody else may write, with --results and --cache-dir, or take that right away: chown, chmod \
         go-w; `trueup run --trust-pipeline` uses it all the same",
    )
}

/// The users who are trusted.
#[derive(Debug)]
struct Trusted {
    users: Vec<u32>,
}

/// What lies on a way.
#[derive(Debug, Clone, Copy)]
struct Found {
    owner: u32,
    group: u32,
    mode: u32,
    kind: Kind,
    has_access_list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    Link,
    File,
}

impl Found {
    fn of(place: &Path, metadata: &Metadata) -> Self {
        let kind = match metadata.file_type() {
            kind if kind.is_symlink() => Kind::Link,
            kind if kind.is_dir() => Kind::Folder,
            _ => Kind::File,
        };
        let no_room: &mut [u8] = &mut [];
        let has_access_list = kind != Kind::Link
            && rustix::fs::lgetxattr(place, ACCESS_LIST, no_room).is_ok_and(|length| length > 0);
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
        Self { owner, group, mode, kind, has_access_list }
    }
}

impl Trusted {
    /// Nothing when this process is not root's: it can do no more than whoever runs it.
    fn by_this_process() -> Option<Self> {
        let sudo = std::env::var("SUDO_UID").ok().and_then(|user| user.parse().ok());
        geteuid().is_root().then(|| Self { users: [0].into_iter().chain(sudo).collect() })
    }

    fn doubt(&self, path: &Path) -> Option<String> {
        let start = std::path::absolute(path).ok()?;
        let mut place = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = parts(&start);
        let mut links = 0;
        loop {
            // What is not there is told by whoever reads it.
            let metadata = fs::symlink_metadata(&place).ok()?;
            let found = Found::of(&place, &metadata);
            if let Some(doubt) = self.judge(&place, found) {
                return Some(doubt);
            }
            if found.kind == Kind::Link {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                let target = fs::read_link(&place).ok()?;
                place.pop();
                if target.is_absolute() {
                    place = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            match ahead.pop_front()? {
                // No link is left in it, so the folder above is the one that is written before.
                part if part == ".." => drop(place.pop()),
                part => place.push(part),
            }
        }
    }

    fn judge(&self, place: &Path, found: Found) -> Option<String> {
        let Found { owner, group, mode, kind, has_access_list } = found;
        let place = place.display();
        if !self.users.contains(&owner) {
            return Some(format!("{place} belongs to {}", user(owner)));
        }
        let sticky = kind == Kind::Folder && mode & 0o1000 != 0;
        if kind == Kind::Link || sticky {
            return None;
        }
        if mode & 0o002 != 0 {
            return Some(format!("everybody may write to {place}"));
        }
        if mode & 0o020 == 0 {
            return None;
        }
        if has_access_list {
            return Some(format!("{place} has an access list by which others may write to it"));
        }
        let is_own = group == 0 || (group == owner && is_private(owner));
        (!is_own).then(|| format!("{} may write to {place}", self::group(group)))
    }
}

/// The folders and the file that a path names, one by one.
fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

/// Whether the group with the number of a user is that user's own: it has the same name and nobody else in it. Where
/// every user has such a group, what they make is open to it.
fn is_private(user: u32) -> bool {
    let (Ok(Some(user)), Ok(Some(group))) =
        (User::from_uid(Uid::from_raw(user)), Group::from_gid(Gid::from_raw(user)))
    else {
        return false;
    };
    group.name == user.name && group.mem.iter().all(|member| *member == user.name)
}

fn user(number: u32) -> String {
    match User::from_uid(Uid::from_raw(number)) {
        Ok(Some(user)) => format!("the user {}", user.name),
        _ => format!("the user with the number {number}"),
    }
}

fn group(number: u32) -> String {
    match Group::from_gid(Gid::from_raw(number)) {
        Ok(Some(group)) => format!("the group {}", group.name),
        _ => format!("the group with the number {number}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NOBODY: u32 = 65_534;

    fn found(owner: u32, group: u32, mode: u32, kind: Kind) -> Found {
        Found { owner, group, mode, kind, has_access_list: false }
    }

    #[test]
    fn a_file_that_others_could_write_is_doubted_with_the_reason() {
        let trusted = Trusted { users: vec![0, 1000] };
        let place = Path::new("/a");
        for (one, expected) in [
            (found(0, 0, 0o644, Kind::File), None),
            (found(0, 0, 0o664, Kind::File), None),
            (found(1000, 4000, 0o644, Kind::File), None),
            (found(1000, 4000, 0o664, Kind::File), Some("may write to /a")),
            (found(0, 4000, 0o775, Kind::Folder), Some("may write to /a")),
            (found(0, 0, 0o666, Kind::File), Some("everybody may write to /a")),
            (found(0, 0, 0o777, Kind::Folder), Some("everybody may write to /a")),
            (found(0, 0, 0o1777, Kind::Folder), None),
            (found(0, 4000, 0o1775, Kind::Folder), None),
            (found(NOBODY, 0, 0o1777, Kind::Folder), Some("/a belongs to the user ")),
            (found(NOBODY, 0, 0o600, Kind::File), Some("/a belongs to the user ")),
            (found(NOBODY, 0, 0o777, Kind::Link), Some("/a belongs to the user ")),
            (found(0, 0, 0o777, Kind::Link), None),
            (
                Found { has_access_list: true, ..found(0, 0, 0o660, Kind::File) },
                Some("access list"),
            ),
        ] {
            let told = trusted.judge(place, one);
            match expected {
                None => assert_eq!(told, None, "{one:?}"),
                Some(words) => assert!(told.as_ref().unwrap().contains(words), "{one:?}: {told:?}"),
            }
        }
    }

    #[test]
    fn the_way_to_a_file_is_walked_with_its_links_and_folders() {
        let dir = tempfile::tempdir().unwrap();
        let own = fs::metadata(dir.path()).unwrap().uid();
        let trusted = Trusted { users: vec![0, own] };
        let at = |path: &str| dir.path().join(path);
        let mode = |path: &str, mode| {
            rustix::fs::chmod(at(path), rustix::fs::Mode::from_raw_mode(mode)).unwrap();
        };
        for folder in ["safe", "open", "open/inner", "safe/sticky"] {
            disk::create_dir_all(&at(folder)).unwrap();
        }
        for file in ["safe/p.yaml", "open/inner/p.yaml", "safe/sticky/p.yaml"] {
            disk::replace(&at(file), b"x\n").unwrap();
        }
        symlink("../open/inner/p.yaml", at("safe/link.yaml")).unwrap();
        symlink(at("safe"), at("open/back")).unwrap();
        symlink("loop", at("safe/loop")).unwrap();
        mode("open", 0o777);
        mode("safe/sticky", 0o1777);
        let open = format!("everybody may write to {}", at("open").display());
        for (path, doubt) in [
            ("safe/p.yaml", None),
            ("safe/sticky/p.yaml", None),
            ("open/inner/p.yaml", Some(&open)),
            ("open/../safe/p.yaml", Some(&open)),
            ("safe/link.yaml", Some(&open)),
            ("open/back/p.yaml", Some(&open)),
            ("safe/loop", None),
            ("safe/none.yaml", None),
        ] {
            assert_eq!(trusted.doubt(&at(path)).as_ref(), doubt, "{path}");
        }
        mode("safe/p.yaml", 0o646);
        let file = format!("everybody may write to {}", at("safe/p.yaml").display());
        assert_eq!(trusted.doubt(&at("safe/p.yaml")), Some(file));
        mode("open", 0o755);
        assert_eq!(trusted.doubt(&at("safe/link.yaml")), None);
    }
}

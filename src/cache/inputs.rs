//! Digests of the files that a decision is declared to depend on.
//!
//! Globs start at a folder, that of the pipeline. A glob that finds nothing is an error: a typing mistake would
//! otherwise make a decision hold for ever. `**` stays in the folders that it finds: a link may lead back to where it
//! stands, and then there is no end. Both the search and the reading can be stopped. Does not know what the files mean.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use glob::Pattern;

use crate::disk;

/// Most files of one phase.
const MOST_FILES: usize = 10_000;

/// Most bytes of all of them.
const MOST_BYTES: u64 = 4 << 30;

/// Most names that a glob may match, folders among them.
const MOST_FOUND: usize = 10 * MOST_FILES;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Why declared files could not be digested.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A glob that is none.
    #[error("`{glob}` under `cache.inputs` is not a glob: {reason}")]
    Glob {
        /// As declared.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A glob that no file matches.
    #[error("`{glob}` under `cache.inputs` matches no file in {}", named(folder))]
    NoMatch {
        /// As declared.
        glob: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Too much to digest.
    #[error(
        "`{glob}` under `cache.inputs` matches too much: at most {MOST_FILES} files of 4 GiB together"
    )]
    TooMuch {
        /// The glob that exceeded the bound.
        glob: String,
    },
    /// A file that can't be read.
    #[error("could not read {}, which `cache.inputs` declares", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Told to stop before all was read.
    #[error("told to stop before all files of `cache.inputs` were read")]
    Stopped,
}

/// The present folder has no name of its own.
fn named(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() }
}

/// The files that `globs` match below `folder`, by path, each with the BLAKE3 of its content in hex.
///
/// `*` does not match a `/`, `**` stands for folders but for none that is a link, and a leading dot is matched like any
/// other character. `stop` is asked between files and between pieces of them.
///
/// # Errors
/// When a glob is none or matches no file, a file can't be read or is no regular file, there is more than the bounds
/// allow, or it was told to stop.
pub fn digest_inputs<'a>(
    folder: &Path,
    globs: impl IntoIterator<Item = &'a str>,
    stop: &dyn Fn() -> bool,
) -> Result<BTreeMap<String, String>, InputError> {
    let mut digests = BTreeMap::new();
    let mut room = MOST_BYTES;
    for glob in globs {
        let mut matched = false;
        for path in matches(folder, glob, stop)? {
            if !path.is_dir() {
                matched = true;
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                if digests.contains_key(&name) {
                    continue;
                }
                let (digest, bytes) = digest(&path, room, stop)?;
                room = room
                    .checked_sub(bytes)
                    .filter(|_| digests.len() < MOST_FILES)
                    .ok_or_else(|| InputError::TooMuch { glob: glob.to_owned() })?;
                digests.insert(name, digest);
            }
        }
        if !matched {
            return Err(InputError::NoMatch { glob: glob.to_owned(), folder: folder.to_owned() });
        }
    }
    Ok(digests)
}

/// A part of a glob, between two `/`.
enum Part {
    /// Any number of folders.
    Folders,
    /// A name as it is.
    Name(String),
    /// Any name like this.
    Like(Pattern),
}

fn parts(glob: &str) -> Result<Vec<Part>, InputError> {
    let of = |part: &str| match part {
        "**" => Ok(Part::Folders),
        plain if !plain.contains(['*', '?', '[']) => Ok(Part::Name(plain.to_owned())),
        other => Pattern::new(other).map(Part::Like).map_err(|error| InputError::Glob {
            glob: glob.to_owned(),
            reason: error.msg.to_owned(),
        }),
    };
    glob.split('/').filter(|part| !part.is_empty()).map(of).collect()
}

/// Everything that a glob matches, in order.
fn matches(
    folder: &Path,
    glob: &str,
    stop: &dyn Fn() -> bool,
) -> Result<BTreeSet<PathBuf>, InputError> {
    let parts = parts(glob)?;
    let start = if glob.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() };
    let mut found = BTreeSet::new();
    let mut open = vec![(start, 0)];
    // Several `**` lead to one folder in several ways.
    let mut seen = HashSet::new();
    while let Some((path, position)) = open.pop() {
        if stop() {
            return Err(InputError::Stopped);
        }
        let Some(part) = parts.get(position) else {
            found.insert(path);
            if found.len() > MOST_FOUND {
                return Err(InputError::TooMuch { glob: glob.to_owned() });
            }
            continue;
        };
        match part {
            Part::Name(name) => {
                let named = path.join(name);
                if named.symlink_metadata().is_ok() {
                    open.push((named, position + 1));
                }
            }
            Part::Like(pattern) => {
                let like = entries(&path)?.into_iter().filter(|(name, _)| pattern.matches(name));
                open.extend(like.map(|(name, _)| (path.join(name), position + 1)));
            }
            Part::Folders => {
                if seen.insert((path.clone(), position)) {
                    let folders = entries(&path)?.into_iter().filter(|(_, is_folder)| *is_folder);
                    open.extend(folders.map(|(name, _)| (path.join(name), position)));
                    open.push((path, position + 1));
                }
            }
        }
    }
    Ok(found)
}

/// What a folder holds, each with whether it is a folder and no link to one; what is no folder holds nothing.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, InputError> {
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let read = std::fs::read_dir(place).and_then(|entries| {
        entries
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name().into_string().map_err(|name| {
                    let told = format!("the name {} is not UTF-8", name.display());
                    io::Error::new(ErrorKind::InvalidData, told)
                })?;
                Ok((name, entry.file_type()?.is_dir()))
            })
            .collect()
    });
    match read {
        Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::NotFound) => {
            Ok(Vec::new())
        }
        read => read.map_err(|source| InputError::Read { path: place.to_owned(), source }),
    }
}

/// The digest of a file's content, and how many bytes that were: at most one more than `room`.
fn digest(path: &Path, room: u64, stop: &dyn Fn() -> bool) -> Result<(String, u64), InputError> {
    let wrong = |source| InputError::Read { path: path.to_owned(), source };
    let mut file = disk::open_regular(path).map_err(wrong)?.take(room.saturating_add(1));
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE];
    loop {
        if stop() {
            return Err(InputError::Stopped);
        }
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => drop(hasher.update(&piece[..length])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    Ok((hasher.finalize().to_hex().to_string(), hasher.count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("a[b]").tempdir().unwrap();
        for (path, content) in [("conf/a.yaml", "a"), ("conf/deep/b.yaml", "b"), ("c.txt", "c")] {
            disk::replace(&dir.path().join(path), content.as_bytes()).unwrap();
        }
        dir
    }

    fn names(folder: &Path, globs: &[&str]) -> Vec<String> {
        digest_inputs(folder, globs.iter().copied(), &|| false).unwrap().into_keys().collect()
    }

    #[test]
    fn globs_start_at_the_folder_and_each_file_counts_once() {
        let dir = folder();
        assert_eq!(names(dir.path(), &["conf/*.yaml"]), ["conf/a.yaml"]);
        assert_eq!(
            names(dir.path(), &["**/*.yaml", "conf/*"]),
            ["conf/a.yaml", "conf/deep/b.yaml"]
        );
        let found = digest_inputs(dir.path(), ["c.txt"], &|| false).unwrap();
        assert_eq!(found["c.txt"], blake3::hash(b"c").to_hex().to_string());
    }

    #[test]
    fn a_glob_that_matches_no_file_is_an_error_that_names_it() {
        let dir = folder();
        for glob in ["conf/*.yml", "nowhere/**", "con[f]", "missing.txt"] {
            let error = digest_inputs(dir.path(), ["c.txt", glob], &|| false).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(glob) && told.contains("matches no file"), "{told}");
        }
        let error = digest_inputs(dir.path(), ["conf/***"], &|| false).unwrap_err();
        assert!(error.to_string().contains("is not a glob"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_an_error_and_not_waited_for() {
        let dir = folder();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = digest_inputs(dir.path(), ["pipe"], &|| false).unwrap_err();
        assert!(error.to_string().contains("could not read"), "{error}");
    }

    #[test]
    fn links_that_lead_back_do_not_make_a_search_endless() {
        let dir = folder();
        for name in ["conf/self", "conf/again", "conf/deep/up"] {
            std::os::unix::fs::symlink(dir.path().join("conf"), dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("a.yaml", dir.path().join("conf/link.yaml")).unwrap();
        let found = names(dir.path(), &["**/*.yaml"]);
        assert_eq!(found, ["conf/a.yaml", "conf/deep/b.yaml", "conf/link.yaml"]);
        let twice = names(dir.path(), &["**/**/b.yaml"]);
        assert_eq!(twice, ["conf/deep/b.yaml"]);
        assert_eq!(
            names(dir.path(), &["conf/self/a.yaml"]),
            ["conf/self/a.yaml"],
            "named by itself"
        );
    }

    #[test]
    fn a_search_stops_when_told_and_an_empty_folder_has_a_name() {
        let dir = folder();
        let error = digest_inputs(dir.path(), ["**/*"], &|| true).unwrap_err();
        assert!(matches!(error, InputError::Stopped), "{error}");
        let none = InputError::NoMatch { glob: "*.csv".to_owned(), folder: PathBuf::new() };
        assert!(none.to_string().ends_with("matches no file in ."), "{none}");
    }
}

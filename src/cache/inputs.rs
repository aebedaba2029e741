//! Digests of the files that a decision is declared to depend on.
//!
//! Globs start at a folder, that of the pipeline. A glob that finds nothing is an error: a typing mistake would
//! otherwise make a decision hold for ever. Does not know what the files mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};

/// Most files of one phase.
const MOST_FILES: usize = 10_000;

/// Most bytes of all of them.
const MOST_BYTES: u64 = 4 << 30;

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
    #[error("`{glob}` under `cache.inputs` matches no file in {}", folder.display())]
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
}

/// The files that `globs` match below `folder`, by path, each with the BLAKE3 of its content in hex.
///
/// `*` does not match a `/`, `**` stands for folders, and a leading dot is matched like any other character.
///
/// # Errors
/// When a glob is none or matches no file, a file can't be read, or there is more than the bounds allow.
pub fn digest_inputs<'a>(
    folder: &Path,
    globs: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, String>, InputError> {
    let mut digests = BTreeMap::new();
    let mut room = MOST_BYTES;
    for glob in globs {
        let mut matched = false;
        for path in matches(folder, glob)? {
            let path = path?;
            if !path.is_dir() {
                matched = true;
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                if digests.contains_key(&name) {
                    continue;
                }
                let (digest, bytes) = digest(&path, room)?;
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

fn matches(
    folder: &Path,
    glob: &str,
) -> Result<impl Iterator<Item = Result<PathBuf, InputError>>, InputError> {
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    // The folder's own name may hold what has a meaning in a glob.
    let escaped = Pattern::escape(&folder.display().to_string());
    let whole = Path::new(&escaped).join(glob);
    let paths = glob_with(&whole.display().to_string(), options).map_err(|error| {
        InputError::Glob { glob: glob.to_owned(), reason: error.msg.to_owned() }
    })?;
    Ok(paths.map(|found| {
        found.map_err(|error| InputError::Read {
            path: error.path().to_owned(),
            source: error.into(),
        })
    }))
}

/// The digest of a file's content, and how many bytes that were: at most one more than `room`.
fn digest(path: &Path, room: u64) -> Result<(String, u64), InputError> {
    let read = || {
        // A pipe would be waited for, for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?.take(room.saturating_add(1)))?;
        Ok((hasher.finalize().to_hex().to_string(), hasher.count()))
    };
    read().map_err(|source| InputError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("a[b]").tempdir().unwrap();
        for (path, content) in [("conf/a.yaml", "a"), ("conf/deep/b.yaml", "b"), ("c.txt", "c")] {
            disk::replace(&dir.path().join(path), content.as_bytes()).unwrap();
        }
        dir
    }

    fn names(folder: &Path, globs: &[&str]) -> Vec<String> {
        digest_inputs(folder, globs.iter().copied()).unwrap().into_keys().collect()
    }

    #[test]
    fn globs_start_at_the_folder_and_each_file_counts_once() {
        let dir = folder();
        assert_eq!(names(dir.path(), &["conf/*.yaml"]), ["conf/a.yaml"]);
        assert_eq!(
            names(dir.path(), &["**/*.yaml", "conf/*"]),
            ["conf/a.yaml", "conf/deep/b.yaml"]
        );
        let found = digest_inputs(dir.path(), ["c.txt"]).unwrap();
        assert_eq!(found["c.txt"], blake3::hash(b"c").to_hex().to_string());
    }

    #[test]
    fn a_glob_that_matches_no_file_is_an_error_that_names_it() {
        let dir = folder();
        for glob in ["conf/*.yml", "nowhere/**", "con[f]", "missing.txt"] {
            let error = digest_inputs(dir.path(), ["c.txt", glob]).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(glob) && told.contains("matches no file"), "{told}");
        }
        let error = digest_inputs(dir.path(), ["conf/***"]).unwrap_err();
        assert!(error.to_string().contains("is not a glob"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_an_error_and_not_waited_for() {
        let dir = folder();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = digest_inputs(dir.path(), ["pipe"]).unwrap_err();
        assert!(error.to_string().contains("could not read"), "{error}");
    }
}

//! The page cache: how much of a file is in memory, and putting it there or taking it out.
//!
//! Residency is told by the program `fincore` of util-linux, which asks mincore(2) through a mapping that
//! this crate, without unsafe code, can't make. Nothing here claims success: whoever preloads or evicts asks
//! for the residency afterwards, because the kernel takes both as advice. Knows nothing of what the files hold.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::process::{ProcessSpec, run};
use crate::clock::Clock;
use crate::unit::Bytes;

/// How long `fincore` may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is read between two looks at the time.
const CHUNK: usize = 1 << 20;

/// How much of a file is in the page cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Residency {
    /// This much.
    Known {
        /// Bytes in memory, in whole pages: may exceed `total` by less than a page.
        resident: u64,
        /// The size of the file in bytes.
        total: u64,
    },
    /// Nobody can tell; the reason.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// A file that could not be brought into memory, or out of it.
#[derive(Debug, thiserror::Error)]
pub enum PageCacheError {
    /// The system refuses.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk was too slow.
    #[error("could not read {} into memory within {}: {read} of it were read", path.display(), humantime::format_duration(*limit))]
    TimedOut {
        /// The file.
        path: PathBuf,
        /// How long it could take.
        limit: Duration,
        /// How much was read until then.
        read: Bytes,
    },
}

/// How much of the file at `path` is in memory now.
pub async fn residency(path: &Path, cancel: &CancellationToken) -> Residency {
    let unknown = |reason: String| Residency::Unknown { reason };
    let Some(name) = path.to_str() else {
        return unknown(format!("the name of {} is not UTF-8", path.display()));
    };
    let args = ["--bytes", "--noheadings", "--raw", "--output", "RES,SIZE", "--", name];
    let finished = match run(&ProcessSpec::new("fincore", args), PATIENCE, 4096, cancel).await {
        Ok(finished) => finished,
        Err(error) => return unknown(error.to_string()),
    };
    let stdout = String::from_utf8_lossy(&finished.stdout);
    let mut figures = stdout.split_whitespace().map(str::parse);
    match (figures.next(), figures.next()) {
        (Some(Ok(resident)), Some(Ok(total))) => Residency::Known { resident, total },
        _ => unknown(format!(
            "fincore did not tell ({}): {}",
            finished.status,
            String::from_utf8_lossy(&finished.stderr).trim()
        )),
    }
}

/// Brings the file at `path` into memory: asks the kernel to read ahead, then reads it through, so that it
/// is there for certain unless memory is short. Answers the bytes read. Blocks.
///
/// # Errors
/// When the file can't be read, or not within `limit`.
pub fn preload(path: &Path, limit: Duration) -> Result<Bytes, PageCacheError> {
    let fail = |source| PageCacheError::Io { action: "preload", path: path.to_owned(), source };
    let clock = Clock::system();
    let started = clock.instant();
    let mut file = File::open(path).map_err(fail)?;
    fadvise(&file, 0, None, Advice::WillNeed).map_err(|errno| fail(errno.into()))?;
    let mut chunk = vec![0; CHUNK];
    let mut read = 0;
    loop {
        match file.read(&mut chunk).map_err(fail)? {
            0 => return Ok(Bytes(read)),
            more => read += more as u64,
        }
        if clock.instant().saturating_duration_since(started) > limit {
            return Err(PageCacheError::TimedOut {
                path: path.to_owned(),
                limit,
                read: Bytes(read),
            });
        }
    }
}

/// Asks the kernel to drop the file at `path` from memory, and answers how much of it is there afterwards.
///
/// Pages that some process has mapped or that are not yet written to the disk stay: a program or library
/// in use can't be evicted.
///
/// # Errors
/// When the file can't be opened, or its file system does not take the advice.
pub async fn evict(path: &Path, cancel: &CancellationToken) -> Result<Residency, PageCacheError> {
    let fail = |source| PageCacheError::Io { action: "evict", path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    fadvise(&file, 0, None, Advice::DontNeed).map_err(|errno| fail(errno.into()))?;
    drop(file);
    Ok(residency(path, cancel).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn a_preloaded_file_is_resident_and_where_nobody_can_tell_it_is_said() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 3 << 20]).unwrap();
        file.as_file().sync_all().unwrap();
        let cancel = CancellationToken::new();
        assert_eq!(preload(file.path(), Duration::from_secs(20)).unwrap(), Bytes(3 << 20));
        match residency(file.path(), &cancel).await {
            Residency::Known { resident, total } => {
                assert_eq!(total, 3 << 20);
                assert!(resident >= total, "{resident}");
            }
            Residency::Unknown { reason } => assert!(reason.contains("fincore"), "{reason}"),
        }
        // Whether pages leave is the kernel's to decide; that the answer is of this file is not.
        if let Residency::Known { total, .. } = evict(file.path(), &cancel).await.unwrap() {
            assert_eq!(total, 3 << 20);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_an_error_that_names_it() {
        let path = Path::new("/no/such/file");
        let error = preload(path, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "could not preload /no/such/file");
        let cancel = CancellationToken::new();
        let residency = residency(path, &cancel).await;
        assert!(matches!(residency, Residency::Unknown { .. }), "{residency:?}");
        assert!(evict(path, &cancel).await.is_err());
    }

    #[test]
    fn a_disk_that_is_too_slow_is_told_with_what_was_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"x").unwrap();
        let error = preload(file.path(), Duration::ZERO).unwrap_err();
        assert!(error.to_string().ends_with("within 0s: 1B of it were read"), "{error}");
    }
}

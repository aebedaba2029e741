//! The writer of setting files: with `disk`, the only code that opens a file for writing.
//!
//! A setting is written in one call, as `echo` would, because the kernel takes each call for a whole value.
//! A file that is not there is never made. Knows nothing of journals: whoever writes has written the intent.
#![expect(
    clippy::disallowed_methods,
    reason = "this module is where settings of the host are written"
)]

use std::fs::OpenOptions;
use std::io::{self, Write};

use rustix::io::Errno;

use crate::host::setting::{Observed, observe_path};
use crate::host::{ReadError, Sysroot};

/// A setting that could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Path(#[from] ReadError),
    #[error("could not write `{value}` to {path}: {reason}")]
    Refused {
        path: String,
        value: String,
        reason: String,
        #[source]
        source: io::Error,
    },
}

/// The host as changes see it: settings that are observed and written by path.
pub(super) trait Host: Send + Sync {
    fn observe(&self, path: &str) -> Observed;
    fn write(&self, path: &str, value: &str) -> Result<(), WriteError>;
    /// The folder that stands for `/`, so that a journal is never worked off on another host's files.
    fn root(&self) -> String;
}

/// The setting files below a sysroot.
#[derive(Debug, Clone)]
pub(super) struct SettingFiles(pub(super) Sysroot);

/// The name of a root in a journal: its path without links, where that can be told.
pub(super) fn root_name(root: &Sysroot) -> String {
    let prefix = root.prefix();
    prefix.canonicalize().unwrap_or_else(|_| prefix.to_owned()).display().to_string()
}

impl Host for SettingFiles {
    fn root(&self) -> String {
        root_name(&self.0)
    }

    fn observe(&self, path: &str) -> Observed {
        observe_path(&self.0, path)
    }

    fn write(&self, path: &str, value: &str) -> Result<(), WriteError> {
        let place = self.0.path(path)?;
        let line = format!("{value}\n");
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).truncate(true).open(place)?;
            if file.write(line.as_bytes())? == line.len() {
                Ok(())
            } else {
                Err(io::Error::new(io::ErrorKind::WriteZero, "only a part of it was taken"))
            }
        };
        write().map_err(|source| WriteError::Refused {
            path: path.to_owned(),
            value: value.to_owned(),
            reason: words(&source),
            source,
        })
    }
}

/// What an error of the kernel means for a setting.
fn words(error: &io::Error) -> String {
    let known = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => "something else uses it now (EBUSY)",
        Some(Errno::INVAL) => "the kernel does not take this value here (EINVAL)",
        Some(Errno::RANGE) => "the value is out of the range that the kernel takes (ERANGE)",
        Some(Errno::ACCESS) => "this user may not, or the kernel offers it read-only (EACCES)",
        Some(Errno::PERM) => "this process lacks the capability that it needs (EPERM)",
        Some(Errno::ROFS) => "it is mounted read-only, as in a container (EROFS)",
        Some(Errno::NOENT) => "it is not there (ENOENT)",
        Some(Errno::NODEV | Errno::NXIO) => "its device is gone or offline (ENODEV)",
        Some(Errno::OPNOTSUPP) => "the driver does not support it (EOPNOTSUPP)",
        _ => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn a_setting_is_replaced_and_a_missing_one_is_not_made() {
        let tree = Tree::new().file("/sys/a/setting", "a longer value\n");
        let files = SettingFiles(tree.sysroot());
        files.write("/sys/a/setting", "short").unwrap();
        assert_eq!(tree.get("/sys/a/setting"), "short\n");
        assert_eq!(files.observe("/sys/a/setting"), Observed::Value("short".to_owned()));
        let error = files.write("/sys/a/other", "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not write `x` to /sys/a/other: it is not there (ENOENT)"
        );
        assert!(matches!(files.observe("/sys/a/other"), Observed::Absent(_)));
    }

    #[test]
    fn errors_of_the_kernel_are_told_in_words() {
        for (errno, word) in [
            (Errno::BUSY, "uses it now"),
            (Errno::INVAL, "does not take this value"),
            (Errno::ACCESS, "may not"),
            (Errno::ROFS, "read-only"),
        ] {
            assert!(words(&errno.into()).contains(word), "{errno}");
        }
        assert_eq!(words(&io::Error::other("odd")), "odd");
    }
}

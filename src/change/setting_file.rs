//! The writer of setting files: with `disk`, the only code that opens a file for writing.
//!
//! A setting is written in one call, as `echo` would, because the kernel takes each call for a whole value.
//! A file that is not there is never made. A write that does not return in time is not waited for: whether the kernel
//! still carries it out is not known, so until it returns that setting is neither read nor written. Knows nothing of
//! journals: whoever writes has written the intent.
#![expect(
    clippy::disallowed_methods,
    reason = "this module is where settings of the host are written"
)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::host::WriteError;
use crate::fault;
use crate::host::Sysroot;
use crate::host::patience::{Answer, Late, within};
use crate::host::setting::{Observed, PATIENCE, observe_path};

/// The setting files below a sysroot.
#[derive(Debug)]
pub(super) struct SettingFiles {
    root: Sysroot,
    patience: Duration,
    /// Writes that had not returned in time, by path.
    late: Mutex<BTreeMap<String, Late<io::Result<()>>>>,
}

impl SettingFiles {
    pub(super) fn below(root: Sysroot) -> Self {
        Self { root, patience: PATIENCE, late: Mutex::default() }
    }

    /// Why a setting can't be told or written: a write of it is still under way.
    fn under_way(&self, path: &str) -> Option<String> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|_, write| !write.is_over());
        late.contains_key(path).then(|| self.told(path))
    }

    fn told(&self, path: &str) -> String {
        format!(
            "a write to {path} has not returned within {:?}, and the kernel may still carry it out",
            self.patience
        )
    }
}

impl SettingFiles {
    pub(super) fn observe(&self, path: &str) -> Observed {
        match self.under_way(path) {
            Some(reason) => Observed::Unreadable(reason),
            None => observe_path(&self.root, path),
        }
    }

    pub(super) fn write(&self, path: &str, value: &str) -> Result<(), WriteError> {
        if let Some(reason) = self.under_way(path) {
            return Err(WriteError::Late(reason));
        }
        let place = self.root.path(path)?;
        let line = format!("{value}\n");
        let write = move || put(&place, &line);
        let written = match within(self.patience, write) {
            Answer::Told(written) => written,
            Answer::NotAsked(error) => Err(error),
            Answer::Late(write) => {
                let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
                late.insert(path.to_owned(), write);
                return Err(WriteError::Late(self.told(path)));
            }
        };
        written.map_err(|source| WriteError::Refused {
            path: path.to_owned(),
            value: value.to_owned(),
            reason: words(&source),
            source,
        })
    }
}

/// Writes a file of the kernel in one call.
pub(super) fn put(place: &Path, text: &str) -> io::Result<()> {
    fault::pass()?;
    let mut file = OpenOptions::new().write(true).truncate(true).open(place)?;
    fault::pass()?;
    if file.write(text.as_bytes())? == text.len() {
        fault::pass()
    } else {
        Err(io::Error::new(io::ErrorKind::WriteZero, "only a part of it was taken"))
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
        let files = SettingFiles::below(tree.sysroot());
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
    fn a_write_that_does_not_return_is_told_as_under_way_until_it_has() {
        let tree = Tree::new().file("/sys/a/other", "1\n");
        let pipe = tree.sysroot().path("/sys/a/setting").unwrap();
        // Opening a pipe for writing does not return before somebody reads it.
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let patience = Duration::from_millis(20);
        let files = SettingFiles { patience, ..SettingFiles::below(tree.sysroot()) };
        for _ in 0..2 {
            let error = files.write("/sys/a/setting", "10").unwrap_err();
            assert!(matches!(error, WriteError::Late(_)), "{error}");
            let Observed::Unreadable(reason) = files.observe("/sys/a/setting") else { panic!() };
            assert!(reason.contains("has not returned within 20ms"), "{reason}");
        }
        files.write("/sys/a/other", "2").unwrap();
        assert_eq!(std::fs::read_to_string(&pipe).unwrap(), "10\n", "it was carried out, once");
        while files.under_way("/sys/a/setting").is_some() {
            std::thread::yield_now();
        }
        let Observed::Unreadable(reason) = files.observe("/sys/a/setting") else { panic!() };
        assert!(reason.ends_with("it is not a regular file"), "{reason}");
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

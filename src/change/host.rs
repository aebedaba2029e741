//! The host as changes see it: targets that are observed and written, each by the code of its kind.
//!
//! Knows nothing of journals: whoever writes has written the intent.

use std::io;

use super::config_file::ConfigFiles;
use super::model::Target;
use super::setting_file::SettingFiles;
use crate::host::setting::Observed;
use crate::host::{ReadError, Sysroot};

/// A value that could not be written.
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
    #[error("could not {action} {path}: {reason}")]
    File { action: &'static str, path: String, reason: String },
    #[error("{0}")]
    Late(String),
}

/// What changes are made on.
pub(super) trait Host: Send + Sync {
    fn observe(&self, target: &Target) -> Observed;

    /// What a target has, to be compared with what it should have and not to be written down: of some, more can be
    /// looked at than observed.
    fn look(&self, target: &Target) -> Observed {
        self.observe(target)
    }

    fn write(&self, target: &Target, value: &str) -> Result<(), WriteError>;

    /// Why `value` can't be written without losing something that could not be given back; nothing when it can.
    fn obstacle(&self, target: &Target, value: &str) -> Option<String> {
        let _ = (target, value);
        None
    }

    /// Clears what a write that was cut off may have left beside a target that has `value`.
    fn tidy(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        let _ = (target, value);
        Ok(())
    }

    /// The folder that stands for `/`, so that a journal is never worked off on another host's files.
    fn root(&self) -> String;
}

/// The host below a sysroot.
#[derive(Debug)]
pub(super) struct ThisHost {
    root: Sysroot,
    settings: SettingFiles,
    files: ConfigFiles,
}

impl ThisHost {
    pub(super) fn below(root: Sysroot) -> Self {
        let (settings, files) =
            (SettingFiles::below(root.clone()), ConfigFiles::below(root.clone()));
        Self { root, settings, files }
    }
}

/// The name of a root in a journal: its path without links, where that can be told.
pub(super) fn root_name(root: &Sysroot) -> String {
    let prefix = root.prefix();
    prefix.canonicalize().unwrap_or_else(|_| prefix.to_owned()).display().to_string()
}

impl Host for ThisHost {
    fn root(&self) -> String {
        root_name(&self.root)
    }

    fn observe(&self, target: &Target) -> Observed {
        match target {
            Target::Setting { path } => self.settings.observe(path),
            Target::File { path } => self.files.observe(path),
        }
    }

    fn look(&self, target: &Target) -> Observed {
        match target {
            Target::File { path } => self.files.look(path),
            Target::Setting { .. } => self.observe(target),
        }
    }

    fn write(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        match target {
            Target::Setting { path } => self.settings.write(path, value),
            Target::File { path } => self.files.write(path, value),
        }
    }

    fn obstacle(&self, target: &Target, value: &str) -> Option<String> {
        match target {
            Target::Setting { .. } => None,
            Target::File { path } => self.files.obstacle(path, value),
        }
    }

    fn tidy(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        match target {
            Target::Setting { .. } => Ok(()),
            Target::File { path } => self.files.tidy(path, value),
        }
    }
}

/// What `target` has on the host below `root`. Nothing is written.
#[must_use]
pub fn observe(root: &Sysroot, target: &Target) -> Observed {
    ThisHost::below(root.clone()).observe(target)
}

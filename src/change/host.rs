//! The host as changes see it: targets that are observed and written, each by the code of its kind.
//!
//! Knows nothing of journals: whoever writes has written the intent.

use std::io;

use super::at_boot;
use super::config_file::ConfigFiles;
use super::model::Target;
use super::process_attribute::ProcessAttributes;
use super::setting_file::SettingFiles;
use crate::host::attributes::attribute::Attribute;
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
    #[error("could not set {attribute} of process {pid} to `{value}`: {reason}")]
    Attribute { attribute: Attribute, pid: u32, value: String, reason: String },
    #[error("{0}")]
    Late(String),
}

/// What changes are made on.
pub(super) trait Host: Send + Sync {
    fn observe(&self, target: &Target) -> Observed;

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
    processes: ProcessAttributes,
}

impl ThisHost {
    pub(super) fn below(root: Sysroot) -> Self {
        let (settings, files) =
            (SettingFiles::below(root.clone()), ConfigFiles::below(root.clone()));
        let processes = ProcessAttributes::below(root.clone());
        Self { root, settings, files, processes }
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
            Target::AtBoot { path } => at_boot::observe(&self.files, path),
            Target::Process { process, attribute } => self.processes.observe(process, *attribute),
        }
    }

    fn write(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        match target {
            Target::Setting { path } => self.settings.write(path, value),
            Target::File { path } => self.files.write(path, value),
            Target::AtBoot { path } => at_boot::write(&self.files, path, value),
            Target::Process { process, attribute } => {
                self.processes.write(process, *attribute, value)
            }
        }
    }

    fn obstacle(&self, target: &Target, value: &str) -> Option<String> {
        match target {
            Target::Setting { .. } => None,
            Target::File { path } => self.files.obstacle(path, value),
            Target::AtBoot { path } => at_boot::obstacle(&self.files, path, value),
            Target::Process { process, attribute } => {
                self.processes.obstacle(process, *attribute, value)
            }
        }
    }

    fn tidy(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        match target {
            Target::Setting { .. } | Target::Process { .. } => Ok(()),
            Target::File { path } => self.files.tidy(path, value),
            Target::AtBoot { path } => self.files.tidy(at_boot::file_of(path), value),
        }
    }
}

/// What `target` has on the host below `root`. Nothing is written.
#[must_use]
pub fn observe(root: &Sysroot, target: &Target) -> Observed {
    ThisHost::below(root.clone()).observe(target)
}

/// Why `target` can't be given `value` there so that it can be taken back, as far as that can be told beforehand.
#[must_use]
pub fn obstacle(root: &Sysroot, target: &Target, value: &str) -> Option<String> {
    target.forbidden().or_else(|| ThisHost::below(root.clone()).obstacle(target, value))
}

//! The host as changes see it: targets that are observed and written, each by the code of its kind.
//!
//! Knows nothing of journals: whoever writes has written the intent.

use std::io;

use super::at_boot;
use super::config_file::ConfigFiles;
use super::database_setting::DatabaseSettings;
use super::model::Target;
use super::process_attribute::ProcessAttributes;
use super::setting_file::SettingFiles;
use crate::database::server::Logins;
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
    #[error("could not set {setting} to `{value}`: {reason}")]
    Database { setting: String, value: String, reason: String },
    #[error("could not set {attribute} of process {pid} to `{value}`: {reason}")]
    Attribute { attribute: Attribute, pid: u32, value: String, reason: String },
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

    /// What the value that a target has now still waits for before it is in force; nothing for most targets.
    fn waits(&self, target: &Target) -> Option<String> {
        let _ = target;
        None
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
    databases: DatabaseSettings,
    processes: ProcessAttributes,
}

impl ThisHost {
    /// The host, whose database servers are reached as this process has been told.
    pub(super) fn below(root: Sysroot, logins: Logins) -> Self {
        let (settings, files) =
            (SettingFiles::below(root.clone()), ConfigFiles::below(root.clone()));
        let (processes, databases) =
            (ProcessAttributes::below(root.clone()), DatabaseSettings::by(logins));
        Self { root, settings, files, databases, processes }
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
            Target::Database(setting) => self.databases.observe(setting),
            Target::AtBoot { path } => at_boot::observe(&self.files, path),
            Target::Process { process, attribute } => self.processes.observe(process, *attribute),
        }
    }

    fn look(&self, target: &Target) -> Observed {
        match target {
            Target::File { path } => self.files.look(path),
            _ => self.observe(target),
        }
    }

    fn write(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        match target {
            Target::Setting { path } => self.settings.write(path, value),
            Target::File { path } => self.files.write(path, value),
            Target::Database(setting) => self.databases.write(setting, value),
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
            Target::Database(setting) => self.databases.obstacle(setting, value),
            Target::AtBoot { path } => at_boot::obstacle(&self.files, path, value),
            Target::Process { process, attribute } => {
                self.processes.obstacle(process, *attribute, value)
            }
        }
    }

    fn waits(&self, target: &Target) -> Option<String> {
        match target {
            Target::Database(setting) => self.databases.waits(setting),
            Target::Setting { .. }
            | Target::File { .. }
            | Target::AtBoot { .. }
            | Target::Process { .. } => None,
        }
    }

    fn tidy(&self, target: &Target, value: &str) -> Result<(), WriteError> {
        match target {
            Target::Setting { .. } | Target::Process { .. } => Ok(()),
            Target::File { path } => self.files.tidy(path, value),
            Target::Database(setting) => self.databases.tidy(setting),
            Target::AtBoot { path } => self.files.tidy(at_boot::file_of(path), value),
        }
    }
}

/// What `target` has on the host below `root`. Nothing is written.
#[must_use]
pub fn observe(root: &Sysroot, target: &Target) -> Observed {
    ThisHost::below(root.clone(), Logins::default()).observe(target)
}

/// Why `target` can't be given `value` there so that it can be taken back, as far as that can be told beforehand.
#[must_use]
pub fn obstacle(root: &Sysroot, target: &Target, value: &str) -> Option<String> {
    let host = || ThisHost::below(root.clone(), Logins::default());
    target.forbidden().or_else(|| host().obstacle(target, value))
}

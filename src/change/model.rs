//! What a change is: a target on the host, the value found there, and the value wanted.
//!
//! Plain data, written to the journal as it is; see [`journal`](super::journal) for its form there. A value is a text
//! whatever it is a value of; what texts mean the same, and how one is told to a person, is known by the target.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database_setting::{self, DatabaseSetting};
use super::{at_boot, config_file};
use crate::database::statement;
use crate::host::attributes::attribute::Attribute;
use crate::host::attributes::living::Living;
use crate::host::{relation, setting};

/// One reversible write to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The phase that wants it.
    pub phase: String,
    /// What is written to.
    pub target: Target,
    /// The value found there, in a form that can be written back.
    pub from: String,
    /// The value wanted.
    pub to: String,
}

/// What a change writes to.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A file in which the kernel keeps a setting.
    Setting {
        /// Its absolute path on the host, below `/sys` or `/proc/sys`.
        path: String,
    },
    /// A configuration file, as a whole. That it is not there is one of its values.
    File {
        /// Its absolute path on the host, below `/etc`.
        path: String,
    },
    /// A setting of a database server, as its file of settings has it. That it is not in there is one of its values.
    Database(DatabaseSetting),
    /// What a setting is set to when the host starts.
    AtBoot {
        /// The absolute path of the setting on the host, below `/sys` or `/proc/sys`.
        path: String,
    },
    /// An attribute of a process that runs.
    Process {
        /// The process.
        process: Living,
        /// The attribute.
        attribute: Attribute,
    },
}

impl Change {
    /// The change in words: `/proc/sys/vm/swappiness: 60 -> 10`.
    #[must_use]
    pub fn describe(&self) -> String {
        let shown = |value| self.target.shown(value);
        format!("{}: {} -> {}", self.target.name(), shown(&self.from), shown(&self.to))
    }
}

impl Target {
    /// A setting file.
    pub fn setting(path: impl Into<String>) -> Self {
        Self::Setting { path: path.into() }
    }

    /// A configuration file.
    pub fn file(path: impl Into<String>) -> Self {
        Self::File { path: path.into() }
    }

    /// What a setting is set to when the host starts.
    pub fn at_boot(path: impl Into<String>) -> Self {
        Self::AtBoot { path: path.into() }
    }

    /// How people call it: of a file, its path on the host.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Setting { path } | Self::File { path } => path.into(),
            Self::Database(setting) => setting.told().into(),
            Self::AtBoot { path } => format!("{path} at boot").into(),
            Self::Process { process, attribute } => {
                format!("{attribute} of process {}", process.pid).into()
            }
        }
    }

    /// True when a reboot takes the change back by itself: what is below `/sys` and `/proc/sys` is not kept on a disk,
    /// and no process outlives it. What is set again at boot comes back, though, which is not known of a target alone.
    #[must_use]
    pub fn volatile(&self) -> bool {
        match self {
            Self::Setting { .. } | Self::Process { .. } => true,
            Self::File { .. } | Self::AtBoot { .. } | Self::Database(_) => false,
        }
    }

    /// Why nobody may write to this target; nothing when one may.
    ///
    /// Journals are read back as the superuser, so a target is held to its folders there too.
    #[must_use]
    pub fn forbidden(&self) -> Option<String> {
        let outside = |path: &str, folders: &[&str]| {
            let inside = folders.iter().any(|folder| path.starts_with(folder));
            let plain = !path.contains('\0')
                && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
            !inside || !plain
        };
        match self {
            Self::Setting { path } | Self::AtBoot { path }
                if outside(path, &["/sys/", "/proc/sys/"]) =>
            {
                Some(format!("`{path}` is not a setting file: they are below /sys and /proc/sys"))
            }
            Self::File { path } if outside(path, &["/etc/"]) => {
                Some(format!("`{path}` is not a configuration file: they are below /etc"))
            }
            Self::Database(setting) => statement::forbidden(&setting.name),
            Self::Process { process: Living { pid, .. }, .. }
                if *pid == 0 || i32::try_from(*pid).is_err() =>
            {
                Some(format!("no process has the number {pid}"))
            }
            Self::AtBoot { path } => at_boot::unnameable(path),
            Self::Setting { .. } | Self::File { .. } | Self::Process { .. } => None,
        }
    }

    /// True when it is over where it is not there any more, and so is every change of it.
    #[must_use]
    pub(super) fn is_mortal(&self) -> bool {
        matches!(self, Self::Process { .. })
    }

    /// Whether all that was found is one of these values, each in a part of it: of a process some of whose threads were
    /// set when whoever set them was killed.
    #[must_use]
    pub(super) fn is_between(&self, found: &str, values: &[&str]) -> bool {
        match self {
            Self::Setting { .. } | Self::File { .. } | Self::AtBoot { .. } | Self::Database(_) => {
                false
            }
            Self::Process { attribute, .. } => attribute.is_among(found, values),
        }
    }

    /// The setting that the kernel zeroes when this one is set.
    pub(super) fn twin(&self) -> Option<Self> {
        let Self::Setting { path } = self else { return None };
        relation::twin_of_file(path).map(Self::setting)
    }

    /// Whether two texts are the same value of it.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        match self {
            Self::Setting { .. } => setting::same(one, other),
            Self::File { .. } => config_file::same(one, other),
            Self::Database(setting) => setting.same(one, other),
            Self::AtBoot { .. } => at_boot::same(one, other),
            Self::Process { attribute, .. } => attribute.same(one, other),
        }
    }

    /// A value that somebody else has given it, as it may be written down: of a file, what is told of it to people.
    pub(super) fn foreign(&self, value: String) -> String {
        match self {
            Self::File { .. } => config_file::other(&value),
            Self::Setting { .. }
            | Self::Database(_)
            | Self::AtBoot { .. }
            | Self::Process { .. } => value,
        }
    }

    /// A value as it is told to people: of a file, how much it is and a digest of it.
    #[must_use]
    pub fn shown<'a>(&self, value: &'a str) -> Cow<'a, str> {
        match self {
            Self::Setting { .. } | Self::Process { .. } => value.into(),
            Self::File { .. } => config_file::shown(value),
            Self::Database(_) => database_setting::shown(value),
            Self::AtBoot { .. } => at_boot::shown(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::attributes::attribute::Resource;

    #[test]
    fn a_change_is_described_with_both_its_values() {
        let change = Change {
            phase: "cpu_governor".to_owned(),
            target: Target::setting("/proc/sys/vm/swappiness"),
            from: "60".to_owned(),
            to: "10".to_owned(),
        };
        assert_eq!(change.describe(), "/proc/sys/vm/swappiness: 60 -> 10");
        assert!(change.target.volatile());
    }

    #[test]
    fn a_process_is_one_target_for_each_attribute_and_none_where_its_number_is_none() {
        let target = |pid| Target::Process {
            process: Living { pid, started: 99 },
            attribute: Attribute::Limit(Resource::Nofile),
        };
        assert_eq!(target(42).name(), "limits.nofile of process 42");
        assert_eq!(target(42).forbidden(), None);
        assert!(target(0).forbidden().is_some() && target(u32::MAX).forbidden().is_some());
        let text = serde_json::to_string(&target(42)).unwrap();
        let written = r#"{"kind":"process","process":{"pid":42,"started":99},"attribute":{"limit":"nofile"}}"#;
        assert_eq!(text, written);
        assert_eq!(serde_json::from_str::<Target>(&text).unwrap(), target(42));
    }

    #[test]
    fn only_files_of_settings_are_targets() {
        for path in ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/vm/swappiness"] {
            assert_eq!(Target::setting(path).forbidden(), None);
        }
        for path in
            ["/etc/passwd", "/proc/sys/../../etc/passwd", "/system/x", "proc/sys/vm", "/proc/1/mem"]
        {
            assert!(Target::setting(path).forbidden().unwrap().contains(path), "{path}");
        }
    }
}

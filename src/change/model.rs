//! What a change is: a target on the host, the value found there, and the value wanted.
//!
//! Plain data, written to the journal as it is; see [`journal`](super::journal) for its form there. A value is a text
//! whatever it is a value of; what texts mean the same, and how one is told to a person, is known by the target.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config_file;
use crate::host::setting;

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

    /// How people call it: of a file, its path on the host.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Setting { path } | Self::File { path } => path.into(),
        }
    }

    /// True when a reboot takes the change back by itself: what is below `/sys` and `/proc/sys` is not kept on a disk.
    #[must_use]
    pub fn volatile(&self) -> bool {
        match self {
            Self::Setting { .. } => true,
            Self::File { .. } => false,
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
            Self::Setting { path } if outside(path, &["/sys/", "/proc/sys/"]) => {
                Some(format!("`{path}` is not a setting file: they are below /sys and /proc/sys"))
            }
            Self::File { path } if outside(path, &["/etc/"]) => {
                Some(format!("`{path}` is not a configuration file: they are below /etc"))
            }
            Self::Setting { .. } | Self::File { .. } => None,
        }
    }

    /// Whether two texts are the same value of it.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        match self {
            Self::Setting { .. } => setting::same(one, other),
            Self::File { .. } => config_file::same(one, other),
        }
    }

    /// A value that somebody else has given it, as it may be written down: of a file, what is told of it to people.
    pub(super) fn foreign(&self, value: String) -> String {
        match self {
            Self::Setting { .. } => value,
            Self::File { .. } => config_file::other(&value),
        }
    }

    /// A value as it is told to people: of a file, how much it is and a digest of it.
    #[must_use]
    pub fn shown<'a>(&self, value: &'a str) -> Cow<'a, str> {
        match self {
            Self::Setting { .. } => value.into(),
            Self::File { .. } => config_file::shown(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

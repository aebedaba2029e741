//! What a change is: a target on the host, the value found there, and the value wanted.
//!
//! Plain data, written to the journal as it is; see [`journal`](super::journal) for its form there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl Change {
    /// The change in words: `/proc/sys/vm/swappiness: 60 -> 10`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}: {} -> {}", self.target.path(), self.from, self.to)
    }
}

impl Target {
    /// A setting file.
    pub fn setting(path: impl Into<String>) -> Self {
        Self::Setting { path: path.into() }
    }

    /// The file on the host.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Setting { path } => path,
        }
    }

    /// True when a reboot takes the change back by itself: what is below `/sys` and `/proc/sys` is not kept on a disk.
    #[must_use]
    pub fn volatile(&self) -> bool {
        match self {
            Self::Setting { .. } => true,
        }
    }

    /// Why nobody may write to this target; nothing when one may.
    ///
    /// Journals are read back as the superuser, so a target is held to the folders of settings there too.
    #[must_use]
    pub fn forbidden(&self) -> Option<String> {
        let Self::Setting { path } = self;
        let inside = ["/sys/", "/proc/sys/"].iter().any(|folder| path.starts_with(folder));
        let plain = !path.split('/').any(|part| part == "..") && !path.contains('\0');
        (!inside || !plain)
            .then(|| format!("`{path}` is not a setting file: they are below /sys and /proc/sys"))
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

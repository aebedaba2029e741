//! Settings of the host: what they mean, what may be set, what they are set to, and whether we may set them.
//!
//! Two texts are the same setting when their canonical forms are equal: the kernel answers `[always] madvise
//! never` to whoever wrote `always`, and `00000c00` to whoever wrote `c00`. Here nothing is ever written
//! (that is `change`).

use std::fmt;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::patience::{Answer, within};
use super::sysroot::Sysroot;

/// How long a setting may take to be read or written. The kernel asks the driver, and a driver its device; most answer in
/// microseconds, and all CPUs of a large machine in less than a second.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A setting of the host that the kernel keeps in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The file on the host.
    pub path: String,
    /// How people call it.
    pub name: String,
    /// What the kernel means by it, with unit and default.
    pub meaning: &'static str,
    /// What may be written.
    pub valid: Valid,
}

/// The values that a setting may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Valid {
    /// One of these words.
    OneOf(Vec<String>),
    /// One of the words that are offered now, or of those for which the kernel loads a module when they are written, if
    /// it has that.
    Loadable {
        /// Those that are offered.
        offered: Vec<String>,
        /// The others, each with its module.
        modules: Vec<(String, String)>,
    },
    /// A whole number within these bounds, both included.
    Whole {
        /// The least.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// So many whole numbers, none below the one before it.
    Ascending {
        /// How many.
        count: usize,
        /// The least of the first.
        min: i64,
    },
    /// A frequency with its unit.
    Frequency,
    /// Whatever the kernel accepts.
    Any,
}

/// A value that a setting can't take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not set {name} to `{value}`: it takes {valid}")]
pub struct InvalidValue {
    /// The setting.
    pub name: String,
    /// The value that was wanted.
    pub value: String,
    /// What the setting takes.
    pub valid: Valid,
}

/// What a setting was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Its value, in a form that can be written back.
    Value(String),
    /// This host does not have it; the reason.
    Absent(String),
    /// This host has it and does not tell; the reason.
    Unreadable(String),
}

/// Whether this process may write a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writability {
    /// It may.
    Yes,
    /// It may not; the reason, with a remedy where there is one.
    No(String),
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(words) if words.is_empty() => f.write_str("nothing on this host"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Loadable { offered, modules } => {
                let words = modules.iter().map(|(word, _)| word.as_str());
                let words = words.collect::<Vec<_>>().join(", ");
                let offered = offered.join(", ");
                write!(
                    f,
                    "one of {offered}; not loaded, where the kernel has their modules: {words}"
                )
            }
            Self::Whole { min, max } if *max >= i64::from(i32::MAX) => {
                write!(f, "a whole number, at least {min}")
            }
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Ascending { count, .. } => {
                write!(f, "{count} whole numbers with blanks between, none below the one before")
            }
            Self::Frequency => f.write_str("a frequency with its unit, such as 2.4GHz or 800MHz"),
            Self::Any => f.write_str("what the kernel accepts"),
        }
    }
}

impl Valid {
    /// Whether `value` is one of them.
    #[must_use]
    pub fn takes(&self, value: &str) -> bool {
        let wanted = value.trim();
        match self {
            Self::OneOf(words) => words.iter().any(|word| word == wanted),
            Self::Loadable { offered, .. } => {
                offered.iter().any(|word| word == wanted) || self.module(wanted).is_some()
            }
            Self::Whole { min, max } => {
                wanted.parse::<i64>().is_ok_and(|number| (*min..=*max).contains(&number))
            }
            Self::Ascending { count, min } => {
                let numbers: Option<Vec<i64>> =
                    wanted.split_whitespace().map(|number| number.parse().ok()).collect();
                numbers.is_some_and(|numbers| {
                    numbers.len() == *count && numbers[0] >= *min && numbers.is_sorted()
                })
            }
            Self::Frequency => false,
            Self::Any => !wanted.is_empty() && !wanted.contains(['\n', '\0']),
        }
    }
}

impl Valid {
    /// The module that the kernel loads, if it has it, when `value` is written; nothing where it needs none.
    #[must_use]
    pub fn module(&self, value: &str) -> Option<&str> {
        let Self::Loadable { modules, .. } = self else { return None };
        let found = modules.iter().find(|(word, _)| word == value.trim())?;
        Some(&found.1)
    }
}

impl Setting {
    /// How readily the kernel swaps rather than drops file pages. `kernel` is the release of the kernel:
    /// 200 is allowed since 5.8, 100 before.
    #[must_use]
    pub fn swappiness(kernel: Option<&str>) -> Self {
        let max = if kernel.and_then(version).is_some_and(|version| version < (5, 8)) {
            100
        } else {
            200
        };
        Self {
            meaning: "the relative cost of swapping against dropping file pages: 0 avoids swapping, 100 \
                      holds both for equally expensive, more prefers swapping; the default is 60",
            valid: Valid::Whole { min: 0, max },
            ..Self::sysctl("vm.swappiness")
        }
    }

    /// A setting in a file that nothing is known of.
    #[must_use]
    pub fn file(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            name: path.to_owned(),
            meaning: "a setting of the kernel",
            valid: Valid::Any,
        }
    }

    /// A kernel parameter by its name, such as `net.core.somaxconn`; a `/` in it stands for a dot in a name
    /// (sysctl(8)).
    #[must_use]
    pub fn sysctl(name: &str) -> Self {
        let path: String = name
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect();
        Self {
            path: format!("/proc/sys/{path}"),
            name: name.to_owned(),
            meaning: "a parameter of the kernel",
            valid: Valid::Any,
        }
    }

    /// Whether the setting may take `value`.
    ///
    /// # Errors
    /// When it may not; the error says what it takes.
    pub fn check(&self, value: &str) -> Result<(), InvalidValue> {
        let fits = self.valid.takes(value);
        let invalid = || InvalidValue {
            name: self.name.clone(),
            value: value.to_owned(),
            valid: self.valid.clone(),
        };
        if fits { Ok(()) } else { Err(invalid()) }
    }
}

/// Major and minor number of a kernel release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The value in what the kernel answered, in a form that can be written back: without the white space around
/// it and, where the answer lists all values with the one in force in brackets, that one.
#[must_use]
pub fn plain(answer: &str) -> &str {
    let trimmed = answer.trim();
    let mut chosen = trimmed
        .split_whitespace()
        .filter_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
        .filter(|word| !word.is_empty());
    match (chosen.next(), chosen.next()) {
        (Some(word), None) => word,
        _ => trimmed,
    }
}

/// The one form of all texts that mean the same value: [`plain`], with runs of white space as one blank, and
/// masks of CPUs in lower case without leading zeros and commas.
#[must_use]
pub fn canonical(text: &str) -> String {
    let words = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    mask(&words).unwrap_or(words)
}

/// The shortest form of a bit mask: groups of eight hex digits between commas, of which the first may be shorter.
fn mask(word: &str) -> Option<String> {
    let mut groups = word.split(',');
    let first = groups.next()?;
    let hex = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_mask = !first.is_empty()
        && hex(word.replace(',', "").as_str())
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && groups.all(|group| group.len() == 8);
    let digits = is_mask.then(|| word.replace(',', "").to_ascii_lowercase())?;
    let significant = digits.trim_start_matches('0');
    Some(if significant.is_empty() { "0".to_owned() } else { significant.to_owned() })
}

/// Whether two texts mean the same value.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    canonical(one) == canonical(other)
}

/// What `setting` is set to on the host.
#[must_use]
pub fn observe(root: &Sysroot, setting: &Setting) -> Observed {
    observe_path(root, &setting.path)
}

/// What the setting in the host's file `path` is set to. Waits for it [`PATIENCE`] at most.
#[must_use]
pub fn observe_path(root: &Sysroot, path: &str) -> Observed {
    let (asked, at) = (root.clone(), path.to_owned());
    let read = match within(PATIENCE, move || asked.read(&at)) {
        Answer::Told(read) => read,
        Answer::Late(_) => {
            let told = format!("{path} did not answer within {} s", PATIENCE.as_secs());
            return Observed::Unreadable(told);
        }
        Answer::NotAsked(error) => {
            return Observed::Unreadable(format!("could not read {path}: {error}"));
        }
    };
    match read {
        Ok(text) => Observed::Value(plain(&text).to_owned()),
        Err(error) if error.is_missing() => Observed::Absent(format!("this host has no {path}")),
        Err(error) => Observed::Unreadable(error.to_string()),
    }
}

/// Whether this process may write `setting`. Asks only; nothing is written.
#[must_use]
pub fn writable(root: &Sysroot, setting: &Setting) -> Writability {
    let path = &setting.path;
    let no = |reason: &str| Writability::No(format!("{path} {reason}"));
    let place = match root.path(path) {
        Ok(place) => place,
        Err(error) => return Writability::No(error.to_string()),
    };
    match access(&place, Access::WRITE_OK) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::NOTDIR) => return no("does not exist on this host"),
        Err(Errno::ROFS) => {
            return no(
                "is on a file system mounted read-only, as in a container without the right \
                       to change its host",
            );
        }
        Err(Errno::ACCESS | Errno::PERM) => {
            return no(
                "may not be written by this user; run as root, or with the capability it needs",
            );
        }
        Err(errno) => return no(&format!("can't be written: {}", std::io::Error::from(errno))),
    }
    // The superuser passes access(2) for files that the kernel gives no way to write.
    match rustix::fs::stat(&place) {
        Ok(stat) if stat.st_mode & 0o222 == 0 => no("is read-only in this kernel"),
        Ok(_) => Writability::Yes,
        Err(errno) => no(&format!("can't be asked: {}", std::io::Error::from(errno))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tree::Tree;

    #[test]
    fn texts_of_the_same_meaning_have_one_canonical_form() {
        for (one, other) in [
            ("60\n", "60"),
            ("[always] madvise never\n", "always"),
            ("00000c00", "c00"),
            ("00000000,00000C00", "c00"),
            ("00000000,00000000", "0"),
            ("4096\t131072\t6291456\n", "4096 131072 6291456"),
            ("none [mq-deadline] kyber", "mq-deadline"),
        ] {
            assert!(same(one, other), "{one:?} and {other:?}");
        }
        for (one, other) in [
            ("1", "10"),
            ("0-3,5", "0-3,50"),
            ("1,2", "12"),
            ("cafe", "CAFE"),
            ("-1", "1"),
            ("[a] [b]", "a"),
            ("", "0"),
        ] {
            assert!(!same(one, other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn what_is_observed_can_be_written_back_as_it_is() {
        assert_eq!(plain("00000000,00000c00\n"), "00000000,00000c00");
        assert_eq!(plain("4096\t131072\n"), "4096\t131072");
        assert_eq!(plain("always [madvise] never\n"), "madvise");
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in r"[\[\]a-f0-9, \t\n-]{0,24}") {
            let once = canonical(&text);
            // Brackets within brackets are no answer of a kernel.
            if !once.contains('[') {
                proptest::prop_assert_eq!(canonical(&once), once);
            }
        }
    }

    #[test]
    fn swappiness_goes_to_200_since_kernel_5_8() {
        for (kernel, value, fits) in [
            ("5.7.19", "150", false),
            ("5.8.0-rc1", "150", true),
            ("6.1.0-18-amd64", "200", true),
            ("6.1", "201", false),
            ("6.1", "-1", false),
            ("4.18", "100", true),
            ("strange", "ten", false),
        ] {
            let setting = Setting::swappiness(Some(kernel));
            assert_eq!(setting.check(value).is_ok(), fits, "{kernel} {value}");
            assert_eq!(setting.path, "/proc/sys/vm/swappiness");
        }
    }

    #[test]
    fn a_setting_that_is_not_there_is_absent_and_one_that_does_not_answer_unreadable() {
        let tree = Tree::new().file("/proc/sys/vm/odd/x", "");
        let root = tree.sysroot();
        assert!(matches!(observe(&root, &Setting::sysctl("vm.none")), Observed::Absent(_)));
        assert!(matches!(observe(&root, &Setting::sysctl("vm.odd")), Observed::Unreadable(_)));
        let dotted = Setting::sysctl("net.ipv4.conf.eth0/1.forwarding");
        assert_eq!(dotted.path, "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn whether_a_setting_may_be_written_is_told_without_writing() {
        let tree = Tree::new().file("/proc/sys/vm/swappiness", "60\n");
        let root = tree.sysroot();
        assert_eq!(writable(&root, &Setting::swappiness(None)), Writability::Yes);
        assert_eq!(tree.get("/proc/sys/vm/swappiness"), "60\n");
        let Writability::No(reason) = writable(&root, &Setting::sysctl("vm.none")) else {
            panic!("it is not there")
        };
        assert!(reason.contains("does not exist"), "{reason}");
        let place = root.path("/proc/sys/vm/swappiness").unwrap();
        rustix::fs::chmod(place, rustix::fs::Mode::from_raw_mode(0o444)).unwrap();
        assert!(matches!(writable(&root, &Setting::swappiness(None)), Writability::No(_)));
    }
}

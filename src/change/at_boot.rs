//! What settings are set to when the host starts: lines of two files of our own, one for each way in which systemd sets
//! them.
//!
//! ```text
//! /etc/sysctl.d/99-trueup.conf       vm.swappiness = 10                                   below /proc/sys
//! /etc/tmpfiles.d/trueup.conf        w /sys/kernel/mm/ksm/run - - - - 1                   below /sys
//! ```
//! A line is a change by itself, so that each phase and each run takes back its own, whatever others have put there
//! since: lines of others stay as they are. The file is replaced as a whole, as any configuration file is, made with its
//! first line and removed with its last. The forms are those of sysctl.d(5) and tmpfiles.d(5).
//!
//! A value is the value of the setting, or one of these:
//! ```text
//! absent                       it has no line
//! absent with /etc/sysctl.d    nor is there the folder of the file
//! ```

use std::borrow::Cow;

use super::config_file::{ConfigFiles, Content, content};
use super::host::WriteError;
use crate::host::setting::{self, Observed};

/// The files.
pub const FILES: [&str; 2] = [SYSCTL.file, TMPFILES.file];

/// The first line of a file that was made here.
pub(super) const HEADER: &str =
    "# Kept over a reboot by trueup. To take it back: trueup rollback\n";

const SYSCTL: Form = Form { file: "/etc/sysctl.d/99-trueup.conf", read: read_sysctl };
const TMPFILES: Form = Form { file: "/etc/tmpfiles.d/trueup.conf", read: read_tmpfiles };

/// One of the two forms.
struct Form {
    file: &'static str,
    /// The setting that a line sets, and its value.
    read: fn(&str) -> Option<(String, String)>,
}

fn form(path: &str) -> &'static Form {
    if path.starts_with("/proc/") { &SYSCTL } else { &TMPFILES }
}

/// The file in which the setting of this path has its line.
#[must_use]
pub fn file_of(path: &str) -> &'static str {
    form(path).file
}

/// Why the setting of this path can have no line; nothing when it can.
pub(super) fn unnameable(path: &str) -> Option<String> {
    let stands_for_others = |letter: char| matches!(letter, '*' | '?' | '[' | '\\');
    let odd = match path.strip_prefix("/proc/sys/") {
        Some(key) => {
            let odd = |letter: char| letter == '=' || letter.is_whitespace();
            key.contains(odd)
                || key.starts_with(['-', '#', ';'])
                // It would be taken for a separator, being the first.
                || key.split('/').next().is_some_and(|first| first.contains('.'))
        }
        None => false,
    };
    let odd = odd || path.contains(|letter: char| stands_for_others(letter) || letter.is_control());
    odd.then(|| format!("{path} can't be named in {}", file_of(path)))
}

/// The beginning of the line of a setting; its value follows.
pub(super) fn start_of_line(path: &str) -> String {
    match path.strip_prefix("/proc/sys/") {
        // With a dot in one of its parts a name of dots would be read in two ways.
        Some(key) if key.contains('.') => format!("{key} = "),
        Some(key) => format!("{} = ", key.replace('/', ".")),
        None => {
            let plain =
                |letter: char| letter.is_ascii_alphanumeric() || "/_.,:+@=~-".contains(letter);
            let path = path.replace('%', "%%");
            if path.chars().all(|letter| plain(letter) || letter == '%') {
                format!("w {path} - - - - ")
            } else {
                format!("w \"{}\" - - - - ", path.replace('"', "\\\""))
            }
        }
    }
}

/// A value as it stands in a line.
pub(super) fn end_of_line<'a>(path: &str, value: &'a str) -> Cow<'a, str> {
    let value = value.trim();
    if path.starts_with("/proc/") {
        return value.into();
    }
    match value {
        // One dash is no value.
        "-" => "\\x2d".into(),
        _ => value.replace('\\', "\\\\").replace('%', "%%").into(),
    }
}

/// `net.ipv4.ip_forward = 1`, `net/ipv4/conf/eth0.1/forwarding = 1`.
fn read_sysctl(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_start_matches('-');
    let swapped = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let dotted = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('.'));
    let key: String = if dotted { key.chars().map(swapped).collect() } else { key.to_owned() };
    Some((format!("/proc/sys/{key}"), value.trim().to_owned()))
}

/// `w /sys/kernel/mm/ksm/run - - - - 1`.
fn read_tmpfiles(line: &str) -> Option<(String, String)> {
    let (kind, rest) = line.trim().split_once(char::is_whitespace)?;
    if !kind.starts_with('w') {
        return None;
    }
    let rest = rest.trim_start();
    let (path, mut rest) = match rest.chars().next()? {
        quote @ ('"' | '\'') => {
            let end = closing(&rest[1..], quote)?;
            (&rest[1..=end], &rest[end + 2..])
        }
        _ => rest.split_once(char::is_whitespace)?,
    };
    for _ in 0..4 {
        (_, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    }
    Some((unescaped(path), unescaped(rest.trim())))
}

/// Where the first quote stands that has no backslash before it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if letter == quote && !escaped {
            return Some(at);
        }
        escaped = letter == '\\' && !escaped;
    }
    None
}

/// A text without escapes and doubled `%`.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => {
                letters.next_if_eq(&'%');
                plain.push('%');
            }
            '\\' => match letters.next() {
                Some('x') => {
                    let code: String = letters.by_ref().take(2).collect();
                    plain.extend(u8::from_str_radix(&code, 16).ok().map(char::from));
                }
                other => plain.extend(other),
            },
            other => plain.push(other),
        }
    }
    plain
}

/// Whether two values are the same.
pub(super) fn same(one: &str, other: &str) -> bool {
    match (content(one), content(other)) {
        (Content::Absent(_), Content::Absent(_)) => true,
        (Content::Text(one), Content::Text(other)) => setting::same(one, other),
        _ => false,
    }
}

/// A value as it is told to people.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    match content(value) {
        Content::Text(text) | Content::Other(text) => text.into(),
        Content::Absent(_) => "not set".into(),
    }
}

type Told<T> = Result<T, String>;

/// What the setting of `path` has in the files.
pub(super) fn observe(files: &ConfigFiles, path: &str) -> Observed {
    let form = form(path);
    let text = match files.look(form.file) {
        Observed::Value(text) => text,
        other => return other,
    };
    match content(&text) {
        Content::Absent(_) => Observed::Value(text.clone()),
        Content::Text(text) => {
            let mut lines = text.lines().rev().filter_map(form.read);
            let value = lines.find(|(of, _)| of == path).map(|(_, value)| value);
            Observed::Value(value.unwrap_or_else(|| "absent".to_owned()))
        }
        Content::Other(told) => Observed::Unreadable(format!("{} is {told}", form.file)),
    }
}

/// The text of the file when the setting of `path` has `value` in it, or that it is absent.
fn replaced(files: &ConfigFiles, path: &str, value: &str) -> Told<String> {
    let form = form(path);
    let before = match files.look(form.file) {
        Observed::Value(text) => text,
        Observed::Absent(reason) | Observed::Unreadable(reason) => return Err(reason),
    };
    let (before, is_there) = match content(&before) {
        Content::Text(text) => (text, true),
        Content::Absent(_) => (HEADER, false),
        Content::Other(told) => return Err(format!("{} is {told}", form.file)),
    };
    if value.contains(['\n', '\0']) {
        return Err(format!("what {path} is to have is not one line"));
    }
    let mut new = match content(value) {
        Content::Text(_) | Content::Other(_) => {
            Some(format!("{}{}\n", start_of_line(path), end_of_line(path, value)))
        }
        Content::Absent(_) => None,
    };
    let mut after = String::new();
    for line in before.lines() {
        match (form.read)(line) {
            // The first of them has its place; there should be no other.
            Some((of, _)) if of == path => after.extend(new.take()),
            _ => after.extend([line, "\n"]),
        }
    }
    after.extend(new);
    let is_ours_alone = after == HEADER || after.trim().is_empty();
    let gone = matches!(content(value), Content::Absent(_)) && (!is_there || is_ours_alone);
    Ok(if gone { value.to_owned() } else { after })
}

pub(super) fn obstacle(files: &ConfigFiles, path: &str, value: &str) -> Option<String> {
    match replaced(files, path, value) {
        Ok(text) => files.obstacle(file_of(path), &text),
        Err(reason) => Some(reason),
    }
}

pub(super) fn write(files: &ConfigFiles, path: &str, value: &str) -> Result<(), WriteError> {
    let file = file_of(path);
    let text = replaced(files, path, value).map_err(|reason| WriteError::File {
        action: "change",
        path: file.to_owned(),
        reason,
    })?;
    files.write(file, &text)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests run the script as a person would")]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::change::{
        Aftermath, Applier, ApplyResult, Change, Fate, Options, RollbackReport, Standing,
        TakenBack, Target, aftermath, rollback, script, verify,
    };
    use crate::clock::Clock;
    use crate::host::tree::Tree;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use tempfile::TempDir;

    const SWAP: &str = "/proc/sys/vm/swappiness";
    const VLAN: &str = "/proc/sys/net/ipv4/conf/eth0.1/forwarding";
    const KSM: &str = "/sys/kernel/mm/ksm/run";
    const BOOT: &str = "/proc/sys/kernel/random/boot_id";
    const SYSCTL_D: &str = "/etc/sysctl.d/99-trueup.conf";
    const TMPFILES_D: &str = "/etc/tmpfiles.d/trueup.conf";

    fn host() -> (Tree, TempDir) {
        let tree = Tree::new()
            .file(BOOT, "b1\n")
            .file(SWAP, "60\n")
            .file(VLAN, "0\n")
            .file(KSM, "0\n")
            .file("/etc/sysctl.d/90-others.conf", "vm.swappiness = 1\n");
        (tree, tempfile::tempdir().unwrap())
    }

    fn applier(tree: &Tree, dir: &TempDir, run: &str) -> Applier {
        let second = run.trim_start_matches('r').parse().unwrap();
        let clock = Clock::manual(Timestamp::from_second(second).unwrap());
        Applier::new(tree.sysroot(), dir.path(), run, clock)
    }

    fn change(phase: &str, target: Target, from: &str, to: &str) -> Change {
        Change { phase: phase.to_owned(), target, from: from.to_owned(), to: to.to_owned() }
    }

    /// A change of a setting, now and at boot.
    fn both(phase: &str, path: &str, from: [&str; 2], to: &str) -> [Change; 2] {
        [
            change(phase, Target::setting(path), from[0], to),
            change(phase, Target::at_boot(path), from[1], to),
        ]
    }

    fn options(force: bool) -> Options {
        Options { force, ..Options::new(Timestamp::UNIX_EPOCH, "a test") }
    }

    fn take_back(tree: &Tree, dir: &TempDir, run: &str, force: bool) -> RollbackReport {
        let options = options(force);
        rollback(&tree.sysroot(), &dir.path().join(format!("{run}.jsonl")), &options).unwrap()
    }

    /// All files and folders of a tree, with their texts.
    fn all(tree: &Tree) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut left = vec![tree.sysroot().prefix().to_owned()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.insert(path.clone(), text);
                if path.is_dir() {
                    left.push(path);
                }
            }
        }
        found
    }

    #[test]
    fn lines_are_as_systemd_reads_them() {
        for (path, value, line) in [
            (SWAP, "10", "vm.swappiness = 10"),
            (VLAN, "1", "net/ipv4/conf/eth0.1/forwarding = 1"),
            (
                "/proc/sys/net/ipv4/tcp_rmem",
                "4096 131072 6291456",
                "net.ipv4.tcp_rmem = 4096 131072 6291456",
            ),
            (KSM, "1", "w /sys/kernel/mm/ksm/run - - - - 1"),
            (KSM, "-", "w /sys/kernel/mm/ksm/run - - - - \\x2d"),
            (KSM, "50% \\x", "w /sys/kernel/mm/ksm/run - - - - 50%% \\\\x"),
            ("/sys/a b/50%/\"c\"", "d", "w \"/sys/a b/50%%/\\\"c\\\"\" - - - - d"),
        ] {
            let made = format!("{}{}", start_of_line(path), end_of_line(path, value));
            assert_eq!(made, line);
            assert_eq!(
                (form(path).read)(line),
                Some((path.to_owned(), value.to_owned())),
                "{line}"
            );
        }
        for (line, path, value) in
            [("  net.ipv4.conf.eth0/1.forwarding=1 ", VLAN, "1"), ("-vm/swappiness = 5", SWAP, "5")]
        {
            assert_eq!(read_sysctl(line), Some((path.to_owned(), value.to_owned())));
        }
        for (line, path, value) in [
            ("w!\t'/sys/kernel/mm/ksm/run' 0644 root root 1d 1", KSM, "1"),
            ("w /sys/kernel/mm/ksm/run - - - -  \\x31", KSM, "1"),
        ] {
            assert_eq!(read_tmpfiles(line), Some((path.to_owned(), value.to_owned())));
        }
        for line in ["# vm.swappiness = 1", "; x=1", "-vm.swappiness", ""] {
            assert_eq!(read_sysctl(line), None, "{line}");
        }
        for line in ["d /sys/x - - - - -", "w /sys/x", "w /sys/x - - -", "w \"/sys/x - - - - 1", ""]
        {
            assert_eq!(read_tmpfiles(line), None, "{line}");
        }
        for path in [
            "/sys/a*",
            "/sys/[a]",
            "/sys/a\\b",
            "/proc/sys/a=b/c",
            "/proc/sys/a.b",
            "/proc/sys/vm/a b",
        ] {
            assert!(Target::at_boot(path).forbidden().is_some(), "{path}");
        }
        assert_eq!(Target::at_boot(VLAN).forbidden(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            path in "/(sys|proc/sys)/[a-z\"'% .=-]{1,8}/[a-zA-Z0-9\"'%. =~-]{1,8}",
            value in "[ -~]{1,12}",
        ) {
            let value = value.trim();
            prop_assume!(!value.is_empty() && Target::at_boot(&path).forbidden().is_none());
            let line = format!("{}{}", start_of_line(&path), end_of_line(&path, value));
            prop_assert_eq!((form(&path).read)(&line), Some((path, value.to_owned())));
        }
    }

    #[test]
    fn a_file_is_made_with_its_first_line_and_gone_with_its_last_and_lines_of_others_stay() {
        let (tree, dir) = host();
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        let of_a = both("a", SWAP, ["60", "absent"], "10");
        let of_b = [
            change("b", Target::at_boot(VLAN), "absent", "1"),
            change("b", Target::at_boot(KSM), "absent with /etc/tmpfiles.d", "1"),
        ];
        for changes in [&of_a, &of_b] {
            assert!(run.apply(changes).iter().all(|one| one.result == ApplyResult::Match));
        }
        let lines = "vm.swappiness = 10\nnet/ipv4/conf/eth0.1/forwarding = 1\n";
        assert_eq!(tree.get(SYSCTL_D), format!("{HEADER}{lines}"));
        assert_eq!(tree.get(TMPFILES_D), format!("{HEADER}w /sys/kernel/mm/ksm/run - - - - 1\n"));
        // The phases are taken back in the order in which they were not.
        let _ = run.revert("a");
        assert_eq!(
            (tree.get(SWAP), tree.get(SYSCTL_D)),
            ("60\n".to_owned(), format!("{HEADER}{}\n", &lines[19..lines.len() - 1]))
        );
        let _ = run.revert("b");
        assert_eq!(all(&tree), before);
        let foreign = "# mine\nkernel.panic = 3\n";
        tree.put(SYSCTL_D, foreign);
        let run = applier(&tree, &dir, "r2");
        let _ = run.apply(&of_a);
        assert_eq!(tree.get(SYSCTL_D), format!("{foreign}vm.swappiness = 10\n"));
        let _ = run.revert_all();
        assert_eq!(tree.get(SYSCTL_D), foreign);
    }

    #[test]
    fn what_is_set_again_by_a_reboot_is_taken_back_after_it_with_its_line() {
        for by_script in [false, true] {
            let (tree, dir) = host();
            let before = all(&tree);
            let run = applier(&tree, &dir, "r1");
            let _ = run.apply(&both("a", SWAP, ["60", "absent"], "10"));
            let alone = change("a", Target::setting(VLAN), "0", "1");
            let _ = run.apply(&[alone]);
            run.keep().unwrap();
            // The boot sets one of them again, and the other one is at its default.
            tree.put(BOOT, "b2\n");
            tree.put(VLAN, "0\n");
            let fate = aftermath(run.journal()).unwrap();
            assert_eq!(fate, Some(Aftermath { settings: 2, fate: Fate::Kept }));
            let standing = verify(&tree.sysroot(), dir.path(), None).unwrap().changes;
            let matches = |one: &&crate::change::StandingChange| one.standing == Standing::Match;
            assert_eq!(standing.iter().filter(matches).count(), 2, "{standing:?}");
            if by_script {
                let text = script(&[run.journal()], &options(false)).unwrap();
                let output = Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
                assert!(output.status.success(), "{output:?}\n{text}");
            } else {
                let report = take_back(&tree, &dir, "r1", false);
                assert_eq!(report.changes[0].result, TakenBack::Moot);
                assert!(report.is_complete());
            }
            tree.put(BOOT, "b1\n");
            assert_eq!(all(&tree), before, "{by_script}");
        }
    }

    #[test]
    fn an_older_run_below_a_newer_one_of_another_boot_hands_over_what_it_had_found() {
        let (tree, dir) = host();
        let before = all(&tree);
        let run = applier(&tree, &dir, "r1");
        let _ = run.apply(&both("a", SWAP, ["60", "absent"], "10"));
        run.keep().unwrap();
        tree.put(BOOT, "b2\n");
        let run = applier(&tree, &dir, "r2");
        let _ = run.apply(&both("a", SWAP, ["10", "10"], "5"));
        run.keep().unwrap();
        let report = take_back(&tree, &dir, "r1", false);
        let handed = TakenBack::Handed { run: "r2".to_owned() };
        assert!(report.changes.iter().all(|one| one.result == handed), "{report:?}");
        assert_eq!(tree.get(SWAP), "5\n");
        assert!(take_back(&tree, &dir, "r2", false).is_complete());
        tree.put(BOOT, "b1\n");
        assert_eq!(all(&tree), before);
    }

    #[test]
    fn a_line_that_somebody_else_has_changed_is_left_unless_forced_by_the_script_as_well() {
        for (by_script, force) in [(false, false), (false, true), (true, false), (true, true)] {
            let (tree, dir) = host();
            let run = applier(&tree, &dir, "r1");
            let _ = run.apply(&[
                change("a", Target::at_boot(KSM), "absent with /etc/tmpfiles.d", "1"),
                change("a", Target::at_boot(SWAP), "absent", "10"),
            ]);
            run.keep().unwrap();
            let foreign = tree.get(TMPFILES_D).replace("- 1\n", "- 2\n");
            tree.put(TMPFILES_D, &foreign);
            if by_script {
                let text = script(&[run.journal()], &options(force)).unwrap();
                let output = Command::new("/bin/sh").arg("-c").arg(&text).output().unwrap();
                assert_eq!(output.status.code(), Some(if force { 0 } else { 5 }), "{output:?}");
            } else {
                let report = take_back(&tree, &dir, "r1", force);
                assert_eq!(report.left(), usize::from(!force));
            }
            let there = |path: &str| tree.sysroot().path(path).unwrap().exists();
            assert!(!there(SYSCTL_D));
            assert_eq!((there(TMPFILES_D), there("/etc/tmpfiles.d")), (!force, !force));
        }
    }
}

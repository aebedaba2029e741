//! The program of a command: its file, the folder it starts in, and what would help where it does not start.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{SHELL, With};
use crate::disk;
use crate::host::process::ProcessError;
use crate::phase::{Context, PhaseError};

/// The program and its arguments.
pub(super) fn program(with: &With) -> (&str, Vec<&str>) {
    let mut words = with.argv.words.iter().map(|word| word.as_str());
    if with.shell {
        return (SHELL, ["-c"].into_iter().chain(words).collect());
    }
    (words.next().unwrap_or_default(), words.collect())
}

/// The folder it starts in; none for that of this process.
pub(super) fn folder(with: &With, cx: &Context) -> Option<PathBuf> {
    let dir = &cx.run.pipeline_dir;
    let dir = with.cwd.as_ref().map_or_else(|| dir.clone(), |own| dir.join(own));
    Some(dir).filter(|dir| !dir.as_os_str().is_empty())
}

/// Where the file of a program may be: where it is said to be, or else in the folders of `PATH`, the first one first.
pub(super) fn places(name: &str, with: &With, cx: &Context) -> impl Iterator<Item = PathBuf> {
    let is_said = name.contains('/');
    let said = is_said.then(|| folder(with, cx).unwrap_or_default().join(name));
    let own = || with.env.get("PATH").map(|path| path.as_str().into());
    let path = if is_said { None } else { own().or_else(|| std::env::var_os("PATH")) };
    let dirs: Vec<PathBuf> =
        path.map_or_else(Vec::new, |path| std::env::split_paths(&path).collect());
    said.into_iter().chain(dirs.into_iter().map(move |dir| dir.join(name)))
}

/// Why a program did not start, or did not end as it should have, and what would help.
pub(super) fn failed(error: ProcessError, with: &With, cx: &Context) -> PhaseError {
    let (name, _) = program(with);
    let mut places = places(name, with, cx).filter_map(|path| Some((path.metadata().ok()?, path)));
    let there = places.find(|(file, _)| file.is_file() || name.contains('/'));
    let errno = match &error {
        ProcessError::NotFound { .. } => Some(Errno::ENOENT),
        ProcessError::Start { source, .. } => source.raw_os_error().map(Errno::from_raw),
        _ => None,
    };
    let (told, help) = errno.map_or((None, None), |errno| advice(errno, there.as_ref()));
    let failed = match told {
        Some(told) => PhaseError::new(format!("could not start `{name}`: {told}")),
        None => PhaseError::because("could not run the command", error),
    };
    match help {
        Some(help) => failed.help(help),
        None => failed,
    }
}

/// What a refusal of the system means for the file that is there, where that is more than the system says; and what
/// would help.
fn advice(errno: Errno, there: Option<&(Metadata, PathBuf)>) -> (Option<String>, Option<String>) {
    let help = |text: &str| (None, Some(text.to_owned()));
    match (errno, there) {
        (Errno::E2BIG, _) => help(
            "the arguments and the environment together are larger than the kernel passes: give some by `stdin`, or in a file",
        ),
        (Errno::EAGAIN | Errno::ENOMEM, _) => {
            help("the system has no room for another process: check `ulimit -u` and the memory")
        }
        (Errno::ETXTBSY, _) => help("somebody has it open to write to it: wait for that to end"),
        (_, Some((file, path))) if file.is_dir() => (
            Some("it is a folder".to_owned()),
            Some(format!("name a program, such as one in {}", path.display())),
        ),
        (_, Some((file, _))) if !file.is_file() => {
            (Some("it is no regular file".to_owned()), Some("name a program".to_owned()))
        }
        (Errno::EACCES, Some((file, path))) if file.permissions().mode() & 0o111 == 0 => {
            if matches!(Form::of(path), Form::Other) {
                let told = "it is not executable, and does not look like a program".to_owned();
                let help =
                    format!("name the program that reads it, and {} after it", path.display());
                (Some(told), Some(help))
            } else {
                (None, Some(format!("make it executable: `chmod +x {}`", path.display())))
            }
        }
        (Errno::EACCES, Some(_)) => help(
            "it is executable, but not for this user or not from there: check its rights, those of the folders above it, and whether its file system is mounted with `noexec`",
        ),
        (Errno::ENOENT, Some((_, path))) => match Form::of(path) {
            Form::Script(interpreter) => (
                Some(format!(
                    "its first line names the interpreter `{interpreter}`, which is not there"
                )),
                Some("install that, or correct the line".to_owned()),
            ),
            Form::Elf | Form::Other => (
                Some("the loader that it was made for is not there".to_owned()),
                Some("install it for this system".to_owned()),
            ),
        },
        (Errno::ENOEXEC, Some((_, path))) => match Form::of(path) {
            Form::Elf => (
                Some("it was made for another kind of machine".to_owned()),
                Some("install it for this one".to_owned()),
            ),
            Form::Script(_) | Form::Other => (
                Some("it is no program, and its first line names no interpreter".to_owned()),
                Some(format!(
                    "write `#!/bin/sh` as its first line, or `argv: [/bin/sh, {}]`",
                    path.display()
                )),
            ),
        },
        _ => (None, None),
    }
}

/// What a file begins as.
enum Form {
    /// A program for some machine.
    Elf,
    /// A text for an interpreter.
    Script(String),
    /// Neither.
    Other,
}

impl Form {
    fn of(path: &Path) -> Self {
        let mut head = Vec::new();
        let read = disk::open_regular(path).and_then(|file| file.take(256).read_to_end(&mut head));
        if read.is_err() {
            return Self::Other;
        }
        if head.starts_with(b"\x7fELF") {
            return Self::Elf;
        }
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let interpreter = line
            .strip_prefix(b"#!")
            .and_then(|line| line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()));
        match interpreter {
            Some(name) => Self::Script(String::from_utf8_lossy(name).into_owned()),
            None => Self::Other,
        }
    }
}

//! A rollback as a POSIX shell script, for hosts on which this program can't run, and for people who want to
//! see each step first.
//!
//! The script takes the same decisions as [`rollback()`](super::rollback()): it stops after a reboot, and writes
//! only where the value is still the one that the run left. It does not mark the journal.

use std::fmt::Write;
use std::path::Path;

use super::journal::{self, Integrity, JournalError, State};

/// What every script begins with: `take_back FILE FORMER OURS...`.
const HEAD: &str = r#"set -u
failed=0

# take_back FILE FORMER OURS...: writes FORMER to FILE if its value is one of OURS.
take_back() {
  file=$1 former=$2
  shift 2
  if ! current=$(cat "$file"); then
    failed=1
    return
  fi
  case $current in
    *\[*\]*)
      current=${current#*\[}
      current=${current%%\]*}
      ;;
  esac
  if [ "$current" = "$former" ]; then
    echo "$file: already $former"
    return
  fi
  for ours in "$@"; do
    if [ "$current" = "$ours" ]; then
      if printf '%s\n' "$former" >"$file"; then
        echo "$file: $ours -> $former"
      else
        failed=1
      fi
      return
    fi
  done
  echo "$file: left at $current, which somebody else has set" >&2
}

"#;

/// The script that takes the run of the journal at `path` back.
///
/// # Errors
/// When the journal can't be used.
pub fn script(path: &Path) -> Result<String, JournalError> {
    let journal = journal::read(path)?;
    let run = journal.opened.as_ref().map_or("unknown", |opened| &*opened.run);
    let mut text = String::from("#!/bin/sh\n");
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line(&format!("# Takes back what run {} changed on this host.", run.replace('\n', " ")));
    if let Integrity::Corrupt { line: damaged } = journal.integrity {
        line(&format!(
            "# Line {damaged} of the journal is damaged: changes after it are not known."
        ));
    }
    line(HEAD.trim_end_matches('\n'));
    line("");
    if let Some(boot) = journal.opened.as_ref().and_then(|opened| opened.boot_id.as_deref()) {
        line(&format!(
            "if [ \"$(cat /proc/sys/kernel/random/boot_id)\" != {} ]; then",
            quoted(boot)
        ));
        line("  echo 'the host was booted since: nothing is left to take back'");
        line("  exit 0");
        line("fi");
    }
    for entry in journal.entries.iter().rev().filter(|entry| entry.is_open()) {
        let change = &entry.change;
        let mut call =
            format!("take_back {} {}", quoted(change.target.path()), quoted(&change.from));
        let read_back = match &entry.state {
            State::Applied { read_back } | State::Kept { read_back } => Some(read_back),
            _ => None,
        };
        for ours in read_back.into_iter().chain([&change.to]) {
            // Writing to a string can't fail.
            let _ = write!(call, " {}", quoted(ours));
        }
        line(&call);
    }
    line("exit $failed");
    Ok(text)
}

/// A text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_whatever_it_holds() {
        assert_eq!(quoted("plain"), "'plain'");
        assert_eq!(quoted("a b; $(rm) 'x'"), r"'a b; $(rm) '\''x'\'''");
    }
}

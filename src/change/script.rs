//! A rollback as a POSIX shell script, for hosts on which this program can't run, and for people who want to
//! see each step first.
//!
//! The script takes the same decisions as [`rollback()`](super::rollback()): it passes over what another boot took
//! back and what a newer run has set since, and writes only where the value is still the one that the run left,
//! unless by force. It does not mark the journals.

mod database;

use std::path::Path;

use super::at_boot;
use super::journal::{self, Entry, Integrity, State};
use super::model::Target;
use super::reboot::Reboot;
use super::rollback::{Options, RollbackError};
use crate::host::attributes::living::Living;

/// What every script begins with, after the words that say how a value that is not ours is taken.
const HEAD: &str = r#"set -u
cpus=/sys/devices/system/cpu
newline='
'
header='# Kept over a reboot by trueup. To take it back: trueup rollback'
failed=0
left=0

# take_back FILE OURS... '->' FORMER
# writes FORMER to FILE if its value is one of OURS.
take_back() {
  file=$1 known=$force
  shift
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
  while [ $# -gt 2 ]; do
    if [ "$current" = "$1" ]; then known=yes; fi
    shift
  done
  if [ "$current" = "$2" ]; then
    echo "$file: already $2"
  elif [ $known = no ]; then
    echo "$file: left at $current, which somebody else has set" >&2
    left=1
  elif printf '%s\n' "$2" >"$file"; then
    echo "$file: $current -> $2"
  else
    failed=1
  fi
}

# take_back_file FILE OURS... '->' FORMER
# the same for a whole file. It is written in place, so that it keeps owner and
# mode. 'absent' is no file, 'absent with FOLDER' no folder either.
take_back_file() {
  file=$1 known=$force
  shift
  if [ -L "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; then
    echo "$file: it is not a file any more" >&2
    left=1
    return
  fi
  current=absent.
  if [ -e "$file" ] && ! current=$(cat "$file" && echo .); then
    failed=1
    return
  fi
  current=${current%.}
  while [ $# -gt 2 ]; do
    case $1 in
      *"$newline"*) ours=$1 ;;
      'absent with /'*) ours=absent ;;
      *) ours=$1 ;;
    esac
    if [ "$current" = "$ours" ]; then known=yes; fi
    shift
  done
  case $2 in
    *"$newline"*) former=$2 folder= ;;
    'absent with /'*) former=absent folder=${2#absent with } ;;
    *) former=$2 folder= ;;
  esac
  if [ "$current" = "$former" ]; then
    echo "$file: already back"
  elif [ $known = no ]; then
    echo "$file: left alone, somebody else has changed it" >&2
    left=1
    return
  elif [ "$former" = absent ]; then
    if ! rm -f "$file"; then failed=1; return; fi
    echo "$file: removed"
  elif printf %s "$former" >"$file"; then
    echo "$file: its former text is back"
  else
    failed=1
  fi
  above=${file%/*}
  while [ -n "$folder" ] && [ "${above%"$folder"*}" != "$above" ]; do
    rmdir "$above" 2>/dev/null || break
    above=${above%/*}
  done
}

# take_back_line FILE START OURS... '->' FORMER
# the same for the line of FILE that begins with START. Its values are what
# follows, or 'absent', as for a whole file.
take_back_line() {
  file=$1 start=$2 known=$force current=absent rest= more=no
  shift 2
  if [ -L "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; then
    echo "$file: it is not a file any more" >&2
    left=1
    return
  fi
  if [ -e "$file" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
      case $line in
        "$start"*) current=${line#"$start"} ;;
        "$header" | '') rest=$rest$line$newline ;;
        *) rest=$rest$line$newline more=yes ;;
      esac
    done <"$file"
  fi
  for former; do :; done
  for ours; do
    if [ "$current" = "${ours%% with /*}" ]; then known=yes; fi
  done
  if [ "$current" = "${former%% with /*}" ]; then
    echo "$file: $start already $current"
  elif [ $known = no ]; then
    echo "$file: $start left at $current, which somebody else has set" >&2
    left=1
    return
  elif [ "${former%% with /*}" != absent ]; then
    printf '%s%s%s\n' "${rest:-$header$newline}" "$start" "$former" >"$file" ||
      { failed=1; return; }
    echo "$file: $start $current -> $former"
  elif [ $more = yes ]; then
    printf %s "$rest" >"$file" || { failed=1; return; }
    echo "$file: $start removed"
  else
    rm -f "$file" || { failed=1; return; }
    echo "$file: removed"
  fi
  case $former in
    'absent with /'*) rmdir "${file%/*}" 2>/dev/null ;;
  esac
}

# take_back_attribute PID STARTED ATTRIBUTE OURS... '->' FORMER
# the same for an attribute of the process that began at STARTED. What threads
# have for themselves is looked at and set on each.
take_back_attribute() {
  pid=$1 started=$2 attribute=$3 name="$3 of process $1"
  shift 3
  stat=$(cat "/proc/$pid/stat" 2>/dev/null)
  stat=${stat##*) }
  threads=$(ls "/proc/$pid/task" 2>/dev/null)
  case $stat:$threads in
    [ZX]*:*"$newline"*) ;;
    [ZX]*) stat= ;;
  esac
  if [ "$(echo "$stat" | cut -d ' ' -f 20)" != "$started" ]; then
    echo "$name: nothing to take back, it has ended"
    return
  fi
  limit=${attribute#limits.}
  case $attribute in
    cpus)
      current=$(cat "/proc/$pid/task/"*/status |
        sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' | sort -u |
        sed -e "s/^$(cat $cpus/online)\$/all/" \
          -e "s/^$(cat $cpus/possible)\$/all/" | sort -u)
      ;;
    nice)
      current=$(cat "/proc/$pid/task/"*/stat |
        sed 's/.*) //' | cut -d ' ' -f 17 | sort -u)
      ;;
    io)
      current=$(LC_ALL=C ionice -p $threads | sed -e 's/^none.*/none/' \
        -e 's/best-effort/best_effort/' -e 's/: prio//' | sort -u)
      ;;
    oom_score_adj) current=$(cat "/proc/$pid/oom_score_adj") ;;
    *)
      current=$(prlimit --pid "$pid" "--$limit" \
        --noheadings --raw --output SOFT,HARD | tr ' ' :)
      ;;
  esac
  if [ -z "$current" ]; then
    failed=1
    return
  fi
  for former; do :; done
  if [ "$current" = "$former" ]; then
    echo "$name: already $former"
    return
  fi
  foreign=
  while IFS= read -r value; do
    known=$force
    for ours; do
      if [ "$value" = "$ours" ]; then known=yes; fi
    done
    if [ $known = no ]; then foreign=$value; fi
  done <<END
$current
END
  if [ -n "$foreign" ]; then
    echo "$name: left at $foreign, which somebody else has set" >&2
    left=1
    return
  fi
  unset POSIXLY_CORRECT
  level=${former#* }
  case $attribute:$former in
    cpus:all) taskset -a -c -p "$(cat $cpus/possible)" "$pid" ;;
    cpus:*) taskset -a -c -p "$former" "$pid" ;;
    nice:*) renice -n "$former" -p $threads ;;
    io:none) ionice -c 0 -p $threads ;;
    io:idle) ionice -c 3 -p $threads ;;
    io:best_effort*) ionice -c 2 -n "$level" -p $threads ;;
    io:realtime*) ionice -c 1 -n "$level" -p $threads ;;
    oom_score_adj:*) choom -n "$former" -p "$pid" ;;
    *) prlimit --pid "$pid" "--$limit=$former" ;;
  esac >/dev/null || {
    failed=1
    return
  }
  echo "$name: $(echo $current) -> $former"
}

# same_boot FILE ID: whether FILE still names the boot ID.
same_boot() {
  if [ "$(cat "$1")" = "$2" ]; then return 0; fi
  echo 'the host was booted since, which took this run back'
  return 1
}"#;

/// What every script ends with: the exit codes of `trueup rollback`.
const TAIL: &str = "
if [ $failed = 1 ]; then exit 1; fi
if [ $left = 1 ]; then exit 5; fi
exit 0
";

/// The widest line, where words allow it.
const WIDTH: usize = 80;

/// The script that takes the runs of these journals back, which are to stand in that order, the newest first.
///
/// # Errors
/// When a journal can't be used, or nobody can tell whether a newer run has set the same.
pub fn script(journals: &[&Path], options: &Options) -> Result<String, RollbackError> {
    let known = if options.force { "yes" } else { "no" };
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        "# Takes back what runs of trueup have changed on this host.".to_owned(),
        String::new(),
        "# Whether values that somebody else has set since are written over, too.".to_owned(),
        format!("force={known}"),
        HEAD.to_owned(),
    ];
    let mut runs = Vec::new();
    for path in journals {
        runs.extend(of_run(path, journals, options)?);
    }
    if runs.iter().any(|line| database::is_call(line)) {
        lines.extend([String::new(), database::HEAD.to_owned()]);
    }
    lines.extend(runs);
    lines.push(TAIL.to_owned());
    Ok(lines.join("\n"))
}

/// The part of one run; those of `journals` are taken back as well.
fn of_run(
    path: &Path,
    journals: &[&Path],
    options: &Options,
) -> Result<Vec<String>, RollbackError> {
    let journal = journal::read(path)?;
    let Some(opened) = &journal.opened else { return Ok(Vec::new()) };
    let run = one_line(&opened.run);
    let mut lines = vec![String::new(), format!("# Run {run}")];
    if let Integrity::Corrupt { line } = journal.integrity {
        lines.push(format!(
            "# Line {line} of its journal is damaged: changes after it are not known."
        ));
    }
    let newer = options.newer(path, opened, journals)?;
    let on_host = |path: &str| quoted(&format!("{}{path}", opened.root.trim_end_matches('/')));
    let wanted = |entry: &&Entry| options.takes(&journal, entry, options.force);
    let entries: Vec<&Entry> = journal.entries.iter().rev().filter(wanted).collect();
    // Only what a reboot takes back depends on the boot.
    let reboot = Reboot::after(&journal.entries);
    let volatile = |entry: &Entry| reboot.takes_back(&entry.change.target);
    for group in entries.chunk_by(|a, b| volatile(a) == volatile(b)) {
        let boot = opened.boot_id.as_ref().filter(|_| volatile(group[0]));
        if let Some(boot) = boot {
            let asked = format!("if same_boot {}", on_host("/proc/sys/kernel/random/boot_id"));
            lines.extend(broken(&asked, &format!("{}; then", quoted(boot)), ""));
        }
        let indent = if boot.is_some() { "  " } else { "" };
        for entry in group {
            let target = &entry.change.target;
            if let Some(above) = newer.on(target) {
                let run = one_line(above.run);
                lines.push(format!("{indent}# {}:", one_line(&target.name())));
                lines.push(format!("{indent}# run {run} has set it since, and comes first"));
            } else {
                let call = match target {
                    Target::Setting { path } => format!("take_back {}", on_host(path)),
                    Target::File { path } => format!("take_back_file {}", on_host(path)),
                    Target::Database(setting) => {
                        lines.extend(database::call(setting, entry));
                        continue;
                    }
                    Target::AtBoot { path } => {
                        let start = quoted(&at_boot::start_of_line(path));
                        format!("take_back_line {} {start}", on_host(at_boot::file_of(path)))
                    }
                    Target::Process { process: Living { pid, started }, attribute } => {
                        format!("take_back_attribute {pid} {started} {attribute}")
                    }
                };
                lines.extend(broken(&call, &values(entry), indent));
            }
        }
        if boot.is_some() {
            // A block of comments alone is none to the shell.
            lines.extend(["  :".to_owned(), "fi".to_owned()]);
        }
    }
    Ok(lines)
}

/// A command in one line, or in two where that would be too long.
fn broken(first: &str, rest: &str, indent: &str) -> Vec<String> {
    if indent.len() + first.len() + 1 + rest.len() <= WIDTH {
        vec![format!("{indent}{first} {rest}")]
    } else {
        vec![format!("{indent}{first} \\"), format!("{indent}  {rest}")]
    }
}

/// From which values a change is taken back, and to which.
fn values(entry: &Entry) -> String {
    let change = &entry.change;
    let read_back = match &entry.state {
        State::Applied { read_back } | State::Kept { read_back } => Some(read_back),
        _ => None,
    };
    let mut ours: Vec<&String> = Vec::new();
    for value in read_back.into_iter().chain([&change.to]).chain(&entry.inherited) {
        if !ours.contains(&value) {
            ours.push(value);
        }
    }
    let written = |value: &str| match &change.target {
        Target::AtBoot { path } => quoted(&at_boot::end_of_line(path, value)),
        _ => quoted(value),
    };
    let ours: Vec<String> = ours.into_iter().map(|value| written(value)).collect();
    format!("{} '->' {}", ours.join(" "), written(&change.from))
}

/// A text for a comment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::model::{Change, Target};
    use super::*;

    #[test]
    fn each_value_stands_once_and_no_line_is_wider_than_a_terminal() {
        let governor = "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor";
        let call = |path: &str, from: &str, to: &str, read_back: &str| {
            let change = Change {
                phase: "p".to_owned(),
                target: Target::setting(path),
                from: from.to_owned(),
                to: to.to_owned(),
            };
            let state = State::Kept { read_back: read_back.to_owned() };
            let entry = Entry { state, ..Entry::intended(0, change) };
            broken(&format!("take_back {}", quoted(path)), &values(&entry), "  ").join("\n")
        };
        let calls = [
            call("/proc/sys/vm/swappiness", "60", "10", "10"),
            call("/proc/sys/vm/swappiness", "60", "200", "150"),
            call(governor, "powersave", "performance", "performance"),
        ];
        insta::assert_snapshot!(calls.join("\n"), @r"
          take_back '/proc/sys/vm/swappiness' '10' '->' '60'
          take_back '/proc/sys/vm/swappiness' '150' '200' '->' '60'
          take_back '/sys/devices/system/cpu/cpufreq/policy0/scaling_governor' \
            'performance' '->' 'powersave'
        ");
        let widest = |text: &str| text.lines().map(str::len).max().unwrap();
        let frame = format!("{HEAD}{TAIL}");
        assert!(widest(&frame) <= WIDTH && widest(&calls.join("\n")) <= WIDTH);
    }

    #[test]
    fn a_quoted_text_is_one_word_whatever_it_holds() {
        assert_eq!(quoted("plain"), "'plain'");
        assert_eq!(quoted("a b; $(rm) 'x'"), r"'a b; $(rm) '\''x'\'''");
    }
}

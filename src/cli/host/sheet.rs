//! A page of groups of rows: a label, what is to be known, and the file that told it.
//!
//! A source stands at the right where there is room, else on a line of its own, so that what is to be known is read
//! down one column. Knows nothing of hosts.

use std::fmt::Write as _;

use crate::shown;

/// Where values begin.
const COLUMN: usize = 18;

/// A page under way.
#[derive(Debug)]
pub(super) struct Sheet {
    text: String,
    width: usize,
    /// A group that has no row yet: one without any is not shown.
    title: Option<String>,
}

impl Sheet {
    pub(super) fn new(width: usize) -> Self {
        Self { text: String::new(), width, title: None }
    }

    /// Begins a group.
    pub(super) fn group(&mut self, title: &str) {
        self.title = Some(title.to_owned());
    }

    /// A row; what takes more than a line goes on below its beginning.
    pub(super) fn row(&mut self, label: &str, value: &str, source: &str) {
        // All of it comes from files of the host, or of a tree that anybody may have made.
        let (label, value, source) =
            (shown::in_line(label), shown::in_line(value), shown::in_line(source));
        if let Some(title) = self.title.take() {
            let before = if self.text.is_empty() { "" } else { "\n" };
            let _ = writeln!(self.text, "{before}{title}");
        }
        let room = self.width.saturating_sub(COLUMN).max(20);
        let mut lines = wrap(&value, room).into_iter().peekable();
        let mut head = format!("  {label}");
        if head.chars().count() >= COLUMN {
            let _ = writeln!(self.text, "{head}");
            head.clear();
        }
        while let Some(line) = lines.next() {
            let begin = format!("{head:COLUMN$}{line}");
            head.clear();
            let used = begin.chars().count();
            let last = lines.peek().is_none();
            if last && !source.is_empty() && used + 2 + source.chars().count() <= self.width {
                let _ = writeln!(self.text, "{begin}{source:>space$}", space = self.width - used);
                return;
            }
            let _ = writeln!(self.text, "{}", begin.trim_end());
        }
        if !source.is_empty() {
            // A path is not broken, or nobody could copy it.
            let space = self.width.max(COLUMN + source.chars().count());
            let _ = writeln!(self.text, "{source:>space$}");
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// The words of `text` in lines of at most `room` characters; one that is longer has a line of its own.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_stands_at_the_right_edge_or_below() {
        let mut sheet = Sheet::new(50);
        sheet.group("EMPTY");
        sheet.group("GROUP");
        sheet.row("short", "12 CPUs", "/proc/a");
        sheet.row("long", "a value that is too long for one line by far", "/proc/b");
        sheet.row("full", "nothing", "/sys/devices/system/cpu/online");
        sheet.row("plain", "no source", "");
        sheet.row("a label of its own line", "x", "");
        let expected = "\
GROUP
  short           12 CPUs                  /proc/a
  long            a value that is too long for one
                  line by far              /proc/b
  full            nothing
                    /sys/devices/system/cpu/online
  plain           no source
  a label of its own line
                  x
";
        assert_eq!(sheet.into_text(), expected);
    }
}

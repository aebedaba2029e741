//! Text laid out for a terminal.

use crate::shown;

/// Breaks `text` at blanks into lines of at most `width` columns where words allow it; at least one line. Where it breaks
/// itself is seen, and breaks nothing: the text may have come from anywhere.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in shown::in_line(text).split_whitespace() {
        let taken = lines.last().map_or(0, |line| line.chars().count());
        if taken > 0 && taken + 1 + word.chars().count() > width {
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

/// `1st`, `2nd`, `3rd`, `4th`.
pub(super) fn ordinal(number: u32) -> String {
    let end = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

/// A quantity with as many digits as a person reads: four, or all before the point.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size == 0.0 || !size.is_finite() => format!("{value}"),
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        10.0.. => format!("{value:.2}"),
        0.001.. => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_as_many_digits_as_a_person_reads() {
        let read = [0.0, 12345.678, -123.456, 12.345, 0.012_345, 0.000_012_3].map(figure);
        assert_eq!(read, ["0", "12346", "-123.5", "12.35", "0.012", "1.23e-5"]);
    }

    #[test]
    fn attempts_are_counted_as_people_do() {
        let read = [1, 2, 3, 4, 11, 12, 13, 21, 102].map(ordinal);
        assert_eq!(read, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd"]);
    }

    #[test]
    fn lines_break_at_blanks_and_a_long_word_stands_alone() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a incomprehensibilities b", 5), ["a", "incomprehensibilities", "b"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("a\n\u{1b}[2J b", 80), ["a\\n\\x1b[2J b"]);
    }
}

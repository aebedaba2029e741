//! The stretch of a line around a place, where the line or one beside it is too long to be drawn.
//!
//! A file that a program has written may be one line of megabytes. Knows no form of drawing.

use std::ops::Range;

/// Longest line that is drawn as it is, in bytes.
const LONGEST: usize = 400;

/// Characters that are shown on each side of a place, and most of the place itself.
const SIDE: usize = 50;

/// Stands for what is left out.
const CUT: &str = "..";

/// What is drawn in place of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// One line.
    pub(super) text: String,
    /// The place in it.
    pub(super) span: Range<usize>,
    /// Lines of the file before it.
    pub(super) lines_before: usize,
    /// Characters of its line that come before it.
    pub(super) columns_before: usize,
}

/// The excerpt of `text` around `span`; nothing where the lines can be drawn as they are.
pub(super) fn excerpt(text: &str, span: &Range<usize>) -> Option<Excerpt> {
    let start = text.floor_char_boundary(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let before = text[..line_start].trim_end_matches('\n');
    let last = before.rfind('\n').map_or(before.len(), |newline| before.len() - newline);
    let after = text[line_end..].trim_start_matches('\n');
    let next = after.find('\n').unwrap_or(after.len());
    if last.max(next).max(line_end - line_start) <= LONGEST {
        return None;
    }
    let end = text.ceil_char_boundary(span.end.clamp(start, line_end));
    let shown_end = start + up_to(&text[start..end], SIDE);
    let mut from = start - backwards(&text[line_start..start], SIDE);
    if text[line_start..from].chars().count() <= CUT.len() {
        from = line_start;
    }
    let to = shown_end + up_to(&text[shown_end..line_end], SIDE);
    let head = if from > line_start { CUT } else { "" };
    let tail = if to < line_end { CUT } else { "" };
    let left_out = text[line_start..from].chars().count();
    Some(Excerpt {
        text: format!("{head}{}{tail}", text[from..to].trim_end_matches('\r')),
        span: start - from + head.len()..shown_end - from + head.len(),
        lines_before: text[..line_start].matches('\n').count(),
        columns_before: left_out - head.len().min(left_out),
    })
}

/// Bytes of the first characters.
fn up_to(text: &str, count: usize) -> usize {
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}

/// Bytes of the last characters.
fn backwards(text: &str, count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    text.char_indices().rev().nth(count - 1).map_or(text.len(), |(at, _)| text.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_its_place_and_a_short_one_is_not() {
        let text = format!("one\n{}HERE{}\nthree", "ä".repeat(1000), "z".repeat(1000));
        let start = text.find("HERE").unwrap();
        let found = excerpt(&text, &(start..start + 4)).unwrap();
        assert_eq!(found.text, format!("..{}HERE{}..", "ä".repeat(50), "z".repeat(50)));
        assert_eq!(&found.text[found.span.clone()], "HERE");
        assert_eq!((found.lines_before, found.columns_before), (1, 948));
        assert!(excerpt(&text, &(0..3)).is_some(), "the line beside it would be drawn");
        assert_eq!(excerpt("one\ntwo\n", &(4..7)), None);
        let end = excerpt(&text, &(text.len()..text.len())).unwrap();
        assert_eq!((end.text.as_str(), end.span), ("three", 5..5));
    }
}

//! Where something stands: a stretch of one of the files that a pipeline is made of, in twelve bytes.
//!
//! Unaware of what the files say.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source};

/// Bytes of one of the [`Sources`] of a pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    source: u16,
    start: u32,
    end: u32,
}

impl Extent {
    /// Bytes of the first source.
    #[must_use]
    pub fn of(bytes: Range<usize>) -> Self {
        Self { source: 0, start: bytes.start as u32, end: bytes.end as u32 }
    }

    /// The same bytes of another source.
    #[must_use]
    pub fn in_source(self, source: usize) -> Self {
        Self { source: source as u16, ..self }
    }

    /// The very start of the file.
    #[must_use]
    pub fn top(self) -> Self {
        Self { start: 0, end: 0, ..self }
    }

    /// True when it is all in the other one.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.source == other.source && self.start >= other.start && self.end <= other.end
    }

    /// True when any of `sorted`, which do not overlap each other in part, is all in this one.
    #[must_use]
    pub fn holds_any(self, sorted: &[Self]) -> bool {
        let first =
            sorted.partition_point(|one| (one.source, one.start) < (self.source, self.start));
        sorted.get(first).is_some_and(|one| one.is_within(self))
    }

    /// The bytes, in whichever source it is.
    #[must_use]
    pub fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The files that a pipeline is made of: the one that was asked for, then those that it extends.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Arc<Source>>);

impl Sources {
    /// Adds a file and answers its position.
    pub(super) fn push(&mut self, source: Arc<Source>) -> usize {
        self.0.push(source);
        self.0.len() - 1
    }

    /// The files.
    #[must_use]
    pub fn all(&self) -> &[Arc<Source>] {
        &self.0
    }

    /// The place of an extent.
    #[must_use]
    pub fn place(&self, extent: Extent) -> Place {
        Place { source: Arc::clone(&self.0[usize::from(extent.source)]), span: extent.bytes() }
    }

    /// What is written there.
    #[must_use]
    pub fn written(&self, extent: Extent) -> &str {
        self.0
            .get(usize::from(extent.source))
            .and_then(|source| source.text.get(extent.bytes()))
            .unwrap_or_default()
    }

    /// The extent of a part of `text`, which stands at `whole`. Where the file spells the text differently, as in a
    /// block or with escapes, that is the whole.
    #[must_use]
    pub fn within(&self, whole: Extent, text: &str, part: &Range<usize>) -> Extent {
        let offset = self.written(whole).find(text).filter(|_| !text.is_empty());
        match offset {
            Some(offset) if part.start < part.end && part.end <= text.len() => {
                // An expression's error may point at the first byte of a character only.
                let part = text.floor_char_boundary(part.start)..text.ceil_char_boundary(part.end);
                let start = whole.start + (offset + part.start) as u32;
                Extent { start, end: start + part.len() as u32, ..whole }
            }
            _ => whole,
        }
    }

    /// All that was found in the order of the files and of the places in them, each thing once; what is in other files
    /// comes after that, and last what has no place.
    #[must_use]
    pub fn in_order(&self, mut found: Vec<Diagnostic>) -> Diagnostics {
        let position = |place: &Place| {
            let source = self.0.iter().position(|source| Arc::ptr_eq(source, &place.source));
            let other = source.is_none().then(|| place.source.name.clone());
            (source.unwrap_or(self.0.len()), other, place.span.start, place.span.end)
        };
        found.sort_by_cached_key(|one| match one.places.first() {
            Some((place, _)) => position(place),
            None => (usize::MAX, None, 0, 0),
        });
        found.dedup_by(|one, before| {
            one.message == before.message
                && one.places.first().map(|(place, _)| position(place))
                    == before.places.first().map(|(place, _)| position(place))
        });
        Diagnostics(found)
    }
}

impl From<Arc<Source>> for Sources {
    fn from(source: Arc<Source>) -> Self {
        Self(vec![source])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_held_is_found_among_many() {
        let sorted = [2..4, 10..12, 10..12, 20..30].map(Extent::of);
        for (place, held) in
            [(0..5, true), (3..9, false), (4..12, true), (21..30, false), (30..40, false)]
        {
            assert_eq!(Extent::of(place.clone()).holds_any(&sorted), held, "{place:?}");
        }
        assert!(!Extent::of(0..50).in_source(1).holds_any(&sorted));
    }

    #[test]
    fn a_part_of_a_character_is_the_whole_character() {
        let sources = Sources::from(Source::new(Path::new("p.yaml"), "a: hostҗb".to_owned()));
        let part = sources.within(Extent::of(3..10), "hostҗb", &(4..5));
        assert_eq!(part, Extent::of(7..9));
    }

    #[test]
    fn a_part_of_a_text_is_found_where_the_file_spells_it_so_and_else_the_whole() {
        let file = r#"a: "x {{ y }}" b: "x\u0020{{ y }}""#;
        let sources = Sources::from(Source::new(Path::new("p.yaml"), file.to_owned()));
        let same = sources.within(Extent::of(3..14), "x {{ y }}", &(5..6));
        assert_eq!(sources.written(same), "y");
        let whole = Extent::of(18..34);
        assert_eq!(sources.within(whole, "x {{ y }}", &(5..6)), whole);
    }
}

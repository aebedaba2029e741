//! The one renderer of diagnostics (miette): file, line, caret, help.
//!
//! Whatever it draws may have come from elsewhere, so all of it goes through [`shown`].

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use miette::{
    Diagnostic as Miette, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, Severity as MietteSeverity, SourceCode, SourceSpan, SpanContents,
};

use super::excerpt::excerpt;
use super::{Diagnostic, Place, Severity, Source};
use crate::shown;

/// How diagnostics are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub color: bool,
    /// Line drawing beyond ASCII.
    pub unicode: bool,
    /// Columns of the terminal.
    pub width: usize,
}

/// All diagnostics as text that ends with a newline.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let theme = match (style.color, style.unicode) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => {
            GraphicalTheme { styles: miette::ThemeStyles::ansi(), ..GraphicalTheme::ascii() }
        }
        (false, true) => GraphicalTheme::unicode_nocolor(),
        (false, false) => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(style.width)
        .with_links(false)
        .without_syntax_highlighting()
        .with_context_lines(1);
    let files = Files::of(diagnostics, &[]);
    let mut excerpts = Vec::new();
    let fitted: Vec<Diagnostic> =
        diagnostics.iter().map(|diagnostic| files.fit(diagnostic, &mut excerpts)).collect();
    if excerpts.is_empty() {
        draw(diagnostics, &files, &handler)
    } else {
        draw(&fitted, &Files::of(&fitted, &excerpts), &handler)
    }
}

fn draw(diagnostics: &[Diagnostic], files: &Files, handler: &GraphicalReportHandler) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let shown = Shown::new(diagnostic, files);
        let drawn = handler.render_report(&mut text, &shown).and_then(|()| {
            let mut others = shown.elsewhere(files).into_iter();
            others.try_for_each(|other| handler.render_report(&mut text, &other))
        });
        if drawn.is_err() {
            text.push_str(&shown::in_line(&diagnostic.to_string()));
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// A diagnostic in the form that miette draws, which knows one file.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<&'a Named<'a>>,
    cause: Option<Cause>,
}

/// The places of a diagnostic in another file than its first.
#[derive(Debug)]
struct Elsewhere<'a> {
    source: &'a Named<'a>,
    places: Vec<&'a (Place, String)>,
}

/// The files that are pointed into, each as it may be shown.
struct Files<'a>(Vec<Named<'a>>);

/// A file with its name, not copied unless something in it must not be seen.
#[derive(Debug, Clone)]
struct Named<'a> {
    source: &'a Source,
    name: Cow<'a, str>,
    text: Cow<'a, str>,
    /// Lines, and columns of the first one, that come before it in the file.
    before: (usize, usize),
}

/// A part of a file in place of it, with what comes before as in [`Named`].
type Part = (Arc<Source>, (usize, usize));

impl<'a> Files<'a> {
    fn of(diagnostics: &'a [Diagnostic], parts: &[Part]) -> Self {
        let mut files: Vec<Named<'a>> = Vec::new();
        let places = diagnostics.iter().flat_map(|diagnostic| &diagnostic.places);
        for source in places.map(|(place, _)| &*place.source) {
            if !files.iter().any(|known| std::ptr::eq(known.source, source)) {
                let (name, text) = (shown::in_line(&source.name), shown::as_written(&source.text));
                let part = parts.iter().find(|(part, _)| std::ptr::eq(Arc::as_ptr(part), source));
                let before = part.map_or((0, 0), |(_, before)| *before);
                files.push(Named { source, name, text, before });
            }
        }
        Self(files)
    }

    /// The same diagnostic with each place that stands among lines too long to be drawn in a part of its own.
    fn fit(&self, diagnostic: &Diagnostic, parts: &mut Vec<Part>) -> Diagnostic {
        let mut fitted = diagnostic.clone();
        for (place, _) in &mut fitted.places {
            let Some(named) = self.named(&place.source) else { continue };
            let Some(cut) = excerpt(&named.text, &place.span) else { continue };
            let source = Source::new(Path::new(&place.source.name), cut.text);
            parts.push((Arc::clone(&source), (cut.lines_before, cut.columns_before)));
            *place = Place { source, span: cut.span };
        }
        fitted
    }

    fn named(&self, source: &Arc<Source>) -> Option<&Named<'a>> {
        self.0.iter().find(|known| std::ptr::eq(known.source, Arc::as_ptr(source)))
    }
}

/// A chain of causes rebuilt from their texts.
#[derive(Debug)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl SourceCode for Named<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = SourceCode::read_span(&*self.text, span, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone().into_owned(),
            read.data(),
            *read.span(),
            read.line() + self.before.0,
            read.column() + if read.line() == 0 { self.before.1 } else { 0 },
            read.line_count(),
        )))
    }
}

impl<'a> Shown<'a> {
    fn new(diagnostic: &'a Diagnostic, files: &'a Files<'a>) -> Self {
        let source = diagnostic.places.first().and_then(|(place, _)| files.named(&place.source));
        let cause = diagnostic.causes.iter().rev().fold(None, |next, text| {
            Some(Cause { text: shown::in_line(text).into_owned(), next: next.map(Box::new) })
        });
        Self { diagnostic, source, cause }
    }

    /// The places in each other file.
    fn elsewhere(&self, files: &'a Files<'a>) -> Vec<Elsewhere<'a>> {
        let mut others: Vec<Elsewhere<'a>> = Vec::new();
        for place in self.diagnostic.places.iter().filter(|(place, _)| !self.is_here(place)) {
            let Some(source) = files.named(&place.0.source) else { continue };
            match others.iter_mut().find(|other| std::ptr::eq(other.source, source)) {
                Some(other) => other.places.push(place),
                None => others.push(Elsewhere { source, places: vec![place] }),
            }
        }
        others
    }

    fn is_here(&self, place: &Place) -> bool {
        self.source.is_some_and(|here| std::ptr::eq(here.source, Arc::as_ptr(&place.source)))
    }
}

fn labels<'a>(
    places: impl Iterator<Item = &'a (Place, String)> + 'a,
) -> Box<dyn Iterator<Item = LabeledSpan> + 'a> {
    Box::new(places.map(|(place, label)| {
        let label = (!label.is_empty()).then(|| shown::in_line(label).into_owned());
        LabeledSpan::new_with_span(label, SourceSpan::from(place.span.clone()))
    }))
}

impl fmt::Display for Elsewhere<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "and in {}", self.source.name)
    }
}

impl std::error::Error for Elsewhere<'_> {}

impl Miette for Elsewhere<'_> {
    fn severity(&self) -> Option<MietteSeverity> {
        Some(MietteSeverity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(labels(self.places.iter().copied()))
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown::in_line(&self.diagnostic.message))
    }
}

impl std::error::Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|cause| cause as _)
    }
}

impl Miette for Shown<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<MietteSeverity> {
        Some(match self.diagnostic.severity {
            Severity::Warning => MietteSeverity::Warning,
            Severity::Error => MietteSeverity::Error,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(shown::in_line(help)) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(labels(self.diagnostic.places.iter().filter(|(place, _)| self.is_here(place))))
    }
}

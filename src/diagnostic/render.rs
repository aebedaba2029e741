//! The one renderer of diagnostics (miette): file, line, caret, help.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use miette::{
    Diagnostic as Miette, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, Severity as MietteSeverity, SourceCode, SourceSpan, SpanContents,
};

use super::{Diagnostic, Place, Severity, Source};

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
    let mut text = String::new();
    for diagnostic in diagnostics {
        let shown = Shown::new(diagnostic);
        let drawn = handler.render_report(&mut text, &shown).and_then(|()| {
            let mut others = shown.elsewhere().into_iter();
            others.try_for_each(|other| handler.render_report(&mut text, &other))
        });
        if drawn.is_err() {
            let _ = write!(text, "{diagnostic}");
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
    source: Option<Named<'a>>,
    cause: Option<Cause>,
}

/// The places of a diagnostic in another file than its first.
#[derive(Debug)]
struct Elsewhere<'a> {
    source: Named<'a>,
    places: Vec<&'a (Place, String)>,
}

/// A file with its name, not copied.
#[derive(Debug, Clone, Copy)]
struct Named<'a>(&'a Source);

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
        let text = self.0.text.as_str();
        let read = SourceCode::read_span(text, span, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.name.clone(),
            read.data(),
            *read.span(),
            read.line(),
            read.column(),
            read.line_count(),
        )))
    }
}

impl<'a> Shown<'a> {
    fn new(diagnostic: &'a Diagnostic) -> Self {
        let source = diagnostic.places.first().map(|(place, _)| Named(&place.source));
        let cause =
            diagnostic.causes.iter().rev().fold(None, |next, text| {
                Some(Cause { text: text.clone(), next: next.map(Box::new) })
            });
        Self { diagnostic, source, cause }
    }

    /// The places in each other file.
    fn elsewhere(&self) -> Vec<Elsewhere<'a>> {
        let mut others: Vec<Elsewhere<'a>> = Vec::new();
        for place in self.diagnostic.places.iter().filter(|(place, _)| !self.is_here(place)) {
            match others
                .iter_mut()
                .find(|other| std::ptr::eq(other.source.0, Arc::as_ptr(&place.0.source)))
            {
                Some(other) => other.places.push(place),
                None => {
                    others.push(Elsewhere { source: Named(&place.0.source), places: vec![place] });
                }
            }
        }
        others
    }

    fn is_here(&self, place: &Place) -> bool {
        self.source.is_some_and(|source| std::ptr::eq(source.0, Arc::as_ptr(&place.source)))
    }
}

fn labels<'a>(
    places: impl Iterator<Item = &'a (Place, String)> + 'a,
) -> Box<dyn Iterator<Item = LabeledSpan> + 'a> {
    Box::new(places.map(|(place, label)| {
        let label = (!label.is_empty()).then(|| label.clone());
        LabeledSpan::new_with_span(label, SourceSpan::from(place.span.clone()))
    }))
}

impl fmt::Display for Elsewhere<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "and in {}", self.source.0.name)
    }
}

impl std::error::Error for Elsewhere<'_> {}

impl Miette for Elsewhere<'_> {
    fn severity(&self) -> Option<MietteSeverity> {
        Some(MietteSeverity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(labels(self.places.iter().copied()))
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
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
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(labels(self.diagnostic.places.iter().filter(|(place, _)| self.is_here(place))))
    }
}

//! What must hold for everything that is told to be wrong.

use trueup::diagnostic::{Diagnostic, Style, render};

/// More than that many are not drawn: each is drawn with its lines.
const DRAWN: usize = 50;

/// Every diagnostic says something, points at whole characters of its source, and can be drawn.
pub fn examine(found: &[Diagnostic]) {
    assert!(!found.is_empty(), "refused without a reason");
    for one in found {
        assert!(!one.message.is_empty() && !one.code.is_empty(), "{one:?}");
        for (place, _) in &one.places {
            let (text, span) = (&place.source.text, &place.span);
            assert!(
                text.get(span.start..span.end).is_some(),
                "{}..{} of {} bytes: {one}",
                span.start,
                span.end,
                text.len()
            );
        }
        assert!(!one.to_string().is_empty());
    }
    for (color, width) in [(false, 80), (true, 40)] {
        let drawn =
            render(&found[..found.len().min(DRAWN)], Style { color, unicode: color, width });
        assert!(drawn.ends_with('\n') && drawn.contains(found[0].code), "{drawn}");
    }
}

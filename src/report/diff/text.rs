//! What differs between two runs, for a person.

use std::fmt::Write as _;

use serde_json::Value;

use super::{DecisionDiffers, Difference, Judgement, MeasurementDiffers};
use crate::report::text::{figure, wrap};
use crate::shown;

/// Most fields of a decision, and most phases by their seconds, that are shown.
const MOST: usize = 8;

/// The least share and the least seconds by which the time of a phase must differ to be shown.
const SHARE: f64 = 0.1;
const LEAST: f64 = 0.1;

/// What differs, as text of at most `width` columns where words allow it.
#[must_use]
pub fn text(difference: &Difference, width: usize) -> String {
    let mut page = Page { text: String::new(), width };
    head(difference, &mut page);
    for name in &difference.removed {
        page.said(&format!("only before: {name}"));
    }
    for name in &difference.added {
        page.said(&format!("only after: {name}"));
    }
    page.title("outcomes", difference.outcomes.is_empty());
    for one in &difference.outcomes {
        let why = one.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        page.said(&format!("{}: {} -> {}{why}", one.phase, one.from, one.to));
    }
    page.title("decisions", difference.decisions.is_empty());
    for one in &difference.decisions {
        decision(one, &mut page);
    }
    measurements(&difference.measurements, &mut page);
    seconds(difference, &mut page);
    page.text
}

struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// A blank line and the title of a part; a part without content says so.
    fn title(&mut self, title: &str, empty: bool) {
        let none = if empty { ": no difference" } else { "" };
        let _ = writeln!(self.text, "\n{title}{none}");
    }

    fn said(&mut self, said: &str) {
        self.indented(2, said);
    }

    fn indented(&mut self, indent: usize, said: &str) {
        let lines = wrap(said, self.width.saturating_sub(indent + 2).max(20));
        for (at, line) in lines.iter().enumerate() {
            let indent = indent + if at == 0 { 0 } else { 2 };
            let _ = writeln!(self.text, "{:indent$}{line}", "");
        }
    }
}

fn head(difference: &Difference, page: &mut Page) {
    for (word, run) in [("before", &difference.before), ("after", &difference.after)] {
        let _ = writeln!(
            page.text,
            "{word:<6}  {}  {:<15} {:>7.1} s  {}",
            run.run,
            run.status,
            run.seconds,
            shown::in_line(&run.pipeline)
        );
    }
    if difference.before.digest != difference.after.digest {
        page.said("the file of the pipeline is not the same");
    }
}

fn decision(one: &DecisionDiffers, page: &mut Page) {
    match (&one.from, &one.to) {
        (Some(from), Some(to)) if from != to => {
            page.said(&format!("{}: {from}", one.phase));
            page.indented(4, &format!("-> {to}"));
        }
        _ => page.said(&format!("{}:", one.phase)),
    }
    // What is on top is what was concluded; what is within tells how, and is in the JSON.
    let (top, within): (Vec<_>, Vec<_>) =
        one.fields.iter().partition(|field| !field.path.contains(['.', '[']));
    for field in top.iter().take(MOST) {
        page.indented(
            4,
            &format!("{}: {} -> {}", field.path, value(&field.from), value(&field.to)),
        );
    }
    let rest = top.len().saturating_sub(MOST) + within.len();
    if rest > 0 {
        let differ = if rest == 1 { "field differs" } else { "fields differ" };
        page.indented(4, &format!("{rest} more {differ} (--json)"));
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(|| number.to_string(), figure)
        }
        other => other.to_string(),
    }
}

fn measurements(all: &[MeasurementDiffers], page: &mut Page) {
    let beyond: Vec<&MeasurementDiffers> = all
        .iter()
        .filter(|one| matches!(one.judgement, Judgement::BeyondNoise { .. } | Judgement::OtherUnit))
        .collect();
    let of =
        |wanted: fn(&Judgement) -> bool| all.iter().filter(|one| wanted(&one.judgement)).count();
    let within = of(|judgement| matches!(judgement, Judgement::WithinNoise { .. }));
    let single = of(|judgement| matches!(judgement, Judgement::TooFewSamples));
    if all.is_empty() {
        page.text.push_str("\nmeasurements: none that both runs have made\n");
        return;
    }
    page.text.push_str("\nmeasurements\n");
    for one in &beyond {
        let (from, to) = (figure(one.from), figure(one.to));
        let told = match one.judgement {
            Judgement::BeyondNoise { low, high } => {
                format!("beyond noise: {:+.1}% to {:+.1}%", low * 100.0, high * 100.0)
            }
            _ => "not comparable: the unit has changed".to_owned(),
        };
        page.said(&format!("{} {}: {from} -> {to} {} ({told})", one.phase, one.name, one.unit));
    }
    if within > 0 {
        page.said(&format!("{within} within noise"));
    }
    if single > 0 {
        page.said(&format!("{single} with a single sample, of which the noise is not known"));
    }
    if beyond.iter().any(|one| matches!(one.judgement, Judgement::BeyondNoise { .. })) || within > 0
    {
        page.said(
            "intervals hold with 95% for all of them together, as far as the noise is that within a run",
        );
    }
}

fn seconds(difference: &Difference, page: &mut Page) {
    let mut much: Vec<_> = difference
        .seconds
        .iter()
        .filter(|one| {
            let by = (one.to - one.from).abs();
            by >= LEAST && by >= SHARE * one.from.min(one.to)
        })
        .collect();
    much.sort_by(|a, b| (b.to - b.from).abs().total_cmp(&(a.to - a.from).abs()));
    page.title("seconds", much.is_empty());
    for one in much.iter().take(MOST) {
        page.said(&format!("{}: {:.1} -> {:.1}", one.phase, one.from, one.to));
    }
    if much.len() > MOST {
        page.said(&format!("{} more phases differ by a tenth or more", much.len() - MOST));
    }
}

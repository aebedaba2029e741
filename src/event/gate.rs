//! What the gate of a phase found: the pairs measured, what they show, and the same in words.
//!
//! Live lines, summary and reasons share these words. How a gate measures is not known here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DecisionSource;
use crate::measure::model::{Comparison, Verdict};
use crate::unit::{Percent, Span};

/// What the gate of a phase found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateReport {
    /// What was measured: `service_throughput`, `p99`, or a command.
    pub objective: String,
    /// The unit of what was measured; empty for a command, which does not tell.
    pub unit: String,
    /// True when less of it is better. A gain is then the former value over the new one.
    pub minimize: bool,
    /// The least gain that was asked for.
    pub min_gain: Percent,
    /// How sure the verdict must be.
    pub confidence: Percent,
    /// How sure each look at the pairs must be, so that all looks together are as sure as that.
    pub look_confidence: Percent,
    /// The longest time that could be spent.
    pub budget: Span,
    /// What was measured in the former state, pair by pair.
    pub former: Vec<f64>,
    /// What was measured with the changes, pair by pair.
    pub new: Vec<f64>,
    /// After how many pairs they were looked at.
    pub looks: Vec<usize>,
    /// What the pairs show; a ratio above 1 is a gain, whichever way is better.
    pub comparison: Comparison,
    /// Why no more pairs were measured.
    pub ended: GateEnd,
    /// How long it took.
    pub seconds: f64,
    /// Measured in this run, or remembered.
    pub source: DecisionSource,
}

/// Why a gate measured no more pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateEnd {
    /// The verdict was clear.
    Clear,
    /// Its time was over.
    Budget,
    /// It had measured as many pairs as a gate measures.
    Pairs,
}

impl GateReport {
    /// The gain with its interval: `+3.1% (+2.4% to +3.9%)`.
    #[must_use]
    pub fn gain(&self) -> String {
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        let Comparison { ratio, low, high, .. } = self.comparison;
        let gain = format!("{:+.1}%", percent(ratio));
        if low > 0.0 && high < f64::MAX {
            format!("{gain} ({:+.1}% to {:+.1}%)", percent(low), percent(high))
        } else {
            gain
        }
    }

    /// What was found, in one sentence.
    #[must_use]
    pub fn told(&self) -> String {
        let Comparison { pairs, noise_floor, verdict, .. } = self.comparison;
        if self.is_too_few() {
            let made =
                if pairs == 1 { "1 pair is".to_owned() } else { format!("{pairs} pairs are") };
            let takes = self.needed().map(|least| format!(", which takes {least}"));
            return format!(
                "{}: inconclusive, {}{made} too few for an interval{}",
                self.objective,
                self.spent(),
                takes.unwrap_or_default()
            );
        }
        let found = match verdict {
            Verdict::Helps => "it helps".to_owned(),
            Verdict::Harms => "it harms".to_owned(),
            Verdict::Inconclusive => self.short_of(),
        };
        let floor = noise_floor * 100.0;
        format!(
            "{} {}, noise floor {floor:.1}%, {pairs} pairs: {found}",
            self.objective,
            self.gain()
        )
    }

    /// Why the changes were taken back or not even made, in one sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        let may_help = self.ended == GateEnd::Budget && self.needed().is_some();
        let remedy = if may_help { "; raise the budget of the gate" } else { "" };
        let (end, from) = match &self.source {
            DecisionSource::Run { .. } => ("are back", String::new()),
            DecisionSource::Cache { measured_by, .. } => {
                ("stay", format!(" (from the cache, measured by run {measured_by})"))
            }
        };
        format!("{}; the former values {end}{remedy}{from}", self.told())
    }

    /// True when the pairs are too few for an interval.
    fn is_too_few(&self) -> bool {
        self.comparison.high >= f64::MAX
    }

    /// The pairs that an inconclusive comparison would take, where more of them would do.
    fn needed(&self) -> Option<usize> {
        let Comparison { verdict, pairs_needed, .. } = self.comparison;
        let open =
            verdict == Verdict::Inconclusive && !self.comparison.is_surely_below(self.min_gain);
        pairs_needed.filter(|_| open)
    }

    /// That the time is over, where that ended it.
    fn spent(&self) -> String {
        match self.ended {
            GateEnd::Budget => {
                format!("the budget of {} is spent: ", humantime::format_duration(self.budget.0))
            }
            GateEnd::Pairs => "a gate measures no more pairs: ".to_owned(),
            GateEnd::Clear => String::new(),
        }
    }

    /// What an inconclusive comparison lacks.
    fn short_of(&self) -> String {
        let (least, sure) = (self.min_gain, self.confidence);
        if self.comparison.is_surely_below(least) {
            return format!("it gains less than the {least} asked for ({sure} sure)");
        }
        // How many would do is worked out from these pairs, and is no surer than they are.
        let outlook = match self.needed() {
            Some(pairs) => {
                format!("about {pairs} pairs would be needed if gain and noise stay as measured")
            }
            None if self.comparison.ratio <= 1.0 + least.0 / 100.0 => {
                "what was measured is not above that, so more pairs are not expected to show it"
                    .to_owned()
            }
            None => "not even thousands of pairs would show the gain as it was measured".to_owned(),
        };
        format!("inconclusive, {}not shown to gain more than {least}; {outlook}", self.spent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report(ratio: (f64, f64, f64), verdict: Verdict, pairs_needed: Option<usize>) -> GateReport {
        let comparison = Comparison {
            ratio: ratio.1,
            low: ratio.0,
            high: ratio.2,
            noise_floor: 0.006,
            verdict,
            pairs: 12,
            pairs_needed,
        };
        GateReport {
            objective: "service_throughput".to_owned(),
            unit: "1/s".to_owned(),
            minimize: false,
            min_gain: Percent(1.0),
            confidence: Percent(95.0),
            look_confidence: Percent(99.0),
            budget: Span(Duration::from_mins(1)),
            former: Vec::new(),
            new: Vec::new(),
            looks: vec![6, 12],
            comparison,
            ended: GateEnd::Budget,
            seconds: 58.0,
            source: DecisionSource::Run { key: None, miss: None },
        }
    }

    #[test]
    fn each_verdict_is_told_with_gain_interval_noise_and_pairs() {
        let helps = report((1.024, 1.031, 1.039), Verdict::Helps, Some(8));
        assert_eq!(
            helps.told(),
            "service_throughput +3.1% (+2.4% to +3.9%), noise floor 0.6%, 12 pairs: it helps"
        );
        let harms = report((0.93, 0.948, 0.969), Verdict::Harms, None);
        assert_eq!(
            harms.reason(),
            "service_throughput -5.2% (-7.0% to -3.1%), noise floor 0.6%, 12 pairs: it harms; \
             the former values are back"
        );
        let unclear = report((0.991, 1.014, 1.037), Verdict::Inconclusive, Some(180));
        assert_eq!(
            unclear.reason(),
            "service_throughput +1.4% (-0.9% to +3.7%), noise floor 0.6%, 12 pairs: inconclusive, \
             the budget of 1m is spent: not shown to gain more than 1%; about 180 pairs would be \
             needed if gain and noise stay as measured; the former values are back; raise the \
             budget of the gate"
        );
        let below = report((0.991, 1.004, 1.017), Verdict::Inconclusive, None);
        let told = below.reason();
        assert!(told.contains("more pairs are not expected to show it"), "{told}");
        let hopeless = report((0.991, 1.011, 1.037), Verdict::Inconclusive, None);
        let told = hopeless.reason();
        assert!(
            told.contains("not even thousands of pairs would show the gain as it was"),
            "{told}"
        );
        assert!(!told.contains("raise the budget"), "{told}");
        let small = report((0.998, 1.0, 1.002), Verdict::Inconclusive, None);
        let told = small.told();
        assert!(told.ends_with("it gains less than the 1% asked for (95% sure)"), "{told}");
    }

    #[test]
    fn pairs_too_few_for_an_interval_are_told_with_the_remedy() {
        let mut few = report((0.0, 1.2, f64::MAX), Verdict::Inconclusive, Some(5));
        few.comparison.pairs = 3;
        assert_eq!(
            few.reason(),
            "service_throughput: inconclusive, the budget of 1m is spent: 3 pairs are too few for \
             an interval, which takes 5; the former values are back; raise the budget of the gate"
        );
    }

    #[test]
    fn a_remembered_verdict_names_the_run_that_measured_it() {
        let mut known = report((0.93, 0.948, 0.969), Verdict::Harms, None);
        let measured_by = "20261123T221530Z-7c41f2b9".to_owned();
        known.source =
            DecisionSource::Cache { key: "k".to_owned(), age_seconds: Some(7.0), measured_by };
        let told = known.reason();
        assert!(told.ends_with("measured by run 20261123T221530Z-7c41f2b9)"), "{told}");
    }
}

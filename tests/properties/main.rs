//! What must always hold of a run, whatever the graph, the ends of its phases and the moment of a stop.
//!
//! Runs the whole engine over phases of a made-up kind, by a clock that only they move. What is asserted is read from
//! the record of the run alone.

#![expect(clippy::unwrap_used, reason = "what can't be is a failed test")]

mod fake;
mod graph;
mod witness;

use proptest::prelude::*;

use fake::{Stop, run};
use graph::{Drawn, drawn};
use witness::Witness;

/// Most graphs of one property.
const GRAPHS: u32 = 1500;

fn config() -> ProptestConfig {
    ProptestConfig { cases: GRAPHS, failure_persistence: None, ..ProptestConfig::default() }
}

/// What the outcomes must be when nobody stops the run.
fn expected(drawn: &[Drawn]) -> Vec<&'static str> {
    let mut ends: Vec<&'static str> = Vec::new();
    for (index, phase) in drawn.iter().enumerate() {
        let bad = |end: &str| !witness::GOOD.contains(&end);
        let blocked = !phase.always && phase.needs(index).any(|need| bad(ends[need]));
        ends.push(if blocked { "BLOCKED" } else { phase.end.word() });
    }
    ends
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_phase_ends_once_after_what_it_needs_and_as_it_must(drawn in drawn(), jobs in 1..5_usize) {
        let record = run(&drawn, jobs, Stop::Never);
        let witness = Witness::of(&drawn, &record.events);
        witness.order(jobs)?;
        prop_assert_eq!(witness.outcomes(), expected(&drawn));
        prop_assert!(record.alive.is_empty(), "still at work: {:?}", record.alive);
    }

    #[test]
    fn a_stop_at_any_event_ends_the_run_and_leaves_nobody_at_work(
        drawn in drawn(),
        jobs in 1..5_usize,
        at in 0..60_usize,
        abandon in any::<bool>(),
    ) {
        let record = run(&drawn, jobs, Stop::At { event: at, abandon });
        let witness = Witness::of(&drawn, &record.events);
        witness.order(jobs)?;
        witness.all_ended_once()?;
        prop_assert!(record.alive.is_empty(), "still at work: {:?}", record.alive);
        if record.stopped {
            witness.nothing_starts_after_the_stop_but_what_always_runs()?;
        } else {
            prop_assert_eq!(witness.outcomes(), expected(&drawn));
        }
    }

    #[test]
    fn the_record_alone_gives_the_report(drawn in drawn(), jobs in 1..5_usize, at in 0..60_usize) {
        let stop = if at % 2 == 0 { Stop::Never } else { Stop::At { event: at, abandon: false } };
        let record = run(&drawn, jobs, stop);
        prop_assert_eq!(record.folded_again(), record.report);
    }
}

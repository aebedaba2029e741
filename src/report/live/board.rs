//! What is drawn of a run that goes on, as lines of text; the same whether or not there is a terminal to draw them on.

use indexmap::IndexMap;

use super::estimate::Estimate;
use super::line::age;
use crate::event::{Event, PhaseName, Progress, ProgressBoard, Stage};
use crate::shown;

/// Most running phases that each get a line.
const MOST: usize = 8;

/// Width of a bar, and of the name before it.
const BAR: usize = 16;
const NAME: usize = 18;

/// Most columns of a name.
const LONGEST: usize = 30;

/// Below this many seconds an estimate says nothing.
const SOON: f64 = 1.0;

/// What is known of a run that goes on.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) estimate: Estimate,
    phases: usize,
    ended: usize,
    running: IndexMap<PhaseName, Running>,
}

#[derive(Debug)]
struct Running {
    /// The second of the run at which it was first started.
    since: f64,
    stage: Option<Stage>,
}

impl Board {
    /// Takes note of what happened `elapsed` seconds after the run began.
    pub(super) fn take(&mut self, event: &Event, elapsed: f64) {
        self.estimate.take(event, elapsed);
        match event {
            Event::RunStarted { phases, .. } => self.phases = phases.len(),
            Event::PhaseStarted { phase, .. } => {
                let start = || Running { since: elapsed, stage: None };
                self.running.entry(phase.clone()).or_insert_with(start);
            }
            Event::StageStarted { phase, stage } => {
                if let Some(running) = self.running.get_mut(phase) {
                    running.stage = Some(*stage);
                }
            }
            Event::PhaseEnded { phase, .. } => {
                self.ended += 1;
                self.running.shift_remove(phase);
            }
            _ => {}
        }
    }

    /// The lines as they are `elapsed` seconds after the run began: the phases that run longest, and the run as a whole.
    pub(super) fn lines(&self, elapsed: f64, progress: &ProgressBoard) -> Vec<String> {
        let shown = self.running.keys().take(MOST).map(|name| short(name.as_str()).len());
        let width = shown.max().unwrap_or(0).max(NAME);
        let mut lines: Vec<String> = self
            .running
            .iter()
            .take(MOST)
            .map(|(name, running)| {
                let line = self.of_phase(name, running, elapsed, progress.of(name));
                format!("{:<width$} {line}", short(name.as_str()))
            })
            .collect();
        if self.running.len() > MOST {
            lines.push(format!("and {} more", self.running.len() - MOST));
        }
        lines.push(format!("{:<width$} {}", "all", self.of_run(elapsed)));
        lines
    }

    fn of_phase(
        &self,
        name: &PhaseName,
        running: &Running,
        elapsed: f64,
        progress: Option<Progress>,
    ) -> String {
        let so_far = (elapsed - running.since).max(0.0);
        let all = self.estimate.of(name).filter(|all| *all > so_far && *all >= SOON);
        let time = match all {
            Some(all) => format!("{} of about {}", age(so_far), age(all)),
            None => age(so_far),
        };
        let stage = running.stage.map_or("", Stage::word);
        let (share, note) = match progress {
            Some(Progress { done, total, note }) if total > 0 => (
                Some(done as f64 / total as f64),
                format!("{done}/{total} {}", shown::in_line(&note)),
            ),
            _ => (all.map(|all| so_far / all), stage.to_owned()),
        };
        format!("[{}] {time}  {note}", bar(share.unwrap_or(0.0)))
    }

    fn of_run(&self, elapsed: f64) -> String {
        let share = if self.phases == 0 { 0.0 } else { self.ended as f64 / self.phases as f64 };
        let left = self.estimate.left(elapsed).filter(|left| left.seconds >= SOON);
        let left = left.map_or(String::new(), |left| {
            let about = if left.whole { "about" } else { "at least" };
            format!(", {about} {} left", age(left.seconds))
        });
        let (ended, phases, bar) = (self.ended, self.phases, bar(share));
        format!("[{bar}] {ended} of {phases} phases, {}{left}", age(elapsed))
    }
}

/// A name that leaves room for the rest.
fn short(name: &str) -> String {
    if name.len() <= LONGEST { name.to_owned() } else { format!("{}..", &name[..LONGEST - 2]) }
}

fn bar(share: f64) -> String {
    let done = (share.clamp(0.0, 1.0) * BAR as f64) as usize;
    let head = if done > 0 && done < BAR { ">" } else { "" };
    let line = "=".repeat(done - head.len());
    format!("{line}{head}{:1$}", "", BAR - done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Outcome, PhaseSummary};
    use crate::report::file::durations::Took;
    use indexmap::IndexMap;

    fn name(at: usize) -> PhaseName {
        format!("phase_{at}").parse().unwrap()
    }

    /// A board of so many phases, each of which took 24 s the last time, of which so many run since the first second.
    fn board(phases: usize, running: usize) -> Board {
        let all: Vec<PhaseSummary> = (0..phases)
            .map(|at| PhaseSummary {
                name: name(at),
                uses: "command".to_owned(),
                needs: Vec::new(),
                optional: false,
            })
            .collect();
        let took = Took { last: 24.0, measured: None, cached: None };
        let took: IndexMap<String, Took> =
            all.iter().map(|phase| (phase.name.to_string(), took)).collect();
        let estimate = Estimate::new(&all, &took, 4);
        let mut board = Board { estimate, phases, ..Board::default() };
        for at in 0..running {
            board.take(&Event::PhaseStarted { phase: name(at), attempt: 1 }, 1.0);
        }
        board
    }

    fn end(board: &mut Board, at: usize) {
        let outputs = crate::event::Data::default();
        let (phase, outcome) = (name(at), Outcome::Success);
        board.take(
            &Event::PhaseEnded {
                phase,
                outcome,
                reason: None,
                seconds: 1.0,
                stages: crate::event::StageSeconds::default(),
                told: None,
                outputs,
            },
            2.0,
        );
    }

    #[test]
    fn a_phase_shows_its_progress_or_its_stage_and_how_long_it_may_take() {
        let mut board = board(4, 3);
        let progress = ProgressBoard::default();
        progress.post(&name(0), Progress { done: 12, total: 16, note: "trial 12".to_owned() });
        board.take(&Event::StageStarted { phase: name(1), stage: Stage::Decide }, 2.0);
        end(&mut board, 2);
        assert_eq!(
            board.lines(13.0, &progress),
            [
                "phase_0            [===========>    ] 12 s of about 24 s  12/16 trial 12",
                "phase_1            [=======>        ] 12 s of about 24 s  decide",
                "all                [===>            ] 1 of 4 phases, 13 s, about 24 s left",
            ]
        );
        let late = board.lines(61.0, &progress);
        assert_eq!(
            late[1], "phase_1            [                ] 1 min  decide",
            "no estimate any more"
        );
    }

    #[test]
    fn of_many_running_phases_the_first_have_a_line_and_the_rest_is_counted() {
        let mut board = board(10_000, 30);
        for at in 0..25 {
            assert_eq!(
                board.lines(9.0, &ProgressBoard::default()).len(),
                if at < 22 { 10 } else { 10 + 21 - at }
            );
            end(&mut board, at);
        }
        let lines = board.lines(9.0, &ProgressBoard::default());
        assert!(lines[0].starts_with("phase_25 "), "{lines:#?}");
        assert_eq!(lines.len(), 6);
    }
}

//! The state of a run in the words of `sd_notify(3)`, for the unit that it runs in.
//!
//! ```text
//! STATUS=db_pool: decide, 2 of 6 phases ended          at most once a second; the phase that has run longest
//! EXTEND_TIMEOUT_USEC=60000000                         every 20 s, while a phase may take so long
//! READY=1                                              the run has ended well
//! STOPPING=1                                           it was told to stop, or has failed
//! ```
//! What follows in the boot waits for `READY=1`. The manager's patience is stretched by at most [`EXTENSION`] at a time,
//! and never past the moment at which a phase must have ended by its own timeout: a run that hangs is ended by the
//! manager. Once it is ready it says no `STOPPING=1`, as that would end a unit with `RemainAfterExit=yes`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::clock::Clock;
use crate::event::{Event, EventSink, Outcome, OverallStatus, PhaseName, Record};
use crate::shown;
use crate::supervisor::Notifier;

/// How often something may be said.
const PACE: Duration = Duration::from_secs(1);

/// How often the manager's patience is stretched.
const RENEW: Duration = Duration::from_secs(20);

/// By how much at most.
const EXTENSION: Duration = Duration::from_mins(1);

/// What a phase that has run into its timeout gets to clean up.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// Longest status, in characters.
const LONGEST: usize = 200;

/// Tells the service manager.
#[derive(Debug)]
pub struct ServiceStatus {
    notifier: Notifier,
    clock: Clock,
    state: Arc<Mutex<State>>,
    ticker: Option<(Arc<std::sync::atomic::AtomicBool>, JoinHandle<()>)>,
}

impl ServiceStatus {
    /// Starts to tell `notifier`. `timeouts` are the longest times of an attempt of each phase.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        notifier: Notifier,
        clock: Clock,
        timeouts: BTreeMap<PhaseName, Duration>,
    ) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State { timeouts, ..State::default() }));
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ticker = std::thread::Builder::new().name("systemd".to_owned()).spawn({
            let (state, over) = (Arc::clone(&state), Arc::clone(&over));
            let (notifier, clock) = (notifier.clone(), clock.clone());
            move || {
                while !over.load(std::sync::atomic::Ordering::Acquire) {
                    let message = lock(&state).due(clock.instant());
                    if let Some(message) = message {
                        notifier.tell(&message);
                    }
                    std::thread::park_timeout(PACE);
                }
            }
        })?;
        Ok(Self { notifier, clock, state, ticker: Some((over, ticker)) })
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventSink for ServiceStatus {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        let message = lock(&self.state).take(&record.event, self.clock.instant());
        if let Some(message) = message {
            self.notifier.tell(&message);
        }
        Ok(())
    }
}

impl Drop for ServiceStatus {
    fn drop(&mut self) {
        if let Some((over, ticker)) = self.ticker.take() {
            over.store(true, std::sync::atomic::Ordering::Release);
            ticker.thread().unpark();
            let _ = ticker.join();
        }
    }
}

/// What there is to say.
#[derive(Debug, Default)]
struct State {
    timeouts: BTreeMap<PhaseName, Duration>,
    phases: usize,
    ended: usize,
    /// The phases that run, in the order in which they were started.
    running: IndexMap<PhaseName, Running>,
    /// Until when the run may be silent when no phase runs.
    patience: Option<Instant>,
    /// What there is to say that is not of a phase.
    status: Option<String>,
    /// Whether something has happened since the last status.
    news: bool,
    said: Option<Instant>,
    renewed: Option<Instant>,
    stopping: bool,
    over: bool,
}

/// A phase that runs.
#[derive(Debug)]
struct Running {
    /// When it must have ended.
    until: Instant,
    doing: &'static str,
}

impl State {
    /// Takes note of an event; answers what must be said at once.
    fn take(&mut self, event: &Event, now: Instant) -> Option<String> {
        self.patience = Some(now + EXTENSION);
        match event {
            Event::RunStarted { phases, pipeline, .. } => {
                self.phases = phases.len();
                self.status = Some(format!("{}: {} phases", pipeline.name, phases.len()));
                self.news = true;
            }
            Event::PhaseStarted { phase, .. } => {
                let timeout = self.timeouts.get(phase).copied().unwrap_or(EXTENSION);
                self.runs(phase, now + timeout + CLEAN_UP, "at work");
            }
            Event::StageStarted { phase, stage } => {
                if let Some(running) = self.running.get_mut(phase) {
                    running.doing = stage.word();
                    self.news = true;
                }
            }
            Event::PhaseRetried { phase, wait_seconds, .. } => {
                let wait = Duration::try_from_secs_f64(*wait_seconds).unwrap_or(EXTENSION);
                self.runs(phase, now + wait + CLEAN_UP, "tried again");
            }
            Event::PhaseEnded { phase, outcome, .. } => {
                self.running.shift_remove(phase);
                self.ended += 1;
                self.status = Some(format!("{phase}: {outcome}"));
                self.news = true;
                if *outcome == Outcome::Cancelled && !self.stopping {
                    self.stopping = true;
                    return Some("STOPPING=1\nSTATUS=taking back what was changed\n".to_owned());
                }
            }
            Event::RunEnded { status, seconds, .. } => {
                self.over = true;
                let good = matches!(status, OverallStatus::Success | OverallStatus::PartialSuccess);
                let word = if good { "READY=1" } else { "STOPPING=1" };
                return Some(format!(
                    "{word}\nSTATUS={status} in {seconds:.1} s, {}\n",
                    self.so_far()
                ));
            }
            _ => {}
        }
        None
    }

    fn runs(&mut self, phase: &PhaseName, until: Instant, doing: &'static str) {
        self.running.insert(phase.clone(), Running { until, doing });
        self.news = true;
    }

    /// The phase that has run longest, as it is what the run waits for; else what ended last.
    fn status(&self) -> Option<String> {
        let Some((phase, running)) = self.running.first() else {
            let status = self.status.as_ref()?;
            return Some(if self.ended == 0 {
                status.clone()
            } else {
                format!("{status}, {}", self.so_far())
            });
        };
        let others = match self.running.len() - 1 {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        Some(format!("{phase}: {}{others}, {}", running.doing, self.so_far()))
    }

    fn so_far(&self) -> String {
        format!("{} of {} phases ended", self.ended, self.phases)
    }

    /// What is due now.
    fn due(&mut self, now: Instant) -> Option<String> {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        if self.over || since(self.said).is_some_and(|ago| ago < PACE) {
            return None;
        }
        let mut message = String::new();
        if since(self.renewed).is_none_or(|ago| ago >= RENEW)
            && let Some(micros) = self.extension(now)
        {
            message = format!("EXTEND_TIMEOUT_USEC={micros}\n");
            self.renewed = Some(now);
        }
        if std::mem::take(&mut self.news)
            && let Some(status) = self.status()
        {
            message = format!("{message}STATUS={}\n", one_line(&status));
        }
        self.said = (!message.is_empty()).then_some(now).or(self.said);
        (!message.is_empty()).then_some(message)
    }

    /// By how many microseconds the manager's patience may be stretched; none when the run is overdue.
    fn extension(&self, now: Instant) -> Option<u128> {
        let until = self.running.values().map(|running| running.until).max().max(self.patience)?;
        let left = until.saturating_duration_since(now).min(EXTENSION);
        (!left.is_zero()).then_some(left.as_micros())
    }
}

/// A status as the manager takes it: one line, without control characters.
fn one_line(status: &str) -> String {
    shown::in_line(status).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Data;
    use crate::event::Stage;
    use jiff::Timestamp;

    fn name(name: &str) -> PhaseName {
        name.parse().unwrap()
    }

    /// A state that knows a phase `a` of 100 s, and its clock.
    fn state() -> (State, Clock) {
        let timeouts = BTreeMap::from([(name("a"), Duration::from_secs(100))]);
        (State { timeouts, phases: 2, ..State::default() }, Clock::manual(Timestamp::UNIX_EPOCH))
    }

    fn ended(outcome: Outcome) -> Event {
        Event::PhaseEnded {
            phase: name("a"),
            outcome,
            reason: None,
            seconds: 1.0,
            stages: crate::event::StageSeconds::default(),
            told: None,
            outputs: Data::default(),
        }
    }

    fn run_ended(status: OverallStatus) -> Event {
        Event::RunEnded { status, seconds: 2.0, signal: None }
    }

    #[test]
    fn of_many_statuses_in_a_second_the_last_is_said() {
        let (mut state, clock) = state();
        state.take(&Event::PhaseStarted { phase: name("a"), attempt: 1 }, clock.instant());
        let began = |stage| Event::StageStarted { phase: name("a"), stage };
        state.take(&began(Stage::Observe), clock.instant());
        let first = state.due(clock.instant()).unwrap();
        assert!(first.contains("STATUS=a: observe, 0 of 2 phases ended\n"), "{first}");
        state.take(&began(Stage::Decide), clock.instant());
        state.take(&began(Stage::Apply), clock.instant());
        assert_eq!(state.due(clock.instant()), None);
        clock.advance(PACE);
        let next = state.due(clock.instant()).unwrap();
        assert_eq!(next, "STATUS=a: apply, 0 of 2 phases ended\n");
    }

    #[test]
    fn while_anything_runs_the_status_is_of_what_has_run_longest_and_not_of_what_ended() {
        let (mut state, clock) = state();
        for phase in ["b", "a"] {
            state.take(&Event::PhaseStarted { phase: name(phase), attempt: 1 }, clock.instant());
        }
        let decides = Event::StageStarted { phase: name("b"), stage: Stage::Decide };
        state.take(&decides, clock.instant());
        let said = state.due(clock.instant()).unwrap();
        assert!(said.ends_with("STATUS=b: decide (and 1 more), 0 of 2 phases ended\n"), "{said}");
        state.take(&ended(Outcome::Success), clock.instant());
        clock.advance(PACE);
        let said = state.due(clock.instant()).unwrap();
        assert_eq!(said, "STATUS=b: decide, 1 of 2 phases ended\n");
        state.running.clear();
        state.take(&ended(Outcome::Failed), clock.instant());
        clock.advance(PACE);
        assert_eq!(state.due(clock.instant()).unwrap(), "STATUS=a: FAILED, 2 of 2 phases ended\n");
    }

    #[test]
    fn patience_is_stretched_by_a_minute_and_never_past_the_timeout_of_a_phase() {
        let (mut state, clock) = state();
        state.take(&Event::PhaseStarted { phase: name("a"), attempt: 1 }, clock.instant());
        let mut said = Vec::new();
        for _ in 0..200 {
            if let Some(message) = state.due(clock.instant()) {
                let extension = message.lines().find(|line| line.starts_with("EXTEND"));
                said.extend(extension.map(str::to_owned));
            }
            clock.advance(PACE);
        }
        // 100 s and 10 s to clean up: after 60 and 80 s there are 50 and 30 left, after 100 s there are 10.
        let micros = ["60000000", "60000000", "60000000", "50000000", "30000000", "10000000"];
        assert_eq!(said, micros.map(|micros| format!("EXTEND_TIMEOUT_USEC={micros}")));
    }

    #[test]
    fn a_run_that_ended_well_is_ready_and_does_not_say_that_it_stops() {
        for status in [OverallStatus::Success, OverallStatus::PartialSuccess] {
            let (mut state, clock) = state();
            let said = state.take(&run_ended(status), clock.instant()).unwrap();
            assert!(said.starts_with(&format!("READY=1\nSTATUS={status} in 2.0 s")), "{said}");
            assert!(!said.contains("STOPPING"));
            assert_eq!(state.due(clock.instant()), None, "nothing is said after the end");
        }
    }

    #[test]
    fn a_run_that_is_told_to_stop_says_so_once_and_is_never_ready() {
        let (mut state, clock) = state();
        let said = state.take(&ended(Outcome::Cancelled), clock.instant()).unwrap();
        assert!(said.starts_with("STOPPING=1\n"), "{said}");
        assert_eq!(state.take(&ended(Outcome::Cancelled), clock.instant()), None);
        let said = state.take(&run_ended(OverallStatus::Cancelled), clock.instant()).unwrap();
        assert!(!said.contains("READY"), "{said}");
        let (mut state, clock) = self::state();
        let said = state.take(&run_ended(OverallStatus::Failed), clock.instant()).unwrap();
        assert!(said.starts_with("STOPPING=1\n"), "{said}");
    }

    #[test]
    fn a_status_is_one_line_without_control_characters() {
        assert_eq!(one_line("a\nREADY=1\u{1b}[31m"), "a\\nREADY=1\\x1b[31m");
        assert_eq!(one_line(&"x".repeat(1000)).len(), LONGEST);
    }
}

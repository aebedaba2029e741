//! Bars on a terminal: what is going on, drawn ten times a second; lines scroll above.
//!
//! Events only change what is to be drawn. So the cost of drawing is that of time and not of events, and a run of
//! thousands of phases is not slower for being watched.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::Board;
use super::estimate::Estimate;
use super::line::Teller;
use crate::clock::Clock;
use crate::event::{Event, EventSink, Outcome, ProgressBoard, Record};
use crate::report::file::durations::durations;
use crate::report::text::wrap;

/// How often it is drawn.
const REFRESH: Duration = Duration::from_millis(100);

/// From this many phases on, those that simply succeed have no line.
const MANY: usize = 50;

/// What bars are drawn for.
#[derive(Debug)]
pub struct Screen {
    /// Columns of the terminal.
    pub columns: usize,
    /// Most phases at a time.
    pub jobs: usize,
    /// Where it is kept how long phases took.
    pub results_dir: PathBuf,
}

/// Draws bars on standard error.
#[derive(Debug)]
pub struct ProgressBars {
    screen: Screen,
    teller: Teller,
    many: bool,
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
    over: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

/// What is to be drawn next.
#[derive(Debug, Default)]
struct Shared {
    board: Board,
    /// Lines to scroll above the bars.
    said: Vec<String>,
    /// When the run began.
    began: Option<Instant>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProgressBars {
    /// Starts to draw, and what is posted on `progress` with it.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(progress: ProgressBoard, clock: Clock, screen: Screen) -> std::io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let over = Arc::new(AtomicBool::new(false));
        let ticker = std::thread::Builder::new().name("progress".to_owned()).spawn({
            let (shared, over, clock) = (Arc::clone(&shared), Arc::clone(&over), clock.clone());
            let columns = screen.columns;
            move || {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                while !over.load(Ordering::Acquire) {
                    draw(&bar, &shared, &progress, (clock.instant(), columns));
                    std::thread::park_timeout(REFRESH);
                }
                draw(&bar, &shared, &progress, (clock.instant(), columns));
                bar.finish_and_clear();
            }
        })?;
        let teller = Teller::default();
        Ok(Self { screen, teller, many: false, shared, clock, over, ticker: Some(ticker) })
    }

    /// The line that is said of an event, if any, laid out.
    fn said(&mut self, record: &Record) -> Option<String> {
        let said = self.teller.line(&record.event);
        let quiet = match &record.event {
            Event::Decided { .. } => true,
            Event::PhaseEnded { outcome, reason, .. } => {
                matches!(outcome, Outcome::Success | Outcome::Skipped) && reason.is_none()
                    || *outcome == Outcome::Blocked
            }
            _ => false,
        };
        if self.many && quiet {
            return None;
        }
        let (who, text) = said?;
        let head = format!("{:8.2}s  {who:<18} ", record.elapsed);
        let indent = head.chars().count();
        let lines = wrap(&text, self.screen.columns.saturating_sub(indent).max(20));
        Some(format!("{head}{}", lines.join(&format!("\n{:indent$}", ""))))
    }
}

fn draw(
    bar: &ProgressBar,
    shared: &Mutex<Shared>,
    progress: &ProgressBoard,
    (now, columns): (Instant, usize),
) {
    let (said, lines) = {
        let mut shared = lock(shared);
        let said = std::mem::take(&mut shared.said);
        let elapsed = shared.began.map(|began| now.saturating_duration_since(began).as_secs_f64());
        (said, elapsed.map(|elapsed| shared.board.lines(elapsed, progress)))
    };
    if !said.is_empty() {
        bar.println(said.join("\n"));
    }
    if let Some(lines) = lines {
        // A line of all columns would make some terminals begin another.
        let cut = |line: &String| line.chars().take(columns.saturating_sub(1)).collect::<String>();
        bar.set_message(lines.iter().map(cut).collect::<Vec<_>>().join("\n"));
    }
}

impl EventSink for ProgressBars {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn Error + Send + Sync>> {
        let estimate = if let Event::RunStarted { phases, pipeline, .. } = &record.event {
            self.many = phases.len() >= MANY;
            let took = durations(&self.screen.results_dir, &pipeline.name);
            Some(Estimate::new(phases, &took, self.screen.jobs))
        } else {
            None
        };
        let said = self.said(record);
        let mut shared = lock(&self.shared);
        if let Some(estimate) = estimate {
            shared.board.estimate = estimate;
            shared.began = Some(self.clock.instant());
        }
        shared.board.take(&record.event, record.elapsed);
        shared.said.extend(said);
        Ok(())
    }
}

impl Drop for ProgressBars {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            let _ = ticker.join();
        }
    }
}

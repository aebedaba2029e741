//! Bars on a terminal: one for each running phase, with its stage and how far it is; lines scroll above.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::line::line;
use crate::event::{Event, EventSink, PhaseName, ProgressBoard, Record};
use crate::report::text::wrap;

/// How often the bars look at the board.
const REFRESH: Duration = Duration::from_millis(100);

type Bars = Arc<Mutex<BTreeMap<PhaseName, ProgressBar>>>;

/// Draws bars on standard error.
#[derive(Debug)]
pub struct ProgressBars {
    screen: MultiProgress,
    columns: usize,
    bars: Bars,
    over: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl ProgressBars {
    /// Starts to draw what is posted on `board`, with lines of at most `columns`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(board: ProgressBoard, columns: usize) -> std::io::Result<Self> {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bars = Bars::default();
        let over = Arc::new(AtomicBool::new(false));
        let (seen, stop) = (Arc::clone(&bars), Arc::clone(&over));
        let ticker = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                for (phase, bar) in seen.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    if let Some(progress) = board.of(phase) {
                        bar.set_length(progress.total);
                        bar.set_position(progress.done);
                        bar.set_message(progress.note);
                    }
                    bar.tick();
                }
                std::thread::park_timeout(REFRESH);
            }
        })?;
        Ok(Self { screen, columns, bars, over, ticker: Some(ticker) })
    }

    fn bar(&self, phase: &PhaseName) -> ProgressBar {
        let style = ProgressStyle::with_template(
            "{spinner} {prefix:<18} [{bar:16}] {pos:>3}/{len:<3} {elapsed:>4} {wide_msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
        let bar = self.screen.add(ProgressBar::new(1)).with_style(style);
        bar.set_prefix(phase.to_string());
        bar
    }
}

impl EventSink for ProgressBars {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn accept(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Some((who, text)) = line(&record.event) {
            let head = format!("{:8.2}s  {who:<18} ", record.elapsed);
            let indent = head.chars().count();
            let lines = wrap(&text, self.columns.saturating_sub(indent).max(20));
            self.screen.println(format!("{head}{}", lines.join(&format!("\n{:indent$}", ""))))?;
        }
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match &record.event {
            Event::PhaseStarted { phase, .. } => {
                bars.entry(phase.clone()).or_insert_with(|| self.bar(phase));
            }
            Event::StageStarted { phase, stage } => {
                if let Some(bar) = bars.get(phase) {
                    bar.set_message(stage.word());
                }
            }
            Event::PhaseEnded { phase, .. } => {
                if let Some(bar) = bars.remove(phase) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
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
        let _ = self.screen.clear();
    }
}

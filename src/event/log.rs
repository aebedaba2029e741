//! The record of a run on disk: `events.jsonl`, one [`Record`] a line.

use std::path::Path;

use super::Record;
use crate::disk::{self, AppendLog, DiskError};

/// Largest log that is read back.
const LIMIT: u64 = 1 << 30;

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A line that is not a record.
    #[error("{path}:{line} is not an event record")]
    Line {
        /// The log.
        path: String,
        /// Counts from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A record that can't be written as JSON.
    #[error("could not write an event as JSON")]
    Encode(#[source] serde_json::Error),
}

/// Records that are held back at most before they are written, in bytes.
const HELD: usize = 64 << 10;

/// A log being written.
#[derive(Debug)]
pub struct EventLog {
    log: AppendLog,
    /// Whole lines that are not yet written.
    held: Vec<u8>,
}

impl EventLog {
    /// Starts the log at `path`.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let log = AppendLog::open(path)?;
        // As long as it is written the run is at work, and not cut off.
        log.hold()?;
        Ok(Self { log, held: Vec::with_capacity(2 * HELD) })
    }

    /// Makes sure that the records are found under the log's name.
    ///
    /// # Errors
    /// When the log was removed or replaced.
    pub fn in_place(&self) -> Result<(), LogError> {
        Ok(self.log.in_place()?)
    }

    /// Appends a record. It survives the death of the process after [`flush`](Self::flush), that of the machine
    /// after [`sync`](Self::sync).
    ///
    /// # Errors
    /// When it can't be written.
    pub fn append(&mut self, record: &Record) -> Result<(), LogError> {
        serde_json::to_writer(&mut self.held, record).map_err(LogError::Encode)?;
        self.held.push(b'\n');
        if self.held.len() >= HELD { self.flush() } else { Ok(()) }
    }

    /// Hands all records to the system.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if !self.held.is_empty() {
            self.log.append(&self.held)?;
            self.held.clear();
            // One that was very long, as the first of a run of many phases, need not be held room for.
            self.held.shrink_to(2 * HELD);
        }
        Ok(())
    }

    /// Waits until all records are on the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        Ok(self.log.sync()?)
    }
}

/// Reads a log back. A torn last line, as a kill leaves it, is left out.
///
/// # Errors
/// When the file can't be read, or a line before the last is not a record.
pub fn read_log(path: &Path) -> Result<Vec<Record>, LogError> {
    let text = disk::read_text(path, LIMIT)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut records = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if index + 1 == lines.len() => {}
            Err(source) => {
                return Err(LogError::Line {
                    path: path.display().to_string(),
                    line: index + 1,
                    source,
                });
            }
        }
    }
    Ok(records)
}

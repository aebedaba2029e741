//! The record of a run on disk: `events.jsonl`, one [`Record`] a line.

use std::path::Path;

use super::{Record, SCHEMA};
use crate::disk::{self, AppendLog, DiskError};

/// Largest log that is written, and that is read back.
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
    /// A record of another form than this program knows.
    #[error("{path}:{line} has version {found}, and this program knows version {SCHEMA}")]
    Version {
        /// The log.
        path: String,
        /// Counts from 1.
        line: usize,
        /// The version that it has.
        found: u32,
    },
    /// A record that does not follow the one before.
    #[error("{path}:{line} is event {found}, and event {wanted} is missing")]
    Gap {
        /// The log.
        path: String,
        /// Counts from 1.
        line: usize,
        /// The number that it should have.
        wanted: u64,
        /// The number that it has.
        found: u64,
    },
    /// It has grown to its limit.
    #[error("{path} would grow beyond {} MiB, and could not be read any more: let its commands print less, or lower their `output_limit`", limit >> 20)]
    Full {
        /// The log.
        path: String,
        /// The limit in bytes.
        limit: u64,
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
    /// Bytes that were written.
    written: u64,
    /// Most bytes that are.
    limit: u64,
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
        Ok(Self { log, held: Vec::with_capacity(2 * HELD), written: 0, limit: LIMIT })
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
    /// When it can't be written, or the log would grow beyond what can be read again.
    pub fn append(&mut self, record: &Record) -> Result<(), LogError> {
        let before = self.held.len();
        serde_json::to_writer(&mut self.held, record).map_err(LogError::Encode)?;
        self.held.push(b'\n');
        if self.written + self.held.len() as u64 > self.limit {
            self.held.truncate(before);
            let path = self.log.path().display().to_string();
            return Err(LogError::Full { path, limit: self.limit });
        }
        if self.held.len() >= HELD { self.flush() } else { Ok(()) }
    }

    /// Hands all records to the system.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if !self.held.is_empty() {
            self.log.append(&self.held)?;
            self.written += self.held.len() as u64;
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
/// When the file can't be read, or a line before the last is not a record, is of another version, or does not follow
/// the one before.
pub fn read_log(path: &Path) -> Result<Vec<Record>, LogError> {
    let content = disk::read_text(path, LIMIT)?;
    let lines: Vec<&str> = content.lines().collect();
    let mut records = Vec::with_capacity(lines.len());
    for (index, text) in lines.iter().enumerate() {
        let (path, line) = (path.display().to_string(), index + 1);
        match serde_json::from_str::<Record>(text) {
            Ok(Record { v, .. }) if v != SCHEMA => {
                return Err(LogError::Version { path, line, found: v });
            }
            Ok(Record { seq, .. }) if seq != index as u64 => {
                return Err(LogError::Gap { path, line, wanted: index as u64, found: seq });
            }
            Ok(record) => records.push(record),
            Err(_) if line == lines.len() && !content.ends_with('\n') => {}
            Err(source) => return Err(LogError::Line { path, line, source }),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn record(seq: u64) -> Record {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let event = Event::Noted { phase: None, text: "x".repeat(100) };
        Record { v: SCHEMA, seq, at, elapsed: 0.0, event }
    }

    #[test]
    fn a_log_that_reaches_its_limit_is_an_error_and_what_it_has_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut log = EventLog::create(&path).unwrap();
        log.limit = 1000;
        let full = (0..).map(|seq| log.append(&record(seq))).find_map(Result::err).unwrap();
        assert!(matches!(full, LogError::Full { limit: 1000, .. }), "{full}");
        log.sync().unwrap();
        let read = read_log(&path).unwrap().len();
        assert!((2..10).contains(&read), "{read}");
        assert!(path.metadata().unwrap().len() <= 1000);
    }

    #[test]
    fn a_line_that_is_missing_damaged_or_of_another_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let line = |record: &Record| serde_json::to_string(record).unwrap();
        let newer = Record { v: 99, ..record(1) };
        for (second, told) in [
            (line(&record(2)), ":2 is event 2, and event 1 is missing"),
            (line(&newer), ":2 has version 99"),
            ("damaged".to_owned(), ":2 is not an event record"),
        ] {
            let text = format!("{}\n{second}\n", line(&record(0)));
            disk::replace(&path, text.as_bytes()).unwrap();
            let error = read_log(&path).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let torn = format!("{}\n{{\"v\":1,\"se", line(&record(0)));
        disk::replace(&path, torn.as_bytes()).unwrap();
        assert_eq!(read_log(&path).unwrap().len(), 1);
    }
}

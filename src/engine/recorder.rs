//! Numbers the events of a run, writes the record of it, and hands them on to its readers.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::Clock;
use crate::event::{Event, EventLog, Fanout, LogError, Record, SCHEMA, SinkError};

/// Numbers events, writes the record, hands it on to the readers.
pub(super) struct Recorder {
    log: EventLog,
    fanout: Fanout,
    clock: Clock,
    started: Instant,
    next: u64,
    failed: Option<LogError>,
}

impl Recorder {
    pub(super) fn new(log: EventLog, fanout: Fanout, clock: Clock) -> Self {
        let started = clock.instant();
        Self { log, fanout, clock, started, next: 0, failed: None }
    }

    /// Seconds since the run began.
    pub(super) fn elapsed(&self) -> f64 {
        (self.clock.instant() - self.started).as_secs_f64()
    }

    /// Records one event. Once the record can't be written, only the readers are told.
    pub(super) fn record(&mut self, event: Event) {
        let record = Record {
            v: SCHEMA,
            seq: self.next,
            at: self.clock.now(),
            elapsed: self.elapsed(),
            event,
        };
        self.next += 1;
        if self.failed.is_none() {
            self.failed = self.log.append(&record).err();
        }
        self.fanout.send(&Arc::new(record));
    }

    /// Records events in order; false when the record can't be written any more.
    pub(super) fn record_all(&mut self, events: Vec<Event>) -> bool {
        for event in events {
            self.record(event);
        }
        self.failed.is_none()
    }

    /// Waits until all is on the disk and every reader has read all; answers the readers that failed.
    ///
    /// # Errors
    /// When the record could not be written.
    pub(super) fn finish(mut self) -> Result<Vec<SinkError>, LogError> {
        let synced = self.log.sync();
        let problems = self.fanout.finish();
        self.failed.map_or(synced, Err).map(|()| problems)
    }
}

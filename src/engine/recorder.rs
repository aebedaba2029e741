//! Numbers the events of a run, writes the record of it, and hands them on to its readers.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock::Clock;
use crate::event::{Event, EventLog, Fanout, LogError, Record, SCHEMA, SinkError};
use crate::secret::Secrets;

/// Numbers events, writes the record, hands it on to the readers.
pub(super) struct Recorder {
    log: EventLog,
    fanout: Fanout,
    clock: Clock,
    started: Instant,
    next: u64,
    /// Records that the readers have not yet been given: handing on each by itself would wake every reader for it.
    batch: Vec<Record>,
    failed: Option<LogError>,
    secrets: Secrets,
}

/// Most records that are handed on together.
const BATCH: usize = 512;

/// How long others may wait for a record: what a person sees as at once.
const SOON: Duration = Duration::from_millis(40);

impl Recorder {
    pub(super) fn new(log: EventLog, fanout: Fanout, clock: Clock, secrets: Secrets) -> Self {
        let started = clock.instant();
        Self { log, fanout, clock, started, next: 0, batch: Vec::new(), failed: None, secrets }
    }

    /// Seconds since the run began.
    pub(super) fn elapsed(&self) -> f64 {
        (self.clock.instant() - self.started).as_secs_f64()
    }

    /// Records one event. Once the record can't be written, only the readers are told.
    pub(super) fn record(&mut self, event: Event) {
        self.record_at(event, self.clock.now(), self.elapsed());
    }

    fn record_at(&mut self, mut event: Event, at: Timestamp, elapsed: f64) {
        event.hide(&self.secrets);
        let record = Record { v: SCHEMA, seq: self.next, at, elapsed, event };
        self.next += 1;
        if self.failed.is_none() {
            self.failed = self.log.append(&record).err();
        }
        self.batch.push(record);
        if self.batch.len() >= BATCH {
            self.hand_on();
        }
    }

    /// Records events in their order, which are known by now and have all happened just before.
    pub(super) fn record_all(&mut self, events: Vec<Event>) {
        let (at, elapsed) = (self.clock.now(), self.elapsed());
        for event in events {
            self.record_at(event, at, elapsed);
        }
    }

    /// Hands to the system what was recorded until now; false when the record can't be written any more.
    pub(super) fn flush(&mut self) -> bool {
        if self.failed.is_none() {
            self.failed = self.log.flush().err();
        }
        self.failed.is_none()
    }

    /// Waits until what was recorded must be seen by others, and hands it to the system and the readers; for ever when
    /// there is nothing. False when the record can't be written any more. May be dropped and called again.
    pub(super) async fn settle(&mut self) -> bool {
        let Some(first) = self.batch.first() else { return std::future::pending().await };
        let waited = Duration::from_secs_f64((self.elapsed() - first.elapsed).max(0.0));
        if let Some(left) = SOON.checked_sub(waited) {
            tokio::time::sleep(left).await;
        }
        self.hand_on();
        self.flush()
    }

    /// Waits until all is on the disk, and makes sure that it is found there; false when the record has failed.
    pub(super) fn make_sure(&mut self) -> bool {
        if self.failed.is_none() {
            self.failed = self.log.sync().and_then(|()| self.log.in_place()).err();
        }
        self.failed.is_none()
    }

    /// Records the end of the run, on the disk. Readers are not told before [`finish`](Self::finish), so it may still
    /// be another: the last that is recorded counts. False when the record has failed.
    pub(super) fn end(&mut self, event: Event) -> bool {
        self.batch.retain(|record| !matches!(record.event, Event::RunEnded { .. }));
        self.hand_on();
        self.record(event);
        self.make_sure()
    }

    /// Takes the record for failed.
    pub(super) fn fail(&mut self, error: LogError) {
        self.failed.get_or_insert(error);
    }

    fn hand_on(&mut self) {
        if !self.batch.is_empty() {
            self.fanout.send(std::mem::take(&mut self.batch));
        }
    }

    /// Waits until every reader has read all; answers the readers that failed.
    ///
    /// # Errors
    /// When the record could not be written.
    pub(super) fn finish(mut self) -> Result<Vec<SinkError>, LogError> {
        self.hand_on();
        let problems = self.fanout.finish();
        self.failed.map_or(Ok(problems), Err)
    }
}

//! The log of one kind, as one process knows it: read once, indexed by key, verified line by line when asked.
//!
//! Reading it costs a pass over its bytes; an entry costs its own verification, and only when it is looked
//! up. Decisions of this process join the index at once and wait in a queue to be written. Does not know how
//! files are written or locked (that is `directory`).

use std::collections::{HashMap, HashSet};
use std::io::BufRead as _;
use std::ops::Range;

use jiff::Timestamp;

use super::entry::Entry;
use super::line::{self, Mark};
use super::{Key, Manifest};

/// Largest log that is read.
pub(super) const MOST: u64 = 1 << 30;

/// A log in memory.
#[derive(Default)]
pub(super) struct Log {
    /// As read, and what was remembered since.
    content: Vec<u8>,
    lines: Vec<Line>,
    /// The latest line of each mark; by way of `older` it leads to all that have it.
    newest: HashMap<Mark, u32>,
    /// The lines of each phase, in their order; made when first asked for.
    phases: Option<HashMap<String, Vec<u32>>>,
    /// Lines without a head, by their bytes.
    strays: Vec<Range<usize>>,
    superseded: usize,
    /// Lines found not to be trusted when they were looked at.
    distrusted: usize,
    /// Lines that are not on the disk yet.
    queue: Vec<u8>,
}

/// A line with a head.
struct Line {
    start: u32,
    length: u32,
    /// Counts from 1 in the file; 0 for one that is not there yet.
    number: u32,
    /// An older line with the same mark.
    older: Option<u32>,
    distrusted: bool,
}

/// What the log holds under a key.
pub(super) enum Found {
    /// The latest line that can be trusted.
    Entry(Box<Entry>),
    /// Lines, but none that can be trusted: the number of the latest, and what is wrong with it.
    Flawed {
        /// Counts from 1 in the file.
        number: u32,
        /// What is wrong.
        flaw: String,
    },
    /// Nothing.
    Nothing,
}

/// A line that can be trusted, where whole lines are handled.
pub(super) struct Whole {
    pub(super) entry: Box<Entry>,
    pub(super) line: Vec<u8>,
}

/// All lines of a log, sorted by what they are worth.
#[derive(Default)]
pub(super) struct Sorted {
    /// The latest that can be trusted of each key, in the order of the log.
    pub(super) whole: Vec<Whole>,
    /// Those that can be trusted, and a later one says otherwise.
    pub(super) superseded: usize,
    /// Those that can't be trusted, with their line ends.
    pub(super) bad: Vec<u8>,
    /// How many those are.
    pub(super) bad_lines: usize,
}

impl Log {
    /// Reads the content of a log, at most [`MOST`] bytes. Nothing in it is trusted yet.
    pub(super) fn read(content: Vec<u8>) -> Self {
        let lines = content.len() / 512;
        let newest = HashMap::with_capacity(lines);
        let mut log = Self { content, newest, lines: Vec::with_capacity(lines), ..Self::default() };
        let (mut start, mut number) = (0, 0);
        while start < log.content.len() {
            let mut rest = &log.content[start..];
            let length = rest.skip_until(b'\n').unwrap_or(rest.len()).max(1);
            let next = start + length;
            let end = if log.content[next - 1] == b'\n' { next - 1 } else { next };
            number += 1;
            match line::marked(&log.content[start..end]) {
                Some(mark) => log.index(mark, start..end, number),
                None => log.strays.push(start..end),
            }
            start = next;
        }
        log
    }

    fn index(&mut self, mark: Mark, bytes: Range<usize>, number: u32) {
        let older = self.newest.insert(mark, self.lines.len() as u32);
        self.superseded += usize::from(older.is_some());
        let (start, length) = (bytes.start as u32, bytes.len() as u32);
        self.lines.push(Line { start, length, number, older, distrusted: false });
    }

    fn line(&self, at: u32) -> &Line {
        &self.lines[at as usize]
    }

    fn bytes(&self, at: u32) -> &[u8] {
        bytes(&self.content, self.line(at))
    }

    /// The decision under a key. One that can't be trusted does not hide an older one.
    pub(super) fn find(&mut self, key: &Key, now: Timestamp) -> Found {
        let digits = key.hex();
        let mut next = self.newest.get(&line::mark(key)).copied();
        let mut flawed = Found::Nothing;
        while let Some(at) = next {
            // Another key may have the same mark.
            if line::key_digits(self.bytes(at)) == digits.as_bytes() {
                match line::read(self.bytes(at), key, now) {
                    Ok(entry) => return Found::Entry(entry),
                    Err(flaw) => {
                        self.distrust(at);
                        if matches!(flawed, Found::Nothing) {
                            flawed = Found::Flawed { number: self.line(at).number, flaw };
                        }
                    }
                }
            }
            next = self.line(at).older;
        }
        flawed
    }

    fn distrust(&mut self, at: u32) {
        let line = &mut self.lines[at as usize];
        self.distrusted += usize::from(!line.distrusted);
        line.distrusted = true;
    }

    /// The decision under a key with all that it depends on, however old it is.
    pub(super) fn explain(&self, key: &Key, now: Timestamp) -> Option<(Entry, Manifest)> {
        let latest = self.newest.get(&line::mark(key)).copied();
        let mut all = std::iter::successors(latest, |at| self.line(*at).older);
        all.find_map(|at| self.known(at, now).filter(|(entry, _)| entry.key == *key))
    }

    fn known(&self, at: u32, now: Timestamp) -> Option<(Entry, Manifest)> {
        let key = line::key(self.bytes(at))?;
        let entry = line::read(self.bytes(at), &key, now).ok()?;
        Some((*entry, line::manifest(self.bytes(at), &key)?))
    }

    /// The latest decision of a phase: of this host or for all, else of any.
    pub(super) fn latest(
        &mut self,
        phase: &str,
        host: &str,
        now: Timestamp,
    ) -> Option<(Entry, Manifest)> {
        let lines = self.phases().get(phase).cloned().unwrap_or_default();
        let mut foreign = None;
        for at in lines.into_iter().rev() {
            match self.known(at, now) {
                Some(known) if known.0.holds_on(host) => return Some(known),
                Some(known) => foreign = foreign.or(Some(known)),
                None => {}
            }
        }
        foreign
    }

    /// What is wrong with the latest line of a phase that can't be trusted, and its number.
    pub(super) fn flawed(&mut self, phase: &str, now: Timestamp) -> Option<(u32, String)> {
        let lines = self.phases().get(phase).cloned().unwrap_or_default();
        lines.into_iter().rev().find_map(|at| {
            let flaw = match line::key(self.bytes(at)) {
                Some(key) => line::read(self.bytes(at), &key, now).err()?,
                None => "its key is none".to_owned(),
            };
            self.distrust(at);
            Some((self.line(at).number, flaw))
        })
    }

    fn phases(&mut self) -> &HashMap<String, Vec<u32>> {
        let (lines, content) = (&self.lines, &self.content);
        self.phases.get_or_insert_with(|| {
            let mut phases: HashMap<String, Vec<u32>> = HashMap::new();
            for (at, one) in lines.iter().enumerate() {
                if let Some(phase) = line::phase(bytes(content, one)) {
                    phases.entry(phase).or_default().push(at as u32);
                }
            }
            phases
        })
    }

    /// Adds a decision, to be written with the next batch.
    pub(super) fn push(&mut self, key: &Key, phase: &str, line: &str) {
        // A line torn by a kill ends where the next one begins.
        if self.content.last().is_some_and(|last| *last != b'\n') {
            self.content.push(b'\n');
        }
        let start = self.content.len();
        self.content.extend_from_slice(line.as_bytes());
        self.queue.extend_from_slice(line.as_bytes());
        if let Some(phases) = &mut self.phases {
            phases.entry(phase.to_owned()).or_default().push(self.lines.len() as u32);
        }
        self.index(line::mark(key), start..self.content.len() - 1, 0);
    }

    /// True when there are lines that are not on the disk yet.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes the lines that are not on the disk yet.
    pub(super) fn take_queue(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.queue)
    }

    /// Puts back lines that could not be written.
    pub(super) fn put_back(&mut self, mut unwritten: Vec<u8>) {
        unwritten.append(&mut self.queue);
        self.queue = unwritten;
    }

    /// Lines without a head: nobody can say whose they are.
    pub(super) fn strays(&self) -> usize {
        self.strays.len()
    }

    /// True when more than half of the lines are of no use any more, as far as is known.
    pub(super) fn is_mostly_waste(&self) -> bool {
        let waste = self.superseded + self.strays.len() + self.distrusted;
        2 * waste > self.lines.len() + self.strays.len()
    }

    /// The waste on the disk was dropped; what of it is still in memory does no harm.
    pub(super) fn waste_is_gone(&mut self) {
        (self.superseded, self.distrusted) = (0, 0);
        self.strays.clear();
    }

    /// Verifies all lines and sorts them by what they are worth.
    pub(super) fn sort(mut self, now: Timestamp) -> Sorted {
        let mut sorted = Sorted::default();
        for stray in std::mem::take(&mut self.strays) {
            sorted.set_aside(&self.content[stray]);
        }
        let mut seen = HashSet::with_capacity(self.newest.len());
        for at in (0..self.lines.len() as u32).rev() {
            let key = line::key(self.bytes(at));
            match key.and_then(|key| line::read(self.bytes(at), &key, now).ok()) {
                None => sorted.set_aside(self.bytes(at)),
                Some(entry) if !seen.insert(entry.key) => sorted.superseded += 1,
                Some(entry) => {
                    let line = [self.bytes(at), b"\n"].concat();
                    sorted.whole.push(Whole { entry, line });
                }
            }
        }
        sorted.whole.reverse();
        sorted
    }
}

fn bytes<'a>(content: &'a [u8], line: &Line) -> &'a [u8] {
    let start = line.start as usize;
    &content[start..start + line.length as usize]
}

impl Sorted {
    fn set_aside(&mut self, line: &[u8]) {
        self.bad.extend_from_slice(line);
        self.bad.push(b'\n');
        self.bad_lines += 1;
    }
}

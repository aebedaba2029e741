//! The write-ahead journal of the changes of one run: `<run>.jsonl`, appended to and never rewritten.
//!
//! One record a line, in JSON. The last field, `sum`, is the first 16 hex digits of the BLAKE3 digest of the
//! line as it would be without that field. The intents of a group of changes are on the disk before the
//! first of them touches the host.
//! ```text
//! {"record":"opened","schema":3,"run":"r1","number":1,"root":"/","boot_id":"b1","at":"1970-01-01T00:00:00Z","sum":"b7ff429fa9368de0"}
//! {"record":"intent","n":0,"change":{"phase":"cpu","target":{"kind":"setting","path":"/proc/sys/vm/swappiness"},"from":"60","to":"10"},"sum":"7a57c6f69ae94178"}
//! {"record":"applied","n":0,"read_back":"10","sum":"f44c4b6c0cd32a3f"}
//! {"record":"kept","n":0,"sum":"d73afd93aa52bdb0"}
//! {"record":"closed","sum":"fc0128b56ff313be"}
//! ```
//! - `opened`: the first; its number among the journals of the folder, which tells what is newer whatever the clock says;
//!   the root of the host, which another one must not be taken for, and the boot, because what is volatile is gone after
//!   the next.
//! - `intent`: change `n` is about to be written.
//! - `applied`: it was, and this was read back, which may differ from what was wanted.
//! - `failed`: the host refused it, and still has the former value.
//! - `reverted`: the former value is back, and was read back.
//! - `left`: somebody else has set another value since, which was left alone.
//! - `moot`: another boot had already taken it back, or its process has ended.
//! - `kept`: it is to stay.
//! - `handed`: a later run has set it since, and restores what was there before this change when it is taken back.
//! - `rebased`: an earlier run, `of`, was taken back from below change `n`, and handed over what had been there before
//!   itself. That is now the former value of `n`; the one before counts as ours. It leaves `closed` as it is.
//! - `resumed`: a rollback goes on where a run stopped; when, what began it, and of which phases where that is not all.
//!   Of those of a journal that was closed, the changes of the other phases stay kept, wherever it is cut off. A line
//!   before it, or before `rebased`, that is no record was torn by that.
//! - `closed`: nothing is left to do.
//!
//! A torn line at the end is normal: the kill came while it was written, and before what it tells of was
//! done or could be relied on. Any other line that is no record means that the file was damaged: the reader
//! stops there and says so.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::entry::{Entry, State};
use super::model::Change;
use crate::disk::{self, AppendLog, DiskError};
use crate::fault;

/// The form of the records. A journal of a newer form is not touched; an older one is read, and goes on as it began:
/// 1 had settings only, 2 also configuration files; neither had numbers, nor a rollback of some phases, nor other targets.
pub const SCHEMA: u32 = 3;

/// The largest journal read: hundreds of thousands of changes.
const READ_LIMIT: u64 = 64 << 20;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    Opened {
        schema: u32,
        run: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        root: String,
        boot_id: Option<String>,
        at: String,
    },
    Intent {
        n: u64,
        change: Change,
    },
    Applied {
        n: u64,
        read_back: String,
    },
    Failed {
        n: u64,
        reason: String,
    },
    Reverted {
        n: u64,
        read_back: String,
    },
    Left {
        n: u64,
        found: String,
    },
    Moot {
        n: u64,
    },
    Kept {
        n: u64,
    },
    Handed {
        n: u64,
        run: String,
    },
    Rebased {
        n: u64,
        from: String,
        of: String,
    },
    Resumed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<String>,
    },
    Closed {},
}

/// Whether a journal could be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// It could.
    Whole,
    /// Its last line is torn, as after a kill.
    TornEnd,
    /// A line in the middle is damaged; what follows is not known.
    Corrupt {
        /// Its number, from 1.
        line: usize,
    },
}

/// What a journal tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The first record; absent when not even that one is whole.
    pub opened: Option<Opened>,
    /// The changes, in the order of their intents.
    pub entries: Vec<Entry>,
    /// Whether nothing is left to do.
    pub closed: bool,
    /// The phases of which a rollback had begun when nothing was left to do, and has not ended. The changes of all
    /// others are kept.
    pub partly: Option<Vec<String>>,
    /// The latest rollback that wrote in it.
    pub resumed: Option<Resumed>,
    /// Whether it could be read to its end.
    pub integrity: Integrity,
}

/// The first record of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The run.
    pub run: String,
    /// Its number: those of newer runs in the same folder are higher. Absent in a journal of an older form, which is
    /// older than any that has one.
    pub number: Option<u64>,
    /// The folder that stood for `/`.
    pub root: String,
    /// The boot of the host; absent where the kernel does not tell.
    pub boot_id: Option<String>,
    /// When the first change was made.
    pub at: Timestamp,
}

/// A rollback that wrote in a journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resumed {
    /// When it began.
    pub at: Option<Timestamp>,
    /// What began it: a command, or a run.
    pub by: Option<String>,
}

/// A journal that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It was written by another version of this program.
    #[error("could not use {}: it has schema {found}, and this program knows schema {SCHEMA}; use the version that wrote it", path.display())]
    Schema {
        /// The journal.
        path: PathBuf,
        /// The schema that it has.
        found: u64,
    },
    /// It is no journal.
    #[error("could not use {}: it is not a journal", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else could have written it, and the superuser would do what it says.
    #[error("could not use {}: {reason}; check what it says, then give it to root alone (chown root, chmod 644)", path.display())]
    Untrusted {
        /// The journal.
        path: PathBuf,
        /// Who else could have.
        reason: &'static str,
    },
}

/// The line of a record, with its line break.
fn encode(record: &Record) -> std::io::Result<String> {
    let mut line = serde_json::to_string(record)?;
    let sum = sum(&line);
    line.pop();
    Ok(format!("{line},\"sum\":\"{sum}\"}}\n"))
}

fn sum(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex()[..16].to_owned()
}

/// The record of a line; nothing when it is torn or damaged.
fn decode(line: &str) -> Option<Record> {
    let (body, told) = line.strip_suffix("\"}")?.rsplit_once(",\"sum\":\"")?;
    let body = format!("{body}}}");
    (sum(&body) == told).then(|| serde_json::from_str(&body).ok()).flatten()
}

/// Why a text is not a journal that can be read.
#[derive(Debug, PartialEq, Eq)]
enum Unfit {
    Schema(u64),
    Foreign,
}

/// What a journal of the given text tells: a fold of its records.
fn parse(text: &str) -> Result<Journal, Unfit> {
    let lines: Vec<&str> = text.lines().collect();
    let mut journal = Journal {
        opened: None,
        entries: Vec::new(),
        closed: false,
        partly: None,
        resumed: None,
        integrity: Integrity::Whole,
    };
    if let Some(first) = lines.first()
        && let Ok(value) = serde_json::from_str::<serde_json::Value>(first)
    {
        let schema = value.get("schema").and_then(serde_json::Value::as_u64);
        match (value.get("record").and_then(serde_json::Value::as_str), schema) {
            (Some("opened"), Some(schema)) if (1..=u64::from(SCHEMA)).contains(&schema) => {}
            (Some("opened"), Some(schema)) => return Err(Unfit::Schema(schema)),
            _ => return Err(Unfit::Foreign),
        }
    }
    let records: Vec<Option<Record>> = lines.iter().map(|line| decode(line)).collect();
    if records.len() > 1 && records.iter().all(Option::is_none) {
        return Err(Unfit::Foreign);
    }
    for (index, record) in records.iter().enumerate() {
        let taken = record.as_ref().is_some_and(|record| journal.take(record).is_some());
        if taken {
            continue;
        }
        let next = records[index..].iter().flatten().next();
        match next {
            None => journal.integrity = Integrity::TornEnd,
            Some(Record::Resumed { .. } | Record::Rebased { .. }) if record.is_none() => continue,
            Some(_) => {
                journal.integrity = Integrity::Corrupt { line: index + 1 };
                // What was kept behind it is not known.
                journal.partly = None;
            }
        }
        break;
    }
    Ok(journal)
}

impl Journal {
    /// Takes the next record; nothing when it can't follow those before.
    fn take(&mut self, record: &Record) -> Option<()> {
        if self.opened.is_none() != matches!(record, Record::Opened { .. }) {
            return None;
        }
        let was_closed = self.closed;
        // A rollback of a kept run writes behind its end. To be handed a former value is nothing to be finished.
        self.closed = match record {
            Record::Closed {} => true,
            Record::Rebased { .. } => self.closed,
            _ => false,
        };
        let (n, state) = match record {
            Record::Opened { run, number, root, boot_id, at, .. } => {
                let (run, root, boot_id) = (run.clone(), root.clone(), boot_id.clone());
                let at = at.parse().ok()?;
                self.opened = Some(Opened { run, number: *number, root, boot_id, at });
                return Some(());
            }
            Record::Intent { n, change } => {
                if *n != self.entries.len() as u64 {
                    return None;
                }
                self.entries.push(Entry::intended(*n, change.clone()));
                return Some(());
            }
            Record::Rebased { n, from, .. } => {
                self.entries.get_mut(usize::try_from(*n).ok()?)?.rebase(from);
                return Some(());
            }
            Record::Resumed { at, by, phases } => {
                self.resumed = Some(Resumed { at: *at, by: by.clone() });
                let before = self.partly.take().or_else(|| was_closed.then(Vec::new));
                let also = |before: Vec<String>| before.into_iter().chain(phases.clone()).collect();
                self.partly = before.filter(|_| !phases.is_empty()).map(also);
                return Some(());
            }
            Record::Closed {} => {
                self.partly = None;
                return Some(());
            }
            Record::Applied { n, read_back } => {
                (n, State::Applied { read_back: read_back.clone() })
            }
            Record::Failed { n, reason } => (n, State::Failed { reason: reason.clone() }),
            Record::Reverted { n, read_back } => {
                (n, State::Reverted { read_back: read_back.clone() })
            }
            Record::Left { n, found } => (n, State::Left { found: found.clone() }),
            Record::Moot { n } => (n, State::Moot),
            Record::Handed { n, run } => (n, State::Handed { run: run.clone() }),
            Record::Kept { n } => (n, self.entries.get(usize::try_from(*n).ok()?)?.kept()),
        };
        self.entries.get_mut(usize::try_from(*n).ok()?)?.state = state;
        Some(())
    }
}

impl Journal {
    /// Whether a change is among those that are not decided to stay: the run was cut off, or a rollback of its phase.
    pub(super) fn is_due(&self, entry: &Entry) -> bool {
        let in_part = |phases: &Vec<String>| phases.contains(&entry.change.phase);
        !self.closed && self.partly.as_ref().is_none_or(in_part)
    }
}

/// Reads the journal at `path`. The superuser reads only what nobody else could have written.
///
/// # Errors
/// When it can't be read, is no journal, is of another schema, or can't be trusted.
pub fn read(path: &Path) -> Result<Journal, JournalError> {
    let content = disk::read_bounded(path, READ_LIMIT)?;
    if nix::unistd::geteuid().is_root()
        && let Ok(of) = std::fs::metadata(path)
        && let Some(reason) = distrust(of.uid(), of.gid(), of.mode())
    {
        return Err(JournalError::Untrusted { path: path.to_owned(), reason });
    }
    parse(&String::from_utf8_lossy(&content)).map_err(|unfit| {
        let path = path.to_owned();
        match unfit {
            Unfit::Schema(found) => JournalError::Schema { path, found },
            Unfit::Foreign => JournalError::Foreign { path },
        }
    })
}

/// The number of the journal at `path`; nothing where it has none, or can't be read.
pub(super) fn number(path: &Path) -> Option<u64> {
    let mut first = String::new();
    let file = disk::open_regular(path).ok()?.take(u64::from(u16::MAX));
    BufReader::new(file).read_line(&mut first).ok()?;
    match decode(first.trim_end())? {
        Record::Opened { number, .. } => number,
        _ => None,
    }
}

/// Why the superuser does not trust a file of this owner, group and mode.
fn distrust(uid: u32, gid: u32, mode: u32) -> Option<&'static str> {
    if uid != 0 {
        return Some("it belongs to another user than root");
    }
    let others = mode & 0o002 != 0 || (mode & 0o020 != 0 && gid != 0);
    others.then_some("others than root may write to it")
}

/// The writing end of a journal.
#[derive(Debug)]
pub(super) struct Writer(AppendLog);

impl Writer {
    /// Opens a journal to append to; one that is not there is made.
    pub(super) fn open(path: &Path) -> Result<Self, DiskError> {
        AppendLog::open(path).map(Self)
    }

    /// Appends records in one write.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        let mut lines = String::new();
        for record in records {
            lines += &encode(record).map_err(|source| DiskError {
                action: "write",
                path: self.0.path().to_owned(),
                source,
            })?;
        }
        self.pass()?;
        self.0.append(fault::cut(lines.as_bytes()))?;
        self.pass()
    }

    fn pass(&self) -> Result<(), DiskError> {
        let path = || self.0.path().to_owned();
        fault::pass().map_err(|source| DiskError { action: "write", path: path(), source })
    }

    /// Makes sure that the journal is found under its name.
    pub(super) fn in_place(&self) -> Result<(), DiskError> {
        self.0.in_place()
    }

    /// Waits until all records are on the disk.
    pub(super) fn sync(&mut self) -> Result<(), DiskError> {
        self.0.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Target;
    use super::*;

    fn opened() -> Record {
        Record::Opened {
            schema: SCHEMA,
            run: "r1".to_owned(),
            number: Some(1),
            root: "/".to_owned(),
            boot_id: Some("b1".to_owned()),
            at: Timestamp::UNIX_EPOCH.to_string(),
        }
    }

    fn intent(n: u64) -> Record {
        let change = Change {
            phase: "cpu".to_owned(),
            target: Target::setting("/proc/sys/vm/swappiness"),
            from: "60".to_owned(),
            to: "10".to_owned(),
        };
        Record::Intent { n, change }
    }

    fn applied(n: u64) -> Record {
        Record::Applied { n, read_back: "10".to_owned() }
    }

    fn resumed() -> Record {
        Record::Resumed { at: None, by: None, phases: Vec::new() }
    }

    fn text(records: &[Record]) -> String {
        records.iter().map(|record| encode(record).unwrap()).collect()
    }

    fn states(journal: &Journal) -> Vec<&State> {
        journal.entries.iter().map(|entry| &entry.state).collect()
    }

    #[test]
    fn the_example_in_the_documentation_is_a_journal() {
        let written =
            text(&[opened(), intent(0), applied(0), Record::Kept { n: 0 }, Record::Closed {}]);
        let example: Vec<&str> = include_str!("journal.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with('{'))
            .collect();
        assert_eq!(example, written.lines().collect::<Vec<_>>());
        let journal = parse(&written).unwrap();
        assert!(journal.closed);
        assert_eq!(states(&journal), [&State::Kept { read_back: "10".to_owned() }]);
        assert_eq!(journal.opened.unwrap().boot_id.as_deref(), Some("b1"));
    }

    #[test]
    fn a_torn_end_is_normal_wherever_it_tore() {
        let whole = text(&[opened(), intent(0)]);
        let last = text(&[applied(0)]);
        for cut in 1..last.len() - 1 {
            let journal = parse(&format!("{whole}{}", &last[..cut])).unwrap();
            assert_eq!(journal.integrity, Integrity::TornEnd, "cut at {cut}");
            assert_eq!(states(&journal), [&State::Intended]);
        }
        // Only the line break is missing: nothing is lost.
        let journal = parse(&format!("{whole}{}", last.trim_end())).unwrap();
        assert_eq!(journal.integrity, Integrity::Whole);
        assert!(matches!(states(&journal)[0], State::Applied { .. }));
    }

    #[test]
    fn a_damaged_middle_stops_the_reader_with_what_is_known() {
        let first = text(&[opened(), intent(0)]);
        let damaged = text(&[applied(0)]).replace("10", "11");
        let journal = parse(&format!("{first}{damaged}{}", text(&[intent(1)]))).unwrap();
        assert_eq!(journal.integrity, Integrity::Corrupt { line: 3 });
        assert_eq!(states(&journal), [&State::Intended]);
    }

    #[test]
    fn torn_lines_before_a_rollback_do_not_hide_what_it_wrote() {
        let torn = &text(&[applied(0)])[..20];
        let after = text(&[resumed(), Record::Reverted { n: 0, read_back: "60".to_owned() }]);
        let text = format!("{}{torn}\n{torn}\n{after}", text(&[opened(), intent(0)]));
        let journal = parse(&text).unwrap();
        assert_eq!(journal.integrity, Integrity::Whole);
        assert_eq!(states(&journal), [&State::Reverted { read_back: "60".to_owned() }]);
    }

    #[test]
    fn records_that_can_not_follow_are_damage() {
        for records in [
            vec![opened(), applied(0), Record::Closed {}],
            vec![opened(), intent(1), Record::Closed {}],
            vec![opened(), intent(0), opened(), Record::Closed {}],
        ] {
            let journal = parse(&text(&records)).unwrap();
            assert!(matches!(journal.integrity, Integrity::Corrupt { .. }), "{records:?}");
            assert!(!journal.closed);
        }
    }

    #[test]
    fn a_foreign_file_and_a_newer_schema_are_refused() {
        assert_eq!(parse("{\"name\":\"x\"}\n"), Err(Unfit::Foreign));
        assert_eq!(parse("some\ntext\n"), Err(Unfit::Foreign));
        let newer = "{\"record\":\"opened\",\"schema\":4,\"else\":true}\nwhatever\n";
        assert_eq!(parse(newer), Err(Unfit::Schema(4)));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        disk::replace(&path, newer.as_bytes()).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("has schema 4, and this program knows schema 3"), "{error}");
    }

    #[test]
    fn a_journal_of_the_form_before_files_were_changed_and_runs_numbered_is_read() {
        let first = "{\"record\":\"opened\",\"schema\":1,\"run\":\"r1\",\"root\":\"/\",\"boot_id\":\"b1\",\
                     \"at\":\"1970-01-01T00:00:00Z\",\"sum\":\"49e39e6c0da93b41\"}\n";
        let journal = parse(&format!("{first}{}", text(&[intent(0), applied(0)]))).unwrap();
        assert_eq!((journal.entries.len(), journal.integrity), (1, Integrity::Whole));
    }

    #[test]
    fn an_empty_journal_and_one_torn_in_its_first_line_tell_nothing() {
        let first = text(&[opened()]);
        for torn in ["", &first[..10]] {
            let journal = parse(torn).unwrap();
            assert_eq!((journal.opened, journal.entries.len()), (None, 0));
        }
    }

    #[test]
    fn the_superuser_trusts_only_what_others_could_not_have_written() {
        assert_eq!(distrust(0, 0, 0o100_644), None);
        assert_eq!(distrust(0, 0, 0o100_664), None);
        assert!(distrust(0, 100, 0o100_664).is_some());
        assert!(distrust(0, 0, 0o100_666).is_some());
        assert!(distrust(1000, 0, 0o100_644).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_changed_byte_never_passes_for_a_record(at in 0_usize..500, to in 32_u8..127) {
            let line = encode(&intent(0)).unwrap();
            let mut bytes = line.trim_end().as_bytes().to_vec();
            let at = at % bytes.len();
            proptest::prop_assume!(bytes[at] != to);
            bytes[at] = to;
            proptest::prop_assert_eq!(decode(&String::from_utf8(bytes).unwrap()), None);
        }
    }
}

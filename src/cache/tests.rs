//! The cache as a whole: what is found, what is not trusted, what survives a kill, a neighbour and a pruning.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::directory::log_path;
use super::*;
use crate::clock::Clock;
use crate::disk;
use crate::pipeline::CacheScope;

const DAY: Duration = Duration::from_hours(24);
const ALMOST: Duration = Duration::from_secs(24 * 3600 - 1);
const ORIGIN: Origin<'static> = Origin { kind: "db_pool", phase: "pool", run: "r1" };
const LIMIT: u64 = 1 << 20;

struct Place {
    dir: tempfile::TempDir,
    clock: Clock,
}

impl Place {
    fn new() -> Self {
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        Self { dir: tempfile::tempdir().unwrap(), clock }
    }

    /// The cache as a process sees it that has just started.
    fn cache(&self) -> CacheDirectory {
        CacheDirectory::new(self.root(), self.clock.clone())
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn log(&self) -> PathBuf {
        log_path(&self.root(), "db_pool")
    }

    fn content(&self) -> Vec<u8> {
        disk::read_bounded(&self.log(), LIMIT).unwrap_or_default()
    }

    fn put(&self, content: &[u8]) {
        disk::replace(&self.log(), content).unwrap();
    }

    fn remember(&self, max: usize, decision: &Value) {
        let cache = self.cache();
        cache.remember(&manifest(max), ORIGIN, decision, DAY).unwrap();
        cache.flush().unwrap();
    }

    fn look_up(&self, max: usize) -> Lookup {
        look_up(&self.cache(), max)
    }
}

fn manifest(max: usize) -> Manifest {
    Manifest::new("db_pool", 1).on(CacheScope::Host, "a").with("with", &json!({ "max": max }))
}

fn look_up(cache: &CacheDirectory, max: usize) -> Lookup {
    cache.look_up("db_pool", "pool", &manifest(max), DAY)
}

fn decision(lookup: &Lookup) -> Option<&Value> {
    match lookup {
        Lookup::Hit { entry, .. } => Some(&entry.decision),
        Lookup::Miss(_) => None,
    }
}

fn flaw(lookup: Lookup) -> String {
    match lookup {
        Lookup::Miss(MissReason::Untrusted { path, flaw }) => format!("{path}: {flaw}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_decision_is_remembered_for_its_time_and_not_longer() {
    let place = Place::new();
    assert_eq!(place.look_up(20), Lookup::Miss(MissReason::Absent));
    place.remember(20, &json!({"pool_size": 7}));
    place.clock.advance(ALMOST);
    match place.look_up(20) {
        Lookup::Hit { entry, age } => {
            assert_eq!(entry.decision, json!({"pool_size": 7}));
            assert_eq!((entry.run.as_str(), entry.phase.as_str(), age), ("r1", "pool", ALMOST));
        }
        other @ Lookup::Miss(_) => panic!("{other:?}"),
    }
    place.clock.advance(Duration::from_secs(1));
    let looked = place.look_up(20);
    assert!(matches!(looked, Lookup::Miss(MissReason::Expired(_))), "{looked:?}");
}

#[test]
fn a_shorter_time_that_is_asked_for_later_counts_and_a_longer_one_does_not() {
    let place = Place::new();
    place.remember(20, &json!(7));
    place.clock.advance(Duration::from_hours(1));
    let asked = |ttl| place.cache().look_up("db_pool", "pool", &manifest(20), ttl);
    assert!(matches!(asked(Duration::from_hours(1)), Lookup::Miss(MissReason::Expired(_))));
    assert!(matches!(asked(Duration::from_hours(2)), Lookup::Hit { .. }));
    place.clock.advance(DAY);
    assert!(matches!(asked(DAY * 30), Lookup::Miss(MissReason::Expired(_))));
}

#[test]
fn a_decision_is_found_at_once_and_on_the_disk_after_a_flush() {
    let place = Place::new();
    let cache = place.cache();
    cache.remember(&manifest(20), ORIGIN, &json!(7), DAY).unwrap();
    assert_eq!(decision(&look_up(&cache, 20)), Some(&json!(7)));
    assert_eq!(place.content(), b"", "nothing is written before");
    cache.flush().unwrap();
    let written = place.content();
    cache.flush().unwrap();
    assert_eq!(place.content(), written, "and nothing twice");
    assert_eq!(decision(&place.look_up(20)), Some(&json!(7)));
}

#[test]
fn who_may_only_look_writes_nothing() {
    let place = Place::new();
    let cache = place.cache().read_only();
    cache.remember(&manifest(20), ORIGIN, &json!(7), DAY).unwrap();
    cache.flush().unwrap();
    assert_eq!(look_up(&cache, 20), Lookup::Miss(MissReason::Absent));
    assert!(!place.root().exists());
}

#[test]
fn what_could_not_be_written_is_kept_and_written_later() {
    let place = Place::new();
    disk::replace(&place.root(), b"a file in its place").unwrap();
    let cache = place.cache();
    cache.remember(&manifest(20), ORIGIN, &json!(7), DAY).unwrap();
    cache.flush().unwrap_err();
    assert_eq!(decision(&look_up(&cache, 20)), Some(&json!(7)), "it holds all the same");
    disk::remove(&place.root()).unwrap();
    cache.flush().unwrap();
    assert_eq!(decision(&place.look_up(20)), Some(&json!(7)));
}

#[test]
fn a_miss_tells_which_part_changed() {
    let place = Place::new();
    place.remember(20, &json!(1));
    place.remember(25, &json!(1));
    let Lookup::Miss(reason) = place.look_up(30) else { panic!("a miss") };
    assert_eq!(reason.to_string(), "with.max changed from 25 to 30", "against the latest");
}

#[test]
fn the_last_line_of_a_key_counts() {
    let place = Place::new();
    for size in 1..=3 {
        place.remember(20, &json!(size));
    }
    assert_eq!(decision(&place.look_up(20)), Some(&json!(3)));
}

#[test]
fn a_decision_of_another_host_is_used_only_if_its_scope_is_class() {
    let place = Place::new();
    let of = |scope, host| Manifest::new("db_pool", 1).on(scope, host).with("with", &json!(1));
    let cache = place.cache();
    cache.remember(&of(CacheScope::Host, "a"), ORIGIN, &json!(1), DAY).unwrap();
    cache.flush().unwrap();
    let asked = |scope| place.cache().look_up("db_pool", "pool", &of(scope, "b"), DAY);
    let Lookup::Miss(reason) = asked(CacheScope::Host) else { panic!("a miss") };
    assert_eq!(reason.to_string(), "host changed from \"a\" to \"b\"");
    cache.remember(&of(CacheScope::Class, "a"), ORIGIN, &json!(2), DAY).unwrap();
    cache.flush().unwrap();
    assert_eq!(decision(&asked(CacheScope::Class)), Some(&json!(2)));
    assert_eq!(decision(&asked(CacheScope::Host)), None);
}

#[test]
fn a_long_text_that_has_changed_is_cut_as_a_person_reads_it() {
    let place = Place::new();
    let script = |level: u32| format!("echo \"level {level}\"\nexit \"$?\" # {}", "x".repeat(60));
    let of = |level| Manifest::new("db_pool", 1).with("script", &json!(script(level)));
    let cache = place.cache();
    cache.remember(&of(1), ORIGIN, &json!(1), DAY).unwrap();
    let Lookup::Miss(reason) = cache.look_up("db_pool", "pool", &of(2), DAY) else {
        panic!("a miss")
    };
    let rest = "exit \"$?\" # xxxxxxxxxxxxx";
    let wanted = format!(
        "script changed from \"echo \"level 1\" {rest}..\" to \"echo \"level 2\" {rest}..\""
    );
    assert_eq!(reason.to_string(), wanted);
}

#[test]
fn a_line_that_names_another_host_than_its_key_is_not_trusted() {
    let place = Place::new();
    let (mine, key) = (manifest(20), manifest(20).key());
    place.remember(20, &json!(7));
    let text =
        String::from_utf8(place.content()).unwrap().replace("\"host\",\"a\"", "\"host\",\"b\"");
    let columns: Vec<&str> = text.trim_end().split('\t').collect();
    let digest = blake3::keyed_hash(&key.0, columns[2].as_bytes()).to_hex();
    place.put(format!("{digest}\t{}\t{}\t{}\n", columns[1], columns[2], columns[3]).as_bytes());
    let told = flaw(place.cache().look_up("db_pool", "pool", &mine, DAY));
    assert!(told.contains("decided on another host"), "{told}");
}

#[test]
fn a_line_that_is_not_whole_or_not_ours_is_a_miss_that_says_why() {
    let place = Place::new();
    place.remember(20, &json!({"pool_size": 7}));
    let whole = String::from_utf8(place.content()).unwrap();
    let other = {
        let place = Place::new();
        place.remember(30, &json!({"pool_size": 7}));
        String::from_utf8(place.content()).unwrap()
    };
    let columns: Vec<&str> = whole.split('\t').collect();
    let theirs: Vec<&str> = other.split('\t').collect();
    let moved = [theirs[0], columns[1], theirs[2], theirs[3]].join("\t");
    let rekeyed = whole.replacen(&columns[1][40..], &"0".repeat(24), 1);
    let before = [columns[0], columns[1], &columns[2].replacen('2', "1", 1), columns[3]].join("\t");
    for (content, told) in [
        (&whole[..whole.len() / 2 + 60], ":1: "),
        (&whole[..whole.len() - 3], ":1: it was cut off"),
        (&whole.replace(":7", ":9"), ":1: its digest does not match"),
        (&moved, ":1: its digest does not match"),
        (&rekeyed, ":1: its digest does not match"),
        (&before, ":1: its digest does not match"),
        (&whole[..100], ": 1 of its lines can't be read"),
        ("{", ": 1 of its lines can't be read"),
        ("\n\u{0}\n", ": 2 of its lines can't be read"),
    ] {
        place.put(content.as_bytes());
        let found = flaw(place.look_up(20));
        assert!(found.contains(&format!("db_pool.log{told}")), "{found}");
    }
    place.put(b"");
    assert_eq!(place.look_up(20), Lookup::Miss(MissReason::Absent));
}

#[test]
fn a_decision_of_the_future_is_not_trusted() {
    let place = Place::new();
    place.remember(20, &json!(7));
    let early = Clock::manual("2026-11-23T11:00:00Z".parse().unwrap());
    let told = flaw(look_up(&CacheDirectory::new(place.root(), early), 20));
    assert!(told.contains("in the future, at 2026-11-23T12:00:00Z"), "{told}");
}

#[test]
fn damage_hides_neither_older_nor_other_decisions_and_is_set_aside_in_time() {
    let place = Place::new();
    place.remember(20, &json!(1));
    place.remember(30, &json!(2));
    let whole = place.content();
    let newest = String::from_utf8(whole.clone()).unwrap();
    let damaged = newest.lines().next().unwrap().replace(",1,", ",9,");
    place.put(&[b"dirt\n", &whole[..], damaged.as_bytes(), b"\n\xff\xfe\n"].concat());
    assert_eq!(decision(&place.look_up(20)), Some(&json!(1)), "the older line still counts");
    assert_eq!(decision(&place.look_up(30)), Some(&json!(2)));
    assert_eq!(place.cache().list().unwrap().distrusted, [(place.log(), 3)]);

    // One more line of a known key, and more than half of the log is waste.
    let cache = place.cache();
    for max in [20, 30] {
        let _ = look_up(&cache, max);
    }
    for _ in 0..2 {
        cache.remember(&manifest(20), ORIGIN, &json!(3), DAY).unwrap();
    }
    cache.flush().unwrap();
    let lines = place.content().split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(lines, 2, "one line a decision is left");
    let bad = disk::read_bounded(&place.root().join("db_pool.bad"), LIMIT).unwrap();
    assert!(bad.starts_with(b"dirt\n\xff\xfe\n") && bad.ends_with(b"}\n"), "{bad:?}");
    assert_eq!(decision(&place.look_up(20)), Some(&json!(3)));
    assert_eq!(decision(&place.look_up(30)), Some(&json!(2)));
}

#[test]
fn what_cannot_be_read_is_a_miss_and_never_fatal() {
    let place = Place::new();
    disk::create_dir_all(&place.log()).unwrap();
    let told = flaw(place.look_up(20));
    assert!(told.contains("db_pool.log: it can't be read"), "{told}");
}

#[test]
fn processes_that_share_a_folder_lose_nothing_of_each_other() {
    let place = Place::new();
    let (root, clock) = (place.root(), place.clock.clone());
    // Each has its own cache, as a process has; a lock of one keeps out the others just as well.
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let (root, clock) = (root.clone(), clock.clone());
            scope.spawn(move || {
                let cache = CacheDirectory::new(root, clock);
                for round in 0..25 {
                    // The first is remembered again and again, so that logs are made smaller meanwhile.
                    cache.remember(&manifest(0), ORIGIN, &json!(0), DAY).unwrap();
                    let max = 1 + writer * 25 + round;
                    cache.remember(&manifest(max), ORIGIN, &json!(max), DAY).unwrap();
                    cache.flush().unwrap();
                }
            });
        }
    });
    let cache = place.cache();
    for max in 0..=100 {
        assert_eq!(decision(&look_up(&cache, max)), Some(&json!(max)));
    }
    assert_eq!(cache.list().unwrap().distrusted, []);
}

fn keys(place: &Place) -> Vec<Value> {
    place.cache().list().unwrap().entries.into_iter().map(|one| one.entry.decision).collect()
}

#[test]
fn pruning_takes_what_was_asked_for_and_tells_it() {
    let place = Place::new();
    for max in 1..=4 {
        place.remember(max, &json!(max));
        place.clock.advance(Duration::from_hours(10));
    }
    place.remember(4, &json!(4));
    disk::replace(&place.root().join("db_pool.bad"), b"of an earlier pruning\n").unwrap();
    place.put(&[&place.content()[..], b"dirt\n"].concat());

    let nothing = place.cache().prune(Pruning::default()).unwrap()["db_pool"];
    assert_eq!((nothing.superseded, nothing.set_aside, nothing.kept), (1, 1, 4));
    let bad = disk::read_text(&place.root().join("db_pool.bad"), LIMIT).unwrap();
    assert_eq!(bad, "dirt\n");

    let expired = Pruning { expired: true, ..Pruning::default() };
    let expired = place.cache().prune(expired).unwrap()["db_pool"];
    assert_eq!((expired.expired, expired.kept), (2, 2), "those of 40 and 30 hours ago");
    let old = Pruning { older_than: Some(Duration::from_hours(15)), ..Pruning::default() };
    let old = place.cache().prune(old).unwrap()["db_pool"];
    assert_eq!((old.old, old.kept), (1, 1));
    assert_eq!(keys(&place), [json!(4)]);
    assert!(old.bytes_now < old.bytes_before);
}

#[test]
fn pruning_by_size_takes_the_oldest_of_all_kinds() {
    let place = Place::new();
    let cache = place.cache();
    for (kind, max) in [("a", 1), ("b", 2), ("a", 3), ("b", 4)] {
        let manifest = Manifest::new(kind, 1).with("with", &json!(max));
        cache.remember(&manifest, Origin { kind, ..ORIGIN }, &json!(max), DAY).unwrap();
        place.clock.advance(Duration::from_secs(1));
    }
    cache.flush().unwrap();
    let each = cache.list().unwrap().entries[0].bytes;
    let pruned = cache.prune(Pruning { max_size: Some(each * 2 + 1), ..Pruning::default() });
    let pruned = pruned.unwrap();
    assert_eq!((pruned["a"].oversize, pruned["b"].oversize), (1, 1));
    assert_eq!(keys(&place), [json!(3), json!(4)]);
    cache.prune(Pruning { max_size: Some(0), ..Pruning::default() }).unwrap();
    assert_eq!(disk::list(&place.root()).unwrap(), ["lock"]);
}

#[test]
fn clearing_forgets_one_kind_or_all() {
    let place = Place::new();
    place.cache().prune(Pruning::default()).unwrap();
    assert_eq!(place.cache().clear(None).unwrap(), 0);
    assert!(!place.root().exists(), "nothing is made where there is nothing to remove");
    place.remember(20, &json!(1));
    let cache = place.cache();
    let tune = Origin { kind: "tune", ..ORIGIN };
    cache.remember(&Manifest::new("tune", 1), tune, &json!(1), DAY).unwrap();
    cache.flush().unwrap();
    assert_eq!(cache.list().unwrap().entries.len(), 2);
    assert_eq!(cache.clear(Some("tune")).unwrap(), 1);
    assert_eq!(cache.clear(Some("../cache/db_pool")).unwrap(), 0);
    assert_eq!(cache.list().unwrap().entries.len(), 1);
    assert_eq!(cache.clear(None).unwrap(), 1);
    assert_eq!(cache.list().unwrap(), Listing::default());
}

#[test]
fn a_cache_that_listens_keeps_what_it_was_asked_and_its_answers() {
    let place = Place::new();
    place.remember(20, &json!(1));
    let cache = place.cache().listening();
    let _ = (look_up(&cache, 20), look_up(&cache.clone(), 30));
    let asked = cache.asked();
    assert!(matches!(asked[0].answer, Lookup::Hit { .. }));
    assert_eq!(asked[1].manifest, manifest(30));
    let (entry, manifest) = cache.named("db_pool", &asked[0].manifest.key()).unwrap();
    assert_eq!((entry.decision, manifest.differences(&asked[0].manifest)), (json!(1), vec![]));
}

/// The decisions that a log of this content holds, of those that were remembered.
fn found(root: &Path, clock: &Clock, most: usize) -> Vec<usize> {
    let cache = CacheDirectory::new(root.to_owned(), clock.clone());
    (0..most)
        .filter(|max| match look_up(&cache, *max) {
            Lookup::Hit { entry, .. } => {
                assert_eq!(entry.decision, json!({ "max": max }), "a hit is the decision itself");
                true
            }
            Lookup::Miss(_) => false,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_kill_at_any_byte_of_the_log_leaves_every_whole_decision_and_nothing_else(
        most in 1_usize..6,
        cut in 0.0..1.0_f64,
        batch in 1_usize..4,
    ) {
        let place = Place::new();
        let cache = place.cache();
        for max in 0..most {
            cache.remember(&manifest(max), ORIGIN, &json!({ "max": max }), DAY).unwrap();
            if max % batch == 0 {
                cache.flush().unwrap();
            }
        }
        cache.flush().unwrap();
        let content = place.content();
        let cut = (content.len() as f64 * cut) as usize;
        // A line is whole as soon as its last byte is there, be it ended or not.
        let mut ends = Vec::new();
        for (at, byte) in content.iter().enumerate() {
            if *byte == b'\n' {
                ends.push(at);
            }
        }
        let whole: Vec<usize> = (0..most).filter(|line| ends[*line] <= cut).collect();
        place.put(&content[..cut]);
        prop_assert_eq!(found(&place.root(), &place.clock, most), whole.clone());

        // The next process goes on behind the torn line.
        place.remember(most, &json!({ "max": most }));
        let expected: Vec<usize> = whole.into_iter().chain([most]).collect();
        prop_assert_eq!(found(&place.root(), &place.clock, most + 1), expected);
    }

    #[test]
    fn no_damage_of_a_log_makes_a_decision_that_was_never_made(
        at in 0.0..1.0_f64,
        bytes in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let place = Place::new();
        for max in 0..3 {
            place.remember(max, &json!({ "max": max }));
        }
        let mut content = place.content();
        let at = (content.len() as f64 * at) as usize;
        let end = (at + bytes.len()).min(content.len());
        content.splice(at..end, bytes);
        place.put(&content);
        let found = found(&place.root(), &place.clock, 3);
        prop_assert!(found.len() <= 3);
        let cache = place.cache();
        cache.prune(Pruning::default()).unwrap();
        prop_assert_eq!(self::found(&place.root(), &place.clock, 3), found);
    }
}

//! Who may import whom, held as a table; and the habits of the house that a compiler does not check.
//!
//! `source` reads Rust as far as needed: it blanks comments, texts and test code, and lists the paths that
//! are left. `rules` is the table and what is checked by it. Here, the rules meet the real sources, and made-up ones
//! that break each rule once.
#![expect(clippy::unwrap_used, reason = "what can't be is a failed test")]

mod rules;
mod source;

use std::path::Path;

use rules::{Violation, check, check_bans};
use source::SourceFile;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn told(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sources_keep_to_the_table_of_imports_and_the_habits_of_the_house() {
    let files = source::read_tree(&root().join("src"));
    assert!(files.len() > 80, "only {} files were found", files.len());
    let violations = check(&files);
    assert!(violations.is_empty(), "\n{}", told(&violations));
}

#[test]
fn the_bans_of_clippy_toml_still_hold() {
    let text = std::fs::read_to_string(root().join("clippy.toml")).unwrap();
    let violations = check_bans(&text);
    assert!(violations.is_empty(), "\n{}", told(&violations));
    let without = text.replace("std::process::Command::new", "std::process::exit");
    assert_eq!(check_bans(&without).len(), 1, "a ban that is gone is noticed");
}

#[test]
fn no_test_is_switched_off() {
    let mut files = source::read_tree(&root().join("tests"));
    files.extend(source::read_tree(&root().join("src")));
    let off: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let lines = file.without_texts.lines().enumerate();
            lines
                .filter(|(_, line)| line.trim_start().starts_with("#[ignore"))
                .map(|(at, _)| format!("{}:{}", file.path, at + 1))
        })
        .collect();
    assert!(off.is_empty(), "tests are switched off at {off:?}");
}

/// A made-up file and the one violation that is to be found in it; none where it is as it should be.
struct Made {
    path: &'static str,
    text: &'static str,
    found: Option<(usize, &'static str)>,
}

const fn wrong(path: &'static str, text: &'static str, line: usize, words: &'static str) -> Made {
    Made { path, text, found: Some((line, words)) }
}

const fn right(path: &'static str, text: &'static str) -> Made {
    Made { path, text, found: None }
}

const MADE: [Made; 29] = [
    wrong("host/a.rs", "//! A.\nuse crate::change::Change;\n", 2, "host may not import change"),
    right("change/a.rs", "//! A.\nuse crate::host::Facts;\n"),
    wrong(
        "measure/a.rs",
        "//! A.\nuse crate::tuner::trial::Trial;\n",
        2,
        "measure may not import tuner",
    ),
    wrong("unit.rs", "//! A.\nfn a() { crate::event::now(); }\n", 2, "unit may not import event"),
    wrong(
        "engine/a.rs",
        "//! A.\nuse crate::{\n    cache::Key,\n    report::fold,\n};\n",
        4,
        "engine may not import report",
    ),
    wrong(
        "engine/a.rs",
        "//! A.\nfn a() -> super::super::cli::ExitCode {}\n",
        2,
        "engine may not import cli",
    ),
    right("engine/a.rs", "//! A.\nuse super::super::plan::Plan;\nuse super::run;\n"),
    right("event/a.rs", "//! A.\nuse crate::measure::model::Measurement;\n"),
    wrong(
        "event/a.rs",
        "//! A.\nuse crate::measure::load::Load;\n",
        2,
        "event may not import measure::load",
    ),
    right(
        "event/a.rs",
        "//! A.\nuse crate::tuner::trial::Trial;\nuse crate::change::model::Change;\n",
    ),
    wrong("report/a.rs", "//! A.\nuse crate::store::Store;\n", 2, "report may not import store"),
    wrong("report/a.rs", "//! A.\nuse crate::host::Facts;\n", 2, "report may not import host"),
    wrong(
        "phase/kind/a.rs",
        "//! A.\nuse super::b::With;\n",
        2,
        "a kind may not know another kind",
    ),
    wrong(
        "phase/kind/a/c.rs",
        "//! A.\nuse crate::phase::kind::Tune;\n",
        2,
        "a kind may not know another kind",
    ),
    right("phase/kind/a/c.rs", "//! A.\nuse super::With;\nuse crate::phase::Kind;\n"),
    wrong("phase/kind/a.rs", "//! A.\nuse crate::plan::Plan;\n", 2, "phase may not import plan"),
    wrong(
        "phase/kind/a.rs",
        "//! A.\nuse crate::phase::Registry;\n",
        2,
        "a kind may not know the registry",
    ),
    wrong("phase/a.rs", "//! A.\nuse crate::cache::Key;\n", 2, "phase may not import cache"),
    wrong("cli/utils.rs", "//! A.\n", 1, "`utils` says nothing"),
    wrong("cli/common/mod.rs", "//! A.\n", 1, "`common` says nothing"),
    wrong("cli/a.rs", "use crate::unit::Span;\n", 1, "does not say what it is for"),
    wrong("novelty.rs", "//! A.\n", 1, "`novelty` is not in the table"),
    right("host/a.rs", "//! Like `crate::cli`.\n// use crate::cli::A;\n/* crate::cli::B */\n"),
    right(
        "host/a.rs",
        "//! A.\nconst A: &str = \"crate::cli\";\nconst B: &str = r#\"crate::cli \" \"#;\n",
    ),
    right(
        "host/a.rs",
        "//! A.\nfn a<'a>(_: &'a str) -> char { '\"' }\n#[cfg(test)]\nmod tests {\n    use crate::cli::A;\n}\n",
    ),
    wrong(
        "host/a.rs",
        "//! A.\n#[cfg(test)]\nuse crate::cli::A;\nuse crate::cli::B;\n",
        4,
        "host may not import cli",
    ),
    right("host/a.rs", "//! A.\n#[cfg(test)]\nmod inside;\n"),
    wrong("powd/a.rs", "//! A.\nuse crate::host;\n", 2, "powd may not import host"),
    right("powd/a.rs", "//! A.\ncrate::with_pool!(a, b => c);\n"),
];

#[test]
fn each_rule_finds_what_breaks_it_and_nothing_else() {
    for made in &MADE {
        let file = SourceFile::new(made.path, made.text);
        let found = check(std::slice::from_ref(&file));
        match (made.found, &found[..]) {
            (None, []) => {}
            (Some((line, words)), [one]) => {
                assert_eq!(one.line, line, "{}: {one}", made.path);
                assert!(one.told.contains(words), "{words:?} is not in {one}");
            }
            (_, found) => panic!("{}:\n{}\nfound {}", made.path, made.text, told(found)),
        }
    }
}

#[test]
fn a_long_file_and_a_cycle_are_found() {
    let long = format!("//! A.\n{}", "fn a() {}\n".repeat(500));
    let found = check(&[SourceFile::new("host/a.rs", &long)]);
    assert!(told(&found).contains("501 lines"), "{}", told(&found));
    let tested = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(500));
    assert!(check(&[SourceFile::new("host/a.rs", &tested)]).is_empty());

    let circle = [
        SourceFile::new("disk.rs", "//! A.\nuse crate::clock::Clock;\n"),
        SourceFile::new("clock.rs", "//! A.\nuse crate::unit::Span;\n"),
        SourceFile::new("unit.rs", "//! A.\nuse crate::disk::read;\n"),
    ];
    let found = check(&circle);
    assert_eq!(found.len(), 1, "{}", told(&found));
    assert!(found[0].told.contains("clock -> unit -> disk -> clock"), "{}", found[0]);
}

#[test]
fn files_that_only_tests_see_are_left_out() {
    let files = [
        SourceFile::new("host/mod.rs", "//! A.\n#[cfg(test)]\nmod tree;\n"),
        SourceFile::new("host/tree.rs", "use crate::cli::A;\n"),
    ];
    assert!(check(&files).is_empty());
}

//! The table of "Layout and who may import whom" in docs/design.md, and the checks by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::SourceFile;

/// What breaks a rule, and where.
#[derive(Debug)]
pub struct Violation {
    pub file: String,
    pub line: usize,
    pub told: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.told)
    }
}

const GROUND: &[&str] = &[
    "diagnostic",
    "unit",
    "disk",
    "fault",
    "clock",
    "secret",
    "shown",
    "shutdown",
    "supervisor",
    "trust",
    "database",
];
const ISLANDS: &[&str] = &["host", "change", "measure", "tuner", "monitor", "analytics", "powd"];
const VOCABULARY: &[&str] = &["event", "pipeline"];
const DATA: &[&str] = &["change::model", "measure::model", "tuner::trial"];

/// Each module of the crate and what it may import beside itself and the ground; `a::b` is `b` of `a` and no more.
const TABLE: &[(&str, &[&[&str]])] = &[
    ("diagnostic", &[]),
    ("unit", &[]),
    ("disk", &[]),
    ("fault", &[]),
    ("clock", &[]),
    ("secret", &[]),
    ("shown", &[]),
    ("shutdown", &[]),
    ("supervisor", &[]),
    ("trust", &[]),
    ("database", &[]),
    ("host", &[]),
    ("change", &[&["host"]]),
    ("measure", &[]),
    ("tuner", &[]),
    ("monitor", &[&["host"]]),
    ("analytics", &[&["monitor::sample"]]),
    ("powd", &[]),
    ("event", &[DATA]),
    ("pipeline", &[&["event"]]),
    ("store", &[ISLANDS, VOCABULARY]),
    ("cache", &[ISLANDS, VOCABULARY]),
    ("phase", &[ISLANDS, VOCABULARY]),
    ("plan", &[VOCABULARY, &["phase"]]),
    ("engine", &[ISLANDS, VOCABULARY, &["cache", "store", "phase", "plan"]]),
    ("report", &[&["event", "measure"], DATA]),
    ("dashboard", &[&["store", "analytics", "event"]]),
    (
        "cli",
        &[
            ISLANDS,
            VOCABULARY,
            &["cache", "store", "phase", "plan", "engine", "report", "dashboard"],
        ],
    ),
];

/// Macros stand at the root of the crate, wherever they are written.
const MACROS: &[(&str, &str)] = &[("with_pool", "database")];

const SAY_NOTHING: &[&str] = &["utils", "util", "helpers", "helper", "common", "imp", "misc"];

const MOST_LINES: usize = 500;

const BANS: &[&str] = &[
    "std::fs::write",
    "std::fs::rename",
    "std::fs::remove_file",
    "std::fs::remove_dir_all",
    "std::fs::create_dir_all",
    "std::fs::copy",
    "std::fs::set_permissions",
    "std::fs::File::create",
    "std::fs::OpenOptions::new",
    "std::process::Command::new",
    "tokio::process::Command::new",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio::time::Instant::now",
    "jiff::Timestamp::now",
    "std::collections::hash_map::DefaultHasher",
];

/// Everything that breaks a rule.
pub fn check(files: &[SourceFile]) -> Vec<Violation> {
    let only_tests = only_tests(files);
    let product: Vec<&SourceFile> = files
        .iter()
        .filter(|file| !only_tests.iter().any(|module| file.module().starts_with(module)))
        .collect();
    let mut found = Vec::new();
    let mut graph: BTreeMap<String, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for file in product {
        found.extend(habits(file));
        let module = file.module();
        let Some(top) = module.first().filter(|_| file.path != "lib.rs") else { continue };
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| name == top) else {
            let told = format!("`{top}` is not in the table of imports");
            found.push(Violation { file: file.path.clone(), line: 1, told });
            continue;
        };
        for (line, path) in file.paths() {
            let Some(path) = known(path) else { continue };
            let at = |told| Violation { file: file.path.clone(), line, told };
            if path[0] == *top {
                found.extend(kinds(&module, &path).map(at));
                continue;
            }
            let place = (file.path.clone(), line);
            graph.entry(top.clone()).or_default().entry(path[0].clone()).or_insert(place);
            found.extend(imports(top, allowed, &path).map(at));
        }
    }
    if found.is_empty() {
        found.extend(cycle(&graph));
    }
    found
}

/// Modules that are declared under `#[cfg(test)]`.
fn only_tests(files: &[SourceFile]) -> Vec<Vec<String>> {
    let of = |file: &SourceFile| {
        let parent = file.module();
        let child = |name: &String| [parent.clone(), vec![name.clone()]].concat();
        file.test_modules.iter().map(child).collect::<Vec<_>>()
    };
    files.iter().flat_map(of).collect()
}

/// The path with the module that it leads to in front; none when it leads to no module.
fn known(mut path: Vec<String>) -> Option<Vec<String>> {
    let first = path.first()?.clone();
    if let Some((_, home)) = MACROS.iter().find(|(name, _)| *name == first) {
        path.insert(0, (*home).to_owned());
    }
    TABLE.iter().any(|(name, _)| *name == path[0]).then_some(path)
}

fn imports(top: &str, allowed: &[&[&str]], path: &[String]) -> Option<String> {
    let two = path.get(1).map(|second| format!("{}::{second}", path[0]));
    let mut may = GROUND.iter().chain(allowed.iter().copied().flatten());
    if may.any(|one| *one == path[0] || Some(*one) == two.as_deref()) {
        return None;
    }
    let is_part = allowed
        .iter()
        .copied()
        .flatten()
        .any(|one| one.split_once("::").is_some_and(|(module, _)| module == path[0]));
    let told = two.filter(|_| is_part).unwrap_or_else(|| path[0].clone());
    Some(format!("{top} may not import {told}"))
}

/// Inside `phase`: a kind knows the contract, and neither another kind nor the registry.
fn kinds(module: &[String], path: &[String]) -> Option<String> {
    let ["phase", "kind", own, ..] = module.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        return None;
    };
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["phase", "kind", other, ..] if other != own => {
            Some(format!("a kind may not know another kind: {}", path.join("::")))
        }
        ["phase", "registry" | "Registry" | "standard", ..] => {
            Some("a kind may not know the registry".to_owned())
        }
        _ => None,
    }
}

fn habits(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut tell = |told: String| found.push(Violation { file: file.path.clone(), line: 1, told });
    for part in file.module() {
        if SAY_NOTHING.contains(&part.as_str()) {
            tell(format!("the name `{part}` says nothing of what the module is for"));
        }
    }
    if !file.text.starts_with("//! ") {
        tell("the file does not say what it is for: it must begin with `//!`".to_owned());
    }
    // What is test code was blanked, and a blank line is no line of code; comments count as written.
    let lines = file
        .text
        .lines()
        .zip(file.code.lines().zip(file.without_texts.lines()))
        .filter(|(_, (code, all))| code == all)
        .count();
    if lines > MOST_LINES {
        tell(format!("{lines} lines are too many for one file: {MOST_LINES} at most"));
    }
    found
}

/// The first cycle between modules, as the path that closes it.
fn cycle(graph: &BTreeMap<String, BTreeMap<String, (String, usize)>>) -> Option<Violation> {
    for start in graph.keys() {
        let mut open = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while let Some(path) = open.pop() {
            let last = &path[path.len() - 1];
            for (next, (file, line)) in graph.get(last).into_iter().flatten() {
                if next == start {
                    let told = format!(
                        "modules import each other in a circle: {} -> {start}",
                        path.join(" -> ")
                    );
                    return Some(Violation { file: file.clone(), line: *line, told });
                }
                if seen.insert(next.clone()) {
                    open.push([path.clone(), vec![next.clone()]].concat());
                }
            }
        }
    }
    None
}

/// The bans that are gone from clippy.toml.
pub fn check_bans(text: &str) -> Vec<Violation> {
    let gone = |ban: &&&str| !text.contains(&format!("{{ path = \"{ban}\""));
    BANS.iter()
        .filter(gone)
        .map(|ban| Violation {
            file: "clippy.toml".to_owned(),
            line: 1,
            told: format!("`{ban}` is not banned any more"),
        })
        .collect()
}

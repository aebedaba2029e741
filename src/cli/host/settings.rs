//! `trueup host --settings`: the settings that are known by name, as they are on this host.
//!
//! Whether one can be set is asked of the system, not tried: nothing is written.

use std::fmt::Write as _;

use serde::Serialize;

use super::sheet::wrap;
use crate::host::catalog::{Instance, Known, Scope};
use crate::host::setting::{self, Observed, Writability};
use crate::host::{Facts, Sysroot};
use crate::shown;

/// A setting with what this host has of it.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    takes: String,
    /// All of these settings are the kernel's own, so that a reboot takes them back.
    lasts: &'static str,
    files: Vec<File>,
    /// Why this host has no place for it.
    absent: Option<String>,
}

/// One file of a setting.
#[derive(Debug, Serialize)]
struct File {
    path: String,
    value: Option<String>,
    takes: String,
    writable: bool,
    /// What keeps it from being read or set, and what would be needed.
    obstacle: Option<String>,
}

/// All settings as they are below `root`.
pub(super) fn list(root: &Sysroot) -> Vec<Listed> {
    let facts = Facts::read(root);
    let scope = Scope { root, facts: &facts, cpus: None };
    Known::all().iter().map(|known| listed(known, &scope)).collect()
}

fn listed(known: &'static Known, scope: &Scope<'_>) -> Listed {
    let (instances, absent) = match known.instances(scope) {
        Ok(instances) => (instances, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let takes = instances.first().map_or_else(|| known.valid(), |one| one.setting.valid.clone());
    let files: Vec<File> = instances.iter().map(|instance| file(scope.root, instance)).collect();
    // A kernel that does not have it has none of its files.
    let missing = files.iter().all(|file| file.value.is_none() && !scope.root.exists(&file.path));
    let reason = files.first().filter(|_| missing).and_then(|file| file.obstacle.clone());
    Listed {
        name: known.name,
        unit: known.unit,
        meaning: known.meaning,
        takes: takes.to_string(),
        lasts: "until_reboot",
        absent: absent.or(reason),
        files: if missing { Vec::new() } else { files },
    }
}

fn file(root: &Sysroot, instance: &Instance) -> File {
    let setting = &instance.setting;
    let (value, unread) = match setting::observe(root, setting) {
        Observed::Value(value) => (Some(instance.written(&value)), None),
        Observed::Absent(reason) | Observed::Unreadable(reason) => (None, Some(reason)),
    };
    let refused = match setting::writable(root, setting) {
        Writability::Yes => None,
        Writability::No(reason) => Some(reason),
    };
    File {
        path: setting.path.clone(),
        value,
        takes: setting.valid.to_string(),
        writable: refused.is_none(),
        obstacle: unread.or(refused),
    }
}

/// The list for a terminal of `width` columns.
pub(super) fn text(listed: &[Listed], width: usize) -> String {
    let width = width.min(110);
    let mut text = String::from("Settings of the kernel. They last until the next boot.\n");
    let (here, absent): (Vec<&Listed>, Vec<&Listed>) =
        listed.iter().partition(|one| one.absent.is_none());
    for one in &here {
        told(one, width, &mut text);
    }
    if !absent.is_empty() {
        text.push_str("\nNot on this host:\n");
    }
    for one in absent {
        paragraph(one.name, 2, width, &mut text);
        paragraph(one.absent.as_deref().unwrap_or_default(), 6, width, &mut text);
    }
    text
}

fn told(one: &Listed, width: usize, text: &mut String) {
    text.push('\n');
    // A large machine has one for each CPU, most of them alike.
    let mut alike: Vec<(&File, usize)> = Vec::new();
    for file in &one.files {
        match alike.iter_mut().find(|(first, _)| first.value == file.value) {
            Some((_, count)) => *count += 1,
            None => alike.push((file, 1)),
        }
    }
    for (file, count) in &alike {
        let value = file.value.as_deref().unwrap_or("not readable");
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let value = shown::in_line(&value);
        let begin = format!("{} = {value} {}", one.name, one.unit);
        let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let path = format!("{}{more}", shown::in_line(&file.path));
        let room = width.saturating_sub(begin.trim_end().chars().count());
        if room >= path.chars().count() + 2 {
            let _ = writeln!(text, "{}{path:>room$}", begin.trim_end());
        } else {
            let _ = writeln!(text, "{}\n{path:>width$}", begin.trim_end());
        }
    }
    paragraph(one.meaning, 4, width, text);
    paragraph(&format!("takes {}", one.takes), 4, width, text);
    let mut obstacles: Vec<&str> = Vec::new();
    for file in &one.files {
        if let Some(obstacle) = &file.obstacle {
            let own = obstacle.strip_prefix(&*file.path).unwrap_or(obstacle).trim();
            if !obstacles.contains(&own) {
                obstacles.push(own);
            }
        }
    }
    for obstacle in obstacles {
        paragraph(&format!("can't be set here: {obstacle}"), 4, width, text);
    }
}

fn paragraph(words: &str, indent: usize, width: usize, text: &mut String) {
    for line in wrap(&shown::in_line(words), width.saturating_sub(indent).max(20)) {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}

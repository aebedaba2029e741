//! The I/O priority of threads, as the program `ionice` of util-linux tells it: the kernel has no file for it, and there
//! is no safe way to ask it directly.

use std::time::Duration;

use super::attribute::IoPriority;
use crate::host::process::{ProcessSpec, run_blocking};

/// How many threads are asked for, or set, by one call.
const AT_ONCE: usize = 500;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Far more than it prints about so many threads.
const OUTPUT_LIMIT: usize = 64 << 10;

/// What keeps a call from being done.
enum Unheard {
    /// One of the threads has ended meanwhile.
    Ended,
    /// The reason.
    Failed(String),
}

/// The I/O priorities of these threads, but for those that have ended.
///
/// # Errors
/// When the program does not tell.
pub fn of_threads(threads: &[u32]) -> Result<Vec<(u32, IoPriority)>, String> {
    let mut found = Vec::with_capacity(threads.len());
    for_threads(threads, &[], &mut |some, output| {
        let text = String::from_utf8_lossy(output);
        let priorities: Option<Vec<IoPriority>> = text.lines().map(told).collect();
        let priorities = priorities.filter(|told| told.len() == some.len()).ok_or_else(|| {
            let first = text.lines().next().unwrap_or_default();
            format!("`ionice` does not answer as that of util-linux does: `{first}`")
        })?;
        found.extend(some.iter().copied().zip(priorities));
        Ok(())
    })?;
    Ok(found)
}

/// What is told of threads that were asked for, or set, by one call: they, and what it printed.
type Tell<'a> = &'a mut dyn FnMut(&[u32], &[u8]) -> Result<(), String>;

/// Runs `ionice` with these options for these threads, but for those that have ended.
///
/// # Errors
/// When the program can't be run or refuses, or `tell` does; some of the threads may then be done.
pub fn for_threads(threads: &[u32], options: &[String], tell: Tell<'_>) -> Result<(), String> {
    for some in threads.chunks(AT_ONCE) {
        match ionice(options, some) {
            Ok(output) => tell(some, &output)?,
            Err(Unheard::Failed(reason)) => return Err(reason),
            // It says only that one has: each half is tried by itself.
            Err(Unheard::Ended) if some.len() > 1 => {
                let (one, other) = some.split_at(some.len() / 2);
                for_threads(one, options, tell)?;
                for_threads(other, options, tell)?;
            }
            Err(Unheard::Ended) => {}
        }
    }
    Ok(())
}

fn ionice(options: &[String], threads: &[u32]) -> Result<Vec<u8>, Unheard> {
    let threads = threads.iter().map(ToString::to_string);
    let arguments = options.iter().cloned().chain(["-p".to_owned()]).chain(threads);
    let mut spec = ProcessSpec::new("ionice", arguments);
    spec.env.insert("LC_ALL".to_owned(), "C".to_owned());
    let output = run_blocking(&spec, PATIENCE, OUTPUT_LIMIT)
        .map_err(|error| Unheard::Failed(format!("{error}; it is a part of util-linux")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No such process") {
        return Err(Unheard::Ended);
    }
    Err(Unheard::Failed(format!("`ionice` said: {}", said.trim().replace('\n', "; "))))
}

/// A line that it prints: `best-effort: prio 4`.
fn told(line: &str) -> Option<IoPriority> {
    let (class, level) = match line.split_once(": prio ") {
        Some((class, level)) => (class, level.parse::<u16>().ok()?),
        None => (line, 0),
    };
    match class {
        "none" => Some(IoPriority::None),
        "realtime" => Some(IoPriority::Realtime(level)),
        "best-effort" => Some(IoPriority::BestEffort(level)),
        "idle" => Some(IoPriority::Idle),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_is_understood_and_nothing_else() {
        for (line, priority) in [
            ("none: prio 0", Some("none")),
            ("none: prio 4", Some("none")),
            ("best-effort: prio 4", Some("best_effort 4")),
            ("realtime: prio 0", Some("realtime 0")),
            ("idle", Some("idle")),
            ("unknown: prio 1", None),
            ("BusyBox v1.36", None),
        ] {
            assert_eq!(told(line).map(|priority| priority.to_string()).as_deref(), priority);
        }
    }

    #[test]
    fn threads_are_asked_for_and_those_that_are_not_there_are_passed_over() {
        let me = std::process::id();
        // The largest number that a thread can have is far below.
        let gone = 1 << 30;
        let found = of_threads(&[me, gone, gone, me, gone]).unwrap();
        assert_eq!(found.iter().map(|(thread, _)| *thread).collect::<Vec<_>>(), [me, me]);
        assert!(of_threads(&[gone]).unwrap().is_empty());
        let refused = for_threads(&[me], &["--none".to_owned()], &mut |_, _| Ok(()));
        assert!(refused.unwrap_err().starts_with("`ionice` said: "));
    }
}

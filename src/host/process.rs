//! The only place that starts processes: one that is run to its end, and one that is kept.
//!
//! Never through a shell. Each process leads a group of its own, so that what it starts ends with it; each
//! has a time limit or an owner; none outlives the value that stands for it. Values of the environment
//! may be secret and are never printed. What the programs are for is not known here.
#![expect(clippy::disallowed_methods, reason = "this module is where processes are started")]

mod kept;
mod output;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, PipeReader};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::kept::Child;
use self::output::Ends;
pub use self::output::Gap;
use crate::clock::Clock;

/// How long a process that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How long a process runs before its outputs are watched: most have ended by then, and all they wrote is in the pipes.
/// One that writes more than fits into a pipe waits that long, once.
const UNWATCHED: Duration = Duration::from_millis(5);

/// How long the pipes of a process that ended may stay open in the hands of others.
const PIPE_PATIENCE: Duration = Duration::from_millis(500);

/// How long the kernel may take to end a process that was killed: one that waits for a dead disk never ends.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What a process reads from its standard input.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Stdin {
    /// Nothing: it is at its end at once.
    #[default]
    Null,
    /// These bytes, then its end.
    Bytes(Vec<u8>),
    /// Nothing for as long as the starter lives: its end tells the process that the starter is gone, even
    /// if that was killed.
    HeldOpen,
}

/// A process to be started.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ProcessSpec {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: PathBuf,
    /// What it is given, each as it is.
    pub args: Vec<String>,
    /// Added to the environment of this process.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in; this process's own when none is given.
    pub cwd: Option<PathBuf>,
    /// What it reads.
    pub stdin: Stdin,
}

impl ProcessSpec {
    /// A program with its arguments, and nothing else.
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(&self.env).process_group(0).kill_on_drop(true);
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.stdin(if self.stdin == Stdin::Null { Stdio::null() } else { Stdio::piped() });
        command
    }

    /// Starts it with a pipe for each output.
    fn start_piped(&self) -> Result<(tokio::process::Child, PipeReader, PipeReader), ProcessError> {
        let pipe = || {
            output::pipe().map_err(|source| {
                let program = self.program.clone();
                ProcessError::Start { program, source }
            })
        };
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let mut command = self.command();
        // The command holds the writing ends until it is dropped.
        let child = self.start(command.stdout(stdout).stderr(stderr))?;
        Ok((child, out, err))
    }

    fn start(&self, command: &mut Command) -> Result<tokio::process::Child, ProcessError> {
        command.spawn().map_err(|source| {
            let program = self.program.clone();
            match (source.kind(), &self.cwd) {
                (io::ErrorKind::NotFound, Some(dir)) if !dir.is_dir() => {
                    ProcessError::NoFolder { program, dir: dir.clone() }
                }
                (io::ErrorKind::NotFound, _) => ProcessError::NotFound { program },
                _ => ProcessError::Start { program, source },
            }
        })
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::HeldOpen => f.write_str("HeldOpen"),
        }
    }
}

impl fmt::Debug for ProcessSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessSpec")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .field("stdin", &self.stdin)
            .finish()
    }
}

/// A process that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program.
    #[error("could not find the program `{}`; install it, or give its path", program.display())]
    NotFound {
        /// What was looked for.
        program: PathBuf,
    },
    /// There is no such folder to start it in.
    #[error("could not start `{}` in {}: there is no such folder", program.display(), dir.display())]
    NoFolder {
        /// The program.
        program: PathBuf,
        /// The folder.
        dir: PathBuf,
    },
    /// The system would not start it.
    #[error("could not start `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system would not tell how it ended.
    #[error("could not wait for `{}`", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It took longer than it may, and was ended.
    #[error("could not finish `{}` within {}{}", program.display(), humantime::format_duration(*limit), last_words(stderr))]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it could take.
        limit: Duration,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// The caller was told to stop, and the process was ended.
    #[error("could not finish `{}`: it was cancelled", program.display())]
    Cancelled {
        /// The program.
        program: PathBuf,
    },
}

/// The last line of a text, for the end of a message.
fn last_words(text: &str) -> String {
    text.trim_end()
        .lines()
        .next_back()
        .map_or_else(String::new, |line| format!("; it last said: {line}"))
}

/// How a process ended by itself, well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// What it wrote to its standard output; of more than was to be kept, the beginning and the end.
    pub stdout: Vec<u8>,
    /// What of its standard output was not kept.
    pub stdout_gap: Option<Gap>,
    /// What it wrote to its standard error; of more than was to be kept, the beginning and the end.
    pub stderr: Vec<u8>,
    /// What of its standard error was not kept.
    pub stderr_gap: Option<Gap>,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// The group that a process leads; killed when dropped while the leader is not known to have ended.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It fails when nobody of the group is left, which is what is wanted.
            let _ = killpg(group, signal);
        }
    }

    /// The leader has ended: what it left behind ends too. Afterwards its number may be another's.
    fn close(&mut self) {
        self.signal(Signal::SIGKILL);
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs a process to its end, for `limit` at most, and keeps up to `output_limit` bytes of each output.
///
/// A process that exits with an error has finished; its status tells. When the time is over, `cancel` is
/// cancelled or this future is dropped, the process and all in its group are ended: SIGTERM, and two seconds
/// later SIGKILL.
///
/// All of it happens in this one future: a task for each pipe costs more than all else that is done here.
///
/// # Errors
/// When it can't be started, takes too long, or is cancelled.
pub async fn run(
    spec: &ProcessSpec,
    limit: Duration,
    output_limit: usize,
    cancel: &CancellationToken,
) -> Result<Finished, ProcessError> {
    let clock = Clock::system();
    let started = clock.instant();
    let (mut child, out, err) = spec.start_piped()?;
    let mut group = Group::of(&child);
    let (mut stdout, mut stderr) = (Ends::new(output_limit), Ends::new(output_limit));
    let ended = {
        let over = Notify::new();
        let (_held, fed) = match (child.stdin.take(), &spec.stdin) {
            (Some(pipe), Stdin::Bytes(bytes)) => (None, Some((pipe, bytes.as_slice()))),
            (held, _) => (held, None),
        };
        let outputs = async {
            let _ = timeout(UNWATCHED, over.notified()).await;
            tokio::join!(stdout.fill(out), stderr.fill(err));
        };
        let pipes = async {
            tokio::join!(outputs, feed(fed));
        };
        tokio::pin!(pipes);
        let mut pipes = Pipes { until_closed: pipes, open: true };
        let ended = pipes
            .alongside(async {
                tokio::select! {
                    status = child.wait() => Ended::Itself(status),
                    () = tokio::time::sleep(limit) => Ended::TimeOver,
                    () = cancel.cancelled() => Ended::Cancelled,
                }
            })
            .await;
        over.notify_one();
        match &ended {
            // Others may hold the pipes: of the group, who are ended now, or who left it, who are not waited for.
            Ended::Itself(_) if pipes.open => {
                let _ = timeout(PIPE_PATIENCE, pipes.until_closed).await;
            }
            Ended::Itself(_) => {}
            // What it says while it ends must not block it.
            Ended::TimeOver | Ended::Cancelled => {
                pipes.alongside(end(&mut child, &mut group, GRACE)).await;
            }
        }
        group.close();
        ended
    };
    let program = || spec.program.clone();
    let ((stdout, stdout_gap), (stderr, stderr_gap)) = (stdout.kept(), stderr.kept());
    match ended {
        Ended::Itself(status) => Ok(Finished {
            status: status.map_err(|source| ProcessError::Wait { program: program(), source })?,
            stdout,
            stdout_gap,
            stderr,
            stderr_gap,
            elapsed: clock.instant().saturating_duration_since(started),
        }),
        Ended::TimeOver => {
            let stderr = String::from_utf8_lossy(&stderr).into_owned();
            Err(ProcessError::TimedOut { program: program(), limit, stderr })
        }
        Ended::Cancelled => Err(ProcessError::Cancelled { program: program() }),
    }
}

/// The same for callers that block: on a thread of its own, as theirs may be one that must not wait for another runtime.
///
/// # Errors
/// When it can't be started or takes too long.
pub fn run_blocking(
    spec: &ProcessSpec,
    limit: Duration,
    output_limit: usize,
) -> Result<Finished, ProcessError> {
    let refused = |source| ProcessError::Start { program: spec.program.clone(), source };
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(refused)?.block_on(run(
            spec,
            limit,
            output_limit,
            &CancellationToken::new(),
        ))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("process".to_owned());
        let started = thread.spawn_scoped(scope, work).map_err(refused)?;
        started.join().map_err(|_| refused(io::Error::other("its thread ended before it did")))?
    })
}

/// Why a process is not waited for any more.
enum Ended {
    Itself(io::Result<ExitStatus>),
    TimeOver,
    Cancelled,
}

/// The work on the pipes of a process: reading what it writes and writing what it reads.
struct Pipes<F> {
    until_closed: F,
    open: bool,
}

impl<F: Future<Output = ()> + Unpin> Pipes<F> {
    /// Does other work while the pipes are served.
    async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = &mut self.until_closed, if self.open => self.open = false,
                done = &mut work => return done,
            }
        }
    }
}

/// Writes what a process is to read. One that does not read to the end is not in error.
async fn feed(wanted: Option<(ChildStdin, &[u8])>) {
    if let Some((mut pipe, bytes)) = wanted {
        let _ = pipe.write_all(bytes).await;
    }
}

/// How a process that was told to end did so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It had ended before.
    Before(ExitStatus),
    /// It ended when told to.
    Obeyed(ExitStatus),
    /// It did not, and was killed.
    Killed(ExitStatus),
    /// It was killed and yet has not ended, as when it waits for a disk that does not answer.
    Stuck,
}

async fn end(child: &mut tokio::process::Child, group: &mut Group, grace: Duration) -> Stopped {
    if let Ok(Some(status)) = child.try_wait() {
        group.close();
        return Stopped::Before(status);
    }
    group.signal(Signal::SIGTERM);
    if let Ok(Ok(status)) = timeout(grace, child.wait()).await {
        group.close();
        return Stopped::Obeyed(status);
    }
    group.signal(Signal::SIGKILL);
    match timeout(KILL_PATIENCE, child.wait()).await {
        Ok(Ok(status)) => {
            group.close();
            Stopped::Killed(status)
        }
        _ => Stopped::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const LONG: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> ProcessSpec {
        ProcessSpec::new("/bin/sh", ["-c", script])
    }

    async fn finish(spec: &ProcessSpec) -> Finished {
        run(spec, LONG, 1 << 20, &CancellationToken::new()).await.unwrap()
    }

    fn alive(pid: &str) -> bool {
        // A zombie has ended, even where nobody waits for it.
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn gone(pid: &str) -> bool {
        for _ in 0..200 {
            if !alive(pid) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_process_is_run_to_its_end_with_its_input_and_environment() {
        let mut spec = sh("cat; echo \"$SECRET\" >&2; exit 3");
        spec.stdin = Stdin::Bytes(b"input".to_vec());
        spec.env.insert("SECRET".to_owned(), "hush".to_owned());
        let finished = finish(&spec).await;
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((&*finished.stdout, &*finished.stderr), (&b"input"[..], &b"hush\n"[..]));
        assert_eq!((finished.stdout_gap, finished.stderr_gap), (None, None));
        assert!(!format!("{spec:?}").contains("hush"), "{spec:?}");
    }

    #[tokio::test]
    async fn of_a_longer_output_both_ends_are_kept_and_the_process_is_not_blocked() {
        let spec = sh("printf begin; head -c 1000000 /dev/zero; printf finish; echo done >&2");
        let finished = run(&spec, LONG, 1000, &CancellationToken::new()).await.unwrap();
        assert_eq!(finished.stdout.len(), 1000);
        assert!(finished.stdout.starts_with(b"begin") && finished.stdout.ends_with(b"finish"));
        assert_eq!(finished.stdout_gap, Some(Gap { at: 500, bytes: 1_000_011 - 1000 }));
        assert_eq!((&*finished.stderr, finished.stderr_gap), (&b"done\n"[..], None));
    }

    #[tokio::test]
    async fn a_process_that_does_not_read_its_input_is_not_waited_for() {
        let mut spec = sh("exit 4");
        spec.stdin = Stdin::Bytes(vec![b'x'; 1 << 20]);
        assert_eq!(finish(&spec).await.status.code(), Some(4));
    }

    #[tokio::test]
    async fn a_process_may_speak_while_it_is_ended() {
        let spec = sh(
            "trap 'head -c 1000000 /dev/zero; echo bye >&2; exit' TERM; while :; do sleep 0.05; done",
        );
        let error = run(&spec, Duration::from_millis(300), 1000, &CancellationToken::new())
            .await
            .unwrap_err();
        assert!(error.to_string().ends_with("it last said: bye"), "{error}");
    }

    #[tokio::test]
    async fn a_process_over_its_time_is_ended_with_all_it_started() {
        let spec = sh("sleep 60 & echo $! >&2; wait");
        let error = run(&spec, Duration::from_millis(300), 1000, &CancellationToken::new())
            .await
            .unwrap_err();
        let ProcessError::TimedOut { stderr, .. } = &error else { panic!("{error}") };
        assert!(gone(stderr).await, "{stderr} still runs");
        assert!(error.to_string().contains("within 300ms; it last said: "), "{error}");
    }

    #[tokio::test]
    async fn a_process_deaf_to_sigterm_is_killed() {
        let spec = sh("trap '' TERM; echo $$ >&2; while :; do sleep 0.05; done");
        let error = run(&spec, Duration::from_millis(200), 1000, &CancellationToken::new())
            .await
            .unwrap_err();
        let ProcessError::TimedOut { stderr, .. } = &error else { panic!("{error}") };
        assert!(gone(stderr).await, "{stderr} still runs");
    }

    #[tokio::test]
    async fn cancelling_ends_the_process() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = run(&sh("sleep 60"), LONG, 0, &cancel).await.unwrap_err();
        assert!(matches!(error, ProcessError::Cancelled { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_a_process_leaves_behind_ends_with_it_and_its_output_is_kept() {
        let finished = finish(&sh("sleep 60 & echo $!")).await;
        let pid = String::from_utf8(finished.stdout).unwrap();
        assert!(!pid.trim().is_empty());
        assert!(gone(&pid).await, "{pid} still runs");
    }

    #[tokio::test]
    async fn a_missing_program_and_a_missing_folder_are_told_apart() {
        let none = CancellationToken::new();
        let error = run(&ProcessSpec::new("/no/such", [""; 0]), LONG, 0, &none).await.unwrap_err();
        assert!(matches!(error, ProcessError::NotFound { .. }), "{error}");
        let mut spec = sh("true");
        spec.cwd = Some("/no/such".into());
        let error = run(&spec, LONG, 0, &none).await.unwrap_err();
        assert!(matches!(error, ProcessError::NoFolder { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_kept_process_runs_until_told_to_end_and_its_last_words_are_kept() {
        let mut child = Child::spawn(&sh("echo ready >&2; cat >/dev/null")).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(alive(&child.pid().to_string()));
        let stopped = child.stop(LONG).await;
        assert_eq!(stopped, Stopped::Obeyed(ExitStatus::from_raw(Signal::SIGTERM as i32)));
        assert!(matches!(child.stop(LONG).await, Stopped::Before(_)));
    }

    #[tokio::test]
    async fn a_kept_process_that_fails_says_how_and_why() {
        let mut child = Child::spawn(&sh("echo no port >&2; exit 7")).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
        assert_eq!(child.stderr_tail(), "no port\n");
    }

    #[tokio::test]
    async fn a_kept_process_reads_the_end_of_its_input_when_the_pipe_is_closed() {
        let mut child = Child::spawn(&sh("cat >/dev/null; exit 5")).unwrap();
        child.close_stdin();
        assert_eq!(child.wait().await.unwrap().code(), Some(5));
    }

    #[tokio::test]
    async fn a_dropped_process_is_killed_with_all_it_started() {
        let mut child = Child::spawn(&sh("sleep 60 & echo $! >&2; wait")).unwrap();
        let mut grandchild = child.stderr_tail();
        while grandchild.is_empty() {
            assert_eq!(child.try_wait().unwrap(), None);
            tokio::time::sleep(Duration::from_millis(5)).await;
            grandchild = child.stderr_tail();
        }
        let leader = child.pid().to_string();
        drop(child);
        assert!(gone(&leader).await && gone(&grandchild).await);
    }
}

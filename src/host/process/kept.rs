//! A process that is kept running for its owner. How one is run to its end is not known here.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::ChildStdin;
use tokio::time::timeout;

use super::output::{Reader, Tail};
use super::{Group, PIPE_PATIENCE, ProcessError, ProcessSpec, Stdin, Stopped, end, feed};

/// How much of the last words of a kept process is remembered, in bytes.
const TAIL: usize = 64 << 10;

/// A process that is kept running: dropped, it is killed, with all in its group.
///
/// Its standard input is a pipe that stays open for as long as this value lives. A process that ends when
/// it reads the end of it never outlives its starter, not even one that was killed. What it writes to its
/// standard output goes nowhere; the last 64 KiB of its standard error are kept.
pub struct Child {
    program: PathBuf,
    inner: tokio::process::Child,
    pid: u32,
    group: Group,
    stderr: Arc<Tail>,
    reader: Reader,
    stdin: Reader,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("program", &self.program)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl Child {
    /// Starts a process, within a tokio runtime. Its input is as `spec` says, and held open where that says nothing.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(spec: &ProcessSpec) -> Result<Self, ProcessError> {
        let stdin = if spec.stdin == Stdin::Null { Stdin::HeldOpen } else { spec.stdin.clone() };
        let mut command = spec.command();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut inner = spec.start(&mut command)?;
        let stderr = Tail::new(TAIL);
        Ok(Self {
            program: spec.program.clone(),
            pid: inner.id().unwrap_or_default(),
            group: Group::of(&inner),
            reader: stderr.drain(inner.stderr.take()),
            stderr,
            stdin: hold(inner.stdin.take(), &stdin),
            inner,
        })
    }

    /// Its number, which stays its own until its end was seen.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The end of what it wrote to its standard error until now.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr.taken()).into_owned()
    }

    /// Lets it read the end of its input, as it would if its starter were gone.
    pub fn close_stdin(&self) {
        self.stdin.0.abort();
    }

    /// How it ended; nothing while it runs.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        let status = self.inner.try_wait().map_err(|source| self.unknown(source))?;
        if status.is_some() {
            self.group.close();
        }
        Ok(status)
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// # Errors
    /// When the system does not tell.
    pub async fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        let status = self.inner.wait().await;
        let status = status.map_err(|source| self.unknown(source))?;
        self.group.close();
        // Its last words may still be in the pipe.
        let _ = timeout(PIPE_PATIENCE, &mut self.reader.0).await;
        Ok(status)
    }

    /// Tells it to end (SIGTERM), and kills it if it has not after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Stopped {
        end(&mut self.inner, &mut self.group, grace).await
    }

    fn unknown(&self, source: io::Error) -> ProcessError {
        ProcessError::Wait { program: self.program.clone(), source }
    }
}

/// Holds the pipe that a kept process reads for as long as the answer lives.
fn hold(pipe: Option<ChildStdin>, stdin: &Stdin) -> Reader {
    let bytes = match stdin {
        Stdin::Bytes(bytes) => Some(bytes.clone()),
        Stdin::Null | Stdin::HeldOpen => None,
    };
    Reader(tokio::spawn(async move {
        let Some(pipe) = pipe else { return };
        if let Some(bytes) = &bytes {
            feed(Some((pipe, bytes))).await;
        } else {
            let _held = pipe;
            std::future::pending::<()>().await;
        }
    }))
}

//! The receiving end of the readiness protocol of systemd, `sd_notify(3)`.
//!
//! A service that finds `NOTIFY_SOCKET` in its environment sends datagrams of lines to that socket:
//! ```text
//! READY=1
//! STATUS=serving on 2 threads
//! X_TRUEUP_ADDRESS=127.0.0.1:8080
//! ```
//! The socket lives in a folder that only this user may enter, so nobody else can pretend to be the
//! service. What the keys mean is not known here.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::UnixDatagram;

use crate::disk;

/// The largest message taken, in bytes; systemd itself takes as much.
const LIMIT: usize = 4096;

/// The longest path that fits an address of a socket, in bytes (unix(7)).
const LONGEST: usize = 107;

/// A socket for readiness messages that can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The system refuses.
    #[error("could not {action} the readiness socket {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The path does not fit the address of a socket.
    #[error("could not make the readiness socket {}: its path is longer than {LONGEST} bytes; choose a shorter folder for the state", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
}

/// The socket that a service sends its readiness to; removed when dropped.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    folder: PathBuf,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes a socket in a new private folder below `dir`, within a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses, or the path is too long for a socket.
    pub fn bind(dir: &Path) -> Result<Self, NotifyError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let folder = dir.join(format!("notify-{}-{number}", std::process::id()));
        let path = folder.join("socket");
        if path.as_os_str().len() > LONGEST {
            return Err(NotifyError::TooLong { path });
        }
        let fail = |source| NotifyError::Io { action: "make", path: path.clone(), source };
        disk::create_dir_all(&dir).map_err(|error| fail(error.source))?;
        // Left behind by a process of the same number that was killed.
        disk::remove_tree(&folder).map_err(|error| fail(error.source))?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(fail)?;
        let socket = UnixDatagram::bind(&path).map_err(fail)?;
        Ok(Self { socket, folder, path })
    }

    /// The path to give to the service as `NOTIFY_SOCKET`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next message: its lines `KEY=VALUE` by key. What is not such a line is skipped, and so is
    /// a message over 4 KiB or one that is not UTF-8. May be dropped and called again without losing a message.
    ///
    /// # Errors
    /// When the socket can't be read.
    pub async fn next(&self) -> Result<BTreeMap<String, String>, NotifyError> {
        let mut buffer = vec![0; LIMIT + 1];
        loop {
            let length = self.socket.recv(&mut buffer).await.map_err(|source| NotifyError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })?;
            match std::str::from_utf8(&buffer[..length]) {
                Ok(text) if length <= LIMIT => return Ok(fields(text)),
                _ => tracing::warn!(
                    length,
                    "skipped a readiness message: it is too long, or not UTF-8"
                ),
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Err(error) = disk::remove_tree(&self.folder) {
            tracing::warn!("{error}");
        }
    }
}

fn fields(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn messages_arrive_by_key_and_hostile_ones_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(dir.path()).unwrap();
        let service = UnixDatagram::unbound().unwrap();
        for message in [&vec![b'x'; LIMIT + 1][..], b"\xff=1", b"READY=1\nodd\n=x\nSTATUS=a=b\n"] {
            service.send_to(message, socket.path()).await.unwrap();
        }
        let message = socket.next().await.unwrap();
        let message: Vec<_> = message.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(message, [("READY", "1"), ("STATUS", "a=b")]);
    }

    #[tokio::test]
    async fn the_socket_is_private_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (NotifySocket::bind(dir.path()).unwrap(), NotifySocket::bind(dir.path()).unwrap());
        assert_ne!(one.path(), two.path());
        let mode = std::fs::metadata(one.path().parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop((one, two));
        assert_eq!(disk::list(dir.path()).unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_refused_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = NotifySocket::bind(&dir.path().join("x".repeat(120))).unwrap_err();
        assert!(error.to_string().ends_with("choose a shorter folder for the state"), "{error}");
    }
}

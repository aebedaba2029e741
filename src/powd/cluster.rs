//! A PostgreSQL server for the tests: the one that `$TRUEUP_TEST_POSTGRES` names, or a cluster of our own.
//!
//! Our own lives in a temporary folder, listens on a socket in it and on no network, runs as an unprivileged user,
//! and ends with the value that stands for it. Where there is neither, tests that need one say so and pass.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start the database server that they need, and nothing else may be imported here"
)]

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::database::DatabaseUrl;

/// User and group `nobody`.
const NOBODY: u32 = 65534;

/// A server that can be used by one test.
pub struct Cluster {
    url: String,
    own: Option<Own>,
}

/// A cluster that we started.
struct Own {
    binaries: PathBuf,
    dir: TempDir,
}

impl Cluster {
    /// Finds or starts a server; none where there is no PostgreSQL.
    pub fn start() -> Option<Self> {
        if let Ok(url) = std::env::var("TRUEUP_TEST_POSTGRES") {
            return Some(Self { url, own: None });
        }
        let binaries = binaries()?;
        let dir = tempfile::tempdir().unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let own = Own { binaries, dir };
        let folder = own.dir.path().display().to_string();
        own.run("initdb", &["--username=trueup", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        let options = format!("-c listen_addresses= -c unix_socket_directories={folder}");
        own.run("pg_ctl", &["start", "--wait", "--timeout=60", "--silent", "--options", &options]);
        let url = format!("postgres://trueup@localhost/postgres?host={folder}");
        Some(Self { url, own: Some(own) })
    }

    /// How to reach it.
    pub fn url(&self) -> DatabaseUrl {
        self.url.parse().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.run("pg_ctl", &["stop", "--wait", "--timeout=60", "--mode=immediate", "--silent"]);
        }
    }
}

impl Own {
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            let who = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.args(who).arg("--clear-groups").arg(&program);
            command
        } else {
            Command::new(&program)
        };
        command.arg("-D").arg(self.dir.path().join("data")).args(arguments);
        // A server that inherits our output keeps whoever reads it waiting.
        let log = self.dir.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if program.ends_with("pg_ctl") {
            command.arg("--log").arg(log);
        }
        let ended = command.current_dir(self.dir.path()).status().unwrap();
        assert!(ended.success(), "{program:?} {arguments:?}: {ended}");
    }
}

/// Where the newest installed server's programs are.
fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir(Path::new("/usr/lib/postgresql"))
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists())
        .collect();
    versions.sort();
    versions.pop()
}

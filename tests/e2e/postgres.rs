//! A PostgreSQL server of the test's own: on a private socket, in a temporary folder, gone with the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::house::{Ended, Running, unprivileged, wait_until};

/// The server.
pub struct Postgres {
    dir: TempDir,
    server: Option<Running>,
    bin: PathBuf,
}

/// The newest server that is installed.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    let newest = found
        .pop()
        .expect("PostgreSQL's server is needed for this test: /usr/lib/postgresql/*/bin/initdb");
    newest.1
}

impl Postgres {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(dir.path(), Some(65534), Some(65534)).unwrap();
        }
        let mut postgres = Self { dir, server: None, bin: binaries() };
        postgres.init();
        postgres.go();
        postgres
    }

    /// Starts the server, which was made or stopped before.
    pub fn go(&mut self) {
        let (data, socket) = (self.data(), self.folder().display().to_string());
        let settings =
            ["listen_addresses=", "fsync=off", "max_connections=40", "shared_buffers=16MB"];
        let mut command = self.command("postgres");
        command.args(["-D", &data, "-k", &socket]);
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        self.server = Some(Running::start(command));
        wait_until("PostgreSQL", || {
            let ready = self.run("pg_isready", &["-h", &socket, "-U", "trueup", "-d", "postgres"]);
            ready.code == 0
        });
    }

    /// Ends the server, whose data stays.
    pub fn stop(&mut self) {
        let Some(server) = self.server.take() else { return };
        // The fast shutdown; killed outright it would leave shared memory and its children.
        server.signal(Signal::SIGINT);
        server.end();
    }

    /// Makes another cluster in the place of a server that was stopped.
    pub fn become_another(&self) {
        let data = self.data();
        fs::rename(&data, format!("{data}.former")).unwrap();
        self.init();
    }

    fn init(&self) {
        let data = self.data();
        let init = ["-D", &data, "-U", "trueup", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"];
        self.run("initdb", &init).wanted(0);
    }

    /// The folder of the server's programs.
    pub fn binaries(&self) -> &Path {
        &self.bin
    }

    /// What the file of ALTER SYSTEM says, without its comments. The order of its lines has no meaning.
    pub fn altered(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder().join("data/postgresql.auto.conf")).unwrap();
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> String {
        self.folder().join("data").display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = unprivileged(&self.bin.join(program));
        command.current_dir(self.folder()).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(program);
        command.args(arguments);
        Running::start(command).end()
    }

    /// For trueup.
    pub fn url(&self) -> String {
        let folder = self.folder().display().to_string().replace('/', "%2F");
        format!("postgres://trueup@{folder}/postgres")
    }

    /// For trueup, as a user who must give a password; `written` is the password as it stands in the URL.
    pub fn url_with_password(&self, password: &str, written: &str) -> String {
        let rules = "local all app scram-sha-256\nlocal all all trust\n";
        fs::write(self.folder().join("data/pg_hba.conf"), rules).unwrap();
        let quoted = password.replace('\'', "''");
        self.query(&format!("CREATE ROLE app LOGIN PASSWORD '{quoted}'"));
        self.query("SELECT pg_reload_conf()");
        let folder = self.folder().display().to_string().replace('/', "%2F");
        format!("postgres://app:{written}@{folder}/postgres")
    }

    /// The rows that a query answers, one a line.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let socket = self.folder().display().to_string();
        let arguments = ["-h", &socket, "-U", "trueup", "-d", "postgres", "-AtXc", sql];
        let ended = self.run("psql", &arguments).wanted(0);
        ended.stdout.lines().map(str::to_owned).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

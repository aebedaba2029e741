//! A place of its own for a test: pipeline, results, cache and a made-up host, all in one temporary folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Far beyond what anything here takes; a test that comes here hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The program under test.
pub const TRUEUP: &str = env!("CARGO_BIN_EXE_trueup");

/// The checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The place.
pub struct House(TempDir);

impl House {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A place in memory, where there is some for files: a disk takes its time to make and to forget thousands of them.
    pub fn in_memory() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    /// A place with a pipeline `p.yaml` of these phases.
    pub fn with_phases(phases: &str) -> Self {
        let house = Self::new();
        house.put("p.yaml", &format!("version: 1\nphases:\n{phases}"));
        house
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn put(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn get(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Every file below a folder with its content.
    pub fn tree(&self, path: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut open = vec![self.path(path)];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                } else if path.is_file() {
                    let content = fs::read(&path).unwrap();
                    files.insert(path, content);
                }
            }
        }
        files
    }

    /// The program with these arguments, started in the place; nothing of the test's environment leads elsewhere.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TRUEUP);
        self.prepare(&mut command);
        self.arguments(&mut command, arguments);
        command
    }

    /// The options that keep a subcommand within the place stand between it and its own arguments.
    fn arguments(&self, command: &mut Command, arguments: &[&str]) {
        let (subcommand, rest) = arguments.split_at(arguments.len().min(1));
        command.args(subcommand).args(self.folders(arguments)).args(rest);
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.0.path())
            .env_remove("TRUEUP_RESULTS")
            .env_remove("TRUEUP_CACHE")
            .env_remove("TRUEUP_DATABASE_URL")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("GITHUB_STEP_SUMMARY")
            .env_remove("SUDO_UID")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    fn folders(&self, arguments: &[&str]) -> Vec<String> {
        let option =
            |name: &str, path: &str| [name.to_owned(), self.path(path).display().to_string()];
        let mut options = Vec::new();
        if matches!(
            arguments.first(),
            Some(&("run" | "plan" | "rollback" | "verify" | "cache" | "report"))
        ) {
            options.extend(option("--results", "results"));
        }
        if matches!(arguments.first(), Some(&("run" | "plan" | "cache"))) {
            options.extend(option("--cache-dir", "cache"));
        }
        let takes_sysroot =
            matches!(arguments.first(), Some(&("run" | "plan" | "rollback" | "verify")));
        if takes_sysroot && self.path("host").is_dir() {
            options.extend(option("--sysroot", "host"));
        }
        options
    }

    /// Runs the program to its end.
    pub fn trueup(&self, arguments: &[&str]) -> Ended {
        Running::start(self.command(arguments)).end()
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// The program as another user where the test is root, else as it is; the place is then open to all.
    pub fn unprivileged(&self, arguments: &[&str]) -> Command {
        for folder in ["", "results", "cache"] {
            let path = self.path(folder);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let program = self.path("trueup");
        if !program.exists() && fs::hard_link(TRUEUP, &program).is_err() {
            // By a process of its own: a file that this one has open for writing can't be run by another test's child.
            let copied = Command::new("cp").arg(TRUEUP).arg(&program).status().unwrap();
            assert!(copied.success());
        }
        let mut command = unprivileged(&program);
        self.prepare(&mut command);
        self.arguments(&mut command, arguments);
        command
    }

    /// The report of the last run that came to its end.
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.get("results/latest.json")).unwrap()
    }

    /// The phases of the last report and how each ended.
    pub fn outcomes(&self) -> BTreeMap<String, String> {
        let report = self.report();
        let phases = report["phases"].as_object().unwrap();
        phases
            .iter()
            .map(|(name, phase)| (name.clone(), phase["status"].as_str().unwrap().to_owned()))
            .collect()
    }

    /// The runs that were recorded, oldest first.
    pub fn runs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("results/runs")).into_iter().flatten();
        let mut runs: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        runs.sort();
        runs
    }

    /// The events of the last run.
    pub fn events(&self) -> Vec<Value> {
        let run = self.runs().pop().expect("a run");
        let text = self.get(&format!("results/runs/{run}/events.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until a file is there and has a number in it, such as the id of a process.
    pub fn wait_for_number(&self, path: &str) -> i32 {
        let number = || fs::read_to_string(self.path(path)).ok()?.trim().parse().ok();
        wait_until(path, || number().is_some());
        number().unwrap()
    }
}

/// A command as another user where the test is root, else as it is.
pub fn unprivileged(program: &Path) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]);
    command.arg(program);
    command
}

/// The items of a list in a report, which leaves out empty ones.
pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Asks again and again until it is so.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// True while a process runs; one that has ended and was not yet waited for does not.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A process on its way. Killed when the test leaves it.
pub struct Running {
    pub child: Child,
    output: Option<[JoinHandle<String>; 2]>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
        let stdout = read_all(child.stdout.take().unwrap());
        let stderr = read_all(child.stderr.take().unwrap());
        Self { child, output: Some([stdout, stderr]) }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "the program does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let [stdout, stderr] = self.output.take().unwrap().map(|reader| reader.join().unwrap());
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How a process ended: its exit code, or the number of the signal, negative.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Itself, when it ended with the code that was wanted.
    #[track_caller]
    pub fn wanted(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// All that it printed.
    pub fn told(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// True when a process of the program listens to signals: the next that it does is to ask for the lock.
pub fn hears_signals(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (Signal::SIGXFSZ as i32 - 1)) != 0
}

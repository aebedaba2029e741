//! Attributes of real processes, which the tests start and end themselves: foreseen, set, read back, gone again.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use crate::house::{House, Running, list, unprivileged, wait_until};

/// A process that does nothing; of another user where the test is root.
struct Sleeper(Running);

/// All that is set here, as the system tells it.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Found {
    cpus: String,
    nice: String,
    io: String,
    oom_score_adj: String,
    open_files: String,
}

/// What any user may set and take back on a process of his own.
const PLAIN: &str = "io: { class: idle }, oom_score_adj: 700, limits: { nofile: 64 }";

impl Sleeper {
    fn start(mut command: Command) -> Self {
        let pipe = std::process::Stdio::piped;
        command.arg("600").stdout(pipe()).stderr(pipe());
        let sleeper = Self(Running::start(command));
        wait_until("the process to be what it shall be", || sleeper.stat().contains("(sleep)"));
        sleeper
    }

    /// One of the test's own user.
    fn own() -> Self {
        Self::start(Command::new("sleep"))
    }

    /// One of an ordinary user.
    fn plain() -> Self {
        Self::start(unprivileged("sleep".as_ref()))
    }

    fn pid(&self) -> u32 {
        self.0.child.id()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default()
    }

    fn stat(&self) -> String {
        self.read("stat")
    }

    fn found(&self) -> Found {
        let pid = self.pid().to_string();
        let ionice = Command::new("ionice").args(["-p", &pid]).output().unwrap().stdout;
        let of = |text: String, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Found {
            cpus: of(self.read("status"), "Cpus_allowed_list:"),
            nice: self.stat().rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned(),
            io: String::from_utf8(ionice).unwrap().trim().to_owned(),
            oom_score_adj: self.read("oom_score_adj").trim().to_owned(),
            open_files: of(self.read("limits"), "Max open files"),
        }
    }
}

/// A place whose pipeline sets these attributes of a process.
fn house(sleeper: &Sleeper, with: &str) -> House {
    let house = House::new();
    house.put("pid", &format!("{}\n", sleeper.pid()));
    let file = house.path("pid").display().to_string();
    house.put(
        "p.yaml",
        &format!(
            "version: 1\nphases:\n  it:\n    uses: process\n    with: {{ pid_file: {file}, {with} }}\n"
        ),
    );
    house
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn attributes_of_a_process_are_foreseen_set_kept_verified_and_gone_again() {
    let sleeper = Sleeper::own();
    let before = sleeper.found();
    let last = before.cpus.rsplit([',', '-']).next().unwrap().to_owned();
    let mut with = format!("cpus: {last}, {PLAIN}");
    if is_root() {
        let _ = write!(with, ", nice: -7");
    }
    let house = house(&sleeper, &with);
    let planned = house.trueup(&["plan", "p.yaml"]).wanted(0).stdout;
    let told =
        format!("oom_score_adj of process {}: {} -> 700", sleeper.pid(), before.oom_score_adj);
    assert!(planned.contains(&told), "{planned}");
    assert_eq!(sleeper.found(), before);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["it"], "SUCCESS");
    let hard = before.open_files.split(' ').nth(1).unwrap();
    let wanted = Found {
        cpus: last,
        nice: if is_root() { "-7".to_owned() } else { before.nice.clone() },
        io: "idle".to_owned(),
        oom_score_adj: "700".to_owned(),
        open_files: format!("64 {hard} files"),
    };
    assert_eq!(sleeper.found(), wanted);
    let made = list(&house.report()["phases"]["it"]["changes"]).len();
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let again = list(&house.report()["phases"]["it"]["changes"]).len();
    assert!(made >= 3 && again == 0, "{made}, then {again}");
    house.trueup(&["verify"]).wanted(0);
    let script = house.trueup(&["rollback", "--print"]).wanted(0).stdout;
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(sleeper.found(), before);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let script_of_one = house.trueup(&["rollback", "--print"]).wanted(0).stdout;
    assert_ne!(script, script_of_one);
    let ended = Command::new("/bin/sh").arg("-c").arg(&script_of_one).output().unwrap();
    assert!(ended.status.success(), "{ended:?}\n{script_of_one}");
    assert_eq!(sleeper.found(), before);
    // What somebody else sets is theirs.
    house.trueup(&["rollback"]).wanted(0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    fs::write(format!("/proc/{}/oom_score_adj", sleeper.pid()), "800").unwrap();
    house.trueup(&["verify"]).wanted(5);
    house.trueup(&["rollback"]).wanted(5);
    assert_eq!(sleeper.found(), Found { oom_score_adj: "800".to_owned(), ..before.clone() });
    house.trueup(&["rollback", "--force"]).wanted(0);
    assert_eq!(sleeper.found(), before);
}

#[test]
fn a_process_that_has_ended_makes_its_changes_moot_and_a_rollback_ends_well() {
    let sleeper = Sleeper::own();
    let house = house(&sleeper, PLAIN);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    drop(sleeper);
    house.trueup(&["verify"]).wanted(0);
    let told = house.trueup(&["rollback"]).wanted(0).stdout;
    assert!(told.contains("nothing to take back: process"), "{told}");
    assert!(
        !house.trueup(&["rollback"]).wanted(0).stdout.contains("nothing to take back: process")
    );
    let told = house.trueup(&["run", "p.yaml"]).wanted(1).told();
    assert!(told.contains("there is no process"), "{told}");
}

#[test]
fn a_run_killed_at_any_step_of_setting_attributes_is_taken_back() {
    let sleeper = Sleeper::own();
    let before = sleeper.found();
    let house = house(&sleeper, PLAIN);
    let (mut place, mut set) = (1, 0);
    loop {
        let mut command = house.command(&["run", "p.yaml", "--progress", "none"]);
        command.env("TRUEUP_FAULT", format!("kill@{place}"));
        let code = Running::start(command).end().code;
        set += usize::from(sleeper.found() != before);
        house.trueup(&["rollback"]).wanted(0);
        assert_eq!(sleeper.found(), before, "killed at {place}");
        if code == 0 {
            break;
        }
        assert_eq!(code, -9);
        place += 1;
    }
    assert!(place > 10 && set > 3, "{place} places, {set} times something was set");
}

#[test]
fn what_needs_root_is_told_beforehand_to_who_is_not_and_what_does_not_is_set() {
    let sleeper = Sleeper::plain();
    let before = sleeper.found();
    let house = house(
        &sleeper,
        "nice: -5, io: { class: realtime, level: 0 }, oom_score_adj: 700, \
         limits: { nofile: unlimited, core: '0:0' }",
    );
    let planned = Running::start(house.unprivileged(&["plan", "p.yaml"])).end();
    let told = planned.told().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("oom_score_adj of process"), "{told}");
    for attribute in ["nice", "io", "limits.nofile", "limits.core"] {
        assert!(!told.contains(&format!("{attribute} of process")), "{attribute}: {told}");
        assert!(told.contains(&format!("; not {attribute}: ")), "{attribute}: {told}");
    }
    let ended = Running::start(house.unprivileged(&["run", "p.yaml"])).end().wanted(0);
    let told = ended.told().split_whitespace().collect::<Vec<_>>().join(" ");
    for reason in [
        "needs CAP_SYS_NICE; run as root, or give the process a limit `nice` of 25",
        "io: the class realtime needs CAP_SYS_NICE",
        "limits.core: a lower hard limit could not be taken back",
    ] {
        assert!(told.contains(reason), "{reason}: {told}");
    }
    let wanted = Found { oom_score_adj: "700".to_owned(), ..before.clone() };
    assert_eq!(sleeper.found(), wanted);
    Running::start(house.unprivileged(&["rollback"])).end().wanted(0);
    assert_eq!(sleeper.found(), before);
    let text = house.get("p.yaml").replace("nice: -5", "require: true, nice: -5");
    house.put("p.yaml", &text);
    let told = Running::start(house.unprivileged(&["run", "p.yaml"])).end().wanted(1).told();
    assert!(told.contains("a required attribute can't be set here"), "{told}");
}

#[test]
fn the_process_of_another_user_is_left_to_root() {
    if !is_root() {
        return;
    }
    let sleeper = Sleeper::own();
    let before = sleeper.found();
    let house = house(&sleeper, PLAIN);
    let told = Running::start(house.unprivileged(&["run", "p.yaml"])).end().wanted(0).told();
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("belongs to another user; run as root"), "{told}");
    assert_eq!(sleeper.found(), before);
}

#[test]
fn root_does_not_let_the_owner_of_a_file_choose_the_process_of_somebody_else() {
    if !is_root() {
        return;
    }
    let sleeper = Sleeper::own();
    let before = sleeper.found();
    let house = house(&sleeper, PLAIN);
    std::os::unix::fs::chown(house.path("pid"), Some(65534), None).unwrap();
    let told = house.trueup(&["run", "p.yaml"]).wanted(1).told();
    assert!(told.contains("is not of the user who owns that file"), "{told}");
    fs::set_permissions(house.path("pid"), fs::Permissions::from_mode(0o666)).unwrap();
    let told = house.trueup(&["run", "p.yaml"]).wanted(1).told();
    assert!(told.contains("could have been written by others"), "{told}");
    assert_eq!(sleeper.found(), before);
}

#[test]
fn all_threads_of_a_service_are_set_and_its_number_is_known_downstream() {
    let house = House::with_phases(
        "  svc:
    uses: service
    with: { database: \"sqlite://powd.db\", startup_samples: 1, threads: 3 }
  it:
    uses: process
    with: { pid: \"{{ phases.svc.pid }}\", cpus: 0, io: { class: best_effort, level: 7 } }
  look:
    uses: command
    needs: [it]
    with:
      shell: true
      argv: >-
        cd /proc/{{ phases.svc.pid }}/task; ls | wc -l; sed -n 's/^Cpus_allowed_list:\\s*//p'
        */status | sort -u; ionice -p $(ls) | sort -u
",
    );
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["it"], "SUCCESS", "{:?}", house.report()["phases"]["it"]);
    let look = house.report()["phases"]["look"].to_string();
    let threads = "\\n0\\nbest-effort: prio 7\\n";
    let told = house.events().iter().map(ToString::to_string).find(|one| one.contains(threads));
    assert!(told.is_some(), "{look}");
    // The service has ended with its run, and with it what was set.
    house.trueup(&["rollback"]).wanted(0);
}

#[test]
fn threads_that_begin_and_end_all_the_time_are_all_set() {
    const TEST: &str = "process::threads_that_begin_and_end_all_the_time_are_all_set";
    const INSIDE: &str = "TRUEUP_TEST_THREADS";
    if std::env::var_os(INSIDE).is_some() {
        loop {
            let begin = |_| std::thread::spawn(|| std::thread::sleep(Duration::from_millis(3)));
            let some: Vec<_> = (0..8).map(begin).collect();
            for thread in some {
                thread.join().unwrap();
            }
        }
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST]).env(INSIDE, "1");
    let pipe = std::process::Stdio::piped;
    command.stdout(pipe()).stderr(pipe());
    let restless = Sleeper(Running::start(command));
    let threads = || {
        let found = fs::read_dir(format!("/proc/{}/task", restless.pid())).into_iter().flatten();
        found.flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    wait_until("threads", || threads().len() > 5);
    let house = house(&restless, "cpus: 0, io: { class: idle }");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(house.outcomes()["it"], "SUCCESS", "{}", house.report()["phases"]["it"]);
    for _ in 0..50 {
        for thread in threads() {
            let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
            assert!(status.is_empty() || status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        }
    }
    house.trueup(&["rollback"]).wanted(0);
}

#[test]
fn a_gate_leads_the_attributes_of_a_process_back_and_forth() {
    let sleeper = Sleeper::own();
    let before = sleeper.found();
    for (better, outcome) in [(true, "SUCCESS"), (false, "REVERTED")] {
        let house = house(&sleeper, "oom_score_adj: 700");
        let (new, old) = if better { (150, 100) } else { (100, 150) };
        house.put(
            "measure",
            &format!(
                "case $(cat /proc/{}/oom_score_adj) in 700) echo {new} ;; *) echo {old} ;; esac\n",
                sleeper.pid()
            ),
        );
        let gate = "    gate: { objective: { command: [/bin/sh, measure], goal: maximize } }\n";
        house.put("p.yaml", &format!("{}{gate}", house.get("p.yaml")));
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(house.outcomes()["it"], outcome);
        let wanted = if better { "700" } else { &before.oom_score_adj };
        assert_eq!(sleeper.found().oom_score_adj, wanted);
        house.trueup(&["rollback"]).wanted(0);
        assert_eq!(sleeper.found(), before);
    }
}

#[test]
fn in_a_tree_of_files_it_is_told_what_would_be_set_and_nothing_is() {
    let house = House::with_phases(
        "  it: { uses: process, with: { pid: 42, nice: 5, oom_score_adj: 5 } }\n",
    );
    let stat = "42 (a) S 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99 9 9\n";
    house.put("host/proc/42/stat", stat);
    house.put("host/proc/42/task/42/stat", stat);
    house.put("host/proc/42/status", "Name:\ta\nUid:\t0\t0\t0\t0\n");
    house.put("host/proc/42/oom_score_adj", "0\n");
    let before = house.tree("host");
    for command in ["plan", "run"] {
        let told = house.trueup(&[command, "p.yaml"]).wanted(0).told();
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("a tree of files has no processes to be set"), "{told}");
        assert!(told.contains("would change 0 to 5"), "{told}");
    }
    assert_eq!(house.outcomes()["it"], "NOT_APPLICABLE");
    assert_eq!(house.tree("host"), before);
}

#[test]
fn two_phases_that_set_the_same_of_one_process_are_refused_before_anything_runs() {
    let house = House::with_phases(
        "  a: { uses: process, with: { pid: 42, nice: 5 } }\n  \
         b: { uses: process, with: { pid: 42, nice: 6, io: { class: idle } } }\n  \
         c: { uses: process, with: { pid: 43, nice: 21, limits: { nofiles: 1 } } }\n",
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(told.contains("both claim nice of process 42"), "{told}");
    assert!(told.contains("did you mean `nofile`?"), "{told}");
    assert!(told.contains("niceness goes from -20 to 19"), "{told}");
}

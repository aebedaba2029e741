//! Settings of a real PostgreSQL server: set, told of, kept, and taken back.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::house::{Ended, House, Running, list};
use crate::postgres::Postgres;

/// A place with a pipeline whose phase sets these, and what else it is told.
fn house(postgres: &Postgres, settings: &str, more: &str) -> House {
    let house = House::new();
    pipeline(&house, &postgres.url(), settings, more);
    house
}

fn pipeline(house: &House, url: &str, settings: &str, more: &str) {
    house.put(
        "p.yaml",
        &format!(
            "version: 1\nphases:\n  db:\n    uses: db_settings\n    with: {{ url: \"{url}\", settings: {{ {settings} }} }}\n{more}"
        ),
    );
}

fn in_force(postgres: &Postgres, name: &str) -> String {
    postgres.query(&format!("SHOW {name}")).remove(0)
}

fn phase(house: &House) -> Value {
    house.report()["phases"]["db"].clone()
}

fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {checks:?}"))
}

/// A text without the places where its lines were broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const TWO: &str = "work_mem: 64MB, random_page_cost: 1.1";

#[test]
fn settings_are_foreseen_set_in_force_kept_told_of_and_taken_back() {
    let mut postgres = Postgres::start();
    postgres.query("ALTER SYSTEM SET random_page_cost = '3.0'");
    postgres.query("SELECT pg_reload_conf()");
    let before = postgres.altered();
    let house = house(&postgres, TWO, "");
    let planned = house.trueup(&["plan", "p.yaml", "--detailed-exitcode"]).wanted(5).stdout;
    let planned = words(&planned);
    assert!(planned.contains("random_page_cost in postgresql.auto.conf of"), "{planned}");
    assert!(planned.contains("3.0 -> 1.1") && planned.contains("not set -> 64MB"), "{planned}");
    assert_eq!(postgres.altered(), before);

    let conf = postgres.folder().join("data/postgresql.conf");
    let others = fs::read_to_string(&conf).unwrap() + "maintenance_work_mem = 99MB\n";
    fs::write(&conf, others).unwrap();
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let notes = house.report()["phases"]["db"]["notes"].to_string();
    assert!(notes.contains("written there: maintenance_work_mem = 99MB\""), "{notes}");
    assert_eq!(
        (in_force(&postgres, "work_mem"), in_force(&postgres, "random_page_cost")),
        ("64MB".into(), "1.1".into())
    );
    let first = phase(&house);
    assert_eq!((first["status"].as_str(), list(&first["changes"]).len()), (Some("SUCCESS"), 2));
    assert_eq!(check(&list(&first["checks"]), "work_mem")["seen"], "64MB");
    house.trueup(&["verify"]).wanted(0);
    house.trueup(&["plan", "p.yaml", "--detailed-exitcode"]).wanted(0);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(list(&phase(&house)["changes"]).len(), 0, "nothing is done twice");

    // It outlasts a start of the server, and the duty to take it back outlasts a boot of the host.
    postgres.stop();
    let told = words(&house.trueup(&["verify"]).wanted(1).stdout);
    assert!(
        told.contains("UNREADABLE") && told.contains("could not reach the database server"),
        "{told}"
    );
    let told = house.trueup(&["rollback"]).wanted(1).stdout;
    assert!(told.contains("could not be taken back") && told.contains("is it running"), "{told}");
    postgres.go();
    assert_eq!(in_force(&postgres, "work_mem"), "64MB");
    let told = house.trueup(&["rollback"]).wanted(0).stdout;
    assert!(told.contains("taken back to 3.0") && told.contains("taken back to not set"), "{told}");
    assert_eq!(postgres.altered(), before);
    assert_eq!(
        (in_force(&postgres, "work_mem"), in_force(&postgres, "random_page_cost")),
        ("4MB".into(), "3".into())
    );
    let told = house.trueup(&["rollback"]).wanted(0).stdout;
    assert!(told.contains("nothing to take back"), "{told}");
}

#[test]
fn what_waits_for_a_restart_is_not_said_to_be_in_force() {
    let mut postgres = Postgres::start();
    let house = house(&postgres, "wal_buffers: 1MB, work_mem: 8MB", "");
    let was = in_force(&postgres, "wal_buffers");
    let told = house.trueup(&["run", "p.yaml"]).wanted(0).told();
    let ended = phase(&house);
    let reason = ended["reason"].as_str().unwrap();
    assert!(
        reason.contains("only after a restart of the server") && reason.contains(&was),
        "{reason}"
    );
    assert!(told.contains("restart"), "{told}");
    let checks = list(&ended["checks"]);
    assert_eq!(check(&checks, "wal_buffers")["result"], "not_applicable");
    assert_eq!(check(&checks, "wal_buffers in postgresql.auto.conf")["result"], "match");
    assert_eq!(check(&checks, "work_mem")["result"], "match");
    assert_eq!(in_force(&postgres, "wal_buffers"), was);
    assert_eq!(ended["outputs"]["waiting"], serde_json::json!(["wal_buffers"]));

    postgres.stop();
    postgres.go();
    assert_eq!(in_force(&postgres, "wal_buffers"), "1MB");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(phase(&house)["reason"], Value::Null);
    let told = words(&house.trueup(&["rollback"]).wanted(0).stdout);
    assert!(told.contains("wal_buffers in postgresql.auto.conf of"), "{told}");
    assert!(told.contains("is in force only after a restart of the server"), "{told}");
    assert_eq!(told.matches("restart").count(), 1, "{told}");
    assert!(postgres.altered().is_empty(), "{:?}", postgres.altered());
}

#[test]
fn what_is_wrong_is_told_by_the_plan_with_what_would_be_right() {
    let postgres = Postgres::start();
    let house = house(
        &postgres,
        "work_mem: 1kB, random_page_cos: 1, jit: maybe, block_size: 1, timezone: Mars/Base",
        "",
    );
    let told = house.trueup(&["plan", "p.yaml"]).wanted(1).stdout;
    let told = words(&told);
    for words in [
        "could not set work_mem to `1kB`: it takes a size from 64kB to",
        "no setting `random_page_cos`",
        "did you mean `random_page_cost`?",
        "could not set jit to `maybe`: it takes on or off",
        "block_size can't be set",
        "could not set timezone to `Mars/Base`: invalid value for parameter",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    pipeline(&house, &postgres.url(), "work_mem: [1, 2]", "");
    house.trueup(&["check", "p.yaml"]).wanted(2);
    pipeline(&house, "sqlite://x.db", "work_mem: 64MB", "");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(phase(&house)["status"], "NOT_APPLICABLE");
    // A gate can't lead a server through restarts.
    let gate = "    gate: { objective: { command: [/bin/true], goal: maximize } }\n";
    pipeline(&house, &postgres.url(), "wal_buffers: 1MB", gate);
    let told = house.trueup(&["plan", "p.yaml"]).wanted(1).stdout;
    let told = words(&told);
    assert!(told.contains("wal_buffers is in force only after a restart"), "{told}");
    assert!(postgres.altered().is_empty());
}

#[test]
fn what_counts_more_than_alter_system_is_told_and_nothing_is_written() {
    let postgres = Postgres::start();
    postgres.query("ALTER ROLE trueup SET work_mem = '5MB'");
    let house = house(&postgres, "shared_buffers: 32MB, work_mem: 8MB", "");
    let told = house.trueup(&["run", "p.yaml"]).wanted(0).told();
    let reason = phase(&house)["reason"].as_str().unwrap().to_owned();
    assert_eq!(phase(&house)["status"], "NOT_APPLICABLE", "{told}");
    assert!(
        reason.contains("shared_buffers: the command line of the server sets it to 16MB"),
        "{reason}"
    );
    assert!(reason.contains("work_mem: ALTER ROLE sets it for this user to 5MB"), "{reason}");
    assert!(postgres.altered().is_empty());
    let required = "  more:\n    uses: db_settings\n";
    let with = format!(
        "    with: {{ url: \"{}\", settings: {{ work_mem: 9MB }}, require: true }}\n",
        postgres.url()
    );
    house.put("p.yaml", &format!("version: 1\nphases:\n{required}{with}"));
    house.trueup(&["run", "p.yaml"]).wanted(1);
}

#[test]
fn a_user_without_the_rights_is_told_which_and_with_them_needs_no_more() {
    let postgres = Postgres::start();
    postgres.query("CREATE ROLE app LOGIN");
    let url = postgres.url().replace("trueup@", "app@");
    let house = House::new();
    pipeline(&house, &url, "work_mem: 64MB", "");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let told = phase(&house)["reason"].as_str().unwrap().to_owned();
    let grants = [
        "GRANT SELECT ON pg_file_settings TO app",
        "GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO app",
        "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO app",
        "GRANT ALTER SYSTEM ON PARAMETER work_mem TO app",
    ];
    for grant in grants {
        assert!(told.contains(grant), "{grant}: {told}");
        postgres.query(grant);
    }
    assert_eq!(phase(&house)["status"], "NOT_APPLICABLE");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(phase(&house)["status"], "SUCCESS");
    assert_eq!(in_force(&postgres, "work_mem"), "64MB");
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(in_force(&postgres, "work_mem"), "4MB");
}

#[test]
fn what_somebody_else_has_set_since_is_left_and_another_cluster_is_never_written_to() {
    let mut postgres = Postgres::start();
    let house = house(&postgres, TWO, "");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    postgres.query("ALTER SYSTEM SET work_mem = '77MB'");
    // The same value in other words is still ours.
    postgres.query("ALTER SYSTEM SET random_page_cost = '1.1'");
    let told = words(&house.trueup(&["verify"]).wanted(5).stdout);
    assert!(told.contains("77MB, kept was 64MB"), "{told}");
    let told = house.trueup(&["rollback"]).wanted(5).stdout;
    assert!(told.contains("77MB"), "{told}");
    assert_eq!(postgres.altered(), ["work_mem = '77MB'"]);
    house.trueup(&["rollback", "--force"]).wanted(0);
    assert!(postgres.altered().is_empty());

    house.trueup(&["run", "p.yaml"]).wanted(0);
    postgres.stop();
    postgres.become_another();
    postgres.go();
    postgres.query("ALTER SYSTEM SET work_mem = '64MB'");
    for arguments in [["rollback"].as_slice(), &["rollback", "--force"]] {
        let told = house.trueup(arguments).wanted(1).stdout;
        assert!(told.contains("another cluster answers at"), "{told}");
    }
    assert_eq!(postgres.altered(), ["work_mem = '64MB'"]);
}

#[test]
fn in_whatever_order_runs_over_one_another_are_taken_back_the_first_value_returns() {
    let postgres = Postgres::start();
    postgres.query("CREATE ROLE other LOGIN SUPERUSER");
    let others = postgres.url().replace("trueup@", "other@");
    for older_first in [true, false] {
        let house = house(&postgres, "work_mem: 64MB", "");
        house.trueup(&["run", "p.yaml"]).wanted(0);
        // Who asks makes no other setting of it.
        pipeline(&house, &others, "work_mem: 65MB", "");
        house.trueup(&["run", "p.yaml"]).wanted(0);
        let runs = house.runs();
        let (first, second) = if older_first { (0, 1) } else { (1, 0) };
        let told = house.trueup(&["rollback", &runs[first]]).wanted(0).stdout;
        assert_eq!(
            told.contains(&format!("run {} has set it since", runs[1])),
            older_first,
            "{told}"
        );
        let left = if older_first { "65MB" } else { "64MB" };
        assert_eq!(in_force(&postgres, "work_mem"), left);
        house.trueup(&["rollback", &runs[second]]).wanted(0);
        assert!(postgres.altered().is_empty());
        assert_eq!(in_force(&postgres, "work_mem"), "4MB");
    }
}

/// Runs the program with a fault at the given place.
fn with_fault(house: &House, arguments: &[&str], fault: &str, place: usize) -> Ended {
    let mut command = house.command(arguments);
    command.env("TRUEUP_FAULT", format!("{fault}@{place}"));
    Running::start(command).end()
}

#[test]
fn a_kill_or_an_error_at_any_step_of_a_run_and_of_its_rollback_is_taken_back() {
    let postgres = Postgres::start();
    postgres.query("ALTER SYSTEM SET random_page_cost = '3.0'");
    postgres.query("SELECT pg_reload_conf()");
    let before = postgres.altered();
    let is_back = |told: &str| {
        assert_eq!(postgres.altered(), before, "{told}");
        let now = (in_force(&postgres, "work_mem"), in_force(&postgres, "random_page_cost"));
        assert_eq!(now, ("4MB".to_owned(), "3".to_owned()), "{told}");
    };
    let mut places = 0;
    for fault in ["kill", "eio"] {
        for place in 1.. {
            let house = house(&postgres, TWO, "");
            let ended = with_fault(&house, &["run", "p.yaml", "--progress", "none"], fault, place);
            let told = format!("{fault}@{place}: {}", ended.told());
            // An error that comes when all is done already harms nothing, so there are as many as there are kills.
            let over = if fault == "kill" { ended.code == 0 } else { place >= places };
            places = places.max(place);
            let again = house.trueup(&["rollback"]);
            assert!([0, 1].contains(&again.code), "{told}{}", again.told());
            is_back(&told);
            // What a fault at the end has left open is done by the next one.
            house.trueup(&["rollback"]).wanted(0);
            is_back(&told);
            if over {
                break;
            }
        }
        assert!(places > 10, "{fault} was met {places} times");
    }
    for place in 1.. {
        let house = house(&postgres, TWO, "");
        house.trueup(&["run", "p.yaml", "--progress", "none"]).wanted(0);
        let ended = with_fault(&house, &["rollback"], "kill", place);
        let told = format!("kill@{place} of the rollback: {}", ended.told());
        house.trueup(&["rollback"]).wanted(0);
        is_back(&told);
        if ended.code == 0 {
            assert!(place > 8, "{told}");
            break;
        }
    }
}

#[test]
fn the_password_is_nowhere_and_a_run_that_was_cut_off_is_taken_back_with_that_of_the_pipeline() {
    let postgres = Postgres::start();
    let password = "correct horse@battery";
    let url = postgres.url_with_password(password, "{{ vars.password }}");
    postgres.query("ALTER ROLE app SUPERUSER");
    let house = House::new();
    let vars = "vars: { password: { secret: env, name: DB_PASSWORD } }";
    let put = |more: &str| {
        house.put(
            "p.yaml",
            &format!(
                "version: 1\n{vars}\nphases:\n  db:\n    uses: db_settings\n    with: {{ url: \"{url}\", settings: {{ work_mem: 64MB }} }}\n{more}"
            ),
        );
    };
    let with = |arguments: &[&str], name: &str| {
        let mut command = house.command(arguments);
        command.env(name, password);
        command
    };
    put(
        "  long: { uses: command, needs: [db], with: { argv: [/bin/sh, -c, 'echo $$ > shell; exec sleep 600'] } }\n",
    );
    let run = Running::start(with(&["run", "p.yaml"], "DB_PASSWORD"));
    house.wait_for_number("shell");
    assert_eq!(in_force(&postgres, "work_mem"), "64MB");
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, -9);
    let told = house.trueup(&["rollback"]).wanted(1).told();
    assert!(told.contains("PGPASSWORD"), "{told}");
    put("");
    Running::start(with(&["run", "p.yaml"], "DB_PASSWORD")).end().wanted(0);
    let recovered = house.report()["recovered"].to_string();
    assert!(recovered.contains("taken back to not set"), "{recovered}");
    assert_eq!(in_force(&postgres, "work_mem"), "64MB");
    let plan = with(&["plan", "p.yaml", "--json"], "DB_PASSWORD");
    let planned = Running::start(plan).end().wanted(0).stdout;
    assert!(!planned.contains("correct") && !planned.contains("battery"), "{planned}");
    for (path, content) in house.tree("").into_iter().filter(|(path, _)| !path.ends_with("p.yaml"))
    {
        let text = String::from_utf8_lossy(&content);
        for word in ["correct horse", "correct%20horse", "battery"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
    Running::start(with(&["verify"], "PGPASSWORD")).end().wanted(0);
    let mut command = house.command(&["rollback"]);
    command.env(
        "TRUEUP_DATABASE_URL",
        url.replace("{{ vars.password }}", "correct%20horse%40battery"),
    );
    Running::start(command).end().wanted(0);
    assert_eq!(in_force(&postgres, "work_mem"), "4MB");
}

#[test]
fn the_printed_script_does_the_same_and_a_value_in_it_is_only_a_value() {
    let postgres = Postgres::start();
    postgres.query(r#"ALTER SYSTEM SET "search_path" = '$user', 'it''s', 'public'"#);
    postgres.query(r"ALTER SYSTEM SET cluster_name = 'a''b; $(touch owned) `touch owned` \END'");
    let before = postgres.altered();
    let house = house(&postgres, "search_path: [app, public], cluster_name: x, work_mem: 64MB", "");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let changed = postgres.altered();
    let script = house.trueup(&["rollback", "--print"]).wanted(0).stdout;
    assert_eq!(postgres.altered(), changed, "printing touches nothing");
    house.put("undo.sh", &script);
    let shell = |arguments: &[&str]| {
        let mut command = Command::new("/bin/sh");
        let pipe = std::process::Stdio::piped;
        let path = format!("{}:/usr/bin:/bin", postgres.binaries().display());
        command.args(arguments).current_dir(house.path("")).env("PATH", path);
        command.stdout(pipe()).stderr(pipe());
        Running::start(command).end()
    };
    shell(&["-n", "undo.sh"]).wanted(0);
    postgres.query("ALTER SYSTEM SET work_mem = '77MB'");
    let told = shell(&["undo.sh"]).wanted(5).told();
    assert!(told.contains("work_mem: left at '77MB'"), "{told}");
    postgres.query("ALTER SYSTEM SET work_mem = '64MB'");
    let told = shell(&["undo.sh"]).wanted(0).told();
    assert!(told.contains("work_mem: '64MB' -> not set"), "{told}");
    assert_eq!(postgres.altered(), before, "{told}");
    assert_eq!(in_force(&postgres, "work_mem"), "4MB");
    assert!(!house.path("owned").exists());
    shell(&["undo.sh"]).wanted(0);
    // The program itself finds that nothing is left to do.
    house.trueup(&["rollback"]).wanted(0);
    assert_eq!(postgres.altered(), before);
}

#[test]
fn a_gate_measures_the_server_with_and_without() {
    let postgres = Postgres::start();
    let measure = "#!/bin/sh\nexec psql -h \"$1\" -U trueup -d postgres -AtXc \
                   \"SELECT 1000000 / setting::int FROM pg_settings WHERE name = 'work_mem'\"\n";
    let house = House::new();
    house.put("measure", measure);
    let make = Command::new("chmod").arg("+x").arg(house.path("measure")).status();
    assert!(make.unwrap().success());
    let gate = format!(
        "    gate: {{ objective: {{ command: [./measure, \"{}\"], goal: maximize }}, budget: 30s }}\n",
        postgres.folder().display()
    );
    pipeline(&house, &postgres.url(), "work_mem: 64MB", &gate);
    house.trueup(&["run", "p.yaml"]).wanted(0);
    let ended = phase(&house);
    assert_eq!(ended["status"], "REVERTED", "{ended}");
    let numbers = |side: &str| -> Vec<i64> {
        list(&ended["gate"][side]).iter().filter_map(Value::as_f64).map(|n| n as i64).collect()
    };
    assert!(numbers("former").len() > 5, "{ended}");
    assert!(numbers("former").iter().all(|value| *value == 244), "{ended}");
    assert!(numbers("new").iter().all(|value| *value == 15), "{ended}");
    assert!(postgres.altered().is_empty());
    assert_eq!(in_force(&postgres, "work_mem"), "4MB");
    assert!(fs::read_dir(house.path("results/journal")).unwrap().count() == 1);
}

//! The program among other programs: closed pipes, plain terminals, narrow ones, completions, the manual.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};

use crate::house::{Ended, House, Running, checkout};

/// A place with one run in it, some of whose phases have much to tell.
fn with_a_run() -> House {
    let house = House::with_phases(
        "  good: { uses: command, with: { argv: [/bin/true] } }\n  \
         bad:\n    uses: command\n    optional: true\n    with: { argv: [/bin/sh, -c, \"echo this is a long story of what went \
         wrong, told by a program in far more words than fit on one line >&2; exit 3\"] }\n",
    );
    house.trueup(&["run", "p.yaml", "--progress", "none"]).wanted(3);
    house
}

/// Commands that only print.
const PRINTING: [&[&str]; 15] = [
    &["--help"],
    &["run", "--help"],
    &["--version"],
    &["completions", "bash"],
    &["completions", "zsh"],
    &["completions", "fish"],
    &["man"],
    &["schema"],
    &["host"],
    &["host", "--json"],
    &["report", "list"],
    &["report", "show"],
    &["report", "schema"],
    &["check", "--kinds"],
    &["graph", "p.yaml"],
];

/// Runs a program whose output nobody reads.
fn unread(mut command: Command) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let mut child = command.spawn().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    Ended { code, stdout: String::new(), stderr }
}

#[test]
fn a_pipe_that_nobody_reads_is_success() {
    let house = with_a_run();
    for arguments in
        PRINTING.into_iter().chain([["plan", "p.yaml"].as_slice(), &["check", "p.yaml"]])
    {
        let ended = unread(house.command(arguments));
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

/// Runs a program on a terminal of so many columns; answers its exit code and all that it showed.
fn on_a_terminal(mut command: Command, columns: u16) -> (i32, String) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    command.stdout(Stdio::from(pty.slave.try_clone().unwrap())).stderr(Stdio::from(pty.slave));
    let mut child = command.spawn().unwrap();
    // The terminal ends for its reader when nobody can write to it any more.
    drop(command);
    let mut shown = Vec::new();
    let mut terminal = File::from(pty.master);
    let mut some = [0; 4096];
    while let Ok(length @ 1..) = terminal.read(&mut some) {
        shown.extend_from_slice(&some[..length]);
    }
    let code = child.wait().unwrap().code().unwrap();
    (code, String::from_utf8(shown).unwrap().replace("\r\n", "\n"))
}

/// On a terminal: what is asked for, in the environment of a person.
fn shown(house: &House, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = house.command(arguments);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").envs(environment.iter().copied());
    on_a_terminal(command, 80).1
}

#[test]
fn a_terminal_that_asks_for_plain_text_gets_no_escape_codes() {
    let house = with_a_run();
    house.put("bad.yaml", "version: 1\nphases:\n  a: { uses: nonsense }\n");
    let asked: [&[&str]; 7] = [
        &["--help"],
        &["rollbak"],
        &["check", "bad.yaml"],
        &["plan", "p.yaml"],
        &["run", "p.yaml"],
        &["report", "show"],
        &["-vv", "check", "p.yaml"],
    ];
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR", "0")] {
        for arguments in asked {
            // Also where a CI job runs, which some libraries take for a wish for colours.
            let shown = shown(&house, arguments, &[("CI", "true"), plain]);
            assert!(
                !shown.is_empty() && !shown.contains('\x1b'),
                "{plain:?} {arguments:?}\n{shown}"
            );
        }
    }
    // Where colours are welcome, there are some: so the above says something.
    for arguments in &asked[..3] {
        assert!(shown(&house, arguments, &[]).contains('\x1b'), "{arguments:?}");
    }
}

#[test]
fn without_a_terminal_there_are_no_escape_codes() {
    let house = with_a_run();
    for arguments in PRINTING.into_iter().chain([
        ["run", "p.yaml"].as_slice(),
        &["plan", "p.yaml"],
        &["check", "missing.yaml"],
        &["-vv", "check", "p.yaml"],
    ]) {
        let mut command = house.command(arguments);
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
        let told = Running::start(command).end().told();
        assert!(!told.is_empty() && !told.contains('\x1b'), "{arguments:?}\n{told}");
    }
}

/// Lines of more than 80 columns in which a space would have let them be broken.
fn too_long(text: &str) -> Vec<&str> {
    let breakable = |line: &str| {
        let words = line.trim_start();
        line.chars().count() > 80 && words.split_whitespace().count() > 1
    };
    text.lines().filter(|line| breakable(line)).collect()
}

#[test]
fn eighty_columns_are_enough() {
    let house = with_a_run();
    let mut commands: Vec<Vec<&str>> =
        vec![vec!["report", "show"], vec!["report", "list"], vec!["check", "--kinds"]];
    let files: Vec<String> = fs::read_dir(checkout().join("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.display().to_string())
        .collect();
    for file in files.iter().map(String::as_str).chain(["p.yaml"]) {
        commands.push(vec!["check", file]);
    }
    for arguments in &commands {
        let shown = shown(&house, arguments, &[("NO_COLOR", "1")]);
        let long = too_long(&shown);
        assert!(!shown.is_empty() && long.is_empty(), "{arguments:?}\n{}", long.join("\n"));
    }
}

/// All commands, those of commands included, as they are typed.
fn commands(house: &House) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(above) = open.pop() {
        let arguments: Vec<&str> = above.iter().map(String::as_str).chain(["--help"]).collect();
        let help = Running::start(plain(house, &arguments)).end().wanted(0).stdout;
        let Some((_, list)) = help.split_once("\nCommands:\n") else { continue };
        let names = list.lines().take_while(|line| line.starts_with("  "));
        for name in names.filter(|line| !line.starts_with("   ")) {
            let name = name.split_whitespace().next().unwrap();
            if name != "help" {
                open.push([above.clone(), vec![name.to_owned()]].concat());
                found.push([above.clone(), vec![name.to_owned()]].concat());
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// The program with just these arguments, for 80 columns.
fn plain(house: &House, arguments: &[&str]) -> Command {
    let mut command = house.command(&[]);
    command.args(arguments).env("COLUMNS", "80");
    command
}

#[test]
fn every_page_of_the_help_fits_eighty_columns() {
    let house = House::new();
    for command in commands(&house) {
        for option in ["--help", "-h"] {
            let arguments: Vec<&str> = command.iter().map(String::as_str).chain([option]).collect();
            let help = Running::start(plain(&house, &arguments)).end().wanted(0).stdout;
            let long: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{arguments:?}\n{}", long.join("\n"));
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[test]
fn completions_are_scripts_of_their_shell_and_complete() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = house.trueup(&["completions", shell]).wanted(0).stdout;
        house.put(shell, &script);
        assert!(script.contains("rollback") && script.contains("detailed-exitcode"), "{shell}");
        if shell == "bash" || is_installed(shell) {
            let mut check = Command::new(shell);
            check.arg("-n").arg(house.path(shell));
            assert!(check.status().unwrap().success(), "{shell} refuses the completions");
        }
    }
    let complete = "source \"$1\"; COMP_WORDS=(trueup rol); COMP_CWORD=1; \
                    _trueup trueup rol trueup; echo \"${COMPREPLY[@]}\"";
    let output =
        Command::new("bash").args(["-c", complete, "bash"]).arg(house.path("bash")).output();
    assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout).trim(), "rollback");
    house.trueup(&["completions", "tcsh"]).wanted(2);
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let house = House::new();
    let printed = house.trueup(&["man"]).wanted(0).stdout;
    let ended = house.trueup(&["man", "pages"]).wanted(0);
    let wanted: Vec<String> = commands(&house)
        .iter()
        .map(|names| {
            ["trueup"]
                .into_iter()
                .chain(names.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join("-")
        })
        .map(|name| format!("pages/{name}.1"))
        .collect();
    let mut told: Vec<&str> = ended.stdout.lines().collect();
    told.sort_unstable();
    let mut sorted = wanted.clone();
    sorted.sort_unstable();
    assert_eq!(told, sorted);
    assert_eq!(house.tree("pages").len(), wanted.len(), "nothing else is left there");
    assert_eq!(house.get("pages/trueup.1"), printed);
    for path in &wanted {
        let text = house.get(path);
        assert_eq!(text.matches("\n.TH trueup").count(), 1, "{path}");
        assert!(text.contains("\n.SH SYNOPSIS\n"), "{path}");
        if is_installed("mandoc") {
            let lint = Command::new("mandoc")
                .args(["-T", "lint", "-W", "warning"])
                .arg(house.path(path))
                .output()
                .unwrap();
            assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
        }
    }
    for words in ["EXIT CODES", "PARTIAL_SUCCESS", "journal/", "trueup rollback"] {
        assert!(printed.contains(words), "{words}");
    }
    house.put("file", "");
    let refused = house.trueup(&["man", "file"]).wanted(1);
    assert!(refused.stderr.contains("cli::man"), "{}", refused.stderr);
}

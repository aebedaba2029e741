//! What is shown of a run and written about it, beside the report itself.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::house::{House, Running};

/// A socket in the place of a service manager's.
fn manager(house: &House) -> UnixDatagram {
    let socket = UnixDatagram::bind(house.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    socket
}

/// All messages that it was told so far.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    messages
}

/// A run that has a service manager.
fn start(house: &House, arguments: &[&str]) -> Running {
    let mut command = house.command(arguments);
    command.env("NOTIFY_SOCKET", house.path("notify"));
    Running::start(command)
}

#[test]
fn a_service_manager_hears_of_the_phases_and_that_the_run_ended_well() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/sleep, '1.2'] } }\n");
    let manager = manager(&house);
    let ended = start(&house, &["run", "p.yaml", "--progress", "systemd"]).end().wanted(0);
    assert_eq!(ended.stdout, "", "nothing else is shown");
    let told = told(&manager);
    assert!(told.iter().any(|message| message.contains("EXTEND_TIMEOUT_USEC=")), "{told:?}");
    assert!(told.iter().any(|message| message.contains("STATUS=a: apply, 0 of 1")), "{told:?}");
    assert!(told.last().unwrap().starts_with("READY=1\nSTATUS=SUCCESS in "), "{told:?}");
    assert!(!told.iter().any(|message| message.contains("STOPPING")), "{told:?}");
}

#[test]
fn a_service_manager_hears_of_a_failure_and_of_a_stop_and_is_never_told_that_it_is_ready() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/false] } }\n");
    let manager = manager(&house);
    start(&house, &["run", "p.yaml"]).end().wanted(1);
    let failed = told(&manager);
    assert!(failed.last().unwrap().starts_with("STOPPING=1\nSTATUS=FAILED"), "{failed:?}");
    let wait = "version: 1\nphases:\n  a: { uses: command, with: { argv: [/bin/sh, -c, 'echo $$ > pid; exec sleep 60'] } }\n";
    house.put("p.yaml", wait);
    let running = start(&house, &["run", "p.yaml"]);
    house.wait_for_number("pid");
    running.signal(Signal::SIGTERM);
    running.end().wanted(143);
    let stopped = told(&manager);
    assert!(stopped.iter().any(|message| message.starts_with("STOPPING=1\n")), "{stopped:?}");
    assert!(!failed.iter().chain(&stopped).any(|message| message.contains("READY")));
}

#[test]
fn a_status_for_nobody_is_wrong_usage() {
    let house = House::with_phases("  a: { uses: command, with: { argv: [/bin/true] } }\n");
    let ended = house.trueup(&["run", "p.yaml", "--progress", "systemd"]).wanted(2);
    assert!(ended.stderr.contains("run::notify"), "{}", ended.stderr);
    assert!(house.runs().is_empty());
}

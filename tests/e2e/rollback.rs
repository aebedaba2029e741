//! Taking back less than everything: some phases, or by a copy of a journal.

use crate::governor::bare_host;
use crate::house::House;

const SWAP: &str = "host/proc/sys/vm/swappiness";
const ROOM: &str = "host/proc/sys/net/core/rmem_max";

/// A host on which two phases have set a setting each.
fn changed() -> (House, String) {
    let house = House::with_phases(
        "  memory: { uses: cpu_governor, with: { swappiness: 10 } }\n  \
         net: { uses: cpu_governor, with: { settings: { net.core.rmem_max: 16MiB } } }\n",
    );
    bare_host(&house);
    house.put(SWAP, "60\n");
    house.put(ROOM, "212992\n");
    house.trueup(&["run", "p.yaml"]).wanted(0);
    assert_eq!(values(&house), ["10", "16777216"]);
    let run = house.runs().pop().unwrap();
    (house, run)
}

fn values(house: &House) -> [String; 2] {
    [SWAP, ROOM].map(|path| house.get(path).trim().to_owned())
}

#[test]
fn the_changes_of_a_phase_are_taken_back_alone_and_the_rest_later() {
    let (house, run) = changed();
    let told = house.trueup(&["rollback", "--phase", "nett"]).wanted(2).stderr;
    assert!(told.contains("rollback::phase") && told.contains("did you mean `net`?"), "{told}");
    let script = house.trueup(&["rollback", "--print", "--phase", "net"]).wanted(0).stdout;
    assert!(script.contains("rmem_max") && !script.contains("swappiness"), "{script}");
    house.put(ROOM, "1\n");
    let told = house.trueup(&["rollback", &run, "--phase", "net"]).wanted(5).stdout;
    let hint = format!("`trueup rollback --force --phase net {run}` takes it back as well");
    assert!(told.contains(&hint), "{told}");
    house.trueup(&["rollback", "--force", "--phase", "net", &run]).wanted(0);
    assert_eq!(values(&house), ["10", "212992"]);
    house.trueup(&["verify"]).wanted(0);
    let told = house.trueup(&["report", "show"]).wanted(0).stdout;
    let told: Vec<&str> = told.split_whitespace().collect();
    let told = told.join(" ");
    assert!(told.contains("changed 1 setting of the host; 1 more was taken back at 20"), "{told}");
    assert!(
        told.contains("by `trueup rollback --force --phase net`; undo: trueup rollback"),
        "{told}"
    );
    let told = house.trueup(&["rollback"]).wanted(0).stdout;
    assert!(told.contains("swappiness") && !told.contains("rmem_max"), "{told}");
    let exported = house.trueup(&["report", "export", "--format", "markdown"]).wanted(0).stdout;
    assert!(exported.contains("taken back at 20") && !exported.contains("Undo"), "{exported}");
    assert_eq!(values(&house), ["60", "212992"]);
    house.trueup(&["rollback", "--phase", "memory,net"]).wanted(0);
}

#[test]
fn a_run_is_told_by_the_beginning_of_its_name_and_what_is_back_already_is_told() {
    let (house, run) = changed();
    let short = &run[..run.len() - 3];
    let told = house.trueup(&["verify", short]).wanted(0).stdout;
    assert!(told.contains("rmem_max"), "{told}");
    let told = house.trueup(&["rollback", "nonesuch"]).wanted(2).stderr;
    assert!(told.contains("no run `nonesuch` has changed anything here"), "{told}");
    house.trueup(&["rollback", short]).wanted(0);
    assert_eq!(values(&house), ["60", "212992"]);
    let told = house.trueup(&["rollback", short]).wanted(0).stdout;
    assert!(told.contains("there is nothing to take back"), "{told}");
}

#[test]
fn a_copy_of_a_journal_takes_back_what_is_in_place_and_stays_as_it_is() {
    let (house, run) = changed();
    let journal = format!("results/journal/{run}.jsonl");
    let text = house.get(&journal);
    house.put("copy", &text);
    let told = house.trueup(&["rollback", "--journal", "copy"]).wanted(2).stderr;
    assert!(told.contains(&format!("`trueup rollback {run}`")), "{told}");
    std::fs::remove_dir_all(house.path("results")).unwrap();
    house.put(ROOM, "1\n");
    let told = house.trueup(&["rollback", "--journal", "copy"]).wanted(5).stdout;
    assert!(told.contains("nothing is recorded in copy"), "{told}");
    assert!(told.contains("`trueup rollback --force --journal copy` takes it back"), "{told}");
    assert_eq!(values(&house), ["60", "1"]);
    assert!(!house.path("results").exists());
    // Another boot has taken back all of it.
    house.put("host/proc/sys/kernel/random/boot_id", "another\n");
    let told = house.trueup(&["rollback", "--force", "--journal", "copy"]).wanted(0).stdout;
    assert!(told.contains("the host was booted since"), "{told}");
    assert_eq!((values(&house), house.get("copy")), (["60", "1"].map(str::to_owned), text.clone()));
    house.put("else/proc/sys/vm/swappiness", "10\n");
    let other = house.path("else").display().to_string();
    let arguments = ["rollback", "--journal", "copy", "--sysroot", &other];
    let mut command = std::process::Command::new(crate::house::TRUEUP);
    let ended = command.args(arguments).current_dir(house.path("")).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    house.put("copy", "no journal\nat all\n");
    house.trueup(&["rollback", "--journal", "copy"]).wanted(2);
    house.trueup(&["rollback", "--journal", "copy", "--phase", "net", &run]).wanted(2);
    // A journal that is named by its file and is not a copy is the run's own.
    house.put("copy", "");
    house.put(&journal, &text);
    house.put("host/proc/sys/kernel/random/boot_id", "first\n");
    house.trueup(&["rollback", "--journal", &journal, "--phase", "memory"]).wanted(0);
    assert!(house.get(&journal).len() > text.len());
}

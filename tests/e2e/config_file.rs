//! A configuration file of a made-up host: made, kept, shown, and gone again.

use crate::governor::bare_host;
use crate::house::{House, list};

const FILE: &str = "host/etc/sysctl.d/90-local.conf";
const PHASES: &str = "  file:\n    uses: config_file\n    with:\n      path: /etc/sysctl.d/90-local.conf\n      text: |\n        vm.swappiness = 10\n";

#[test]
fn a_configuration_file_is_foreseen_made_kept_and_gone_again_with_its_folders() {
    let house = House::with_phases(PHASES);
    bare_host(&house);
    house.put("host/etc/hostname", "made-up\n");
    let planned = house.trueup(&["plan", "p.yaml"]).wanted(0);
    assert!(planned.stdout.contains("90-local.conf: absent -> 1 line, 19 bytes"), "{planned:?}");
    assert!(!house.path("host/etc/sysctl.d").exists());
    for changes in [1, 0] {
        house.trueup(&["run", "p.yaml"]).wanted(0);
        assert_eq!(house.get(FILE), "vm.swappiness = 10\n");
        let report = house.report();
        assert_eq!(list(&report["phases"]["file"]["changes"]).len(), changes, "{report}");
    }
    house.trueup(&["verify"]).wanted(0);
    house.put("host/proc/sys/kernel/random/boot_id", "another\n");
    house.put(FILE, "vm.swappiness = 11\n");
    house.trueup(&["verify"]).wanted(5);
    house.put(FILE, "vm.swappiness = 10\n");
    house.trueup(&["rollback"]).wanted(0);
    assert!(!house.path("host/etc/sysctl.d").exists());
    assert_eq!(house.get("host/etc/hostname"), "made-up\n");
}

#[test]
fn a_text_that_is_cut_off_and_a_path_outside_of_etc_are_refused_before_anything_runs() {
    let house = House::with_phases(
        "  a: { uses: config_file, with: { path: /etc/../var/x, text: \"x\\n\" } }\n  \
         b: { uses: config_file, with: { path: /etc/x, text: \"x\" } }\n",
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(2).stderr;
    assert!(told.contains("is not a configuration file"), "{told}");
    assert!(told.contains("ends with a line end"), "{told}");
}

#[test]
fn a_file_that_has_the_value_of_a_secret_is_left_as_it_is_and_does_not_get_into_a_journal() {
    let house = House::with_phases(
        "  file:\n    uses: config_file\n    with: { path: /etc/app.conf, text: \"x\\n\" }\n  \
         say: { uses: command, with: { argv: [/bin/true], env: { A: { secret: file, path: pw } } } }\n",
    );
    bare_host(&house);
    house.put("pw", "hunter2hunter2\n");
    house.put("host/etc/app.conf", "password = hunter2hunter2\n");
    let told = house.trueup(&["run", "p.yaml"]).wanted(1).told();
    assert!(told.contains("a secret would stand in the journal"), "{told}");
    assert_eq!(house.get("host/etc/app.conf"), "password = hunter2hunter2\n");
    assert!(!house.path("results/journal").exists());
}

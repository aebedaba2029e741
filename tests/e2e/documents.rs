//! The published form of pipelines: what the program prints, and what pipelines are held against it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::house::{House, checkout};

const PUBLISHED: &str = "pipelines/pipeline.schema.json";

fn validator() -> jsonschema::Validator {
    let text = fs::read_to_string(checkout().join(PUBLISHED)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

/// A document as plain data.
fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn pipelines(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkout().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    files
}

/// What the schema says of a document.
fn told(validator: &jsonschema::Validator, document: &Value) -> Vec<String> {
    let errors = validator.iter_errors(document);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_published_schema_of_pipelines_is_that_of_the_program() {
    let printed = House::new().trueup(&["schema"]).wanted(0).stdout;
    let published = fs::read_to_string(checkout().join(PUBLISHED)).unwrap_or_default();
    assert!(
        printed == published,
        "{PUBLISHED} is not what `trueup schema` prints; write it anew: trueup schema > {PUBLISHED}"
    );
    let of_reports = House::new().trueup(&["report", "schema"]).wanted(0).stdout;
    assert_eq!(House::new().trueup(&["schema", "report"]).wanted(0).stdout, of_reports);
}

#[test]
fn pipelines_that_ship_or_are_good_keep_to_the_schema() {
    let validator = validator();
    for path in [pipelines("pipelines"), pipelines("tests/pipelines/good")].concat() {
        let wrong = told(&validator, &yaml(&fs::read_to_string(&path).unwrap()));
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
    }
}

#[test]
fn pipelines_that_ship_name_the_schema_for_editors() {
    for path in pipelines("pipelines") {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            "# yaml-language-server: $schema=./pipeline.schema.json",
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_wrong_with_the_form_of_a_pipeline_is_seen_by_an_editor_too() {
    let validator = validator();
    let seen = [
        "bad-name",
        "bad-retry",
        "bad-version",
        "missing-key",
        "no-kind",
        "no-phases",
        "no-version",
        "not-a-map",
        "unknown-key",
        "unknown-key-of-kind",
        "unknown-key-of-pipeline",
        "unknown-kind",
        "wrong-timeout",
        "wrong-type",
        "wrong-unit",
    ];
    for name in seen {
        let path = format!("tests/pipelines/bad/{name}.yaml");
        let text = fs::read_to_string(checkout().join(Path::new(&path))).unwrap();
        assert!(!validator.is_valid(&yaml(&text)), "{path} keeps to the schema");
    }
}

#[test]
fn expressions_and_secrets_stand_for_values_in_the_schema_where_they_do_for_the_program() {
    let validator = validator();
    let with = |uses: &str, with: &str| {
        yaml(&format!("version: 1\nphases:\n  a: {{ uses: {uses}, with: {with} }}\n"))
    };
    let good = [
        (
            "readiness",
            "{ min_open_files: \"{{ vars.files }}\", min_memory: \"{{ vars.memory }}\" }",
        ),
        ("db_pool", "{ url: { secret: env, name: DB }, max: \"{{ host.cpus * 4 }}\" }"),
        ("db_pool", "{ url: \"postgres://app:{{ vars.password }}@host/db\" }"),
        ("command", "{ argv: [a], env: { TOKEN: { secret: file, path: /run/secrets/token } } }"),
        ("tune", "{ space: { threads: { int: [1, \"{{ host.cpus }}\"] } } }"),
    ];
    for (kind, told_to) in good {
        let wrong = told(&validator, &with(kind, told_to));
        assert!(wrong.is_empty(), "{kind} {told_to}: {wrong:#?}");
    }
    let bad = [
        ("readiness", "{ min_open_files: many }"),
        ("db_pool", "{ url: { secret: drawer, name: DB } }"),
        ("db_pool", "{ url: { secret: env, path: DB } }"),
        ("db_pool", "{ url: \"sqlite://a\", min: 0 }"),
        ("cpu_governor", "{ require: \"yes\" }"),
    ];
    for (kind, told_to) in bad {
        assert!(!validator.is_valid(&with(kind, told_to)), "{kind} {told_to}");
    }
    // A time limit is read before there is any value to put into it.
    assert!(!validator.is_valid(&yaml(
        "version: 1\nphases: { a: { uses: readiness, timeout: \"{{ vars.t }}\" } }"
    )));
}

#[test]
fn the_pipeline_for_boot_leaves_what_decisions_are_found_under_as_it_is() {
    let boot = yaml(&fs::read_to_string(checkout().join("pipelines/boot.yaml")).unwrap());
    assert_eq!(boot["extends"], "optimize.yaml");
    assert!(boot["vars"].is_null() && boot["defaults"].is_null());
    let said: Vec<&String> = boot["phases"].as_object().unwrap().keys().collect();
    assert_eq!(said, ["readiness", "integration_tests"], "neither measures a decision");
}

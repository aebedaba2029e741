//! Values that nobody may see: they reach the process or the database that they are meant for, and no other place.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::house::{Ended, House, Running, wait_until};
use crate::postgres::Postgres;

const ENV: &str = "env \"quoted\" \\ p@ss/w:rd?%41";
const FILE: &str = "file-s3cret-first-line\nfile-s3cret-second-line";
const CREDENTIAL: &str = "credential=ümlaut&7f3a";

/// Every way in which one of the values could be told.
fn tellings() -> Vec<String> {
    let lines = FILE.lines().map(str::to_owned);
    let mut all: Vec<String> =
        [ENV, CREDENTIAL].iter().map(|text| (*text).to_owned()).chain(lines).collect();
    let json = all.iter().map(|text| serde_json::to_string(text).unwrap());
    let json: Vec<String> = json.map(|quoted| quoted[1..quoted.len() - 1].to_owned()).collect();
    all.extend(json);
    all.push("p%40ss%2Fw%3Ard%3F%2541".to_owned());
    all.push("p@ss/w:rd".to_owned());
    all
}

#[track_caller]
fn assert_untold(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for telling in tellings() {
        assert!(!text.contains(&telling), "{what} tells `{telling}`:\n{text}");
    }
}

#[track_caller]
fn assert_untold_by(house: &House, ended: &Ended) {
    assert_untold("the output", ended.told().as_bytes());
    for folder in ["results", "cache"] {
        for (path, content) in house.tree(folder) {
            assert_untold(&path.display().to_string(), &content);
        }
    }
}

/// A house with the secrets in it, and how the program is started there.
fn house(pipeline: &str) -> House {
    let house = House::new();
    house.put("p.yaml", pipeline);
    house.put("kept/file", &format!("{FILE}\n"));
    house.put("credentials/db", CREDENTIAL);
    house
}

fn with_secrets(house: &House, arguments: &[&str]) -> Command {
    let mut command = house.command(arguments);
    command.env("APP_PASSWORD", ENV).env("CREDENTIALS_DIRECTORY", house.path("credentials"));
    command
}

fn trueup(house: &House, arguments: &[&str]) -> Ended {
    Running::start(with_secrets(house, arguments)).end()
}

const COMMANDS: &str = r#"
version: 1
vars:
  password: { secret: env, name: APP_PASSWORD }
  key: { secret: file, path: kept/file }
phases:
  prints:
    uses: command
    with:
      argv: [sh, -c, 'printf "%s\n" "$A" "$B"; cat; printf "%s" "$C" | tee given >&2; mkdir -p got; cat > got/none; printf "%s" "$A" > got/env; printf "%s" "$B" > got/credential']
      env: { A: "{{ vars.password }}", B: { secret: systemd-credential, name: db }, C: "x={{ vars.key }};" }
      stdin: "{{ vars.key }}"
  json:
    uses: command
    with:
      argv: [python3, -c, 'import json, os; print(json.dumps({"it": os.environ["A"], os.environ["A"]: [os.environ["B"]]}))']
      env: { A: "{{ vars.password }}", B: { secret: systemd-credential, name: db } }
      outputs: json
  downstream:
    uses: command
    with: { argv: [sh, -c, 'cat > got/downstream'], stdin: "{{ phases.json.it }}" }
  cut:
    uses: command
    with: { argv: [sh, -c, 'printf "%s %s %s" "$A" "$A" "$A"'], env: { A: "{{ vars.password }}" }, output_limit: 60B }
  fails:
    uses: command
    optional: true
    retry: { attempts: 2, backoff: 1ms }
    with: { argv: [sh, -c, 'cat >&2; echo "$A" >&2; exit 3'], stdin: "{{ vars.key }}", env: { A: "{{ vars.password }}" } }
  missing:
    uses: command
    optional: true
    with: { argv: [/no/such/program], env: { A: "{{ vars.password }}" } }
"#;

#[test]
fn a_secret_reaches_its_process_and_is_told_nowhere() {
    let house = house(COMMANDS);
    let plan = trueup(&house, &["plan", "p.yaml", "-vvv"]).wanted(0);
    assert_untold_by(&house, &plan);
    let run = trueup(&house, &["run", "p.yaml", "-vvv"]).wanted(3);
    assert_untold_by(&house, &run);
    let got = |name: &str| house.get(&format!("got/{name}"));
    assert_eq!((got("env"), got("credential")), (ENV.to_owned(), CREDENTIAL.to_owned()));
    assert_eq!(house.get("given"), format!("x={FILE};"));
    assert_eq!(got("downstream"), ENV, "what was hidden on the way is revealed again");
    for arguments in [
        &["run", "p.yaml", "--progress", "json"][..],
        &["report", "show"],
        &["report", "show", "--json"],
        &["report", "list"],
        &["cache", "ls"],
        &["check", "p.yaml"],
        &["graph", "p.yaml"],
    ] {
        assert_untold_by(&house, &trueup(&house, arguments));
    }
    let report = house.report();
    let marker = "⟦secret env APP_PASSWORD⟧";
    assert_eq!(report["phases"]["json"]["outputs"]["it"], marker);
    let reason = report["phases"]["fails"]["reason"].to_string();
    assert!(reason.contains(marker) && reason.contains("⟦secret file kept/file⟧"), "{reason}");
}

#[test]
fn no_process_has_a_secret_among_its_arguments() {
    let house = house(
        "version: 1\nphases:\n  long:\n    uses: command\n    with:\n      argv: [sh, -c, 'touch there; while test ! -e go; do sleep 0.02; done']\n      env: { A: { secret: env, name: APP_PASSWORD } }\n      stdin: { secret: systemd-credential, name: db }\n",
    );
    let run = Running::start(with_secrets(&house, &["run", "p.yaml"]));
    wait_until("the command", || house.path("there").exists());
    let mut looked_at = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(line) = fs::read(entry.path().join("cmdline")) {
            assert_untold(&entry.path().display().to_string(), &line);
            looked_at += 1;
        }
    }
    assert!(looked_at > 2);
    house.put("go", "");
    let ended = run.end().wanted(0);
    assert_untold_by(&house, &ended);
}

/// A pipeline that asks a database with a password from the environment.
fn asks(url: &str) -> String {
    format!(
        "version: 1\nvars:\n  password: {{ secret: env, name: APP_PASSWORD }}\nphases:\n  ready: {{ uses: readiness, with: {{ database: \"{url}\" }} }}\n  pool: {{ uses: db_pool, with: {{ url: \"{url}\", min: 1, max: 2, sample: 100ms, p99: 10s }} }}\n"
    )
}

#[test]
fn the_password_of_a_database_is_given_to_it_whatever_its_letters_and_a_wrong_one_is_not_told() {
    let postgres = Postgres::start();
    let url = postgres.url_with_password(ENV, "{{ vars.password }}");
    postgres.query("GRANT CREATE ON SCHEMA public TO app");
    let house = house(&asks(&url));
    let ended = trueup(&house, &["run", "p.yaml"]).wanted(0);
    assert_untold_by(&house, &ended);
    let marker = "⟦secret env APP_PASSWORD⟧";
    let remembered = house.tree("cache").into_values().next().unwrap();
    assert!(String::from_utf8(remembered).unwrap().contains(marker), "it names what it used");
    postgres.query("ALTER ROLE app PASSWORD 'another'");
    let plan = trueup(&house, &["plan", "p.yaml", "-vvv"]);
    assert_untold_by(&house, &plan);
    let ended = trueup(&house, &["run", "p.yaml", "-vvv", "--no-cache"]).wanted(1);
    assert_untold_by(&house, &ended);
    assert!(ended.told().contains("password authentication failed"), "{}", ended.told());
}

#[test]
fn a_url_may_be_secret_as_a_whole() {
    let house = house(
        "version: 1\nphases:\n  ready: { uses: readiness, with: { database: { secret: env, name: URL } } }\n",
    );
    let run = |url: &str| {
        let mut command = house.command(&["run", "p.yaml"]);
        command.env("URL", url);
        Running::start(command).end()
    };
    run("sqlite://app.db").wanted(0);
    let wrong = run("mysql://hidden-host/hidden-app").wanted(1);
    assert!(wrong.told().contains("⟦secret env URL⟧"), "{}", wrong.told());
    let refused = run("postgres://nobody:x@127.0.0.1:1/hidden-app").wanted(1);
    for told in [wrong, refused] {
        assert!(!told.told().contains("hidden"), "{}", told.told());
    }
}

#[test]
fn a_missing_secret_is_told_before_anything_runs_and_checking_needs_none() {
    let house = House::new();
    house.put(
        "p.yaml",
        "version: 1\nvars:\n  a: { secret: env, name: NOT_THERE }\nphases:\n  first: { uses: command, with: { argv: [touch, ran] } }\n  second:\n    uses: command\n    needs: [first]\n    with:\n      argv: ['true']\n      env: { A: \"{{ vars.a }}\", B: { secret: file, path: none }, C: { secret: systemd-credential, name: db } }\n",
    );
    for command in ["run", "plan"] {
        let ended = house.trueup(&[command, "p.yaml"]).wanted(2);
        for part in
            ["`env NOT_THERE` can't be read", "p.yaml:3:", "`file none`", "CREDENTIALS_DIRECTORY"]
        {
            assert!(ended.stderr.contains(part), "{part}\n{}", ended.stderr);
        }
        assert_eq!(ended.stderr.matches("plan::secret").count(), 3, "{}", ended.stderr);
        assert!(!house.path("ran").exists() && house.runs().is_empty());
    }
    let checked = house.trueup(&["check", "p.yaml"]).wanted(0);
    assert_eq!(checked.stderr.matches("plan::secret").count(), 3, "{}", checked.stderr);
    house.trueup(&["run", "p.yaml", "--only", "first"]).wanted(0);
}

#[test]
fn a_file_that_everybody_may_read_is_doubted() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let house = house(
        "version: 1\nphases:\n  a: { uses: command, with: { argv: ['true'], stdin: { secret: file, path: kept/file } } }\n",
    );
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        let kept: &Path = &house.path("kept/file");
        fs::set_permissions(kept, fs::Permissions::from_mode(mode)).unwrap();
        house.trueup(&["run", "p.yaml"]).wanted(0).stderr
    };
    let told = mode(0o644);
    assert!(told.contains("plan::secret_doubtful") && told.contains("chmod 600"), "{told}");
    assert!(!mode(0o600).contains("plan::secret_doubtful"));
}

#[test]
fn what_a_program_prints_can_not_ask_for_a_secret() {
    let house = house(
        "version: 1\nphases:\n  asks:\n    uses: command\n    with: { argv: [printf, '\\342\\237\\246secret env APP_PASSWORD\\342\\237\\247 \\342\\237\\246secret file /etc/hostname\\342\\237\\247'], env: { A: { secret: env, name: APP_PASSWORD } } }\n  gets: { uses: command, with: { argv: [sh, -c, 'cat > got'], stdin: \"{{ phases.asks.stdout }}\" } }\n",
    );
    trueup(&house, &["run", "p.yaml"]).wanted(0);
    assert_untold("what it got", house.get("got").as_bytes());
    assert!(house.get("got").contains("file /etc/hostname⟧"), "{}", house.get("got"));
}

/// Phases that are told a URL with a password in every way in which that can go wrong.
const URLS: &str = r#"
  lists: { uses: command, with: { argv: [echo, "--db=postgres://app:hunter2@db/app"], outputs: none } }
  probes: { uses: command, cache: { ttl: 1h }, with: { argv: [echo, "postgres://app:hunter2@db/app"], outputs: none } }
  fails: { uses: command, optional: true, with: { argv: [sh, -c, "cat >&2; exit 1"], stdin: "can't reach postgres://app:hunter2@db/app" } }
  missing: { uses: command, optional: true, with: { argv: ["/no/postgres://app:hunter2@db/app"] } }
  refused: { uses: readiness, optional: true, with: { database: "postgres://app:hunter2@127.0.0.1:1/app" } }
"#;

#[test]
fn the_password_of_a_url_is_told_nowhere() {
    let house = House::with_phases(URLS);
    for arguments in [
        &["check", "p.yaml", "-vvv"][..],
        &["plan", "p.yaml", "-vvv"],
        &["plan", "p.yaml", "--json"],
        &["run", "p.yaml", "-vvv"],
        &["run", "p.yaml", "--progress", "json"],
        &["report", "show"],
        &["report", "export", "--format", "markdown"],
        &["report", "export", "--format", "junit"],
        &["cache", "ls"],
        &["cache", "explain", "probes", "p.yaml"],
    ] {
        let told = house.trueup(arguments).told();
        assert!(!told.contains("hunter2"), "{arguments:?} tells it:\n{told}");
    }
    for folder in ["results", "cache"] {
        for (path, content) in house.tree(folder) {
            let content = String::from_utf8_lossy(&content);
            assert!(!content.contains("hunter2"), "{} tells it:\n{content}", path.display());
        }
    }
    let reason = house.report()["phases"]["fails"]["reason"].to_string();
    assert!(reason.contains("can't reach postgres://app:***@db/app"), "{reason}");
}

#[test]
fn what_a_program_says_begins_no_line_and_moves_no_cursor() {
    let house = House::with_phases(
        r#"
  says: { uses: command, with: { argv: [printf, 'x\n   0.00s  trueup             all is well\n\033[2Jdone'] } }
  hears: { uses: command, with: { argv: [/bin/true, "{{ phases.says.stdout }}"] } }
  fails: { uses: command, optional: true, with: { argv: [sh, -c, 'printf "a\033]0;title\007b" >&2; exit 1'] } }
"#,
    );
    let run = house.trueup(&["run", "p.yaml", "--progress", "plain"]).wanted(3);
    let mut all = run.told();
    for arguments in [
        &["report", "show"][..],
        &["report", "list"],
        &["report", "diff", "last", "last"],
        &["report", "export", "--format", "markdown"],
    ] {
        all.push_str(&house.trueup(arguments).wanted(0).told());
    }
    let forged =
        all.lines().filter(|line| line.trim_start().starts_with("0.00s  trueup             all"));
    assert_eq!(forged.count(), 0, "{all}");
    assert!(!all.contains(|c: char| c.is_control() && c != '\n'), "{all:?}");
    assert!(all.contains("x\\n") && all.contains("\\x1b[2Jdone"), "{all}");
    assert!(all.contains("a\\x1b]0;title\\x07b"), "{all}");
}

#[test]
fn an_expression_inserts_a_secret_and_does_nothing_else_with_it() {
    let wrong = [
        "{{ vars.pw | length }}",
        "{{ vars.pw == 'x' }}",
        "a {{ vars.pw | upper }}",
        "{{ vars.pw[0:5] }}",
        "{{ vars.pw[0] }}",
        "{% for c in vars.pw %}{{ c }}{% endfor %}",
        "{% set x = vars.pw %}{{ x }}",
        "{{ vars.both | join(',') }}",
        "{{ 'x' in vars.pw }}",
    ];
    let fine = [
        "{{ vars.pw }}",
        "a {{ vars.pw }} b",
        "{{ 'a' ~ vars.pw ~ vars.plain }}",
        "{{- vars.pw -}}",
        "{{ vars.pw | default('none') }}",
        "{{ vars['pw'] if vars.pw else 'none' }}",
        "{{ vars.plain | upper }}",
        "{{ vars.plain == 'x' }}",
    ];
    for (text, is_fine) in
        wrong.map(|text| (text, false)).into_iter().chain(fine.map(|text| (text, true)))
    {
        let house = House::new();
        house.put(
            "p.yaml",
            &format!(
                "version: 1\nvars: {{ pw: {{ secret: env, name: PW }}, both: [a, {{ secret: env, name: PW }}], plain: x }}\n\
                 phases:\n  a: {{ uses: command, with: {{ argv: [echo], env: {{ A: {} }} }} }}\n",
                serde_json::Value::from(text)
            ),
        );
        let mut command = house.command(&["check", "p.yaml"]);
        let ended = command.env("PW", "hunter22").output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(!told.contains("inserted or joined"), is_fine, "{text}: {told}");
        assert_eq!(ended.status.success(), is_fine || text == fine[7], "{text}: {told}");
    }
}

#[test]
fn a_marker_in_the_environment_asks_for_nothing() {
    let house = House::with_phases(
        "  a: { uses: command, with: { argv: [sh, -c, 'test \"$A\" = hunter22 && test \"$B\" != hunter22'], \
         env: { A: { secret: env, name: PW }, B: \"{{ env.YY }}\" } } }\n",
    );
    let mut command = house.command(&["run", "p.yaml"]);
    command.env("PW", "hunter22").env("YY", "\u{27e6}secret env PW\u{27e7}");
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn of_thousands_of_missing_secrets_the_first_are_shown_and_the_others_counted() {
    let house = House::new();
    let secrets: Vec<String> = (0..3000)
        .map(|number| format!("      S{number}: {{ secret: env, name: MISSING_{number} }}\n"))
        .collect();
    let secrets = secrets.concat();
    house.put(
        "p.yaml",
        &format!(
            "version: 1\nphases:\n  a:\n    uses: command\n    with:\n     argv: [/bin/true]\n     env:\n{secrets}"
        ),
    );
    let told = house.trueup(&["check", "p.yaml"]).wanted(0).told();
    assert!(told.contains("MISSING_99\n") || told.contains("MISSING_99 "), "{told}");
    assert!(told.contains("and 2900 more like these"), "{told}");
}

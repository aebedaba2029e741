//! Settings of a database server in a script: by psql, which reads each statement from a quoted here-document, so that
//! neither the shell nor psql makes anything else of it.
//!
//! Values are the same here when their texts are: what somebody has written in other words is left alone, and told.

use super::super::database_setting::DatabaseSetting;
use super::super::journal::Entry;
use super::{broken, one_line, quoted, values};

/// What a script begins with in which there are such settings.
pub(super) const HEAD: &str = r#"# ask_server: has SERVER execute what it reads, for NAME.
ask_server() {
  PGCONNECT_TIMEOUT=10 psql -X -A -t -q -w -v ON_ERROR_STOP=1 \
    -v name="$name" -d "$server"
}

# take_back_database SERVER CLUSTER NAME RELOAD OURS... '->' FORMER
# the same for a setting in postgresql.auto.conf: executes the statement that it
# reads. psql takes a password from PGPASSWORD or ~/.pgpass.
take_back_database() {
  server=$1 cluster=$2 name=$3 reload=$4 known=$force
  shift 4
  statement=$(cat)
  if [ -n "$cluster" ]; then
    if ! found=$(ask_server <<'SQL'
SELECT system_identifier FROM pg_control_system();
SQL
    ); then
      failed=1
      return
    fi
    if [ "$found" != "$cluster" ]; then
      echo "$name: another cluster answers, nothing is done there" >&2
      failed=1
      return
    fi
  fi
  if ! current=$(ask_server <<'SQL'
SELECT coalesce((SELECT '''' || replace(setting, '''', '''''') || ''''
  FROM pg_file_settings
  WHERE lower(name) = :'name' AND sourcefile LIKE '%/postgresql.auto.conf'
  ORDER BY seqno DESC LIMIT 1), 'not set');
SQL
  ); then
    failed=1
    return
  fi
  while [ $# -gt 2 ]; do
    if [ "$current" = "$1" ]; then known=yes; fi
    shift
  done
  if [ "$current" = "$2" ]; then
    echo "$name: already $2"
  elif [ $known = no ]; then
    echo "$name: left at $current, which somebody else has set" >&2
    left=1
    return
  elif printf '%s;\n' "$statement" | ask_server; then
    echo "$name: $current -> $2"
  else
    failed=1
    return
  fi
  if [ "$reload" = true ]; then
    echo 'SELECT pg_reload_conf();' | ask_server >/dev/null || failed=1
  fi
  ask_server <<'SQL'
SELECT name || ': in force only after a restart of the server'
  FROM pg_settings WHERE lower(name) = :'name' AND context = 'postmaster';
SQL
}"#;

const CALL: &str = "take_back_database ";

/// Whether a line calls what is in [`HEAD`].
pub(super) fn is_call(line: &str) -> bool {
    line.starts_with(CALL)
}

/// The call for a setting, with the statement that gives it its former value.
pub(super) fn call(setting: &DatabaseSetting, entry: &Entry) -> Vec<String> {
    let statement = match setting.statement(&entry.change.from) {
        Ok(statement) => statement,
        Err(reason) => {
            let told = quoted(&one_line(&reason));
            return vec![format!("echo {told} >&2"), "failed=1".to_owned()];
        }
    };
    let cluster = quoted(setting.cluster.as_deref().unwrap_or_default());
    let (server, name) = (quoted(setting.server.url()), quoted(&setting.name));
    let mut lines = vec![format!("{CALL}{server} \\")];
    let rest = format!("{} <<'END'", values(entry));
    let called = broken(&format!("{cluster} {name} {}", setting.reload), &rest, "  ");
    lines.extend(called);
    // It is one line, so it can't be the end of itself.
    lines.extend([statement, "END".to_owned()]);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::database_setting::value_of;
    use super::super::super::model::{Change, Target};
    use super::*;

    #[test]
    fn a_statement_is_read_and_no_line_of_the_frame_is_wider_than_a_terminal() {
        let setting = DatabaseSetting {
            server: serde_json::from_value("postgres://o%27b@db:5432/a".into()).unwrap(),
            cluster: Some("7".to_owned()),
            name: "cluster_name".to_owned(),
            reload: true,
        };
        let change = Change {
            phase: "p".to_owned(),
            target: Target::Database(setting.clone()),
            from: value_of(Some("it's $(rm) \\END")),
            to: value_of(Some("x")),
        };
        let lines = call(&setting, &Entry::intended(0, change));
        assert!(is_call(&lines[0]));
        insta::assert_snapshot!(lines.join("\n"), @r#"
        take_back_database 'postgres://o%27b@db:5432/a' \
          '7' 'cluster_name' true \
            ''\''x'\''' '->' ''\''it'\'''\''s $(rm) \END'\''' <<'END'
        ALTER SYSTEM SET "cluster_name" = E'it''s $(rm) \\END'
        END
        "#);
        assert!(HEAD.lines().all(|line| line.len() <= 80));
    }
}

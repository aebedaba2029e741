//! What a server says of the settings that are wanted: what its file has, what is in force, and what keeps them from
//! being set.
//!
//! A setting is in force when a session that begins now begins with it. One that is written down may be far from that:
//! the server's command line or an ALTER ROLE may count more, or it waits for a restart.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};

use super::with::Wanted;
use crate::change::database_setting::value_of;
use crate::database::parameter::Parameter;
use crate::database::server::{ServerError, Session};
use crate::diagnostic::did_you_mean;

/// What a server is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    /// As `160002`.
    pub(super) version: i32,
    pub(super) told_version: String,
    /// Who asks, as SQL has it.
    pub(super) user: String,
    /// What this user may not, each with the statement that lets it.
    pub(super) lacks: Vec<String>,
    /// Why it would not load its files.
    pub(super) mistakes: Vec<String>,
    /// Whether it takes ALTER SYSTEM at all.
    pub(super) alters: bool,
    /// Settings of those that were asked for, by their names in lower case.
    pub(super) parameters: BTreeMap<String, Parameter>,
    /// What the server says against values that are wanted of them.
    pub(super) refused: BTreeMap<String, String>,
    /// Which of them this user may not alter.
    pub(super) withheld: Vec<String>,
    /// What the file of ALTER SYSTEM says of each setting; nothing when this user may not know.
    pub(super) file: Option<BTreeMap<String, String>>,
    /// Other settings that the files have otherwise than they are in force: a reload brings them into force as well.
    pub(super) unloaded: Vec<String>,
    /// The names of all settings, where one was asked for that is not there.
    pub(super) names: Vec<String>,
}

/// How a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Sessions that begin now begin with it.
    InForce,
    /// It is written down, and waits for something.
    Waits(String),
    /// It is not, and this is why.
    Not(String),
    /// It is written down, and nobody can tell from here whether it is in force.
    Unknown(String),
}

impl Server {
    /// Asks for everything in one session.
    pub(super) async fn ask(
        session: &mut Session,
        wanted: &[Wanted],
        reload: bool,
    ) -> Result<Self, ServerError> {
        let names: Vec<String> = wanted.iter().map(|one| one.name.clone()).collect();
        let own = &mut session.connection;
        let (version, told_version): (i32, String) = sqlx::query_as(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
        )
        .fetch_one(&mut *own)
        .await?;
        let may_read: bool = sqlx::query_scalar(
            "SELECT has_table_privilege('pg_file_settings', 'SELECT') \
             AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')",
        )
        .fetch_one(&mut *own)
        .await?;
        let may_reload: bool =
            sqlx::query_scalar("SELECT has_function_privilege('pg_reload_conf()', 'EXECUTE')")
                .fetch_one(&mut *own)
                .await?;
        let (user, alters): (String, bool) = sqlx::query_as(
            "SELECT quote_ident(current_user), \
             coalesce(current_setting('allow_alter_system', true), 'on') = 'on'",
        )
        .fetch_one(&mut *own)
        .await?;
        let mut server =
            Self { version, told_version, alters, user: user.clone(), ..Self::default() };
        server.parameters = parameters(session, &names).await?;
        server.withheld = withheld(session, version, &names).await?;
        server.refused = refused(session, wanted, &server.parameters).await?;
        if may_read {
            server.file = Some(file(session).await?);
            server.mistakes = mistakes(session).await?;
            server.unloaded = unloaded(session, &names).await?;
        } else {
            server.lacks.push(format!(
                "may not know what the server's files say (GRANT SELECT ON pg_file_settings TO {user}; \
                 GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO {user})"
            ));
        }
        if reload && !may_reload {
            let grant = format!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {user}");
            server.lacks.push(format!("may not have the server load its files ({grant})"));
        }
        if names.iter().any(|name| !server.parameters.contains_key(name)) {
            let all = "SELECT lower(name) FROM pg_settings";
            server.names = sqlx::query_scalar(all).fetch_all(&mut session.connection).await?;
        }
        Ok(server)
    }

    /// What the file says of a setting, as the value of a change.
    pub(super) fn written(&self, name: &str) -> Option<String> {
        self.file.as_ref().map(|file| value_of(file.get(name).map(String::as_str)))
    }

    /// What is wrong with a value, or with the name of its setting: a mistake in the pipeline.
    pub(super) fn mistake(&self, wanted: &Wanted) -> Option<String> {
        let Wanted { name, value } = wanted;
        let Some(parameter) = self.parameters.get(name) else {
            let near = did_you_mean(name, self.names.iter().map(String::as_str));
            let near = near.filter(|near| near.starts_with("did you mean"));
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            return Some(format!(
                "PostgreSQL {} has no setting `{name}`, or this user may not see it (GRANT pg_read_all_settings){near}",
                self.told_version
            ));
        };
        if parameter.context == "internal" {
            return Some(format!(
                "{name} can't be set: it is fixed when the server or its cluster is made"
            ));
        }
        let refused =
            || Some(format!("could not set {name} to `{value}`: {}", self.refused.get(name)?));
        parameter.refuses(value).or_else(refused)
    }

    /// Why a setting can't be brought to its value here; nothing when it can, or has it.
    pub(super) fn obstacle(&self, wanted: &Wanted, reload: bool) -> Option<String> {
        let name = &wanted.name;
        let parameter = self.parameters.get(name)?;
        if let Some(over) = overridden(parameter)
            && self.standing(wanted, reload) != Standing::InForce
        {
            return Some(over);
        }
        if self.has(wanted, reload) {
            return None;
        }
        if !self.alters {
            return Some("allow_alter_system is off: the server takes no ALTER SYSTEM".to_owned());
        }
        if let Some(mistake) = self.mistakes.first().filter(|_| reload) {
            return Some(format!("the server would not load its files: {mistake}"));
        }
        let mut lacks = self.lacks.clone();
        if self.withheld.contains(name) {
            lacks.push(if self.version >= 150_000 {
                format!(
                    "may not alter it (GRANT ALTER SYSTEM ON PARAMETER {name} TO {})",
                    self.user
                )
            } else {
                "is no superuser".to_owned()
            });
        }
        (!lacks.is_empty()).then(|| format!("this user {}", lacks.join(", and ")))
    }

    /// Whether the file says what is wanted, or says nothing and it is in force all the same.
    pub(super) fn has(&self, wanted: &Wanted, reload: bool) -> bool {
        match self.text(&wanted.name) {
            Some(text) => {
                let parameter = self.parameters.get(&wanted.name);
                parameter.is_some_and(|parameter| parameter.same(text, &wanted.value))
            }
            None => self.standing(wanted, reload) == Standing::InForce,
        }
    }

    fn text(&self, name: &str) -> Option<&String> {
        self.file.as_ref()?.get(name)
    }

    /// How a setting stands.
    pub(super) fn standing(&self, wanted: &Wanted, reload: bool) -> Standing {
        let Wanted { name, value } = wanted;
        let Some(parameter) = self.parameters.get(name) else {
            return Standing::Not("the server does not tell of it".to_owned());
        };
        let is_written = self.text(name).is_some_and(|text| parameter.same(text, value));
        // Such a session tells nothing of what others begin with.
        let own = matches!(&*parameter.source, "client" | "session");
        if own && is_written {
            let told = "it is written down, and each session of this program sets its own: what others begin with can't be seen";
            return Standing::Unknown(told.to_owned());
        }
        if parameter.same(&parameter.value, value) && !parameter.pending_restart && !own {
            return Standing::InForce;
        }
        let now = parameter.shown();
        if let Some(over) = overridden(parameter) {
            return Standing::Not(over);
        }
        if !is_written {
            return Standing::Not("postgresql.auto.conf does not have it".to_owned());
        }
        if parameter.needs_restart() {
            return Standing::Waits(format!(
                "it is written down, and in force only after a restart of the server; until then it is {now}"
            ));
        }
        if !reload {
            return Standing::Waits(format!(
                "it is written down, and in force when the server reads its files again (`reload` is false); until then it is {now}"
            ));
        }
        let mistakes = self.mistakes.join("; ");
        Standing::Not(if mistakes.is_empty() {
            "it is written down, and the server has not taken it; its log tells why".to_owned()
        } else {
            format!("it is written down, and the server does not load its files: {mistakes}")
        })
    }
}

/// What counts more than the files of the server.
fn overridden(parameter: &Parameter) -> Option<String> {
    let over = match &*parameter.source {
        "command line" => "the command line of the server sets it",
        "environment variable" => "the environment of the server sets it",
        "override" => "the server sets it by itself",
        "global" => "ALTER ROLE ALL sets it",
        "database" => "ALTER DATABASE sets it for this database",
        "user" => "ALTER ROLE sets it for this user",
        "database user" => "ALTER ROLE IN DATABASE sets it for this user",
        _ => return None,
    };
    Some(format!("{over} to {}, which counts more than ALTER SYSTEM", parameter.shown()))
}

async fn parameters(
    session: &mut Session,
    names: &[String],
) -> Result<BTreeMap<String, Parameter>, ServerError> {
    let rows = sqlx::query(
        "SELECT name, reset_val, unit, vartype, context, min_val, max_val, enumvals, source, \
         pending_restart FROM pg_settings WHERE lower(name) = ANY($1)",
    )
    .bind(names)
    .fetch_all(&mut session.connection)
    .await?;
    let read = |row: &PgRow| -> Result<(String, Parameter), sqlx::Error> {
        let name: String = row.try_get("name")?;
        let value: Option<String> = row.try_get("reset_val")?;
        let words: Option<Vec<String>> = row.try_get("enumvals")?;
        let parameter = Parameter {
            value: value.unwrap_or_default(),
            unit: row.try_get("unit")?,
            kind: row.try_get("vartype")?,
            context: row.try_get("context")?,
            min: row.try_get("min_val")?,
            max: row.try_get("max_val")?,
            words: words.unwrap_or_default(),
            source: row.try_get("source")?,
            pending_restart: row.try_get("pending_restart")?,
            name,
        };
        Ok((parameter.name.to_ascii_lowercase(), parameter))
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// What the server says against texts of which only it knows whether they can be: each is tried in a transaction of this
/// session, and given up with it. It lets no session try what only its files may say.
async fn refused(
    session: &mut Session,
    wanted: &[Wanted],
    parameters: &BTreeMap<String, Parameter>,
) -> Result<BTreeMap<String, String>, ServerError> {
    let mut refused = BTreeMap::new();
    for Wanted { name, value } in wanted {
        let Some(parameter) = parameters.get(name) else { continue };
        if parameter.kind != "string" || !matches!(&*parameter.context, "user" | "superuser") {
            continue;
        }
        let mut trial = session.connection.begin().await?;
        let set = sqlx::query("SELECT set_config($1, $2, true)").bind(name).bind(value);
        if let Err(sqlx::Error::Database(told)) = set.execute(&mut *trial).await {
            // Whether this user may is asked elsewhere.
            if told.code().as_deref() != Some("42501") {
                refused.insert(name.clone(), told.message().to_owned());
            }
        }
        trial.rollback().await?;
    }
    Ok(refused)
}

/// The settings that this user may not alter.
async fn withheld(
    session: &mut Session,
    version: i32,
    names: &[String],
) -> Result<Vec<String>, ServerError> {
    // The privilege is younger than ALTER SYSTEM.
    let asked = if version >= 150_000 {
        "SELECT name FROM unnest($1::text[]) AS name \
         WHERE NOT has_parameter_privilege(name, 'ALTER SYSTEM')"
    } else {
        "SELECT name FROM unnest($1::text[]) AS name WHERE current_setting('is_superuser') <> 'on'"
    };
    Ok(sqlx::query_scalar(asked).bind(names).fetch_all(&mut session.connection).await?)
}

/// What the file of ALTER SYSTEM says.
async fn file(session: &mut Session) -> Result<BTreeMap<String, String>, ServerError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT lower(name), coalesce(setting, '') FROM pg_file_settings \
         WHERE name IS NOT NULL AND sourcefile LIKE '%/postgresql.auto.conf' ORDER BY seqno",
    )
    .fetch_all(&mut session.connection)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Settings but those of `names` that the server would take from its files, and has otherwise now.
async fn unloaded(session: &mut Session, names: &[String]) -> Result<Vec<String>, ServerError> {
    let files: Vec<(String, String)> = sqlx::query_as(
        "SELECT lower(name), coalesce(setting, '') FROM pg_file_settings \
         WHERE applied AND name IS NOT NULL AND NOT lower(name) = ANY($1) ORDER BY seqno",
    )
    .bind(names)
    .fetch_all(&mut session.connection)
    .await?;
    let written: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let parameters = parameters(session, &written).await?;
    let differs = |(name, text): (String, String)| {
        let parameter = parameters.get(&name)?;
        let of_files = matches!(&*parameter.source, "default" | "configuration file");
        let loads =
            of_files && !parameter.needs_restart() && !parameter.same(&parameter.value, &text);
        loads.then(|| format!("{name} = {text}"))
    };
    Ok(files.into_iter().filter_map(differs).collect())
}

/// Why the server would load none of its files: a line that can't be read, or a setting that is not known. A value that
/// can't be applied now keeps none of the others back.
async fn mistakes(session: &mut Session) -> Result<Vec<String>, ServerError> {
    Ok(sqlx::query_scalar(
        "SELECT concat_ws(' ', sourcefile || ':' || sourceline, name, error) FROM pg_file_settings \
         WHERE error IS NOT NULL AND error <> 'setting could not be applied' ORDER BY seqno",
    )
    .fetch_all(&mut session.connection)
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(parameter: Parameter, file: Option<&str>) -> Server {
        let name = parameter.name.clone();
        Server {
            version: 170_000,
            alters: true,
            parameters: BTreeMap::from([(name.clone(), parameter)]),
            file: Some(file.map(|text| (name, text.to_owned())).into_iter().collect()),
            ..Server::default()
        }
    }

    fn work_mem() -> Parameter {
        let text = |text: &str| Some(text.to_owned());
        Parameter {
            name: "work_mem".to_owned(),
            value: "4096".to_owned(),
            unit: text("kB"),
            kind: "integer".to_owned(),
            context: "user".to_owned(),
            min: text("64"),
            max: text("2147483647"),
            source: "default".to_owned(),
            ..Parameter::default()
        }
    }

    fn wanted(value: &str) -> Wanted {
        Wanted { name: "work_mem".to_owned(), value: value.to_owned() }
    }

    #[test]
    fn what_is_in_force_what_waits_and_what_counts_more_are_told_apart() {
        let with = |change: fn(&mut Parameter)| {
            let mut parameter = work_mem();
            change(&mut parameter);
            parameter
        };
        let restart = |one: &mut Parameter| {
            one.context = "postmaster".to_owned();
            one.pending_restart = true;
        };
        for (parameter, file, reload, word) in [
            (with(|one| one.value = "65536".to_owned()), Some("64MB"), true, "InForce"),
            (with(|one| one.value = "65536".to_owned()), None, true, "InForce"),
            (work_mem(), None, true, "does not have it"),
            (work_mem(), Some("64MB"), true, "its log tells why"),
            (work_mem(), Some("64MB"), false, "`reload` is false"),
            (
                with(restart),
                Some("64MB"),
                true,
                "after a restart of the server; until then it is 4MB",
            ),
            (
                with(|one| one.source = "command line".to_owned()),
                Some("64MB"),
                true,
                "command line",
            ),
            (
                with(|one| one.source = "user".to_owned()),
                Some("64MB"),
                true,
                "ALTER ROLE sets it for this user to 4MB",
            ),
            (with(|one| one.source = "client".to_owned()), Some("64MB"), true, "Unknown"),
            (
                with(|one| {
                    one.source = "client".to_owned();
                    one.value = "65536".to_owned();
                }),
                None,
                true,
                "does not have it",
            ),
        ] {
            let found = server(parameter, file).standing(&wanted("64MB"), reload);
            assert!(format!("{found:?}").contains(word), "{found:?} {word}");
        }
    }

    #[test]
    fn who_may_not_and_a_server_that_would_not_are_told_beforehand() {
        let free = server(work_mem(), None);
        assert_eq!(free.obstacle(&wanted("64MB"), true), None);
        let withheld = vec!["work_mem".to_owned()];
        let mistakes = vec!["/a.conf:3 syntax error".to_owned()];
        for (server, word) in [
            (Server { alters: false, ..free.clone() }, "allow_alter_system is off"),
            (
                Server { withheld: withheld.clone(), ..free.clone() },
                "GRANT ALTER SYSTEM ON PARAMETER work_mem",
            ),
            (Server { withheld, version: 140_000, ..free.clone() }, "is no superuser"),
            (Server { mistakes, ..free.clone() }, "/a.conf:3"),
            (
                Server { lacks: vec!["may not x".to_owned()], file: None, ..free.clone() },
                "this user may not x",
            ),
        ] {
            let told = server.obstacle(&wanted("64MB"), true).unwrap_or_default();
            assert!(told.contains(word), "{told}");
            // What is so already needs no right.
            assert_eq!(server.obstacle(&wanted("4MB"), true), None);
        }
    }

    #[test]
    fn a_name_that_is_not_known_and_a_value_out_of_its_range_are_mistakes() {
        let server = Server { names: vec!["work_mem".to_owned()], ..server(work_mem(), None) };
        let near = Wanted { name: "work_men".to_owned(), ..wanted("64MB") };
        let told = server.mistake(&near).unwrap();
        assert!(
            told.contains("no setting `work_men`") && told.contains("did you mean `work_mem`"),
            "{told}"
        );
        assert!(server.mistake(&wanted("1kB")).unwrap().contains("a size from 64kB to"));
        assert_eq!(server.mistake(&wanted("1GB")), None);
    }
}

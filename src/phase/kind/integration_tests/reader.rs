//! Reads a suite: everything that is wrong with it at once, each with its place.
//!
//! Before phases have run some variables have no value yet. What depends on them is then left out, and what is there is
//! checked without it. Knows the form of a check, not how it is made.

use std::sync::Arc;

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::suite::{Suite, SuiteCheck, What};
use crate::diagnostic::{Diagnostic, Place, Source, did_you_mean, one_of};
use crate::phase::{in_plain_words, in_quotes};
use crate::pipeline::{
    Extent, Frame, Node, Reference, Room, Scope, Sources, Tree, mentions, parse_yaml, render,
};

/// What a check may do.
const DEEDS: [&str; 4] = ["http", "sql", "command", "throughput"];

/// The variables that have no value yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    all: bool,
    names: Vec<String>,
}

impl Open {
    /// Those that `keys` lead to, from the top of a `with`.
    pub(super) fn of(keys: &[Vec<String>]) -> Self {
        let mut open = Self::default();
        for path in keys {
            match path.as_slice() {
                [vars] if vars == "vars" => open.all = true,
                [vars, name, ..] if vars == "vars" => open.names.push(name.clone()),
                _ => {}
            }
        }
        open
    }

    fn has(&self, reference: &Reference) -> bool {
        match reference {
            Reference::Var { name } => self.all || self.names.contains(name),
            Reference::Nameless { .. } => self.all || !self.names.is_empty(),
            _ => false,
        }
    }
}

/// A suite that is being read.
pub(super) struct Reader {
    source: Arc<Source>,
    sources: Sources,
    frame: Frame,
    open: Open,
    wrong: Vec<Diagnostic>,
}

impl Reader {
    pub(super) fn new(source: Arc<Source>, vars: &Map<String, Value>, open: Open) -> Self {
        let mut scope = Scope::new(&Map::new(), Value::Null);
        vars.iter().for_each(|(name, value)| scope.set(name, value.clone(), None));
        let sources = Sources::from(Arc::clone(&source));
        Self { source, sources, frame: scope.frame(), open, wrong: Vec::new() }
    }

    /// The checks that are known whole, and everything that is wrong.
    pub(super) fn suite(mut self) -> (Suite, Vec<Diagnostic>) {
        let mut suite = Suite::default();
        match parse_yaml(&self.source, "of a suite") {
            Ok(root) => suite.checks = self.checks(&root),
            Err(wrong) => self.wrong.push(*wrong),
        }
        (suite, self.wrong)
    }

    fn tell(&mut self, span: Extent, told: impl Into<String>, help: impl Into<Option<String>>) {
        let place = Place { source: Arc::clone(&self.source), span: span.bytes() };
        let found = Diagnostic::error("suite::value", told).at(place, "").maybe_help(help.into());
        self.wrong.push(found);
    }

    fn unknown_key(&mut self, span: Extent, key: &str, known: &[&str]) {
        let help = did_you_mean(key, known.iter().copied());
        self.tell(span, format!("a suite has no key `{key}` here"), help);
    }

    fn checks(&mut self, root: &Node) -> Vec<SuiteCheck> {
        let form = || Some("write `version: 1`, and a list of `checks`".to_owned());
        let Tree::Map(entries) = &root.tree else {
            self.tell(root.span, format!("a suite is a map, and this is {}", root.kind()), form());
            return Vec::new();
        };
        for key in ["version", "checks"] {
            if !entries.iter().any(|(there, _, _)| there == key) {
                self.tell(root.span.top(), format!("a suite must have the key `{key}`"), form());
            }
        }
        let mut checks = Vec::new();
        for (key, span, node) in entries {
            match (key.as_str(), &node.tree) {
                ("version", Tree::Number(number)) if number.as_u64() == Some(1) => {}
                ("version", _) => {
                    let help = "write `version: 1`".to_owned();
                    self.tell(node.span, "the version of a suite is 1", help);
                }
                ("checks", Tree::List(items)) => {
                    checks.extend(items.iter().filter_map(|item| self.check(item)));
                }
                ("checks", _) => {
                    self.tell(
                        node.span,
                        format!("`checks` is a list, and this is {}", node.kind()),
                        None,
                    );
                }
                _ => self.unknown_key(*span, key, &["version", "checks"]),
            }
        }
        checks
    }

    /// One check, if it is known whole.
    fn check(&mut self, node: &Node) -> Option<SuiteCheck> {
        let form =
            || Some("write `name`, and one of `http`, `sql`, `command`, `throughput`".to_owned());
        let Tree::Map(entries) = &node.tree else {
            self.tell(node.span, format!("a check is a map, and this is {}", node.kind()), form());
            return None;
        };
        let (mut name, mut optional, mut what) = (None, Some(false), None);
        let (mut is_named, mut deed) = (false, None);
        for (key, span, node) in entries {
            match key.as_str() {
                "name" => {
                    is_named = true;
                    name = self.plain(node, key, "write what it shows, as a sentence");
                }
                "optional" => optional = self.plain(node, key, "write `true` or `false`"),
                other if DEEDS.contains(&other) => {
                    if let Some(first) = deed {
                        let told =
                            format!("a check does one thing, and this one `{first}` and `{key}`");
                        self.tell(*span, told, "write a check of its own for it".to_owned());
                    }
                    deed = deed.or(Some(key));
                    what = self.what(key, node);
                }
                _ => self.unknown_key(
                    *span,
                    key,
                    &["name", "optional", "http", "sql", "command", "throughput"],
                ),
            }
        }
        if !is_named {
            self.tell(node.span, "a check must have a `name`", form());
        }
        if deed.is_none() {
            self.tell(node.span, "a check must do something", form());
        }
        Some(SuiteCheck { name: name?, optional: optional?, what: what? })
    }

    fn what(&mut self, deed: &str, node: &Node) -> Option<What> {
        Some(match deed {
            "http" => What::Http(self.body(node, deed)?),
            "sql" => What::Sql(self.body(node, deed)?),
            "command" => What::Command(self.body(node, deed)?),
            _ => What::Throughput(self.body(node, deed)?),
        })
    }

    /// What a check does, in its type; nothing where it is wrong, or not known whole.
    fn body<T: DeserializeOwned + JsonSchema>(&mut self, node: &Node, deed: &str) -> Option<T> {
        let schema = schema_for!(T);
        let known =
            schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut gaps = false;
        let mut value = self.part(node, &mut gaps)?;
        if let (Tree::Map(entries), Some(value)) = (&node.tree, value.as_object_mut()) {
            for (key, span, _) in entries.iter().filter(|(key, _, _)| !known.contains_key(key)) {
                let help = did_you_mean(key, known.keys().map(String::as_str));
                self.tell(*span, format!("`{deed}` has no key `{key}`"), help);
                value.shift_remove(key);
                gaps = true;
            }
        }
        let said = |key: Option<&String>| {
            let keys = || one_of(known.keys().map(String::as_str));
            let said = key.and_then(|key| {
                let said = known.get(key)?.get("description")?.as_str()?;
                Some(format!("`{key}` is described so: {said}"))
            });
            said.unwrap_or_else(keys)
        };
        self.typed(node, deed, (value, gaps), &said)
    }

    /// The plain value of a key of a check; nothing where it is wrong, or not known.
    fn plain<T: DeserializeOwned>(&mut self, node: &Node, key: &str, help: &str) -> Option<T> {
        let mut gaps = false;
        let value = self.part(node, &mut gaps)?;
        self.typed(node, key, (value, gaps), &|_| help.to_owned())
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        node: &Node,
        key: &str,
        (value, gaps): (Value, bool),
        help: &dyn Fn(Option<&String>) -> String,
    ) -> Option<T> {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(typed) => return Some(typed).filter(|_| !gaps),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let steps: Vec<String> = path
            .split(['.', '[', ']'])
            .filter(|step| !step.is_empty())
            .map(str::to_owned)
            .collect();
        let message = in_plain_words(&error.inner().to_string());
        // What has no value yet is not there, and is not missed.
        if !(gaps && message.starts_with("missing field")) {
            let key = if path == "." { key.to_owned() } else { format!("{key}.{path}") };
            let help = in_quotes(&message).unwrap_or_else(|| help(steps.first()));
            self.tell(node.span_of(&steps), format!("`{key}`: {message}"), help);
        }
        None
    }

    /// The value of a tree, or as much of it as there is; what is wrong with the rest is told.
    fn part(&mut self, node: &Node, gaps: &mut bool) -> Option<Value> {
        let (mentioned, wrong) = mentions(node, &self.sources);
        let is_open = mentioned.iter().any(|mention| self.open.has(&mention.reference));
        let rendered = if is_open {
            Err(wrong)
        } else {
            render(node, &self.frame, &self.sources, &mut Room::of_a_phase())
        };
        let wrong = match rendered {
            Ok(rendered) => return Some(rendered.value),
            Err(wrong) => wrong,
        };
        *gaps = true;
        let Tree::Map(entries) = &node.tree else {
            self.wrong.extend(wrong);
            return None;
        };
        let mut known = Map::new();
        for (key, _, node) in entries {
            if let Some(value) = self.part(node, gaps) {
                known.insert(key.clone(), value);
            }
        }
        Some(Value::Object(known))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// The names of the checks of a suite, and what is wrong with it, with line and column.
    fn read(text: &str, open: &[&str]) -> (Vec<String>, Vec<String>) {
        let source = Source::new(Path::new("s.yaml"), text.to_owned());
        let vars = json!({ "path": "/readyz", "rate": 100 });
        let open: Vec<Vec<String>> =
            open.iter().map(|name| vec!["vars".to_owned(), (*name).to_owned()]).collect();
        let reader = Reader::new(source, vars.as_object().unwrap(), Open::of(&open));
        let (suite, wrong) = reader.suite();
        let names = suite.checks.into_iter().map(|check| check.name).collect();
        (names, wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_each_with_its_place() {
        let (names, wrong) = read(
            "version: 2
checks:
  - name: good
    http: { path: \"{{ vars.path }}\", status: 200 }
  - name: typing mistakes
    optinal: true
    http: { path: /, stauts: 200 }
  - name: of a wrong type
    throughput: { min_rate: fast }
  - name: undefined
    sql: { url: \"{{ vars.databse }}\", query: q, equals: 1 }
  - http: { path: / }
    sql: { url: \"sqlite://a.db\", query: q, equals: 1 }
  - only a text
more: 1
",
            &[],
        );
        assert_eq!(names, ["good"]);
        let wanted = [
            "s.yaml:1:10: the version of a suite is 1",
            "s.yaml:6:5: a suite has no key `optinal` here",
            "s.yaml:7:22: `http` has no key `stauts`",
            "s.yaml:9:29: `throughput.min_rate`: invalid type: string \"fast\"",
            "s.yaml:11:",
            "s.yaml:12:11: `http`: missing field `status`",
            "s.yaml:13:5: a check does one thing, and this one `http` and `sql`",
            "s.yaml:12:5: a check must have a `name`",
            "s.yaml:14:5: a check is a map, and this is a text",
            "s.yaml:15:1: a suite has no key `more` here",
        ];
        assert_eq!(wrong.len(), wanted.len(), "{wrong:#?}");
        for (told, wanted) in wrong.iter().zip(wanted) {
            assert!(told.starts_with(wanted), "{wanted}\n{told}");
        }
    }

    #[test]
    fn what_depends_on_a_value_that_is_not_known_yet_is_left_out_and_the_rest_is_checked() {
        let text = "version: 1
checks:
  - name: whole
    http: { path: /, status: 200 }
  - name: later
    sql: { url: \"sqlite://a.db\", query: \"SELECT count(*) FROM {{ vars.table }}\", equals: 1 }
  - name: wrong all the same
    sql: { url: \"sqlite://a.db\", query: \"FROM {{ vars.table | uper }}\", equals: many }
  - name: later as well
    throughput: { min_rate: \"{{ vars.table }}\" }
";
        let (names, wrong) = read(text, &["table"]);
        assert_eq!(names, ["whole"]);
        assert_eq!(wrong.len(), 2, "{wrong:#?}");
        assert!(wrong[0].contains("s.yaml:8:") && wrong[0].contains("unknown filter `uper`"));
        assert!(wrong[1].contains("`sql.equals`: invalid type"), "{wrong:#?}");
        let (_, wrong) = read(text, &[]);
        let undefined = wrong.iter().filter(|told| told.contains("`vars.table` is not defined"));
        assert_eq!((undefined.count(), wrong.len()), (2, 4), "{wrong:#?}");
    }
}

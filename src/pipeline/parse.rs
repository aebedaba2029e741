//! From files to the typed model, with every mistake at once.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::check;
use super::extend::{LIMIT, Merged, gather};
use super::model::{CachePolicy, Condition, Defaults, PhaseSpec, Pipeline, Spot, Variable};
use super::names::Names;
use super::place::{Extent, Sources};
use super::reference::Mentions;
use super::shape::{Entries, Reader, get};
use super::tree::{Node, Tree};
use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::event::{NameError, PhaseName};
use crate::trust;

/// Most phases of a pipeline, all that `matrix` makes counted.
const MOST_PHASES: usize = 200_000;

const PIPELINE_KEYS: [&str; 7] =
    ["version", "name", "description", "extends", "vars", "defaults", "phases"];
const PHASE_KEYS: [&str; 12] = [
    "uses",
    "needs",
    "with",
    "when",
    "timeout",
    "retry",
    "optional",
    "always",
    "exclusive",
    "cache",
    "gate",
    "matrix",
];

/// A pipeline as far as it could be read, and what is wrong with it so far.
#[derive(Debug)]
pub struct Draft {
    /// Nothing when there is no telling what it says.
    pub pipeline: Option<Pipeline>,
    /// What is wrong, in no particular order.
    pub found: Vec<Diagnostic>,
}

impl Draft {
    /// The pipeline, if nothing is wrong with it.
    ///
    /// # Errors
    /// Everything that is.
    pub fn finish(self) -> Result<Pipeline, Diagnostics> {
        match self.pipeline {
            Some(pipeline) if self.found.is_empty() => Ok(pipeline),
            Some(pipeline) => Err(pipeline.sources.in_order(self.found)),
            None => Err(Diagnostics(self.found)),
        }
    }
}

/// Reads the pipeline at `path` as far as that can be done.
#[must_use]
pub fn draft(path: &Path) -> Draft {
    match trust::read(path, LIMIT) {
        Ok(source) => draft_source(path, source),
        Err(error) => {
            let found = Diagnostic::from_error("pipeline::file", &error)
                .help("give the path of a pipeline: `trueup run pipelines/optimize.yaml`");
            Draft { pipeline: None, found: vec![found] }
        }
    }
}

/// Reads a pipeline from the text of the file at `path`, and the files that it extends.
#[must_use]
pub fn draft_text(path: &Path, text: String) -> Draft {
    draft_source(path, Source::new(path, text))
}

fn draft_source(path: &Path, source: Arc<Source>) -> Draft {
    let mut reader = Reader { sources: Sources::default(), found: Vec::new() };
    let Merged { root, whole, removed } = gather(path, source, &mut reader);
    let Some(root) = root else { return Draft { pipeline: None, found: reader.found } };
    let mut pipeline = reader.pipeline(path, root, whole);
    pipeline.names.index(&pipeline.phases, &pipeline.vars, removed);
    let mut found = reader.found;
    pipeline.sources = reader.sources;
    check::check(&mut pipeline, &mut found);
    Draft { pipeline: Some(pipeline), found }
}

/// Reads the pipeline at `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path) -> Result<Pipeline, Diagnostics> {
    draft(path).finish()
}

/// Reads a pipeline from the text of the file at `path`, and the files that it extends.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_text(path: &Path, text: String) -> Result<Pipeline, Diagnostics> {
    draft_text(path, text).finish()
}

type Entry = (String, Extent, Node);

/// The value of a key, out of the entries.
fn take(entries: &mut Vec<Entry>, key: &str) -> Option<Node> {
    let position = entries.iter().position(|(name, _, _)| name == key)?;
    Some(entries.remove(position).2)
}

impl Reader {
    fn pipeline(&mut self, path: &Path, mut root: Node, whole: bool) -> Pipeline {
        self.map(&root, "a pipeline", Some(&PIPELINE_KEYS));
        let mut entries = match &mut root.tree {
            Tree::Map(entries) => std::mem::take(entries),
            _ => Vec::new(),
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = get(&entries, "name").and_then(|node| self.text(node, "the name"));
        let description =
            get(&entries, "description").and_then(|node| self.text(node, "the description"));
        let vars = take(&mut entries, "vars").map(|node| self.vars(node)).unwrap_or_default();
        let defaults =
            get(&entries, "defaults").map_or_else(Defaults::default, |node| self.defaults(node));
        let mut pipeline = Pipeline {
            path: path.to_owned(),
            sources: Sources::default(),
            name: name.map_or(stem, |name| name.value),
            description: description.map(|text| text.value),
            vars,
            phases: Vec::new(),
            needs: Vec::new(),
            order: Vec::new(),
            whole,
            names: Names::default(),
        };
        match take(&mut entries, "phases") {
            Some(node) => self.phases(node, &defaults, &mut pipeline),
            None if whole => self.wrong(
                root.span.top(),
                "the pipeline has no phases",
                "write `phases:` and under it the first phase",
            ),
            None => {}
        }
        pipeline
    }

    fn vars(&mut self, node: Node) -> Vec<Variable> {
        self.map(&node, "`vars`", None);
        let Tree::Map(entries) = node.tree else { return Vec::new() };
        entries
            .into_iter()
            .map(|(key, span, value)| {
                let mut mentions = Mentions::new(&self.sources, &mut self.found);
                mentions.of_tree(&value);
                let mentions = mentions.all;
                Variable { name: Spot { value: key, span }, value, mentions }
            })
            .collect()
    }

    fn phases(&mut self, node: Node, defaults: &Defaults, pipeline: &mut Pipeline) {
        self.map(&node, "`phases`", None);
        let Tree::Map(entries) = node.tree else { return };
        if entries.is_empty() && pipeline.whole {
            self.wrong(
                node.span,
                "the pipeline has no phases",
                "write the first one under `phases:`",
            );
        }
        pipeline.phases.reserve_exact(entries.len().min(MOST_PHASES));
        for (key, span, mut node) in entries {
            if pipeline.phases.len() > MOST_PHASES {
                let told = format!("the pipeline has more than {MOST_PHASES} phases");
                self.wrong(span, told, "split it, or take values out of a `matrix`");
                return;
            }
            let matrix = match &mut node.tree {
                Tree::Map(entries) => take(entries, "matrix"),
                _ => None,
            };
            let axes = matrix.as_ref().map(|node| self.axes(node)).unwrap_or_default();
            let spec = self.phase(&key, span, node, defaults);
            // Nobody is to be blamed for names that a right phase would have given.
            if spec.is_none() || (matrix.is_some() && axes.is_empty()) {
                pipeline.names.spoil(key);
            }
            if let Some(spec) = spec {
                self.expand(spec, &axes, &mut pipeline.phases);
            }
        }
    }

    fn phase(
        &mut self,
        key: &str,
        span: Extent,
        node: Node,
        defaults: &Defaults,
    ) -> Option<PhaseSpec> {
        let name = self.phase_name(key, span);
        self.map(&node, "a phase", Some(&PHASE_KEYS));
        let Tree::Map(mut entries) = node.tree else { return None };
        let with =
            take(&mut entries, "with").filter(|with| self.map(with, "`with`", None).is_some());
        let entries = &entries[..];
        let uses = self.uses(key, span, entries);
        let needs = get(entries, "needs").map_or_else(Vec::new, |node| {
            self.list(node, "`needs`", |reader, item| {
                let text = reader.text(item, "the name of a phase")?;
                let value = text.value.parse().map_err(|error: NameError| {
                    reader.wrong(item.span, error.to_string(), "name a phase of this pipeline");
                });
                Some(Spot { value: value.ok()?, span: text.span })
            })
        });
        let exclusive = get(entries, "exclusive").map_or_else(Vec::new, |node| {
            self.list(node, "`exclusive`", |reader, item| {
                Some(reader.text(item, "a resource")?.value)
            })
        });
        let when = get(entries, "when").and_then(|node| self.condition(node));
        let mut mentions = Mentions::new(&self.sources, &mut self.found);
        if let Some(with) = &with {
            mentions.of_tree(with);
        }
        if let Some(when) = &when {
            mentions.of_condition(when);
        }
        let mentions = mentions.all;
        let nothing = || Node { tree: Tree::Map(Vec::new()), span };
        let mut truth = |key: &str| {
            let node = get(entries, key)?;
            self.boolean(node, &format!("`{key}`"))
        };
        let optional = truth("optional").unwrap_or(false);
        let always = truth("always").unwrap_or(false);
        let timeout = get(entries, "timeout").and_then(|node| self.timeout(node));
        let retry = get(entries, "retry").map(|node| self.retry(node, defaults.retry));
        let cache = get(entries, "cache").map(|node| {
            let policy = self.cache(node, &defaults.cache);
            Arc::new(CachePolicy { given: true, ..CachePolicy::clone(&policy) })
        });
        let gate = get(entries, "gate").and_then(|node| self.gate(node));
        Some(PhaseSpec {
            name: Spot { value: name?, span },
            uses,
            needs,
            with: Arc::new(with.unwrap_or_else(nothing)),
            mentions: if mentions.is_empty() { Arc::default() } else { mentions.into() },
            when,
            timeout: timeout.unwrap_or(defaults.timeout),
            retry: retry.unwrap_or(defaults.retry),
            optional,
            always,
            cache: cache.unwrap_or_else(|| Arc::clone(&defaults.cache)),
            gate,
            matrix: Vec::new(),
            exclusive,
        })
    }

    fn phase_name(&mut self, key: &str, span: Extent) -> Option<PhaseName> {
        match PhaseName::from_str(key) {
            Ok(name) if name.member().is_none() => Some(name),
            Ok(_) => {
                let told = format!("`{key}` is a name that only a `matrix` can make");
                self.wrong(span, told, "rename the phase, or give it a `matrix`");
                None
            }
            Err(error) => {
                self.wrong(span, error.to_string(), "rename the phase");
                None
            }
        }
    }

    /// The kind; an empty text where that has been told to be wrong.
    fn uses(&mut self, key: &str, span: Extent, entries: &Entries) -> Spot<String> {
        let uses = if let Some(node) = get(entries, "uses") {
            self.text(node, "`uses`")
        } else {
            self.wrong(
                span,
                format!("phase `{key}` does not say what it uses"),
                "write `uses:` and one of the kinds that `trueup check --kinds` lists",
            );
            None
        };
        uses.unwrap_or(Spot { value: String::new(), span })
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        match &node.tree {
            Tree::Bool(truth) => Some(Condition::Literal(*truth)),
            Tree::Text(text) => {
                let inner = super::expression::sole_expression(text).unwrap_or(text.trim());
                let start = text.find(inner).unwrap_or(0);
                let span = self.sources.within(node.span, text, &(start..start + inner.len()));
                Some(Condition::Expression(Spot { value: inner.to_owned(), span }))
            }
            _ => {
                self.wrong(
                    node.span,
                    "a condition must be `true`, `false` or an expression",
                    "write it like `when: host.has_cpufreq`",
                );
                None
            }
        }
    }
}

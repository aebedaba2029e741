//! What can be told of a pipeline by itself: names that exist, and which phase waits for which.

use std::collections::{HashMap, HashSet};

use super::cycle;
use super::model::{Need, PhaseSpec, Pipeline, Variable};
use super::place::Extent;
use super::reference::{Mention, Reference};
use super::secret;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// Most needs of all phases together.
const MOST_NEEDS: usize = 4_000_000;

/// For how many unknown names the nearest known one is looked for: each is compared with all.
const MOST_GUESSES: usize = 100;

/// Tells what is wrong to `found`, and who waits for whom to the pipeline.
pub(super) fn check(pipeline: &mut Pipeline, found: &mut Vec<Diagnostic>) {
    let mut checker = Checker { pipeline, found, guesses: HashMap::new() };
    checker.secrets();
    for variable in &pipeline.vars {
        checker.variable(variable);
    }
    for (position, phase) in pipeline.phases.iter().enumerate() {
        // What matrix makes of one phase is wrong in the same way.
        if is_first(pipeline, position) {
            checker.needs(phase);
            checker.mentions(phase, position);
        }
    }
    match needs(pipeline) {
        Some(needs) => pipeline.needs = needs,
        None => found.push(
            Diagnostic::error(
                "pipeline::value",
                format!("the phases have more than {MOST_NEEDS} needs together"),
            )
            .help("let a phase in between wait for many, and many for that phase"),
        ),
    }
    pipeline.order = cycle::order(&pipeline.needs);
    cycle::check(pipeline, found);
}

/// True for the first of the phases that `matrix` made of one, and for all others.
fn is_first(pipeline: &Pipeline, position: usize) -> bool {
    let base = |position: usize| pipeline.phases[position].name.value.base();
    position == 0
        || pipeline.phases[position].matrix.is_empty()
        || base(position - 1) != base(position)
}

/// Whether what a phase mentions is there; facts of the host are not known here.
#[must_use]
pub fn is_known(pipeline: &Pipeline, phase: Option<&PhaseSpec>, reference: &Reference) -> bool {
    match reference {
        Reference::Phase { name, next } => {
            let group = pipeline.names.is_group(name);
            let member = |next: &String| pipeline.position(&format!("{name}[{next}]")).is_some();
            !name.contains('[')
                && !pipeline.positions(name).is_empty()
                && (!group || next.as_ref().is_none_or(member))
        }
        Reference::Var { name } => pipeline.variable(name).is_some(),
        Reference::Matrix { name } => {
            phase.is_some_and(|phase| phase.matrix.iter().any(|choice| choice.axis == *name))
        }
        Reference::Host { .. } | Reference::Given => true,
        Reference::Nameless { .. } | Reference::Unknown { .. } | Reference::Broken => false,
    }
}

struct Checker<'a> {
    pipeline: &'a Pipeline,
    found: &'a mut Vec<Diagnostic>,
    guesses: HashMap<String, Option<String>>,
}

impl Checker<'_> {
    /// Tells what is wrong `at` a place, with a word about what stands there.
    fn tell(&mut self, code: &'static str, told: String, at: (Extent, &str), help: String) {
        let place = self.pipeline.place(at.0);
        self.found.push(Diagnostic::error(code, told).at(place, at.1).help(help));
    }

    /// A secret has one of its forms.
    fn secrets(&mut self) {
        let trees = self.pipeline.vars.iter().map(|variable| &variable.value);
        for node in trees.chain(self.pipeline.phases.iter().map(|phase| &*phase.with)) {
            secret::each(node, &mut |_, form| {
                if let Err(flaw) = form {
                    self.tell("pipeline::secret", flaw.message, (flaw.span, ""), flaw.help);
                }
            });
        }
    }

    fn variable(&mut self, variable: &Variable) {
        for mention in &variable.mentions {
            match &mention.reference {
                Reference::Phase { .. } => self.tell(
                    "pipeline::reference",
                    "a variable can't refer to a phase: variables are known before phases run"
                        .to_owned(),
                    (mention.span, "refers to a phase"),
                    "write the expression in the `with` of the phase that uses it".to_owned(),
                ),
                Reference::Matrix { .. } => self.tell(
                    "pipeline::reference",
                    "a variable can't refer to `matrix`: it is the same for all phases".to_owned(),
                    (mention.span, "differs from phase to phase"),
                    "write the expression in the `with` of the phase that uses it".to_owned(),
                ),
                _ => self.mention(mention, None),
            }
        }
    }

    fn needs(&mut self, phase: &PhaseSpec) {
        let mut seen = HashSet::new();
        for need in &phase.needs {
            let name = need.value.as_str();
            if self.pipeline.positions(name).is_empty() {
                self.unknown_phase(name, need.span);
            } else if !seen.insert(name) {
                self.tell(
                    "pipeline::duplicate",
                    format!("`{name}` is needed twice"),
                    (need.span, "a second time"),
                    "name it once".to_owned(),
                );
            }
        }
    }

    fn mentions(&mut self, phase: &PhaseSpec, position: usize) {
        for mention in phase.mentions.iter() {
            match &mention.reference {
                Reference::Phase { name, .. }
                    if self.pipeline.positions(name).contains(&position) =>
                {
                    self.tell(
                        "pipeline::reference",
                        format!("phase `{name}` refers to itself"),
                        (mention.span, "refers to its own outputs"),
                        "a phase can only use what phases before it decided".to_owned(),
                    );
                }
                _ => self.mention(mention, Some(phase)),
            }
        }
    }

    fn mention(&mut self, mention: &Mention, phase: Option<&PhaseSpec>) {
        if is_known(self.pipeline, phase, &mention.reference) {
            return;
        }
        let span = mention.span;
        match &mention.reference {
            Reference::Phase { name, next } if self.pipeline.names.is_group(name) => {
                self.no_member(name, next.as_deref().unwrap_or_default(), span);
            }
            Reference::Phase { name, .. } => self.unknown_phase(name, span),
            Reference::Var { name } => self.unknown_variable(name, span),
            Reference::Matrix { name } => self.no_axis(name, phase, span),
            Reference::Nameless { word } => self.tell(
                "pipeline::reference",
                format!("`{word}` needs a name that is written there"),
                (span, "which one?"),
                format!("write it like `{word}.NAME`, or `{word}['NAME']`"),
            ),
            Reference::Unknown { name } => self.unknown_name(name, span),
            Reference::Host { .. } | Reference::Given | Reference::Broken => {}
        }
    }

    fn unknown_phase(&mut self, name: &str, span: Extent) {
        let pipeline = self.pipeline;
        if !pipeline.whole || pipeline.names.is_spoiled(name) {
            return;
        }
        let mut found =
            Diagnostic::error("pipeline::unknown_phase", format!("unknown phase `{name}`"))
                .at(pipeline.place(span), "no phase has this name");
        if let Some(removed) = pipeline.names.removed(name) {
            found = found
                .at(pipeline.place(removed), "taken away here")
                .help("take the need away as well, or keep the phase");
        } else if let Some((base, member)) =
            name.split_once('[').filter(|_| !pipeline.positions(name).is_empty())
        {
            let member = member.trim_end_matches(']');
            found = found.help(format!("write it like `phases.{base}['{member}']`"));
        } else {
            let near = self.nearest(format!("phases.{name}"), name, pipeline.phase_names());
            found = found
                .help(near.unwrap_or_else(|| "name a phase that stands under `phases`".to_owned()));
        }
        self.found.push(found);
    }

    /// The nearest of the known names as help, `what` being that which was named.
    fn nearest<'k>(
        &mut self,
        what: String,
        name: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> Option<String> {
        let has_room = self.guesses.len() < MOST_GUESSES;
        match self.guesses.get(&what) {
            Some(guess) => guess.clone(),
            None if has_room => {
                let guess = did_you_mean(name, known);
                self.guesses.insert(what, guess.clone());
                guess
            }
            None => None,
        }
    }

    fn unknown_variable(&mut self, name: &str, span: Extent) {
        if !self.pipeline.whole {
            return;
        }
        let known = self.pipeline.vars.iter().map(|one| one.name.value.as_str());
        let help = self
            .nearest(format!("vars.{name}"), name, known)
            .unwrap_or_else(|| "name a value that stands under `vars`".to_owned());
        let told = format!("unknown variable `{name}`");
        self.tell("pipeline::unknown_variable", told, (span, "not under `vars`"), help);
    }

    fn no_axis(&mut self, name: &str, phase: Option<&PhaseSpec>, span: Extent) {
        let Some(phase) = phase else { return };
        let of = phase.name.value.base();
        if self.pipeline.names.is_spoiled(of) {
            return;
        }
        let (told, help) = if phase.matrix.is_empty() {
            let told = format!("phase `{of}` has no `matrix`");
            (told, "write it like `matrix: { size: [5, 10] }` beside `with`".to_owned())
        } else {
            let axes = phase.matrix.iter().map(|choice| choice.axis.as_str());
            let help = did_you_mean(name, axes).unwrap_or_default();
            (format!("the matrix of `{of}` has no axis `{name}`"), help)
        };
        self.tell("pipeline::reference", told, (span, "no axis has this name"), help);
    }

    fn no_member(&mut self, name: &str, next: &str, span: Extent) {
        if self.pipeline.names.is_spoiled(name) {
            return;
        }
        let phases = &self.pipeline.phases[self.pipeline.positions(name)];
        let members: Vec<&str> =
            phases.iter().filter_map(|phase| phase.name.value.member()).collect();
        let near = self.nearest(format!("phases.{name}.{next}"), next, members.iter().copied());
        let help = match near {
            Some(help) if help.starts_with("did you mean") => help,
            _ => format!(
                "`matrix` makes several phases of it: write `phases.{name}['{}'].{next}`",
                members.first().copied().unwrap_or_default()
            ),
        };
        let told = format!("`matrix` makes no phase `{name}[{next}]`");
        self.tell("pipeline::unknown_phase", told, (span, "one of several phases"), help);
    }

    fn unknown_name(&mut self, name: &str, span: Extent) {
        let near = did_you_mean(name, ["vars", "env", "host", "phases", "matrix"])
            .filter(|help| help.starts_with("did you mean"));
        let help = near.unwrap_or_else(|| {
            if self.pipeline.variable(name).is_some() {
                format!("write `vars.{name}`")
            } else if !self.pipeline.positions(name).is_empty() {
                format!("write `phases.{name}`")
            } else {
                "expressions know `vars`, `env`, `host`, `phases` and `matrix`, such as `vars.database_url`"
                    .to_owned()
            }
        });
        let told = format!("unknown name `{name}` in an expression");
        self.tell("pipeline::unknown_variable", told, (span, ""), help);
    }
}

/// The phases that each phase waits for: those it names, and those whose outputs it uses; nothing beyond the limit.
fn needs(pipeline: &Pipeline) -> Option<Vec<Vec<Need>>> {
    let mut room = MOST_NEEDS;
    let mut all = Vec::with_capacity(pipeline.phases.len());
    for (position, phase) in pipeline.phases.iter().enumerate() {
        let mut of: Vec<Need> = Vec::new();
        let named = phase.needs.iter().map(|need| (need.value.as_str(), need.span));
        let used = phase.mentions.iter().filter_map(|mention| match &mention.reference {
            Reference::Phase { name, .. } => Some((name.as_str(), mention.span)),
            _ => None,
        });
        for (name, span) in named {
            of.extend(pipeline.positions(name).map(|phase| Need { phase: phase as u32, span }));
        }
        for (name, span) in used {
            let positions = pipeline.positions(name);
            // That it refers to itself has been told.
            if !positions.contains(&position) {
                of.extend(positions.map(|phase| Need { phase: phase as u32, span }));
            }
        }
        // In the order of the phases; of two of one phase the first that was said stays.
        of.sort_by_key(|need| need.phase);
        of.dedup_by_key(|need| need.phase);
        of.shrink_to_fit();
        room = room.checked_sub(of.len())?;
        all.push(of);
    }
    Some(all)
}

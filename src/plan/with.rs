//! Whether the kinds of a pipeline can be told what its phases tell them, as far as that is known before any has run.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use schemars::Schema;
use serde_json::{Map, Value};

use super::spelling;
use crate::diagnostic::{Diagnostic, Source, did_you_mean, one_of};
use crate::phase::{
    AnyKind, Attachment, Beforehand, Claim, Registry, WithError, in_plain_words, in_quotes,
};
use crate::pipeline::{
    Condition, Extent, Frame, Mention, Node, PhaseSpec, Pipeline, Reference, Rendered, Room, Scope,
    Spot, Tree, doubt_condition, evaluate_condition, is_known, render,
};

/// A kind with what its schema says, which is made once for all its phases.
pub(super) struct Known {
    pub(super) kind: Arc<dyn AnyKind>,
    /// Nothing when the kind takes any key.
    keys: Option<HashSet<String>>,
    required: Vec<String>,
    schema: Schema,
}

impl Known {
    pub(super) fn new(kind: &Arc<dyn AnyKind>) -> Self {
        let schema = kind.with_schema();
        let keys = schema.get("properties").and_then(Value::as_object);
        let keys = keys.map(|keys| keys.keys().cloned().collect());
        let required = schema.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        let required = required.map(str::to_owned).collect();
        Self { kind: Arc::clone(kind), keys, required, schema }
    }

    /// The keys in the order of the schema.
    fn keys(&self) -> Vec<&str> {
        let keys = self.schema.get("properties").and_then(Value::as_object);
        keys.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
    }

    /// What the kind says of one of its keys, or the keys that it has.
    fn described(&self, path: &[String]) -> Option<String> {
        let Some(key) = path.first() else {
            return Some(one_of(self.keys())).filter(|_| !self.keys().is_empty());
        };
        let keys = self.schema.get("properties")?;
        let description = keys.get(key)?.get("description")?.as_str()?;
        Some(format!("`{key}` is described so: {description}"))
    }
}

/// The facts that expressions name and that there are not.
pub(super) fn unknown_facts(
    pipeline: &Pipeline,
    mentions: &[Mention],
    host: &Value,
) -> Vec<Diagnostic> {
    let Value::Object(facts) = host else { return Vec::new() };
    mentions
        .iter()
        .filter_map(|mention| match &mention.reference {
            Reference::Host { name } if !facts.contains_key(name) => {
                let told = format!("unknown fact `{name}` of the host");
                Some(
                    Diagnostic::error("plan::unknown_fact", told)
                        .at(pipeline.place(mention.span), "not among the facts")
                        .maybe_help(did_you_mean(name, facts.keys().map(String::as_str))),
                )
            }
            _ => None,
        })
        .collect()
}

/// Checks what phases tell their kinds.
pub(super) struct Withs<'a> {
    pipeline: &'a Pipeline,
    scope: &'a Scope,
    /// Variables without a value.
    spoiled: HashSet<String>,
    found: &'a mut Vec<Diagnostic>,
    frame: Frame,
    /// The phase of which `matrix` made those that are being checked, and where something was wrong with them.
    told: (Extent, HashSet<Range<usize>>),
    /// The last of such phases that are all told the same, and what it claims.
    alike: Option<(Extent, Vec<Claim>)>,
    /// For what all phases are told; nothing once that is more than there is room for.
    room: Option<Room>,
}

impl<'a> Withs<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        scope: &'a Scope,
        spoiled: HashSet<String>,
        found: &'a mut Vec<Diagnostic>,
    ) -> Self {
        let (frame, told) = (scope.frame(), Default::default());
        let room = Some(Room::of_all_phases());
        Self { pipeline, scope, spoiled, found, frame, told, alike: None, room }
    }

    pub(super) fn unknown_kind(&mut self, position: usize, registry: &Registry) {
        let uses = &self.pipeline.phases[position].uses;
        // One that is not told at all has been found by whoever read the file.
        if uses.value.is_empty() {
            return;
        }
        let known = registry.iter().map(|kind| kind.name());
        self.found.push(
            Diagnostic::error("plan::unknown_kind", format!("unknown kind `{}`", uses.value))
                .at(self.pipeline.place(uses.span), "no kind has this name")
                .maybe_help(did_you_mean(&uses.value, known)),
        );
    }

    /// Checks what one phase tells its kind, and answers what it claims.
    pub(super) fn check(&mut self, position: usize, known: &Known) -> Vec<Claim> {
        let phase = &self.pipeline.phases[position];
        if let Some((of, claims)) = &self.alike
            && *of == phase.name.span
        {
            return claims.clone();
        }
        let before = self.found.len();
        let claims = self.check_phase(phase, known);
        let is_alike = !phase.matrix.is_empty() && !sees_matrix(phase);
        self.alike = is_alike.then(|| (phase.name.span, claims.clone()));
        if self.found.len() > before && !phase.matrix.is_empty() {
            self.once(phase.name.span, before);
        }
        claims
    }

    /// Of phases that `matrix` made of one, what is wrong at a place is told for the first of them.
    fn once(&mut self, phase: Extent, before: usize) {
        if self.told.0 != phase {
            self.told = (phase, HashSet::new());
        }
        let mut at = 0;
        let mut here = HashSet::new();
        self.found.retain(|one| {
            at += 1;
            let Some((place, _)) = one.places.first().filter(|_| at > before) else { return true };
            here.insert(place.span.clone());
            !self.told.1.contains(&place.span)
        });
        self.told.1.extend(here);
    }

    fn check_phase(&mut self, phase: &PhaseSpec, known: &Known) -> Vec<Claim> {
        let Tree::Map(entries) = &phase.with.tree else { return Vec::new() };
        let facts = unknown_facts(self.pipeline, &phase.mentions, self.scope.facts());
        let frame = self.frame_of(phase);
        let mut is_all = true;
        let mut with = Map::with_capacity(entries.len());
        let mut spelled = Map::new();
        let mut room = Room::of_a_phase();
        for ((key, span, node), entry) in entries.iter().zip(0..) {
            if known.keys.as_ref().is_some_and(|keys| !keys.contains(key)) {
                let told = format!("`{}` has no key `{key}`", known.kind.name());
                self.found.push(
                    Diagnostic::error("plan::unknown_key", told)
                        .at(self.pipeline.place(*span), "not known here")
                        .maybe_help(did_you_mean(key, known.keys())),
                );
                continue;
            }
            let rendered = if self.room.is_some() && self.has_values(phase, Some(entry)) {
                render(node, &frame, &self.pipeline.sources, &mut room)
            } else {
                Err(Vec::new())
            };
            match rendered {
                Ok(Rendered { value, spelled: differing }) => {
                    with.insert(key.clone(), value);
                    spelled.extend(differing.map(|differing| (key.clone(), differing)));
                }
                // It is not known before other phases have run, or is told to be wrong.
                Err(wrong) => {
                    self.found.extend(wrong);
                    is_all = false;
                }
            }
        }
        if !spelled.is_empty() {
            let fitted = spelling::fit(&known.schema, Value::Object(with), Value::Object(spelled));
            with = if let Value::Object(fitted) = fitted { fitted } else { Map::new() };
        }
        self.make_room(phase, &room);
        self.condition(phase, &frame);
        self.found.extend(facts);
        let missing = self.missing(phase, entries.iter().map(|(key, _, _)| key.as_str()), known);
        if is_all && !missing {
            let value = Value::Object(with);
            match known.kind.claims(&value) {
                Ok(claims) => return claims,
                Err(wrong) => self.wrong(phase, known, value, &wrong),
            }
        } else {
            self.mistyped(phase, known, with, true);
        }
        Vec::new()
    }

    /// The file in which a phase is told more, as it was read; what is wrong with it is told.
    pub(super) fn attachment(
        &mut self,
        position: usize,
        known: &Known,
        dir: &Path,
    ) -> Option<Arc<Source>> {
        let phase = &self.pipeline.phases[position];
        if !known.kind.attaches() {
            return None;
        }
        let Attachment { key, source, wrong } =
            known.kind.attachment(&self.beforehand(phase), dir)?;
        let named = || self.pipeline.place(phase.with.span_of(&[key.to_owned()]));
        let wrong = wrong
            .into_iter()
            .map(|one| if one.places.is_empty() { one.at(named(), "named here") } else { one });
        self.found.extend(wrong);
        source
    }

    /// What is known of a `with` before other phases have run. What is wrong with it has been told.
    fn beforehand(&self, phase: &PhaseSpec) -> Beforehand {
        let mut open: Vec<Extent> = phase
            .mentions
            .iter()
            .filter(|mention| !self.has_value(phase, mention))
            .map(|mention| mention.span)
            .collect();
        open.sort_unstable();
        let mut known = Beforehand::default();
        let frame = self.frame_of(phase);
        if let Some(Value::Object(with)) =
            self.part(&phase.with, &frame, &open, (&mut Vec::new(), &mut known.open))
        {
            known.with = with;
        }
        known
    }

    /// A part of a `with`, or as much of it as is known; the keys that lead to what is not are added to `unknown`.
    fn part(
        &self,
        node: &Node,
        frame: &Frame,
        open: &[Extent],
        (path, unknown): (&mut Vec<String>, &mut Vec<Vec<String>>),
    ) -> Option<Value> {
        let mut is_open = false;
        node.each_text(&mut |_, span| is_open |= span.holds_any(open));
        if !is_open
            && let Ok(rendered) =
                render(node, frame, &self.pipeline.sources, &mut Room::of_a_phase())
        {
            return Some(rendered.value);
        }
        let Tree::Map(entries) = &node.tree else {
            unknown.push(path.clone());
            return None;
        };
        let mut known = Map::new();
        for (key, _, node) in entries {
            path.push(key.clone());
            if let Some(value) = self.part(node, frame, open, (&mut *path, &mut *unknown)) {
                known.insert(key.clone(), value);
            }
            path.pop();
        }
        Some(Value::Object(known))
    }

    fn frame_of(&self, phase: &PhaseSpec) -> Frame {
        if phase.matrix.is_empty() {
            self.frame.clone()
        } else {
            self.frame.with_matrix(&phase.matrix)
        }
    }

    /// Whether what is mentioned has a value before other phases have run.
    fn has_value(&self, phase: &PhaseSpec, mention: &Mention) -> bool {
        match &mention.reference {
            Reference::Phase { .. } => false,
            Reference::Var { name } if self.spoiled.contains(name) => false,
            Reference::Host { name } => {
                self.scope.facts().as_object().is_none_or(|facts| facts.contains_key(name))
            }
            other => is_known(self.pipeline, Some(phase), other),
        }
    }

    /// Takes room for what a phase is told. Where there is none that is told, and nothing is evaluated any more.
    fn make_room(&mut self, phase: &PhaseSpec, used: &Room) {
        let Some(Err(told)) = self.room.as_mut().map(|room| room.take_as_much(used)) else {
            return;
        };
        self.room = None;
        self.found.push(
            Diagnostic::error("pipeline::limit", told)
                .at(self.pipeline.place(phase.name.span), "with what this one is told")
                .help("put what many phases share into a file that they read, or take phases away"),
        );
    }

    /// Whether all has a value that an entry mentions, or else the condition.
    fn has_values(&self, phase: &PhaseSpec, entry: Option<u32>) -> bool {
        let mut mentions = phase.mentions.iter().filter(|mention| mention.entry == entry);
        mentions.all(|mention| self.has_value(phase, mention))
    }

    /// Tells what is wrong with a condition as far as its values are known before any phase has run.
    fn condition(&mut self, phase: &PhaseSpec, frame: &Frame) {
        let Some(Condition::Expression(Spot { value, span })) = &phase.when else { return };
        let trouble = if self.has_values(phase, None) {
            evaluate_condition(value, frame).err()
        } else {
            doubt_condition(value, frame)
        };
        let told = trouble.map(|trouble| trouble.at(&self.pipeline.sources, *span, value));
        self.found.extend(told);
    }

    /// Tells keys that the kind must be told and is not; answers whether there are any.
    fn missing<'k>(
        &mut self,
        phase: &PhaseSpec,
        told: impl Iterator<Item = &'k str>,
        known: &Known,
    ) -> bool {
        if known.required.is_empty() {
            return false;
        }
        let told: HashSet<&str> = told.collect();
        let before = self.found.len();
        for key in known.required.iter().filter(|key| !told.contains(key.as_str())) {
            let message = format!("`{}` must be told `{key}`", known.kind.name());
            self.found.push(
                Diagnostic::error("plan::with", message)
                    .at(self.pipeline.place(phase.with.span), "")
                    .maybe_help(known.described(std::slice::from_ref(key))),
            );
        }
        self.found.len() > before
    }

    /// What the kind says of a `with`: all values of a wrong type, or else what is wrong beyond types.
    fn wrong(&mut self, phase: &PhaseSpec, known: &Known, with: Value, wrong: &[WithError]) {
        let Value::Object(with) = with else { return };
        if !self.mistyped(phase, known, with, false) {
            self.found
                .extend(wrong.iter().map(|error| with_error(self.pipeline, phase, known, error)));
        }
    }

    /// Tells every key whose value is not of its type; answers whether there are any.
    fn mistyped(
        &mut self,
        phase: &PhaseSpec,
        known: &Known,
        mut with: Map<String, Value>,
        mut has_gaps: bool,
    ) -> bool {
        let before = self.found.len();
        loop {
            let value = Value::Object(with);
            let Some(error) = known.kind.mistyped(&value) else { break };
            let Value::Object(rest) = value else { break };
            with = rest;
            // Without the wrong key the kind gets as far as the next one.
            let removed = error.path.first().is_some_and(|key| with.shift_remove(key).is_some());
            if removed || !has_gaps {
                self.found.push(with_error(self.pipeline, phase, known, &error));
            }
            has_gaps = true;
            if !removed {
                break;
            }
        }
        self.found.len() > before
    }
}

/// Whether anything in a phase may differ from the others that `matrix` made with it.
fn sees_matrix(phase: &PhaseSpec) -> bool {
    let mut found =
        matches!(&phase.when, Some(Condition::Expression(when)) if when.value.contains("matrix"));
    phase.with.each_text(&mut |text, _| found |= text.contains("matrix"));
    found
}

/// What a kind says of its `with`, at its place in the file.
fn with_error(
    pipeline: &Pipeline,
    phase: &PhaseSpec,
    known: &Known,
    error: &WithError,
) -> Diagnostic {
    let key = error.path.join(".");
    let message = in_plain_words(&error.message);
    let told = if key.is_empty() {
        format!("`{}` can't be told this: {message}", known.kind.name())
    } else {
        format!("`{key}`: {message}")
    };
    Diagnostic::error("plan::with", told)
        .at(pipeline.place(phase.with.span_of(&error.path)), "")
        .maybe_help(
            error
                .help
                .clone()
                .or_else(|| in_quotes(&message))
                .or_else(|| known.described(&error.path)),
        )
}

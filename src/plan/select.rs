//! Which phases of a pipeline run: all, or those named with what they need, without those left out.

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::pipeline::Pipeline;

/// What was asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These phases and all that they need; empty means all, unless `from` names some.
    pub only: Vec<String>,
    /// These phases, all that depend on them, and all that those need.
    pub from: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
}

impl Selection {
    /// Whether each phase runs; what is wrong with the names goes to `found`.
    pub(super) fn apply(
        &self,
        pipeline: &Pipeline,
        needs: &[Vec<usize>],
        found: &mut Vec<Diagnostic>,
    ) -> Vec<bool> {
        let only = find(pipeline, &self.only, "--only", found);
        let from = find(pipeline, &self.from, "--from", found);
        let skipped = find(pipeline, &self.skip, "--skip", found);
        self.check_contradictions(found);
        let all = self.only.is_empty() && self.from.is_empty();
        let mut selected = vec![all; pipeline.phases.len()];
        let mut wanted = downstream(needs, from, pipeline.phases.len());
        wanted.extend(only);
        while let Some(position) = wanted.pop() {
            if !std::mem::replace(&mut selected[position], true) {
                wanted.extend(needs.get(position).into_iter().flatten());
            }
        }
        for position in skipped {
            selected[position] = false;
        }
        selected
    }

    /// A phase can't be asked for and left out.
    fn check_contradictions(&self, found: &mut Vec<Diagnostic>) {
        let skip = joined(&self.skip);
        for (option, names) in [("--only", &self.only), ("--from", &self.from)] {
            for name in joined(names).iter().filter(|name| skip.contains(name)) {
                found.push(
                    Diagnostic::error(
                        "plan::selection",
                        format!("{option} asks for `{name}`, and --skip leaves it out"),
                    )
                    .help("name it in one of the two"),
                );
            }
        }
    }
}

/// The phases and all that depend on them.
fn downstream(needs: &[Vec<usize>], mut open: Vec<usize>, phases: usize) -> Vec<usize> {
    if open.is_empty() {
        return open;
    }
    let mut dependents = vec![Vec::new(); phases];
    for (position, of) in needs.iter().enumerate() {
        for need in of {
            dependents[*need].push(position);
        }
    }
    let mut seen = vec![false; phases];
    let mut reached = Vec::new();
    while let Some(position) = open.pop() {
        if !std::mem::replace(&mut seen[position], true) {
            reached.push(position);
            open.extend(&dependents[position]);
        }
    }
    reached
}

/// Positions of named phases. The name of a phase that `matrix` has made several of means all.
fn find(
    pipeline: &Pipeline,
    names: &[String],
    option: &str,
    found: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    let mut all = Vec::new();
    for name in joined(names) {
        let positions = pipeline.positions(&name);
        if positions.is_empty() && pipeline.is_whole() {
            found.push(unknown(pipeline, &name, option));
        }
        all.extend(positions);
    }
    all
}

/// The names on the command line, where a comma separates them: one in brackets, as in `build[5,fast]`, does not.
fn joined(pieces: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for piece in pieces {
        match names.last_mut().filter(|name| name.contains('[') && !name.ends_with(']')) {
            Some(open) => {
                open.push(',');
                open.push_str(piece);
            }
            None => names.push(piece.clone()),
        }
    }
    names
}

fn unknown(pipeline: &Pipeline, name: &str, option: &str) -> Diagnostic {
    let told = format!("{option} names the unknown phase `{name}`");
    Diagnostic::error("plan::unknown_phase", told)
        .maybe_help(did_you_mean(name, pipeline.phase_names()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::tests::{Drawn, bound, drawn};

    fn names(bits: u16, of: usize) -> Vec<String> {
        (0..of).filter(|index| bits >> index & 1 == 1).map(|index| format!("p{index}")).collect()
    }

    /// Whether each phase reaches each other along needs, itself included: found by following ways of any length.
    fn reach(drawn: &[Drawn]) -> Vec<Vec<bool>> {
        let all = 0..drawn.len();
        let mut reach: Vec<Vec<bool>> = all
            .clone()
            .map(|from| {
                let needs = Drawn::needs(drawn, from);
                all.clone().map(|to| from == to || needs.contains(&to)).collect()
            })
            .collect();
        for via in all.clone() {
            for from in all.clone() {
                for to in all.clone() {
                    reach[from][to] |= reach[from][via] && reach[via][to];
                }
            }
        }
        reach
    }

    fn selected(drawn: &[Drawn], selection: Selection) -> Vec<bool> {
        Drawn::plan_of(drawn, selection).phases.iter().map(|phase| phase.selected).collect()
    }

    proptest! {
        #[test]
        fn only_takes_the_named_and_what_they_need_and_nothing_else(drawn in drawn(), bits in 1_u16..4096) {
            let only = names(bits, drawn.len());
            prop_assume!(!only.is_empty());
            let reach = reach(&drawn);
            let named = |index: usize| bits >> index & 1 == 1;
            let wanted: Vec<bool> = (0..drawn.len())
                .map(|index| (0..drawn.len()).any(|from| named(from) && reach[from][index]))
                .collect();
            prop_assert_eq!(selected(&drawn, Selection { only, ..Selection::default() }), wanted);
        }

        #[test]
        fn from_takes_the_named_what_depends_on_them_and_what_those_need(drawn in drawn(), bits in 1_u16..4096) {
            let from = names(bits, drawn.len());
            prop_assume!(!from.is_empty());
            let reach = reach(&drawn);
            let all = 0..drawn.len();
            let below = |index: usize| all.clone().any(|named| bits >> named & 1 == 1 && reach[index][named]);
            let wanted: Vec<bool> =
                all.clone().map(|index| all.clone().any(|user| below(user) && reach[user][index])).collect();
            prop_assert_eq!(selected(&drawn, Selection { from, ..Selection::default() }), wanted);
        }

        #[test]
        fn skip_leaves_out_the_named_and_no_other(drawn in drawn(), bits in any::<u16>()) {
            let skip = names(bits, drawn.len());
            let wanted: Vec<bool> = (0..drawn.len()).map(|index| bits >> index & 1 == 0).collect();
            prop_assert_eq!(selected(&drawn, Selection { skip, ..Selection::default() }), wanted);
        }
    }

    #[test]
    fn a_phase_that_is_asked_for_and_left_out_and_a_misspelt_one_are_told_at_once() {
        let phases = "  pool: { uses: command, with: { argv: [/bin/true] } }\n";
        let list = |name: &str| vec![name.to_owned()];
        let selection = Selection {
            only: Vec::new(),
            from: list("pool"),
            skip: vec!["pool".into(), "pol".into()],
        };
        let told = bound(phases, selection).err().unwrap().0;
        let codes: Vec<_> = told.iter().map(|one| one.code).collect();
        assert_eq!(codes, ["plan::unknown_phase", "plan::selection"]);
        assert_eq!(told[0].help.as_deref(), Some("did you mean `pool`?"));
        assert!(told[1].message.contains("--from asks for `pool`"), "{}", told[1].message);
    }
}

//! Random graphs of phases.

use std::fmt::Write as _;

use proptest::prelude::*;

/// How a phase ends when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Success,
    NotApplicable,
    Fails,
    FailsVerify,
    Panics,
    PanicsLater,
    Skipped,
}

impl End {
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::NotApplicable => "NOT_APPLICABLE",
            Self::Skipped => "SKIPPED",
            Self::Fails | Self::FailsVerify | Self::Panics | Self::PanicsLater => "FAILED",
        }
    }
}

/// A phase: what it needs, what it holds, how long it takes and how it ends.
#[derive(Debug, Clone)]
pub struct Drawn {
    needs: u16,
    pub end: End,
    pub optional: bool,
    pub always: bool,
    pub resources: u8,
    /// How often it waits before it goes on; one that never waits ends at once.
    pub waits: u8,
    /// Its place in the file.
    place: u32,
}

impl Drawn {
    /// Indexes of the phases that phase `index` needs.
    pub fn needs(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        (0..index).filter(|need| self.needs >> need & 1 == 1)
    }
}

pub fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let end = prop_oneof![
        8 => Just(End::Success),
        1 => Just(End::NotApplicable),
        1 => Just(End::Skipped),
        2 => Just(End::Fails),
        1 => Just(End::FailsVerify),
        1 => prop_oneof![9 => Just(End::Fails), 1 => Just(End::Panics), 1 => Just(End::PanicsLater)],
    ];
    let resources = prop_oneof![3 => Just(0_u8), 2 => 0..8_u8];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.15));
    let one = (any::<u16>(), any::<u16>(), end, flags, resources, 0..4_u8, any::<u32>());
    let one = one.prop_map(|(some, of, end, (optional, always), resources, waits, place)| Drawn {
        // The conjunction of two makes needs sparse enough that phases run side by side.
        needs: some & of,
        end,
        optional,
        always,
        resources,
        waits,
        place,
    });
    prop::collection::vec(one, 1..=14)
}

/// The YAML of a graph: phase `i` may need any phase before it, and stands anywhere in the file.
pub fn yaml(drawn: &[Drawn]) -> String {
    let mut places: Vec<usize> = (0..drawn.len()).collect();
    places.sort_by_key(|index| drawn[*index].place);
    let mut text = String::from("version: 1\nphases:\n");
    for index in places {
        let phase = &drawn[index];
        let list = |names: Vec<String>| names.join(", ");
        let needs = phase.needs(index).map(|need| format!("p{need}")).collect();
        let resources = (0..3).filter(|bit| phase.resources >> bit & 1 == 1);
        let _ = writeln!(
            text,
            "  p{index}: {{ uses: fake, optional: {}, when: {}, needs: [{}], exclusive: [{}], with: {{ end: {:?}, waits: {} }} }}",
            phase.optional,
            phase.end != End::Skipped,
            list(needs),
            list(resources.map(|bit| format!("r{bit}")).collect()),
            phase.end,
            phase.waits,
        );
    }
    text
}

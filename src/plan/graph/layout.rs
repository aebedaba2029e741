//! Where boxes stand in a picture: layers from left to right, few crossings, straight lines.
//!
//! The method of Sugiyama, Tagawa and Toda (1981): needs that pass over layers get a place of their own in each of
//! them, the order within a layer follows the means of its neighbours, and heights are the least squares distances
//! to neighbours that keep the order and the gaps. Ways out of one box share their places, so that they run together.
//! Knows numbers only: neither names nor what is drawn.

/// The height of a box.
pub(super) const BOX: f64 = 50.0;

/// The free height between what stands in one layer.
const GAP: f64 = 14.0;

/// The height that passing ways take.
const PASS: f64 = 4.0;

/// Most places for passing ways; beyond it ways pass behind boxes.
const MOST_PASSES: usize = 50_000;

/// Times that orders and heights are made better.
const ROUNDS: usize = 12;

/// Where everything is.
pub(super) struct Layout {
    /// By box, the height of its middle.
    pub(super) middle: Vec<f64>,
    /// By box, the heights at which ways out of it pass the layers after its own.
    pub(super) passes: Vec<Vec<f64>>,
    /// The height of the whole.
    pub(super) height: f64,
}

/// A box, or a place at which ways pass a layer.
struct Item {
    size: f64,
    /// Neighbours in the layer before and in the layer after.
    sides: [Vec<usize>; 2],
}

struct Draft {
    items: Vec<Item>,
    /// Items of each layer from the top down.
    layers: Vec<Vec<usize>>,
    middle: Vec<f64>,
}

/// Lays out boxes, given by their layers and by what follows each in later layers.
pub(super) fn layout(layers: &[Vec<usize>], layer: &[usize], after: &[Vec<usize>]) -> Layout {
    let mut draft = Draft {
        items: layer.iter().map(|_| Item { size: BOX, sides: Default::default() }).collect(),
        layers: layers.to_vec(),
        middle: Vec::new(),
    };
    let passes = draft.connect(layer, after);
    draft.middle = vec![0.0; draft.items.len()];
    for round in 0..ROUNDS {
        draft.order(round % 2);
    }
    draft.stack();
    for round in 0..ROUNDS {
        draft.settle(round % 2, round + 2 >= ROUNDS);
    }
    draft.done(layer.len(), &passes)
}

impl Draft {
    /// Links boxes with what follows them; answers the places that ways out of each box pass.
    fn connect(&mut self, layer: &[usize], after: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let reach = |at: usize| after[at].iter().map(|next| layer[*next]).max().unwrap_or(0);
        let between = |at: usize| layer[at] + 1..reach(at);
        let room = (0..layer.len()).map(|at| between(at).len()).sum::<usize>() <= MOST_PASSES;
        let mut passes = vec![Vec::new(); layer.len()];
        for at in 0..layer.len() {
            if room {
                for passed in between(at) {
                    let item = self.items.len();
                    self.items.push(Item { size: PASS, sides: Default::default() });
                    self.layers[passed].push(item);
                    self.link(*passes[at].last().unwrap_or(&at), item);
                    passes[at].push(item);
                }
            }
            for next in &after[at] {
                let steps = layer[*next] - layer[at];
                let from = if steps < 2 { None } else { passes[at].get(steps - 2) };
                if room || steps == 1 {
                    self.link(*from.unwrap_or(&at), *next);
                }
            }
        }
        passes
    }

    fn link(&mut self, from: usize, to: usize) {
        self.items[from].sides[1].push(to);
        self.items[to].sides[0].push(from);
    }

    /// The layers in the order in which one side of them is known: from the left, or from the right.
    fn sweep(&self, side: usize) -> Vec<usize> {
        let all = 0..self.layers.len();
        if side == 0 { all.collect() } else { all.rev().collect() }
    }

    /// Orders each layer by the mean rank of its neighbours on a side.
    fn order(&mut self, side: usize) {
        for at in self.sweep(side) {
            let mut layer = std::mem::take(&mut self.layers[at]);
            let mut ranked: Vec<(f64, usize)> = layer
                .iter()
                .enumerate()
                .map(|(rank, item)| (self.mean(*item, &[side]).unwrap_or(rank as f64), *item))
                .collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (rank, (_, item)) in ranked.iter().enumerate() {
                // Ranks stand where heights will.
                self.middle[*item] = rank as f64;
                layer[rank] = *item;
            }
            self.layers[at] = layer;
        }
    }

    fn mean(&self, item: usize, sides: &[usize]) -> Option<f64> {
        let near = || sides.iter().flat_map(|side| &self.items[item].sides[*side]);
        let sum: f64 = near().map(|other| self.middle[*other]).sum();
        let count = near().count();
        (count > 0).then(|| sum / count as f64)
    }

    /// The least distance between the middles of two neighbours in a layer.
    fn distance(&self, upper: usize, lower: usize) -> f64 {
        f64::midpoint(self.items[upper].size, self.items[lower].size) + GAP
    }

    /// Puts the items of each layer one below the other.
    fn stack(&mut self) {
        for at in 0..self.layers.len() {
            let mut height = 0.0;
            for place in 0..self.layers[at].len() {
                let item = self.layers[at][place];
                if place > 0 {
                    height += self.distance(self.layers[at][place - 1], item);
                }
                self.middle[item] = height;
            }
        }
    }

    /// Moves every item towards its neighbours on one side, or on both, as far as the others of its layer let it.
    fn settle(&mut self, side: usize, both: bool) {
        let sides: &[usize] = if both { &[0, 1] } else { &[side] };
        for at in self.sweep(side) {
            let layer = &self.layers[at];
            let mut offset = 0.0;
            let mut wanted = Vec::with_capacity(layer.len());
            for (place, item) in layer.iter().enumerate() {
                if place > 0 {
                    offset += self.distance(layer[place - 1], *item);
                }
                let height = self.mean(*item, sides).unwrap_or(self.middle[*item]);
                // A passing way that bends is seen more than a box that stands a little off.
                let weight = if self.items[*item].size < BOX { 4.0 } else { 1.0 };
                wanted.push((height - offset, weight, offset));
            }
            for (place, height) in rising(&wanted).into_iter().enumerate() {
                self.middle[self.layers[at][place]] = height + wanted[place].2;
            }
        }
    }

    fn done(self, boxes: usize, passes: &[Vec<usize>]) -> Layout {
        let edges = |sign: f64| {
            let all = self.middle.iter().zip(&self.items);
            all.map(move |(middle, item)| sign.mul_add(item.size / 2.0, *middle))
        };
        let top = edges(-1.0).fold(f64::INFINITY, f64::min);
        let bottom = edges(1.0).fold(f64::NEG_INFINITY, f64::max);
        let height = |item: &usize| self.middle[*item] - top;
        Layout {
            middle: (0..boxes).map(|at| height(&at)).collect(),
            passes: passes.iter().map(|of| of.iter().map(height).collect()).collect(),
            height: bottom - top,
        }
    }
}

/// The heights that never fall and are nearest to those wanted by weighted least squares: pools of adjacent violators
/// (Ayer and others, 1955). The third of each is not looked at.
fn rising(wanted: &[(f64, f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (height, weight, _) in wanted {
        let (mut height, mut weight, mut count) = (*height, *weight, 1);
        while let Some((above, heavy, many)) = pools.pop_if(|pool| pool.0 > height) {
            height = height.mul_add(weight, above * heavy) / (weight + heavy);
            weight += heavy;
            count += many;
        }
        pools.push((height, weight, count));
    }
    pools.into_iter().flat_map(|(height, _, count)| std::iter::repeat_n(height, count)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Graph;
    use crate::plan::Selection;
    use crate::plan::tests::{Drawn, drawn};

    #[test]
    fn heights_that_rise_are_left_and_others_meet_at_their_mean() {
        let plain = |heights: &[f64]| {
            rising(&heights.iter().map(|one| (*one, 1.0, 0.0)).collect::<Vec<_>>())
        };
        assert_eq!(plain(&[1.0, 2.0, 4.0]), [1.0, 2.0, 4.0]);
        assert_eq!(plain(&[1.0, 5.0, 3.0]), [1.0, 4.0, 4.0]);
        assert_eq!(plain(&[6.0, 3.0, 0.0]), [3.0, 3.0, 3.0]);
    }

    proptest! {
        #[test]
        fn boxes_of_a_layer_never_touch_and_every_way_passes_each_layer_between(drawn in drawn()) {
            let plan = Drawn::plan_of(&drawn, Selection::default());
            let graph = Graph::new(&plan);
            let after: Vec<Vec<usize>> =
                plan.phases.iter().map(|phase| phase.dependents.clone()).collect();
            let layers = graph.layers();
            let laid = layout(&layers, &graph.layer, &after);
            for layer in &layers {
                let mut middles: Vec<f64> = layer.iter().map(|at| laid.middle[*at]).collect();
                middles.sort_by(f64::total_cmp);
                for pair in middles.windows(2) {
                    prop_assert!(pair[1] - pair[0] >= BOX + GAP - 1e-6);
                }
                prop_assert!(middles.iter().all(|at| (BOX / 2.0 - 1e-6..=laid.height - BOX / 2.0 + 1e-6).contains(at)));
            }
            for (at, next) in after.iter().enumerate() {
                let farthest = next.iter().map(|next| graph.layer[*next]).max().unwrap_or(0);
                let between = farthest.saturating_sub(graph.layer[at] + 1);
                prop_assert_eq!(laid.passes[at].len(), between);
            }
        }
    }
}
